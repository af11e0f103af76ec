"""Gymnasium environments by name, several at a time, ours and those of other packages.

A name is an id of Gymnasium (`CartPole-v1`), an id with the module that registers it
(`my_package.envs:Maze-v0`), or a name of the entry-point group `paceline.envs`, whose value names
the module and the class (`Maze-v0 = "my_package.envs:Maze"`).
N environments.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Literal

import gymnasium
from gymnasium import Env, Wrapper, error
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import AtariPreprocessing, FlattenObservation, FrameStackObservation

from ...lightning_modules.blocks.checks import require, require_one_of
from .rewinding import Rewindable

Preprocessing = Literal["none", "atari"]
MOST_STEPS = 10_000  # of an episode where the environment has no limit of its own
EXTRAS = {"ale_py": "atari", "ALE": "atari", "Box2D": "box2d", "box2d": "box2d"}


@dataclass(frozen=True)
class Maker:
    """How environments of one kind are made.

    Args:
        environment: Its name.
        options: Keyword arguments of the environment.
        preprocessing: `atari` is what Mnih et al. 2015 do to the pictures of the ALE.
        frame_stack: Latest observations that are handed out as one, at least 1.

    Raises:
        ValueError: If nothing has that name (the nearest ids are told), a package is missing (the
            extra that brings it is told), or an argument is outside its range.
    """

    environment: str
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = "none"
    frame_stack: int = 1

    def __post_init__(self):
        require_one_of("preprocessing", self.preprocessing, ("none", "atari"))
        require(self.frame_stack >= 1, "frame_stack", "at least 1", self.frame_stack)
        full_id(self.environment)

    def one(self, **options: Any) -> Env:
        """One environment; keyword arguments beside its own, as `render_mode`."""
        arguments = {**self._limit(), **self._arguments(), **options}
        return self._wrapped(self._told(gymnasium.make, **arguments))

    def render_modes(self) -> list[str]:
        """How the environment can draw itself."""
        environment = self.one()
        environment.close()
        return list(environment.metadata.get("render_modes", []))

    def several(
        self,
        num_environments: int,
        autoreset: AutoresetMode = AutoresetMode.SAME_STEP,
        is_native: bool | None = None,
    ) -> VectorEnv:
        """N environments that step together.

        Args:
            num_environments: N, at least 1.
            autoreset: When an environment whose episode ended begins a new one; an implementation
                that is vectorised by itself has a mode of its own.
            is_native: Whether the environment's own vectorised implementation is taken, many times
                faster than a loop; default: where it has one and nothing is wrapped around it.
        """
        require(num_environments >= 1, "num_environments", "at least 1", num_environments)
        arguments = {"num_envs": num_environments, **self._arguments()}
        is_plain = self.preprocessing == "none" and self.frame_stack == 1
        spec = _spec(full_id(self.environment))
        # The ALE's own copies preprocess in a way of their own.
        can = is_plain and spec.vector_entry_point is not None and spec.namespace != "ALE"
        if can if is_native is None else is_native:
            arguments |= {"vectorization_mode": "vector_entry_point"}
        else:
            arguments |= self._limit() | {
                "vectorization_mode": "sync",
                "vector_kwargs": {"autoreset_mode": autoreset},
                "wrappers": [self._wrapped, Rewindable],
            }
        return self._told(gymnasium.make_vec, **arguments)

    def _arguments(self) -> dict[str, Any]:
        skips = {"frameskip": 1} if self.preprocessing == "atari" else {}  # the wrapper does
        return {**skips, **self.options}

    def _limit(self) -> dict[str, int]:
        """Without any limit a policy that goes in circles would be evaluated for ever."""
        spec = _spec(full_id(self.environment))
        own = spec.max_episode_steps is not None or "max_num_frames_per_episode" in spec.kwargs
        return (
            {} if own or "max_episode_steps" in self.options else {"max_episode_steps": MOST_STEPS}
        )

    def _wrapped(self, env: Env) -> Env:
        if self.preprocessing == "atari":
            env = as_nature_did(env)
        if self.frame_stack > 1:
            env = FrameStackObservation(env, self.frame_stack)
            if len(env.observation_space.shape or ()) == 2:
                env = FlattenObservation(env)
        return env

    def _told(self, make: Callable[..., Any], **arguments: Any) -> Any:
        """What `make` returns; a package that is not there is told by the extra that brings it."""
        try:
            return make(full_id(self.environment), **arguments)
        except (error.DependencyNotInstalled, ImportError) as missing:
            extra = next((EXTRAS[word] for word in EXTRAS if word in str(missing)), None)
            remedy = f'pip install "paceline[{extra}]"' if extra else str(missing)
            rule = "an environment whose packages are installed"
            require(False, "environment", rule, self.environment, remedy)
        except TypeError as wrong:  # an option that the environment does not know
            rule = f"what {self.environment} takes ({wrong})"
            require(False, "environment_options", rule, dict(self.options))


def full_id(environment: str) -> str:
    """The id that Gymnasium knows, with the module that registers it where there is one.

    Raises:
        ValueError: If nothing has that name.
    """
    own = {point.name: point.module for point in entry_points(group="paceline.envs")}
    name = f"{own[environment]}:{environment}" if environment in own else environment
    _register_atari()
    try:
        _spec(name)
    except (error.Error, ImportError) as wrong:
        known = [*own, *gymnasium.registry]
        near = difflib.get_close_matches(environment, known, n=3, cutoff=0.5)
        extra = EXTRAS.get(environment.partition("/")[0])
        remedy = f"the nearest: {', '.join(near)}" if near else "`paceline list envs` lists ours"
        is_missing = extra and not any(name.startswith("ALE/") for name in gymnasium.registry)
        remedy = f'pip install "paceline[{extra}]"' if is_missing else remedy
        require(False, "environment", "the id of a known environment", environment, remedy)
        raise AssertionError from wrong
    return name


def _spec(full: str) -> Any:
    """What is registered under an id; the module before it, if any, is imported first."""
    module, _, name = full.rpartition(":")
    if module:
        importlib.import_module(module)  # `gymnasium.make` does this, `gymnasium.spec` does not
    return gymnasium.spec(name)


@functools.cache
def _register_atari() -> None:
    """The ids of the Arcade Learning Environment, where its package is installed."""
    try:
        import ale_py  # pyright: ignore[reportMissingImports] (of an extra)
    except ImportError:
        return
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
    gymnasium.register_envs(ale_py)


def as_nature_did(environment: Env) -> Wrapper:
    """Pictures of the ALE as Mnih et al. 2015 (Methods) hand them to the network.

    Up to 30 idle steps at the start, the maximum of two frames, every fourth frame, grey, 84 x 84.
    Stacking is the replay buffer's task. A lost life ends no episode here, as Machado et al. 2018
    recommend.
    """
    return AtariPreprocessing(environment, noop_max=30, frame_skip=4, screen_size=84)
