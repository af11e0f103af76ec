"""Pictures in class folders: generated trees, read both ways, and everything that can be wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data import image_folder
from paceline.lightning_modules.data.decoding import centre_square, decode, pixels, random_square
from paceline.lightning_modules.data.file_samples import FileSamples
from paceline.lightning_modules.data.image_folder import MEAN, STD, ImageFolder
from PIL import Image

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(autouse=True)
def _home(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path_factory.mktemp("home")))


def plant(root: Path, count: int = 10, size=(40, 30), classes=CLASSES, ending="png") -> Path:
    """A tree of noisy pictures whose red channel tells the class, 60 a step."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            array = rng.integers(0, 40, (size[1], size[0], 3), dtype=np.uint8)
            array[:, :, 0] += 60 * number
            Image.fromarray(array).save(root / name / f"{index:03}.{ending}")
    return root


def folder(root: Path, **arguments) -> ImageFolder:
    return ImageFolder(str(root), **{"image_size": 16, "num_workers": 0, **arguments})


def sizes(data: ImageFolder) -> list[int]:
    return [len(split) for split in (data.splits.train, data.splits.val, data.splits.test)]


def batches(loader) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(inputs.clone(), targets) for inputs, targets in loader]


def test_what_models_follow_is_known_before_a_picture_is_read(tmp_path):
    data = folder(plant(tmp_path), channels=1)
    assert data._splits is None
    assert (data.num_classes, data.in_shape, data.image_size) == (3, (1, 16, 16), 16)
    assert data.class_names == CLASSES


def test_a_plain_tree_is_split_in_proportion_by_class(tmp_path):
    data = folder(plant(tmp_path))
    assert sizes(data) == [21, 3, 6]
    splits = data.splits
    assert [torch.bincount(s.targets).tolist() for s in (splits.train, splits.val)] == [
        [7, 7, 7],
        [1, 1, 1],
    ]
    assert folder(tmp_path).digest == data.digest
    assert folder(tmp_path, split_seed=1).digest != data.digest
    assert sizes(folder(tmp_path, val_share=0.0, test_share=0.5)) == [15, 0, 15]
    together = torch.cat([s.inputs for s in (splits.train, splits.val, splits.test)])
    assert len(together.flatten(1).unique(dim=0)) == 30  # nothing twice


def test_train_and_val_folders_are_the_splits(tmp_path):
    plant(tmp_path / "train", 5)
    assert sizes(folder(tmp_path, val_share=0.2)) == [9, 3, 3]
    plant(tmp_path / "test", 4)
    assert sizes(folder(tmp_path, val_share=0.2)) == [12, 3, 12]
    plant(tmp_path / "val", 2)
    assert sizes(folder(tmp_path)) == [15, 6, 12]


def test_without_a_test_folder_validation_pictures_are_the_test(tmp_path):
    plant(tmp_path / "train", 5)
    plant(tmp_path / "val", 2)
    data = folder(tmp_path)
    assert sizes(data) == [15, 6, 6]
    assert data.splits.test is data.splits.val


@pytest.mark.parametrize("memory_limit", [1.0, 0.0])
def test_pictures_are_centre_squares_normalised(tmp_path, memory_limit):
    data = folder(plant(tmp_path, size=(40, 20)), memory_limit=memory_limit, test_share=0.5)
    assert isinstance(data.splits.test, FileSamples) == (memory_limit == 0)
    (inputs, targets), *rest = batches(data.test_dataloader())
    assert rest == []
    assert targets.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    files = [folder(tmp_path, memory_limit=0, test_share=0.5).splits.test.paths[i] for i in (0, 9)]
    for number, path in zip((0, 9), files, strict=True):
        with Image.open(path) as picture:
            picture = picture.resize((32, 16), Image.Resampling.BILINEAR).crop((8, 0, 24, 16))
        expected = (np.asarray(picture) / 255 - MEAN) / STD  # (16, 16, 3)
        np.testing.assert_allclose(inputs[number], expected.transpose(2, 0, 1), atol=1e-5)


def test_workers_memory_and_disk_give_the_same_batches(tmp_path):
    plant(tmp_path)
    common = {"batch_size": 4, "augmentation": [{"crop": 2}, "flip", {"mixup": 0.2}]}
    reference = batches(folder(tmp_path, **common).train_dataloader())
    assert len(reference) == 6
    for arguments in ({"memory_limit": 0.0}, {"memory_limit": 0.0, "num_workers": 2}):
        loader = folder(tmp_path, **common, **arguments).train_dataloader()
        for (inputs, targets), (expected, classes) in zip(batches(loader), reference, strict=True):
            assert torch.equal(inputs, expected)
            assert torch.equal(targets, classes)


def test_random_crops_are_a_function_of_seed_epoch_and_picture(tmp_path):
    plant(tmp_path)

    def epoch(number: int, **arguments) -> torch.Tensor:
        """The inputs of an epoch, by the number of the picture."""
        data = folder(tmp_path, batch_size=5, random_resized_crop=True, **arguments)
        loader = data.train_dataloader()
        loader.batch_sampler.set_epoch(number)
        inputs = torch.cat([inputs for inputs, _ in batches(loader)])
        return inputs[loader.batch_sampler.indices().argsort()]

    first = epoch(0)
    assert torch.equal(first, epoch(0))
    assert torch.equal(first, epoch(0, num_workers=2))
    same = (first == epoch(1)).flatten(1).all(dim=1)
    assert same.sum() == 0
    whole = folder(tmp_path, batch_size=5).splits.train.inputs
    assert len(whole) == len(first)


def test_a_stream_that_is_resumed_goes_on_where_it_stopped(tmp_path):
    plant(tmp_path)

    def loader():
        data = folder(tmp_path, batch_size=4, memory_limit=0.0, augmentation="noise")
        return data.train_dataloader()

    whole = batches(loader())
    interrupted = loader()
    iterator = iter(interrupted)
    for _ in range(2):
        next(iterator)
    state = interrupted.state_dict()
    iterator.close()
    resumed = loader()
    resumed.load_state_dict(state)
    rest = batches(resumed)
    assert len(rest) == len(whole) - 2
    for (inputs, _), (expected, _) in zip(rest, whole[2:], strict=True):
        assert torch.equal(inputs, expected)


def test_random_squares_keep_to_the_area_and_the_ratio():
    # A picture whose pixels are their own places, so that a cut can be measured.
    across, down = np.meshgrid(np.arange(200), np.arange(160))
    picture = Image.fromarray(np.stack([across, down, 0 * down], axis=2).astype(np.uint8))
    rng = np.random.default_rng(0)
    shares, ratios = [], []
    for _ in range(300):
        cut = pixels(random_square(picture, 64, rng)).astype(float)
        width = (cut[0, 0, -1] - cut[0, 0, 0] + 1) * 64 / 63
        height = (cut[1, -1, 0] - cut[1, 0, 0] + 1) * 64 / 63
        shares.append(width * height / (200 * 160))
        ratios.append(width / height)
    assert 0.07 < min(shares) < 0.12
    assert 0.85 < max(shares) < 1.04
    assert 0.70 < min(ratios) < 0.80
    assert 1.25 < max(ratios) < 1.45
    narrow = Image.new("RGB", (1000, 2))
    assert random_square(narrow, 8, rng).size == (8, 8)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_palette_and_transparent_pictures_are_converted(tmp_path, channels):
    colour = Image.new("RGB", (8, 8), (200, 100, 50))
    clear = Image.new("RGBA", (8, 8), (200, 100, 50, 128))
    made = {
        "colour": (colour, (200, 100, 50)),
        "grey": (Image.new("L", (8, 8), 90), (90, 90, 90)),
        "palette": (colour.convert("P", palette=Image.Palette.ADAPTIVE), (200, 100, 50)),
        "half clear": (clear, (100, 50, 25)),
        "deep": (Image.fromarray(np.full((8, 8), 90 * 256 + 7, np.uint16)), (90, 90, 90)),
        "black and white": (Image.new("1", (8, 8), 1), (255, 255, 255)),
    }
    for name, (picture, expected) in made.items():
        picture.save(tmp_path / f"{name}.png")
        array = pixels(decode(tmp_path / f"{name}.png", channels))
        assert array.shape == (channels, 8, 8), name
        if channels == 1:
            expected = [np.dot(expected, (0.299, 0.587, 0.114))]
        assert np.abs(array[:, 4, 4] - np.array(expected)).max() < 1.5, name


def test_a_jpeg_that_is_read_smaller_looks_the_same(tmp_path):
    ramp = np.linspace(0, 255, 640 * 480).reshape(480, 640).astype(np.uint8)
    Image.fromarray(np.stack([ramp] * 3, axis=2)).save(tmp_path / "large.jpg", quality=95)
    small = decode(tmp_path / "large.jpg", 3, at_least=100)
    assert small.size == (160, 120)
    whole = centre_square(decode(tmp_path / "large.jpg", 3), 32)
    difference = pixels(centre_square(small, 32)).astype(int) - pixels(whole)
    assert np.abs(difference).max() <= 3


def damage(root: Path, name: str, how: str) -> Path:
    path = root / name
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes(b ^ 255 for b in content[middle : middle + 40])
    changed = {
        "cut off": content[:middle],
        "empty": b"",
        "text": b"no picture at all",
        "other bytes": flipped + content[middle + 40 :],
    }
    path.write_bytes(changed[how])
    return path


@pytest.mark.parametrize("memory_limit", [1.0, 0.0])
@pytest.mark.parametrize("how", ["cut off", "empty", "text", "other bytes"])
def test_a_damaged_picture_is_named_and_left_out(tmp_path, how, memory_limit):
    path = damage(plant(tmp_path), "dog/004.png", how)
    data = folder(tmp_path, memory_limit=memory_limit)
    with pytest.warns(UserWarning, match=rf"1 of 30 pictures .* are damaged .* `{path}`"):
        data.setup()
    assert sum(sizes(data)) == 29
    assert len(batches(data.train_dataloader())) == 1


def test_a_truncated_jpeg_is_told_though_it_is_read_at_a_fraction(tmp_path):
    plant(tmp_path, size=(400, 300), ending="jpg")
    path = damage(tmp_path, "cat/003.jpg", "cut off")
    with pytest.warns(UserWarning, match=rf"1 of 30 .* `{path}`"):
        folder(tmp_path, memory_limit=0.0).setup()


def test_many_damaged_pictures_are_counted_and_the_first_named(tmp_path):
    plant(tmp_path)
    for number in range(5):
        damage(tmp_path, f"owl/00{number}.png", "cut off")
    with pytest.warns(UserWarning, match=r"5 of 30 .*owl/000.*owl/001.*owl/002\.png` and 2 more"):
        folder(tmp_path).setup()


@pytest.mark.parametrize("memory_limit", [1.0, 0.0])
def test_a_class_without_a_whole_picture_is_an_error(tmp_path, memory_limit):
    plant(tmp_path)
    for number in range(10):
        damage(tmp_path, f"owl/00{number}.png", "cut off")
    told = r"but `owl` has none left: .*owl/00\d\.png"
    with pytest.raises(ValueError, match=told):  # before a run exists
        folder(tmp_path, memory_limit=memory_limit).prepare_data()
    with pytest.raises(ValueError, match=told):
        folder(tmp_path, memory_limit=memory_limit).setup()


def test_files_on_disk_are_checked_once_and_again_when_one_changes(tmp_path, monkeypatch):
    plant(tmp_path / "tree")
    path = damage(tmp_path / "tree", "dog/004.png", "cut off")
    with pytest.warns(UserWarning, match="1 of 30"):
        folder(tmp_path / "tree", memory_limit=0.0).setup()
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "read_whole", None)  # nothing is read again
        with pytest.warns(UserWarning, match="1 of 30"):
            folder(tmp_path / "tree", memory_limit=0.0).setup()
    path.write_bytes((tmp_path / "tree" / "dog" / "005.png").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = folder(tmp_path / "tree", memory_limit=0.0)
        assert sum(sizes(data)) == 30


def test_reading_on_many_threads_leaves_the_warnings_of_the_process_alone(tmp_path):
    before = list(warnings.filters)
    folder(plant(tmp_path, 40)).setup()
    assert warnings.filters == before


def test_a_picture_that_breaks_while_a_run_goes_on_is_named(tmp_path):
    plant(tmp_path)
    data = folder(tmp_path, memory_limit=0.0)
    data.setup()
    path = Path(data.splits.train.paths[0])
    damage(tmp_path, str(path.relative_to(tmp_path)), "cut off")
    with pytest.raises(ValueError, match=f"`{path}` must be a whole picture"):
        batches(data.train_dataloader())


def test_an_empty_class_folder_is_an_error_that_names_it(tmp_path):
    plant(tmp_path)
    (tmp_path / "yak").mkdir()
    (tmp_path / "yak" / "notes.txt").write_text("none yet")
    data = folder(tmp_path)
    for ask in (data.prepare_data, data.setup):
        with pytest.raises(ValueError, match=rf"but `{tmp_path}/yak` is empty"):
            ask()


def test_files_that_are_no_pictures_are_left_alone(tmp_path):
    plant(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("hello")
    (tmp_path / "cat" / ".hidden.png").write_text("hello")
    assert sum(sizes(folder(tmp_path))) == 30


def test_a_split_with_other_classes_is_refused(tmp_path):
    plant(tmp_path / "train", 4)
    plant(tmp_path / "val", 4, classes=("cat", "dog", "yak"))
    with pytest.raises(ValueError, match=r"must have the classes .* but differs in `owl`, `yak`"):
        folder(tmp_path).setup()


WRONG = {
    "no folder": ({"data_dir": ""}, "`data_dir` must be a folder"),
    "nothing there": ({"data_dir": "/no/such/tree"}, "`/no/such/tree` cannot be read"),
    "no size": ({"image_size": 0}, "`image_size` must be a whole number of at least 1"),
    "two channels": ({"channels": 2}, "`channels` must be 1 or 3, but is 2"),
    "nothing left": ({"val_share": 0.8}, "`val_share` must be at least 0 and, with `test_share`"),
    "negative memory": ({"memory_limit": -1.0}, "`memory_limit` must be a number of gigabytes"),
    "negative workers": ({"num_workers": -1}, "`num_workers` must be a whole number"),
    "unknown policy": ({"augmentation": "mosaic"}, "known policies"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_before_a_picture_is_read(tmp_path, case):
    arguments, message = WRONG[case]
    plant(tmp_path, 2)
    with pytest.raises(ValueError, match=message):
        ImageFolder(**{"data_dir": str(tmp_path), **arguments})


def test_one_class_folder_is_too_few(tmp_path):
    plant(tmp_path, 2, classes=("cat",))
    with pytest.raises(ValueError, match=rf"but `{tmp_path}` has 1 of them"):
        folder(tmp_path)
