from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.rl.replay.ring import Replay


def rows(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Transitions of random numbers."""
    shapes = [(count, 2), (count,), (count,), (count, 2), (count,)]
    made = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    made[1] = rng.integers(9, size=count)
    return made


def filled(replay: Replay) -> list[list]:
    return [field[: len(replay)].tolist() for field in replay.fields]


@pytest.mark.parametrize("case", range(60))
def test_a_ring_holds_the_latest_transitions_and_a_copy_goes_on_alike(case):
    rng = np.random.default_rng(case)
    capacity = int(rng.integers(1, 20))
    replay, plain = Replay(capacity, (2,)), []
    for _ in range(int(rng.integers(1, 15))):
        added = rows(rng, int(rng.integers(0, capacity + 1)))
        places = replay.add(*added)
        for number, place in enumerate(places):
            assert torch.equal(replay.fields.observations[place], torch.tensor(added[0][number]))
        plain = (plain + list(zip(*(part.tolist() for part in added), strict=True)))[-capacity:]
        if rng.random() < 0.3:  # a resumed run has a buffer that goes on alike
            copy = Replay(capacity, (2,))
            copy.load_state_dict(replay.state_dict())
            replay = copy
        held = sorted(zip(*filled(replay), strict=True))
        assert held == sorted(plain)
        assert len(replay) == len(plain)


def test_every_transition_is_drawn_equally_often():
    replay = Replay(8, (2,))
    replay.add(*rows(np.random.default_rng(0), 5))
    drawn = replay.sample(100, 500, torch.Generator().manual_seed(0))
    _, counts = drawn.rewards.unique(return_counts=True)
    # Five standard deviations of a binomial: with another seed, once in 300,000 times.
    assert (counts - 10_000).abs().max() < 5 * (50_000 * 0.2 * 0.8) ** 0.5
    assert drawn.observations.shape == (50_000, 2)


def test_pictures_stay_bytes():
    replay = Replay(4, (1, 2, 2), torch.uint8)
    picture = np.full((1, 1, 2, 2), 255, np.uint8)
    replay.add(picture, np.array([0]), np.array([1.0]), picture, np.array([0.9]))
    assert replay.rows(torch.tensor([0])).observations.dtype == torch.uint8


def test_another_capacity_than_the_checkpoints_is_refused():
    small, large = Replay(4, (2,)), Replay(8, (2,))
    small.add(*rows(np.random.default_rng(0), 4))
    with pytest.raises(ValueError, match="`buffer_size` must be 4, as in the checkpoint, but is 8"):
        large.load_state_dict(small.state_dict())
    with pytest.raises(ValueError, match="`buffer_size` must be at least 1"):
        Replay(0, (2,))
