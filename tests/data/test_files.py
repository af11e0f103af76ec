"""Files of data sets: the search, the download, and each way in which a file can be wrong."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import threading
from importlib.metadata import entry_points

import numpy as np
import pytest
from paceline.lightning_modules.data.files import DataFile, FileSource
from paceline.lightning_modules.data.idx import parse_idx
from paceline.lightning_modules.data.sources import DIGITS, MNIST, ShippedSource

CONTENT = {
    "pictures": b"\0\0\x08\x03\0\0\0\x02\0\0\0\x03\0\0\0\x02" + bytes(range(12)),
    "classes": b"\0\0\x08\x01\0\0\0\x02\x07\x03",
}


def made_source(url="http://127.0.0.1:9", **places) -> FileSource:
    files = tuple(
        DataFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in CONTENT.items()
    )
    return FileSource("tiny", "made for these tests", files, url, **places)


def put(folder, *, packed=False, names=tuple(CONTENT)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        content = CONTENT[name]
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of our own; nothing of the user's is looked at."""
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PACELINE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "home"


@pytest.fixture
def served(tmp_path):
    """A folder that an HTTP server on this machine offers, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_search_takes_the_first_folder_in_the_documented_order(tmp_path, monkeypatch, home):
    monkeypatch.setenv("PACELINE_DATA", str(tmp_path / "data"))
    source = made_source(places=(str(tmp_path / "system"),))
    expected = []
    for folder in (home / "data" / "tiny", tmp_path / "system", tmp_path / "data" / "tiny"):
        put(folder)
        expected.append(folder)
        assert source.find() == folder
    put(tmp_path / "given")
    assert source.find(str(tmp_path / "given")) == tmp_path / "given"
    assert source.find() == expected[-1]


def test_a_given_folder_is_the_only_one_searched(tmp_path, home):
    put(home / "data" / "tiny")
    (tmp_path / "given").mkdir()
    assert made_source().find(str(tmp_path / "given")) is None
    with pytest.raises(FileNotFoundError, match="given") as error:
        made_source().get(str(tmp_path / "given"))
    assert str(home) not in str(error.value)


@pytest.mark.parametrize(
    "layout",
    ["mnist", "MNIST/raw", "mnist/MNIST/raw", "mnist/package/data", "package/data"],
)
def test_the_layouts_of_other_tools_are_searched(tmp_path, monkeypatch, layout):
    monkeypatch.setenv("PACELINE_DATA", str(tmp_path))
    folder = tmp_path / layout
    folder.mkdir(parents=True)
    for file in MNIST.files:
        (folder / f"{file.name}.gz").touch()
    assert MNIST.find() == folder


def test_a_folder_that_lacks_a_file_is_passed_over(tmp_path, monkeypatch, home):
    monkeypatch.setenv("PACELINE_DATA", str(tmp_path / "data"))
    put(tmp_path / "data" / "tiny", names=["pictures"])
    put(home / "data" / "tiny")
    assert made_source().find() == home / "data" / "tiny"


@pytest.mark.parametrize("packed", [False, True])
def test_packed_and_unpacked_files_read_alike(tmp_path, packed):
    folder = put(tmp_path / "given", packed=packed)
    assert made_source().read(folder) == CONTENT
    assert made_source().verify(str(folder)) == folder


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_any_flipped_bit_is_found(tmp_path):
    folder = put(tmp_path / "given")
    for bit in range(8 * len(CONTENT["pictures"])):
        (folder / "pictures").write_bytes(flipped(CONTENT["pictures"], bit))
        with pytest.raises(ValueError, match=r"pictures` must have the SHA-256"):
            made_source().verify(str(folder))


def test_a_flipped_bit_in_a_packed_file_is_found_or_changes_nothing(tmp_path):
    folder = put(tmp_path / "given", packed=True)
    whole, found = (folder / "pictures.gz").read_bytes(), 0
    for bit in range(8 * len(whole)):
        (folder / "pictures.gz").write_bytes(flipped(whole, bit))
        try:
            assert made_source().read(folder) == CONTENT
        except ValueError as error:
            assert "pictures.gz` must" in str(error)  # noqa: PT017 (not every bit matters)
            found += 1
    # The date, a hint at the packer and the like (7 of 49 bytes) mean nothing to the content.
    assert found > 0.8 * 8 * len(whole)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_off_anywhere_is_found(tmp_path, packed):
    folder = put(tmp_path / "given", packed=packed)
    path = folder / ("pictures.gz" if packed else "pictures")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"must (be a whole gzip file|hold 28 bytes)"):
            made_source().verify(str(folder))


WRONG_CONTENT = {
    "empty": (b"", "hold 28 bytes, but is 0"),
    "one byte more": (CONTENT["pictures"] + b"\0", "hold 28 bytes, but is more"),
    "huge": (bytes(10_000_000), "hold 28 bytes, but is more"),
    "text of the right length": (b"<html>Not found, sorry</html>"[:28], "have the SHA-256"),
}


@pytest.mark.parametrize("case", WRONG_CONTENT)
@pytest.mark.parametrize("packed", [False, True])
def test_another_file_under_the_name_is_refused(tmp_path, case, packed):
    content, message = WRONG_CONTENT[case]
    folder = put(tmp_path / "given", packed=packed)
    path = folder / ("pictures.gz" if packed else "pictures")
    path.write_bytes(gzip.compress(content) if packed else content)
    expected = message.replace(" bytes", " bytes unpacked") if packed else message
    with pytest.raises(ValueError, match=expected) as error:
        made_source().verify(str(folder))
    assert str(path) in str(error.value)
    assert "delete this file" in error.value.__notes__[0]


def test_a_wrong_digest_is_told_beside_the_right_one(tmp_path):
    folder = put(tmp_path / "given")
    damaged = CONTENT["classes"][:-1] + b"\x04"
    (folder / "classes").write_bytes(damaged)
    with pytest.raises(ValueError, match="SHA-256") as error:
        made_source().verify(str(folder))
    for content in (CONTENT["classes"], damaged):
        assert hashlib.sha256(content).hexdigest() in str(error.value)


def test_what_is_no_gzip_file_is_refused(tmp_path):
    folder = put(tmp_path / "given", packed=True)
    (folder / "classes.gz").write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(ValueError, match="must be a whole gzip file, but is damaged"):
        made_source().verify(str(folder))


def test_missing_files_are_fetched_checked_and_kept(served, home):
    folder, url = served
    put(folder, packed=True)
    source = made_source(url)
    assert source.get() == home / "data" / "tiny"
    assert source.verify() == home / "data" / "tiny"
    assert sorted(path.name for path in source.get().iterdir()) == ["classes.gz", "pictures.gz"]


def test_a_second_get_asks_nobody(served, home):
    folder, url = served
    put(folder, packed=True)
    made_source(url).get()
    assert made_source("http://127.0.0.1:9").get() == home / "data" / "tiny"


@pytest.mark.parametrize(
    "served_content", [b"<html>moved</html>", gzip.compress(b"another", mtime=0)]
)
def test_a_wrong_download_is_never_kept(served, home, served_content):
    folder, url = served
    put(folder, packed=True)
    (folder / "classes.gz").write_bytes(served_content)
    with pytest.raises(FileNotFoundError, match="tiny"):
        made_source(url).get()
    assert [path.name for path in (home / "data" / "tiny").iterdir()] == ["pictures.gz"]


def test_a_file_absent_at_the_source_is_one_clear_error(served):
    _, url = served
    with pytest.raises(FileNotFoundError, match="404"):
        made_source(url).get()


def test_without_a_network_the_error_names_the_commands_that_help(tmp_path, home):
    source = made_source(remedies=("`apt-get install tiny`",))
    with pytest.raises(FileNotFoundError, match="`tiny`") as error:
        source.get()
    assert str(home / "data" / "tiny") in str(error.value)
    assert "`paceline data get tiny`" in error.value.__notes__[0]
    assert "`apt-get install tiny`" in error.value.__notes__[0]
    assert not home.exists()  # nothing half made


def test_an_entry_tells_where_a_set_is_and_whether_it_is_sound(tmp_path, home):
    source = made_source()
    assert source.entry() == {
        "name": "tiny",
        "where": "",
        "bytes": 38,
        "state": "missing",
        "origin": "made for these tests",
    }
    folder = put(home / "data" / "tiny")
    assert (source.entry()["where"], source.entry()["state"]) == (str(folder), "found")
    assert source.entry(check=True)["state"] == "verified"
    (folder / "classes").write_bytes(b"damaged!!!")
    assert source.entry()["state"] == "found"
    assert "SHA-256" in str(source.entry(check=True)["state"])


def test_sets_in_packages_are_found_where_the_package_is():
    assert DIGITS.entry(check=True)["state"] == "verified"
    assert str(DIGITS.get()).endswith("sklearn")
    absent = ShippedSource("ghost", "nobody", "no_such_package_here")
    assert absent.entry()["state"] == "missing"
    with pytest.raises(FileNotFoundError, match="no_such_package_here"):
        absent.get()


def test_idx_content_becomes_an_array_with_the_sides_of_its_header():
    pictures = parse_idx(CONTENT["pictures"], "pictures")
    assert pictures.shape == (2, 3, 2)
    assert np.array_equal(pictures, np.arange(12, dtype=np.uint8).reshape(2, 3, 2))
    assert parse_idx(CONTENT["classes"], "classes").tolist() == [7, 3]


WRONG_IDX = {
    "empty": (b"", "begin with two zero bytes"),
    "three bytes": (b"\0\0\x08", "begin with two zero bytes"),
    "wrong magic": (b"\0\x01\x08\x01\0\0\0\x02\x07\x03", "begin with two zero bytes"),
    "png": (b"\x89PNG\r\n\x1a\n", "begin with two zero bytes"),
    "floats": (b"\0\0\x0d\x01\0\0\0\x01" + bytes(4), "unsigned bytes .type 08., but is of type 0d"),
    "no sides": (b"\0\0\x08\0", "whole header"),
    "header cut off": (b"\0\0\x08\x03\0\0\0\x02\0\0", "whole header"),
    "short of its sides": (CONTENT["pictures"][:-1], "hold 2 x 3 x 2 bytes .* but is 11 long"),
    "longer than its sides": (CONTENT["pictures"] + b"\0", "but is 13 long"),
    "huge sides": (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", "but is 3 long"),
}


@pytest.mark.parametrize("case", WRONG_IDX)
def test_content_that_is_no_idx_array_of_bytes_is_refused(case):
    content, message = WRONG_IDX[case]
    with pytest.raises(ValueError, match=message) as error:
        parse_idx(content, "some-file")
    assert "`some-file` must" in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["points", "ring", "adding", "reverse", "recurring-symbols", "nested-expressions", "hello"],
)
def test_sets_that_need_no_file_are_listed_and_ship(name):
    (point,) = entry_points(group="paceline.datasets", name=name)
    source = point.load()
    assert source.name == name
    assert (source.size, source.entry()["state"]) == (0, "found")
    (module,) = entry_points(group="paceline.data", name=name)
    assert module.load().name == name
