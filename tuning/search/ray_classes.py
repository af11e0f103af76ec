"""Finding and building a searcher of `ray.tune.search`, or one like it, from its import path.

Everything that can be wrong with it is said before a sweep starts: an unknown path, a class that is
no searcher, a package that is not installed, an argument that it lacks, a space that it refuses.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher

from ...platform.configuration.classes import load_class
from ...platform.errors import UserError, must, nearest, unknown
from .space import Space

WHERE = "sweep.search"
ARGS = "sweep.search_args"
KNOWN = tuple(
    f"ray.tune.search.{path}"
    for path in (
        "optuna.OptunaSearch",
        "hyperopt.HyperOptSearch",
        "bayesopt.BayesOptSearch",
        "nevergrad.NevergradSearch",
        "ax.AxSearch",
        "hebo.HEBOSearch",
        "zoopt.ZOOptSearch",
    )
)
_OURS = {
    "space": "sweep.space",
    "metric": "sweep.metric",
    "mode": "sweep.mode",
    "points_to_evaluate": "sweep.points",
    "evaluated_rewards": "sweep.like",
}
_SEEDS = ("seed", "random_state_seed", "random_state")


def searcher_class(path: str) -> type[Searcher]:
    """The class at an import path.

    Raises:
        UserError: No such class, or one that cannot propose a sweep's trials.
    """
    if "." not in path:
        raise unknown(WHERE, path, ["random", "grid", "tpe", *KNOWN], WHERE)
    try:
        found = load_class(path, WHERE, WHERE)
    except UserError:
        if path.startswith("ray.tune.") and nearest(path, KNOWN):
            raise unknown(WHERE, path, KNOWN, WHERE) from None
        raise
    if not issubclass(found, Searcher):
        rule = "a class of ray.tune.search.Searcher"
        raise UserError(must(WHERE, rule, path), WHERE, "random, grid, tpe, or one of theirs")
    if issubclass(found, (ConcurrencyLimiter, Repeater)):
        rule = "a searcher that proposes by itself"
        remedy = "name the searcher that it wraps; sweep.max_concurrent limits the trials at a time"
        raise UserError(must(WHERE, rule, path), WHERE, remedy)
    if found.__name__ == "TuneBOHB":
        rule = "a searcher that needs no scheduler of its own"
        raise UserError(must(WHERE, rule, path), WHERE, "tpe, which learns from stopped trials too")
    return found


def check_space(kind: type[Searcher], space: Space) -> None:
    """Refuse conditions, which Tune's language of spaces does not have.

    Raises:
        UserError: A knob has one.
    """
    for knob in space.knobs:
        if knob.when:
            rule = f"one that takes conditions, such as `{knob.name}` has"
            remedy = f"tpe or random, or leave {knob.name} out with --vary"
            raise UserError(must(WHERE, rule, kind.__name__), WHERE, remedy)


def constructor_arguments(
    kind: type[Searcher], given: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """What to build a searcher with: what was given, and a seed where it takes one.

    A mapping with a `class_path` is built with its `init_args`, and a path given for what is no
    text is imported, so that a file can name samplers and optimizers.

    Raises:
        UserError: An unknown argument, one that is ours to set, or one that it lacks.
    """
    parameters = inspect.signature(kind).parameters
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [name for name in parameters if name not in _OURS]
    for name in given:
        if name in _OURS:
            rule = f"left out, as `{_OURS[name]}` says it"
            raise UserError(must(f"{ARGS}.{name}", rule, given[name]), ARGS)
        if name not in names and not is_open:
            raise unknown(ARGS, name, names, ARGS)
    for name, parameter in parameters.items():
        needed = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if needed and parameter.default is parameter.empty and name not in {*given, *_OURS}:
            raise UserError(must(ARGS, f"given `{name}`, which {kind.__name__} needs", given), ARGS)
    built = {name: _built(name, value, _hints(kind).get(name)) for name, value in given.items()}
    for name in _SEEDS:
        if name in parameters and name not in given and "sampler" not in given:
            built[name] = seed  # a sampler that was given has a seed of its own
    return built


def _hints(kind: type[Searcher]) -> dict[str, Any]:
    try:
        return get_type_hints(kind.__init__)
    except NameError:  # a hint that only a type checker can resolve
        return {}


def _built(name: str, value: Any, hint: Any) -> Any:
    """A value as the constructor wants it; paths become what they name."""
    key = f"{ARGS}.{name}"
    if isinstance(value, Mapping) and "class_path" in value:
        made = _imported(str(value["class_path"]), key)
        try:
            return made(**value.get("init_args") or {})
        except Exception as error:
            remedy = f"{type(error).__name__}: {error}"
            raise UserError(must(key, "what can be built", value), ARGS, remedy) from None
    takes_text = hint in (None, Any, str) or str in get_args(hint)
    if isinstance(value, str) and "." in value and not takes_text:
        return _imported(value, key)
    return value


def _imported(path: str, key: str) -> Any:
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        rule = "the path of what can be imported"
        raise UserError(must(key, rule, path), ARGS, str(error)) from None


def build(
    kind: type[Searcher],
    arguments: Mapping[str, Any],
    domains: Mapping[str, Any],
    metric: str,
    mode: str,
) -> Searcher:
    """A searcher over a space.

    Args:
        kind: Its class.
        arguments: Of its constructor.
        domains: Name -> domain of `ray.tune`.
        metric: The deciding metric.
        mode: `min` or `max`.

    Raises:
        UserError: Its package is missing, it refuses an argument, or it cannot take the space.
    """
    try:
        searcher = kind(**arguments)
    except Exception as error:
        raise _refused(kind, arguments, error) from None
    try:
        taken = searcher.set_search_properties(metric, mode, dict(domains))
    except Exception as error:
        raise _no_space(kind, f"{type(error).__name__}: {error}") from None
    if not taken:
        raise _no_space(kind, "it has a space of its own")
    return searcher


def _refused(kind: type[Searcher], arguments: Mapping[str, Any], error: Exception) -> UserError:
    text = " ".join(str(error).split())
    command = re.search(r"pip install [^`]+", text)
    if command:
        rule = "a searcher whose package is installed"
        return UserError(must(WHERE, rule, kind.__name__), WHERE, command[0].strip())
    rule = f"arguments that {kind.__name__} takes"
    return UserError(must(ARGS, rule, dict(arguments)), ARGS, f"{type(error).__name__}: {text}")


def _no_space(kind: type[Searcher], why: str) -> UserError:
    what = must(WHERE, "a searcher that takes the space", kind.__name__)
    return UserError(f"{what} {why}", WHERE, "tpe or random, or --vary the knobs that it takes")
