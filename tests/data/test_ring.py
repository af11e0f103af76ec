"""The Gaussians on a circle: where they stand, how wide they are, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data.ring import Ring


def test_points_stand_about_places_that_divide_the_circle_evenly():
    data = Ring(num_samples=20_000)
    points, modes = (getattr(data.splits.train, part).numpy() for part in ("inputs", "targets"))
    angles = np.arange(8) * np.pi / 4
    for mode, angle in enumerate(angles):
        own = points[modes == mode]
        # 2,000 points: a mean is within 5 standard errors of its place, 0.02 * 5 / 44 = 0.0023.
        np.testing.assert_allclose(
            own.mean(0), 2 * np.array([np.cos(angle), np.sin(angle)]), atol=3e-3
        )
        np.testing.assert_allclose(own.std(0), 0.02, rtol=0.1)
    np.testing.assert_allclose(np.linalg.norm(data.mode_centres, axis=1), 2, atol=1e-12)


def test_splits_are_a_function_of_the_arguments_and_share_no_point():
    data, again, other = Ring(), Ring(), Ring(generator_seed=1)
    assert data.digest == again.digest != other.digest
    assert (len(data.splits.train), len(data.splits.val), len(data.splits.test)) == (
        16_000,
        2000,
        2000,
    )
    rows = {tuple(row) for row in data.splits.train.inputs.tolist()}
    assert not rows & {tuple(row) for row in data.splits.val.inputs.tolist()}


def test_points_are_handed_out_in_the_units_of_the_plane():
    data = Ring(num_modes=3, radius=5.0, mode_std=0.1, batch_size=50)
    x, targets = next(iter(data.train_dataloader()))
    assert x.shape == (50, 2)
    assert data.num_classes == 3
    torch.testing.assert_close(x.norm(dim=1), torch.full((50,), 5.0), rtol=0, atol=0.6)
    assert set(targets.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_modes": 1}, "`num_modes` must be a whole number of at least 2 and at most 100"),
        ({"radius": 0}, "`radius` must be a number above 0, but is 0."),
        ({"mode_std": float("nan")}, "`mode_std` must be a number above 0, but is nan."),
        ({"num_samples": 9}, "`num_samples` must be a whole number of at least 100 "),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        Ring(**arguments)
    assert str(caught.value).startswith(message)
