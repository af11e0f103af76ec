"""Augmentation: each policy against a program that treats one sample at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data.augmentation import POLICIES, Augmentation, parse
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.mnist1d import MNIST1D
from scipy import ndimage

PICTURE, SIGNAL = (3, 9, 7), (12,)
BACKGROUND = torch.tensor([-0.5, 0.25, 1.0]).view(3, 1, 1)


def generator(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(batch: int = 40) -> torch.Tensor:
    return torch.rand(batch, *PICTURE, generator=generator(0))


def augmented(spec, inputs, seed=4):
    policies = Augmentation(spec, tuple(inputs.shape[1:])).over(BACKGROUND)
    return policies(inputs, generator(seed))


def shifted(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    """One picture, moved pixel by pixel."""
    moved = np.broadcast_to(BACKGROUND.numpy(), picture.shape).copy()
    _, height, width = picture.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                moved[:, row + down, column + right] = picture[:, row, column]
    return moved


def matching(result: np.ndarray, candidates: dict) -> set:
    """The keys of the candidates that equal the result."""
    return {key for key, value in candidates.items() if np.allclose(result, value, atol=1e-6)}


def test_shift_moves_each_picture_by_whole_pixels_of_its_own():
    inputs = pictures()
    seen = set()
    for before, after in zip(inputs.numpy(), augmented({"shift": 2}, inputs).numpy(), strict=True):
        steps = range(-2, 3)
        candidates = {(d, r): shifted(before, d, r) for d in steps for r in steps}
        (move,) = matching(after, candidates)
        seen.add(move)
    assert len(seen) > 12  # of 25, in 40 draws


def test_shift_reaches_every_place_equally_often():
    # 25 places, 20,000 draws: 800 each, deviation 28; 6 deviations are missed once in 10 million.
    inputs = torch.zeros(20_000, 1, 5, 5)
    inputs[:, :, 2, 2] = 1
    policies = Augmentation({"shift": 2}, (1, 5, 5))
    counts = policies(inputs, generator()).sum(dim=(0, 1))
    assert (counts - 800).abs().max() < 6 * 28


def test_crop_cuts_out_of_the_mirrored_picture():
    inputs = pictures()
    seen = set()
    for before, after in zip(inputs.numpy(), augmented({"crop": 3}, inputs).numpy(), strict=True):
        wide = np.pad(before, ((0, 0), (3, 3), (3, 3)), mode="reflect")
        places = [(top, left) for top in range(7) for left in range(7)]
        candidates = {(t, left): wide[:, t : t + 9, left : left + 7] for t, left in places}
        (place,) = matching(after, candidates)
        seen.add(place)
    assert len(seen) > 20  # of 49, in 40 draws


def test_flip_mirrors_its_share_of_the_pictures():
    inputs = pictures(1000)
    result = augmented({"flip": 0.3}, inputs)
    mirrored = (result == inputs.flip(-1)).flatten(1).all(dim=1)
    kept = (result == inputs).flatten(1).all(dim=1)
    assert bool((mirrored ^ kept).all())
    # Deviation of the share: sqrt(0.3 x 0.7 / 1000) = 0.0145; 6 of them.
    assert abs(mirrored.float().mean() - 0.3) < 0.087


@pytest.mark.parametrize("side", [(9, 9), (9, 7), (6, 10)])
def test_rotation_agrees_with_scipy_one_picture_at_a_time(side):
    inputs = torch.rand(20, 3, *side, generator=generator(1))
    result = augmented({"rotation": 60}, inputs).numpy()
    angles = (2 * torch.rand(20, generator=generator()) - 1) * math.radians(60)  # the same draws
    centre = (np.array(side) - 1) / 2
    for before, after, angle in zip(inputs.double().numpy(), result, angles.tolist(), strict=True):
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = np.array([[cos, sin], [-sin, cos]])  # from a pixel to where it came from
        for channel in range(3):
            expected = ndimage.affine_transform(
                before[channel],
                matrix,
                offset=centre - matrix @ centre,
                order=1,
                mode="grid-constant",
                cval=float(BACKGROUND[channel]),
            )
            np.testing.assert_allclose(after[channel], expected, atol=2e-6)


def test_noise_has_the_deviation_asked_for_and_no_bias():
    change = augmented({"noise": 0.2}, torch.ones(2000, 3, 5, 5)) - 1
    # 150,000 draws: deviation of the mean 0.2 / 387 = 0.0005, of the deviation 0.0004; 6 of each.
    assert change.mean().abs() < 0.003
    assert abs(change.std() - 0.2) < 0.0025


@pytest.mark.parametrize("shape", [PICTURE, SIGNAL])
def test_scale_multiplies_each_sample_by_a_number_of_its_own(shape):
    inputs = torch.rand(500, *shape, generator=generator(1)) + 1
    ratio = (augmented({"scale": 0.3}, inputs) / inputs).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert 0.7 <= ratio.min() < 0.71
    assert 1.29 < ratio.max() <= 1.3


def test_shift_turns_signals_round():
    inputs = torch.rand(50, *SIGNAL, generator=generator(1))
    seen = set()
    for before, after in zip(inputs.numpy(), augmented({"shift": 3}, inputs).numpy(), strict=True):
        (steps,) = matching(after, {step: np.roll(before, step) for step in range(-3, 4)})
        seen.add(steps)
    assert seen == set(range(-3, 4))  # one place of 7 is missed in 50 draws once in 300; seed fixed


@pytest.mark.parametrize("name", POLICIES)
def test_same_seed_gives_the_same_changes_and_leaves_the_input_alone(name):
    inputs = pictures()
    copy = inputs.clone()
    assert torch.equal(augmented(name, inputs), augmented(name, inputs))
    assert not torch.equal(augmented(name, inputs), augmented(name, inputs, seed=5))
    assert torch.equal(inputs, copy)


@pytest.mark.parametrize("name", POLICIES)
def test_strength_zero_changes_nothing(name):
    inputs = pictures()
    torch.testing.assert_close(augmented({name: 0}, inputs), inputs)


def test_policies_act_in_the_order_written():
    inputs = pictures()
    policies = Augmentation(["shift", {"noise": 0.5}], PICTURE).over(BACKGROUND)
    rng = generator()
    by_hand = POLICIES["shift"].change(inputs, 2, rng, BACKGROUND)
    by_hand = POLICIES["noise"].change(by_hand, 0.5, rng, BACKGROUND)
    assert torch.equal(policies(inputs, generator()), by_hand)


def test_every_way_of_writing_a_policy_means_the_same():
    assert parse(None, PICTURE) == parse("none", PICTURE) == parse([], PICTURE) == []
    assert parse("shift", PICTURE) == parse({"shift": 2}, PICTURE) == [("shift", 2)]
    assert parse({"shift": 2.0}, PICTURE) == [("shift", 2)]  # what a config's parser makes of 2
    expected = [("shift", 3), ("flip", 0.5)]
    assert parse({"shift": 3, "flip": 0.5}, PICTURE) == expected
    assert parse([{"shift": 3}, "flip"], PICTURE) == expected


WRONG = {
    "unknown": ("mixup", "known policies, but is 'mixup'"),
    "unknown among others": (["flip", "cutout"], "known policies, but is 'cutout'"),
    "unknown with strength": ({"blur": 3}, "known policies, but is 'blur'"),
    "a number": (3, "a policy's name, a mapping"),
    "negative": ({"shift": -1}, "`augmentation.shift` must be a whole number from 0 to 6"),
    "half a pixel": ({"shift": 1.5}, "a whole number from 0 to 6, but is 1.5"),
    "wider than the picture": ({"crop": 7}, "a whole number from 0 to 6, but is 7"),
    "odds over one": ({"flip": 1.1}, "`augmentation.flip` must be a number from 0 to 1"),
    "more than half a turn": ({"rotation": 181}, "a number from 0 to 180"),
    "not a number": ({"noise": float("nan")}, "a number of at least 0"),
    "endless": ({"noise": float("inf")}, "a number of at least 0"),
    "a word": ({"noise": "much"}, "a number of at least 0, but is 'much'"),
    "true": ({"flip": True}, "a number from 0 to 1, but is True"),
    "a list in a mapping": ({"flip": [0.5]}, "a number from 0 to 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_policy_is_refused(case):
    spec, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        parse(spec, PICTURE)


def test_an_unknown_policy_lists_the_valid_names():
    with pytest.raises(ValueError, match="mixup") as error:
        Digits(augmentation="mixup")
    assert error.value.__notes__ == [
        "valid names are: none, shift, crop, flip, rotation, noise, scale"
    ]
    with pytest.raises(ValueError, match="flip") as error:
        MNIST1D(augmentation="flip")
    assert error.value.__notes__ == ["valid names are: none, shift, noise, scale"]


def test_augmentation_changes_training_batches_only():
    plain, changed = Digits(), Digits(augmentation={"shift": 1, "rotation": 5})
    (before, targets), (after, same_targets) = (
        next(iter(data.train_dataloader())) for data in (plain, changed)
    )
    assert torch.equal(targets, same_targets)
    assert not torch.equal(before, after)
    for loader in ("val_dataloader", "test_dataloader"):
        (before, _), (after, _) = (next(iter(getattr(data, loader)())) for data in (plain, changed))
        assert torch.equal(before, after)


def test_pictures_move_in_from_black():
    data = Digits(batch_size=256, augmentation={"shift": 3})
    inputs, _ = next(iter(data.train_dataloader()))
    levels = inputs.double() * data.splits.std[0] + data.splits.mean[0]
    # The grey levels are whole numbers; the mean, 4.9, would be none.
    assert (levels - levels.round()).abs().max() < 1e-4
