"""CIFAR-10 in both of its forms: what it holds, and every file that is refused."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from paceline.lightning_modules.data import cifar10
from paceline.lightning_modules.data.cifar10 import CIFAR10
from paceline.lightning_modules.data.cifar10_batches import parse_batch
from paceline.lightning_modules.data.cifar10_files import CIFAR10 as SOURCE
from paceline.lightning_modules.data.cifar10_files import Cifar10Source
from paceline.lightning_modules.data.cifar10_parquet import read_parquet
from PIL import Image

PICTURES = np.random.default_rng(0).integers(0, 256, (14, 3, 32, 32), dtype=np.uint8)
CLASSES = [3, 8, 8, 0, 6, 6, 1, 6, 3, 1, 0, 9, 5, 7]
TINY = Cifar10Source(counts=(10, 4))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home without data, and nothing kept from another test."""
    cifar10._read.cache_clear()
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Tiny(CIFAR10):
    """Ten pictures to train on and four for the test."""

    source = TINY


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path: Path, encoded: list, labels: list, picture="img") -> Path:
    rows = [{"bytes": content, "path": None} for content in encoded]
    pyarrow.parquet.write_table(pyarrow.table({picture: rows, "label": labels}), path)
    return path


def put_parquet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    encoded = [png(picture) for picture in PICTURES]
    write_parquet(folder / "train-00000-of-00002.parquet", encoded[:6], CLASSES[:6])
    write_parquet(folder / "train-00001-of-00002.parquet", encoded[6:10], CLASSES[6:10])
    write_parquet(folder / "test-00000-of-00001.parquet", encoded[10:], CLASSES[10:])
    return folder


def official_pickle(pictures: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 wrote it: protocol 2, all strings as bytes."""
    data = pictures.reshape(len(pictures), -1).tobytes()
    parts = [
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt",
        b"R(K\x01K" + bytes([len(pictures)]) + b"M\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR",
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        b"T" + len(data).to_bytes(4, "little") + data + b"tb",
        b"U\x06labels](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
        b"U\x0bbatch_labelU\x05batchu.",
    ]
    return b"".join(parts)


def put_batches(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(5):
        rows = slice(2 * number, 2 * number + 2)
        content = official_pickle(PICTURES[rows], CLASSES[rows])
        (folder / f"data_batch_{number + 1}").write_bytes(content)
    (folder / "test_batch").write_bytes(official_pickle(PICTURES[10:], CLASSES[10:]))
    return folder


@pytest.mark.real_data
def test_the_set_has_as_many_pictures_of_each_class_as_published():
    if SOURCE.find() is None:
        pytest.skip("the files of cifar10 are not here: `paceline data get cifar10`")
    data = CIFAR10()
    data.prepare_data()
    sizes = [len(split) for split in (data.splits.train, data.splits.val, data.splits.test)]
    assert sizes == [45_000, 5_000, 10_000]
    assert torch.bincount(data.splits.test.targets).tolist() == [1000] * 10
    whole = CIFAR10(val_size=0)
    assert torch.bincount(whole.splits.train.targets).tolist() == [5000] * 10
    assert torch.equal(whole.splits.train.inputs[45_000:], data.splits.val.inputs)
    pixels = whole.splits.train.inputs.float() / 255
    # The published figures; a copy in JPEG is smoothed, which takes up to 1 % of the deviation.
    mean, std = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor(CIFAR10.pixel_mean), atol=5e-4, rtol=0)
    torch.testing.assert_close(std, torch.tensor(CIFAR10.pixel_std), atol=0, rtol=0.01)


@pytest.mark.parametrize("put", [put_parquet, put_batches])
def test_both_forms_hold_the_same_pictures_and_classes(tmp_path, put, monkeypatch):
    monkeypatch.delenv("PACELINE_DATA", raising=False)
    folder = put(tmp_path / "files")
    data = Tiny(val_size=3, data_dir=str(folder))
    data.prepare_data()
    splits = data.splits
    together = torch.cat([part.inputs for part in (splits.train, splits.val, splits.test)])
    assert np.array_equal(together.numpy(), PICTURES)
    targets = torch.cat([part.targets for part in (splits.train, splits.val, splits.test)])
    assert targets.tolist() == CLASSES
    assert [len(splits.train), len(splits.val), len(splits.test)] == [7, 3, 4]
    inputs, _ = next(iter(data.test_dataloader()))
    scale = [torch.tensor(v).view(3, 1, 1) for v in (CIFAR10.pixel_mean, CIFAR10.pixel_std)]
    expected = (torch.from_numpy(PICTURES[10:]) / 255 - scale[0]) / scale[1]
    torch.testing.assert_close(inputs, expected, atol=1e-5, rtol=0)
    assert TINY.verify(str(folder)) == folder
    assert TINY.entry()["state"] == "missing"


def test_the_files_are_found_where_other_tools_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_DATA", str(tmp_path))
    assert TINY.find() is None
    batches = put_batches(tmp_path / "cifar-10-batches-py")
    assert TINY.find() == batches
    assert TINY.find(str(tmp_path)) == batches
    parquet = put_parquet(tmp_path / "cifar10" / "plain_text")
    assert TINY.find() == parquet
    assert TINY.find(str(tmp_path / "cifar10")) == parquet
    assert TINY.size == sum(path.stat().st_size for path in parquet.iterdir())


def test_decoded_pictures_are_kept_by_the_content_of_the_files(tmp_path, home, monkeypatch):
    folder = put_parquet(tmp_path / "files")
    first = Tiny(val_size=3, data_dir=str(folder)).digest
    (cache,) = (home / "data" / "cifar10").iterdir()
    cifar10._read.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(Cifar10Source, "read", None)  # the cache is all there is
        assert Tiny(val_size=3, data_dir=str(folder)).digest == first
    cache.write_bytes(cache.read_bytes()[:-100])
    cifar10._read.cache_clear()
    assert Tiny(val_size=3, data_dir=str(folder)).digest == first
    encoded = [png(255 - picture) for picture in PICTURES]
    write_parquet(folder / "test-00000-of-00001.parquet", encoded[10:], CLASSES[10:])
    cifar10._read.cache_clear()
    changed = Tiny(val_size=3, data_dir=str(folder)).splits.test.inputs
    assert np.array_equal(changed.numpy(), 255 - PICTURES[10:])


class Hostile:
    """Leaves a mark when it is unpickled without care."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path, protocol):
    mark = tmp_path / "mark"
    content = pickle.dumps({b"data": Hostile(mark), b"labels": [1]}, protocol)
    with pytest.raises(ValueError, match=r"a batch of CIFAR-10 and no other pickle, but holds a"):
        parse_batch(content, "data_batch_1")
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()  # so the pickle was armed


def numpy_pickle(array: np.ndarray, labels: list) -> bytes:
    return pickle.dumps({"data": array, "labels": labels}, protocol=4)


GOOD = official_pickle(PICTURES[:2], CLASSES[:2])
NO_BATCHES = {
    "other calls": (pickle.dumps({"data": np.float64(1), "labels": []}), "a call of numpy"),
    "objects": (numpy_pickle(np.array([None, {}]), []), "holds an array of the type"),
    "floats": (numpy_pickle(np.zeros((1, 3072)), [1]), "holds an array of the type"),
    "too small": (numpy_pickle(np.zeros((1, 3071), np.uint8), [1]), r"array of \(1, 3071\)"),
    "too few": (numpy_pickle(np.zeros((1, 3072), np.uint8), [1, 2]), r"for 2 labels"),
    "no class": (numpy_pickle(np.zeros((1, 3072), np.uint8), [10]), "no classes from 0 to 9"),
    "names": (numpy_pickle(np.zeros((1, 3072), np.uint8), ["cat"]), "no classes from 0 to 9"),
    "a list": (pickle.dumps([1, 2]), "holds a list"),
    "no pictures": (pickle.dumps({"labels": [1]}), "holds no `data` and `labels`"),
    "cut off": (GOOD[:-500], "is damaged|holds"),
    "text": (b"hello", "is damaged|holds"),
    "empty": (b"", "is damaged"),
    "a class as array": (b"\x80\x02}(U\x04datacnumpy\nndarray\nU\x06labels]u.", "holds no `data`"),
    "a false state": (b"\x80\x02cnumpy\nndarray\n)\x81}b.", "is damaged"),
}


@pytest.mark.parametrize("case", NO_BATCHES)
def test_what_is_no_batch_is_refused(case):
    content, told = NO_BATCHES[case]
    with pytest.raises(ValueError, match=told) as error:
        parse_batch(content, "data_batch_1")
    assert str(error.value).startswith("`data_batch_1` must be a batch of CIFAR-10")


def test_a_batch_that_python_3_wrote_is_read_too():
    content = numpy_pickle(PICTURES[:2].reshape(2, -1), CLASSES[:2])
    with pytest.raises(ValueError, match="a call of _codecs"):
        parse_batch(pickle.dumps({"data": PICTURES[:2].reshape(2, -1)}, protocol=2), "old")
    pictures, classes = parse_batch(content, "new")
    assert np.array_equal(pictures, PICTURES[:2])
    assert classes.tolist() == CLASSES[:2]


def test_a_damaged_parquet_file_is_one_message(tmp_path):
    encoded = [png(picture) for picture in PICTURES[:3]]
    path = tmp_path / "train-0.parquet"
    grey = io.BytesIO()
    Image.new("L", (31, 32)).save(grey, "PNG")
    cases = {
        "row 1: a picture must be a whole picture": ([encoded[0], encoded[1][:60]], [0, 1]),
        "has 31 x 32 pixels in row 2": ([*encoded[:2], grey.getvalue()], [0, 1, 2]),
        "labels that are no classes": (encoded, [0, 1, 10]),
        "rows without the bytes": ([encoded[0], None], [0, 1]),
    }
    for told, (content, labels) in cases.items():
        with pytest.raises(ValueError, match=told):
            read_parquet(write_parquet(path, content, labels))
    with pytest.raises(ValueError, match="has the columns image, label"):
        read_parquet(write_parquet(path, encoded, [0, 1, 2], picture="image"))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"is no whole parquet file") as error:
        read_parquet(path)
    assert "paceline data get cifar10" in error.value.__notes__[0]


def test_a_split_that_is_not_complete_is_refused(tmp_path):
    folder = put_parquet(tmp_path / "files")
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(ValueError, match=r"must hold 10 pictures for the train split, but is of 6"):
        Tiny(val_size=0, data_dir=str(folder)).setup()


@pytest.fixture
def archive(tmp_path):
    """A server of the official archive, made small, with a file in it that must not be written."""
    folder = put_batches(tmp_path / "official" / "cifar-10-batches-py")
    path = tmp_path / "official" / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname="cifar-10-batches-py")
        tar.add(folder / "test_batch", arcname="../escaped")
    handler = functools.partial(QuietHandler, directory=str(path.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    yield f"http://127.0.0.1:{server.server_port}/{path.name}", path.stat().st_size, digest
    server.shutdown()
    server.server_close()
    thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_the_official_archive_is_fetched_checked_and_unpacked(home, archive, monkeypatch):
    monkeypatch.delenv("PACELINE_DATA", raising=False)
    url, size, digest = archive
    source = Cifar10Source(url, size, digest, counts=(10, 4))
    folder = source.get()
    assert folder == home / "data" / "cifar10" / "cifar-10-batches-py"
    assert source.verify() == folder
    assert source.get() == folder
    assert len(list(folder.iterdir())) == 6
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not list(home.rglob("escaped"))


@pytest.mark.parametrize("fault", ["digest", "size", "url"])
def test_an_archive_that_is_another_is_not_unpacked(home, archive, monkeypatch, fault):
    monkeypatch.delenv("PACELINE_DATA", raising=False)
    url, size, digest = archive
    if fault == "digest":
        digest = "0" * 64
    elif fault == "size":
        size -= 10
    else:
        url = f"{url}x"
    source = Cifar10Source(url, size, digest, counts=(10, 4))
    with pytest.raises(FileNotFoundError, match=r"`cifar10` must be in one of") as error:
        source.get()
    assert "paceline data get cifar10" in error.value.__notes__[0]
    assert list((home / "data" / "cifar10").iterdir()) == []
