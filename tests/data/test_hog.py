"""Histograms of oriented gradients: against a program of our own, and what they need."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.hog import HOG


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def histograms(picture: np.ndarray, orientations: int, side: int) -> np.ndarray:
    """Dalal and Triggs for one grey picture, loop by loop; blocks normalised as L2-Hys."""
    height, width = picture.shape
    down, right = np.zeros_like(picture), np.zeros_like(picture)
    down[1:-1] = picture[2:] - picture[:-2]
    right[:, 1:-1] = picture[:, 2:] - picture[:, :-2]
    strength, angle = np.hypot(down, right), np.rad2deg(np.arctan2(down, right)) % 180
    cells = np.zeros((height // side, width // side, orientations))
    for row in range(height // side * side):
        for column in range(width // side * side):
            direction = int(angle[row, column] // (180 / orientations)) % orientations
            cells[row // side, column // side, direction] += strength[row, column] / side**2
    blocks = []
    for row in range(cells.shape[0] - 1):
        for column in range(cells.shape[1] - 1):
            block = cells[row : row + 2, column : column + 2].ravel()
            block = np.minimum(block / np.sqrt((block**2).sum() + 1e-10), 0.2)
            blocks.append(block / np.sqrt((block**2).sum() + 1e-10))
    return np.concatenate(blocks)


@pytest.mark.parametrize(("orientations", "cell_size"), [(9, 2), (6, 3)])
def test_features_agree_with_the_paper_pixel_by_pixel(orientations, cell_size):
    pytest.importorskip("skimage", reason="scikit-image is optional: paceline[vision]")
    data = HOG("digits", orientations, cell_size)
    splits = data.load()
    pictures = Digits().load().test.inputs[:20, 0].double().numpy()
    for picture, features in zip(pictures, splits.test.inputs.numpy(), strict=False):
        assert features.shape == data.in_shape
        expected = histograms(picture, orientations, cell_size)
        np.testing.assert_allclose(features, expected, atol=2e-5)


def test_classes_and_splits_are_those_of_the_pictures():
    pytest.importorskip("skimage", reason="scikit-image is optional: paceline[vision]")
    data, pictures = HOG("digits"), Digits()
    assert (data.num_classes, data.in_features) == (10, 324)
    assert data._splits is None
    for split in ("train", "val", "test"):
        ours, theirs = getattr(data.splits, split), getattr(pictures.splits, split)
        assert torch.equal(ours.targets, theirs.targets)
    assert data.splits.train.inputs.mean().abs() < 1e-5
    assert (data.splits.train.inputs.std() - 1).abs() < 1e-5


def test_features_are_kept_by_pictures_and_arguments(home, monkeypatch):
    pytest.importorskip("skimage", reason="scikit-image is optional: paceline[vision]")
    first = HOG("digits", cell_size=4).digest
    assert len(list((home / "data" / "hog").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(HOG, "_features", None)  # the cache is all there is
        assert HOG("digits", cell_size=4).digest == first
    assert HOG("digits", cell_size=4, orientations=4).digest != first
    assert len(list((home / "data" / "hog").iterdir())) == 2


def test_without_scikit_image_one_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **named):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    for ask in (HOG("digits").prepare_data, HOG("digits").setup):
        with pytest.raises(FileNotFoundError, match=r"`scikit-image` must be installed") as error:
            ask()
        assert error.value.__notes__ == ['pip install "paceline[vision]"']


WRONG = {
    "no such set": ({"pictures": "faces"}, "`pictures` must be a known name, but is 'faces'"),
    "no direction": ({"orientations": 0}, "`orientations` must be a whole number of at least 1"),
    "no cell": ({"cell_size": 0}, "`cell_size` must be a whole number of at least 1"),
    "one cell": ({"cell_size": 5}, "`cell_size` must be at most 4 for pictures of 8 x 8, but is 5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_before_anything_is_read(case):
    arguments, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        HOG(**arguments)
