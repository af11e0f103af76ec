from __future__ import annotations

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from paceline.rl.playing import making
from paceline.rl.playing.making import MOST_STEPS, Maker


def message_of(call) -> str:
    """What the user is told, with its remedy."""
    with pytest.raises(ValueError, match="must be") as told:
        call()
    return "\n".join([str(told.value), *getattr(told.value, "__notes__", [])])


def test_an_environments_own_vectorised_form_is_taken_where_nothing_is_wrapped_around_it():
    assert not isinstance(Maker("CartPole-v1").several(2).unwrapped, SyncVectorEnv)
    stacked = Maker("CartPole-v1", frame_stack=2).several(3)
    assert isinstance(stacked.unwrapped, SyncVectorEnv)
    assert stacked.reset(seed=0)[0].shape == (3, 8)
    for mode in AutoresetMode:
        looped = Maker("CartPole-v1").several(2, mode, is_native=False)
        assert looped.metadata["autoreset_mode"] is mode


def test_names_of_ours_and_options_reach_the_environment():
    ours = Maker("Identity-v0", {"num_states": 7})
    assert ours.one().action_space.n == 7
    assert ours.several(2).single_action_space.n == 7
    shorter = Maker("CartPole-v1", {"max_episode_steps": 5}).several(1)
    shorter.reset(seed=0)
    for number in range(5):
        truncated = shorter.step(np.array([number % 2]))[3]
    assert truncated.all()


def test_an_environment_without_a_limit_gets_one_so_that_circles_end():
    assert gymnasium.spec("CliffWalking-v1").max_episode_steps is None
    environment = Maker("CliffWalking-v1").several(1)
    environment.reset(seed=0)
    for _ in range(MOST_STEPS):
        *_, terminated, truncated, _ = environment.step(np.array([3]))  # into the wall, for ever
    assert truncated.all()
    assert not terminated.any()
    limited = Maker("CliffWalking-v1", {"max_episode_steps": 3}).one()
    limited.reset(seed=0)
    assert [limited.step(3)[3] for _ in range(3)] == [False, False, True]


def test_a_wrong_id_is_told_the_nearest():
    told = message_of(lambda: Maker("CartPol-v1"))
    assert "`environment` must be the id of a known environment, but is 'CartPol-v1'." in told
    assert "the nearest: CartPole-v1" in told
    assert "Identity-v0" in message_of(lambda: Maker("Identty-v0"))
    assert "`paceline list envs`" in message_of(lambda: Maker("zzzzzz"))
    message_of(lambda: Maker("no_such_module:Maze-v0"))


def test_an_unknown_option_is_told():
    told = message_of(lambda: Maker("CartPole-v1", {"gravity": 3}).one())
    assert "`environment_options` must be what CartPole-v1 takes" in told
    assert "gravity" in told
    assert "gravity" in message_of(lambda: Maker("FrozenLake-v1", {"gravity": 3}).several(2))


def test_a_missing_package_is_told_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "Box2D", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d.lunar_lander", raising=False)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d", raising=False)
    assert 'pip install "paceline[box2d]"' in message_of(Maker("LunarLander-v3").one)


def test_atari_without_its_package_is_told_by_its_extra(monkeypatch):
    known = {n: s for n, s in gymnasium.registry.items() if not n.startswith("ALE/")}
    monkeypatch.setattr(gymnasium.envs.registration, "registry", known)
    monkeypatch.setattr(gymnasium, "registry", known)
    monkeypatch.setattr(making, "_register_atari", lambda: None)
    assert 'pip install "paceline[atari]"' in message_of(lambda: Maker("ALE/Pong-v5"))


def test_what_is_out_of_range_is_named():
    assert "`frame_stack`" in message_of(lambda: Maker("CartPole-v1", frame_stack=0))
    assert "`preprocessing`" in message_of(lambda: Maker("CartPole-v1", preprocessing="grey"))  # pyright: ignore[reportArgumentType]
    assert "`num_environments`" in message_of(lambda: Maker("CartPole-v1").several(0))
