"""The space of a sweep: knobs as data, and what trial number i of a seed is. No Ray, no torch.

A knob draws one value and puts it at one or more dotted config keys; with `when` it exists only
beside certain values of other knobs or of the config itself:

    learning_rate: {to: [optimizer.init_args.lr], loguniform: [1.0e-4, 1.0e-1]}
    momentum: {to: [optimizer.init_args.momentum], uniform: [0, 0.99],
               when: {optimizer.class_path: [SGD, RMSprop]}}
    model.dropout: {choice: [0.0, 0.2, 0.5]}

Each draw hashes (seed, trial, knob), so it is the same whatever was drawn before, whichever other
knobs vary, and after a resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...platform.configuration.keys import full_key, get_key, short_key
from ...platform.errors import UserError, must, unknown
from .distributions import Choice
from .knobs import Knob, accepts, read_knobs


@dataclass(frozen=True)
class Space:
    """Knobs in an order in which each stands after those that its conditions name.

    Args:
        knobs: The knobs.
        base: The config's own plain values, which conditions may ask for.
    """

    knobs: tuple[Knob, ...]
    base: Mapping[str, Any]

    def sample(self, seed: int, trial: int) -> dict[str, Any]:
        """Knob values of trial number `trial` (from 0) of a random search, conditions obeyed."""
        return self.fill(lambda knob, _: knob.draws.at(unit(seed, trial, knob.name)))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination of the options, the last knob turning fastest, conditions obeyed.

        Raises:
            UserError: A knob has no options to enumerate.
        """
        for knob in self.knobs:
            if not isinstance(knob.draws, Choice):
                rule = "`grid` or `choice` under grid search"
                raise UserError(
                    must(knob.where, rule, type(knob.draws).__name__.lower()),
                    knob.where,
                    "list its values (grid: [...]), leave it out with --vary, or search at random",
                )
        return self._combinations(0, {})

    def _combinations(self, depth: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if depth == len(self.knobs):
            yield dict(values)
            return
        knob = self.knobs[depth]
        if not self.applies(knob, values):
            yield from self._combinations(depth + 1, values)
            return
        for option in knob.draws.ends():
            yield from self._combinations(depth + 1, {**values, knob.name: option})

    def check_random(self, search: str = "random") -> None:
        """Refuse knobs that ask to be enumerated under a search that draws or learns.

        Args:
            search: Its name, for the message.

        Raises:
            UserError: A knob is a `grid`.
        """
        for knob in self.knobs:
            if isinstance(knob.draws, Choice) and knob.draws.grid:
                raise UserError(
                    must(knob.where, f"no `grid` under {search} search", list(knob.draws.options)),
                    knob.where,
                    "choice: [...] instead of grid: [...], or --search grid",
                )

    def fill(self, pick: Callable[[Knob, dict[str, Any]], Any]) -> dict[str, Any]:
        """Complete values: `pick(knob, values so far)` for each knob whose condition holds."""
        values: dict[str, Any] = {}
        for knob in self.knobs:
            if self.applies(knob, values):
                values[knob.name] = pick(knob, values)
        return values

    def applies(self, knob: Knob, values: Mapping[str, Any]) -> bool:
        """Whether a knob exists beside these values of the knobs before it."""
        return all(accepts(k, wanted, self.value(k, values)) for k, wanted in knob.when.items())

    def value(self, key: str, values: Mapping[str, Any]) -> Any:
        """The value at a full config key when the knobs have `values`."""
        for knob in self.knobs:
            if knob.name in values and knob.sets(key):
                return knob.at_key(key, values[knob.name])
        return get_key(self.base, key)

    def assignments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What to override in the config: full dotted key -> value, classes before arguments."""
        pairs = [(t, values[k.name]) for k in self.knobs if k.name in values for t in k.targets]
        return dict(sorted(pairs, key=lambda pair: pair[0].count(".")))

    def select(self, vary: Sequence[str]) -> Space:
        """The space of only these knobs, by name or key; all knobs when `vary` is empty.

        Raises:
            UserError: An unknown knob, or one that cannot apply (with what it needs).
        """
        if not vary:
            return self
        by_name = {k.name: k for k in self.knobs}
        by_key = {full_key(name): knob for name, knob in by_name.items()}
        for knob in self.knobs:
            by_key |= {target: knob for target in knob.targets if target not in by_key}
        for name in vary:
            if full_key(name) not in by_key:
                raise unknown("sweep.vary", name, by_name, "--vary")
        wanted = {by_key[full_key(name)].name for name in vary}
        chosen = Space(tuple(k for k in self.knobs if k.name in wanted), self.base)
        for knob in chosen.knobs:
            if not chosen.possible(knob):
                raise _cannot_apply(knob, chosen)
        return chosen

    def possible(self, knob: Knob) -> bool:
        """Whether some values of the other knobs let this knob exist."""
        return all(self._reachable(key, wanted) for key, wanted in knob.when.items())

    def _reachable(self, key: str, wanted: tuple[Any, ...]) -> bool:
        deciding = [k for k in self.knobs if k.sets(key)]
        if any(k.taking(key, wanted) and self.possible(k) for k in deciding):
            return True
        always = any(not k.when for k in deciding)
        return not always and accepts(key, wanted, self.value(key, {}))


def unit(seed: int, trial: int, name: str) -> float:
    """A number of [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(f"{seed}/{trial}/{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)  # the 53 bits that a float holds


def trial_seed(seed: int, trial: int) -> int:
    """The seed that trial number `trial` trains with, from 0 to 2**31 - 1."""
    return int(unit(seed, trial, "seed") * 2**31)


def read_space(data: Any, base: Mapping[str, Any]) -> Space:
    """The space that `sweep.space` declares over a config; errors as in `knobs.read_knobs`."""
    return Space(read_knobs(data, base), base)


def _cannot_apply(knob: Knob, space: Space) -> UserError:
    """Says which values would let a knob apply, and what they are now."""
    key, wanted = next((k, w) for k, w in knob.when.items() if not space._reachable(k, w))
    now, short = space.value(key, {}), short_key(key)
    listed = ", ".join(str(w) for w in wanted)
    return UserError(
        f"`--vary {knob.name}` must name a knob that can apply, but `{short}` is {now!r} "
        f"and {knob.name} needs {listed}.",
        knob.where,
        f"--{short.removesuffix('.class_path')} {wanted[0]}, or leave {knob.name} out of --vary",
    )
