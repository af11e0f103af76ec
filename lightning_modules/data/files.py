"""Files of data sets: where they are looked for, how they are fetched, how they are checked.

A file is known by the size and SHA-256 of its content; lying there packed (`.gz`) or unpacked
makes no difference, so that every copy in circulation is accepted and every damaged one is
refused.

They are looked for in this order, and the first folder that has all files of the set is taken:

1. `data_dir`, when it is given: there and nowhere else;
2. `$PACELINE_DATA`, in a folder of the set's name or in the layout of a known package;
3. the system's own places, as of Debian's package `dataset-fashion-mnist`;
4. `$PACELINE_HOME/data` (default `~/.paceline/data`), where a download goes too.

Nothing here imports torch: `paceline data` must answer at once.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import urllib.request
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

DOWNLOAD_TIMEOUT_S = 30.0  # without a byte


def data_home() -> Path:
    """`$PACELINE_HOME/data`, where downloaded and generated data is kept; may not exist yet."""
    home = Path(os.environ.get("PACELINE_HOME") or "~/.paceline")
    return home.expanduser().absolute() / "data"


def search(
    layouts: Sequence[str], places: Sequence[str], data_dir: str | None = None
) -> Iterator[Path]:
    """Folders where the files of a set may be, in the order of the module docstring.

    Args:
        layouts: Folders below a root of many data sets where this one may lie.
        places: Absolute folders where a system's package puts it.
        data_dir: The only folder to look in, as it is or with a layout.
    """
    if data_dir is not None:
        given = Path(data_dir).expanduser().absolute()
        yield from (given, *(given / layout for layout in layouts))
        return
    if root := os.environ.get("PACELINE_DATA"):
        yield from (Path(root).expanduser().absolute() / layout for layout in layouts)
    yield from map(Path, places)
    yield from (data_home() / layout for layout in layouts)


def missing(name: str, searched: Iterable[Path], cause: str, remedies: Iterable[str]) -> OSError:
    """The error for absent files: what was looked for, where, and what gets it."""
    folders = ", ".join(map(str, searched))
    error = FileNotFoundError(
        f"The files of `{name}` must be in one of the folders that are searched, "
        f"but are in none of {folders}{cause}."
    )
    here = f"`paceline data get {name}` where there is a network"
    error.add_note("; or ".join((here, *remedies)))
    return error


@dataclass(frozen=True)
class DataFile:
    """One file, known by its content.

    Args:
        name: As its authors call it, unpacked.
        size: Bytes, unpacked.
        sha256: Of the unpacked content, hexadecimal.
    """

    name: str
    size: int
    sha256: str

    def forms(self, folder: Path) -> list[Path]:
        """The paths in `folder` that hold this file, unpacked before packed."""
        paths = (folder / self.name, folder / f"{self.name}.gz")
        return [path for path in paths if path.is_file()]

    def read(self, path: Path) -> bytes:
        """The unpacked content, size and digest checked.

        Raises:
            ValueError: It is damaged, or another file under this name.
        """
        content = _read(path, self.size)
        if len(content) != self.size:
            found = f"{len(content)}" if len(content) < self.size else "more"
            raise _damaged(path, f"hold {self.size} bytes{_unpacked(path)}", found)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            rule = f"have the SHA-256 {self.sha256}{_unpacked(path)}"
            raise _damaged(path, rule, digest)
        return content


def _read(path: Path, size: int) -> bytes:
    """At most one byte more than `size`, unpacked: a hostile archive must not fill the memory."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(size + 1)
    except EOFError:
        raise _damaged(path, "be a whole gzip file", "cut off before its end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, "be a whole gzip file", f"damaged ({error})") from None
    except OSError as error:
        raise _damaged(path, "be readable", f"not ({error.strerror})") from None


def _unpacked(path: Path) -> str:
    return " unpacked" if path.suffix == ".gz" else ""


def _damaged(path: Path, rule: str, found: str) -> ValueError:
    error = ValueError(f"`{path}` must {rule}, but is {found}.")
    error.add_note("delete this file, then run `paceline data get` for its set")
    return error


class Source(ABC):
    """Where a data set comes from: what `paceline data` needs to know of one.

    A package that adds a data set adds its source to the entry-point group `paceline.datasets`.

    Attributes:
        name: The data set's name in the catalog.
        origin: Who made it and where it is published, one line.
        size: Bytes of its files, unpacked; 0 for sets that are generated.
    """

    name: str
    origin: str

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of its files, unpacked."""

    @abstractmethod
    def find(self, data_dir: str | None = None) -> Path | None:
        """The folder that holds the set, or None; nothing is read."""

    @abstractmethod
    def verify(self, data_dir: str | None = None) -> Path:
        """The folder that holds the set, after every byte has been checked.

        Raises:
            FileNotFoundError: It is nowhere.
            ValueError: It is damaged.
        """

    @abstractmethod
    def get(self, data_dir: str | None = None) -> Path:
        """The folder that holds the set, after fetching it if it must be.

        Raises:
            FileNotFoundError: It is nowhere and cannot be fetched; the note says what can be done.
            ValueError: What was fetched is not the set.
        """

    def entry(self, check: bool = False) -> dict[str, str | int]:
        """One line of `paceline data list`: `name, where, bytes, state, origin`.

        Args:
            check: Read and check everything, which takes a second for large sets.

        Returns:
            `state` is `missing`, `found` (not checked), `verified`, or the fault of a damaged set.
        """
        where = self.find()
        state = "missing" if where is None else "found"
        if where is not None and check:
            try:
                self.verify()
                state = "verified"
            except (OSError, ValueError) as error:
                state = str(error)
        return {
            "name": self.name,
            "where": "" if where is None else str(where),
            "bytes": self.size,
            "state": state,
            "origin": self.origin,
        }


@dataclass(frozen=True)
class FileSource(Source):
    """A data set of files that their authors publish.

    Args:
        name: The data set's name in the catalog.
        origin: Who made it and where it is published, one line.
        files: Its files.
        url: Folder of the official source.
        layouts: Folders below a root of many data sets where other tools put these files.
        places: Absolute folders where a system's package puts them.
        remedies: Commands that get the files without us.
        packed: Whether the files lie packed at the source.
    """

    name: str
    origin: str
    files: tuple[DataFile, ...]
    url: str
    layouts: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    packed: bool = True

    @property
    def size(self) -> int:
        """Bytes of its files, unpacked."""
        return sum(file.size for file in self.files)

    def folders(self, data_dir: str | None = None) -> Iterator[Path]:
        """Where the files may be, in the order of the search."""
        return search((self.name, *self.layouts), self.places, data_dir)

    def find(self, data_dir: str | None = None) -> Path | None:
        """The first folder of the search that has all files, packed or not."""
        for folder in self.folders(data_dir):
            if all(file.forms(folder) for file in self.files):
                return folder
        return None

    def read(self, folder: Path) -> dict[str, bytes]:
        """Each file's unpacked content by its name, checked.

        Raises:
            ValueError: A file is damaged.
        """
        return {file.name: file.read(file.forms(folder)[0]) for file in self.files}

    def verify(self, data_dir: str | None = None) -> Path:
        """See `Source.verify`."""
        folder = self.find(data_dir)
        if folder is None:
            raise self._missing(data_dir, "")
        self.read(folder)
        return folder

    def get(self, data_dir: str | None = None) -> Path:
        """See `Source.get`; a download goes to `$PACELINE_HOME/data/NAME`."""
        folder = self.find(data_dir)
        if folder is not None:
            return folder
        if data_dir is not None:
            raise self._missing(data_dir, "")
        folder = data_home() / self.name
        for file in self.files:
            if not file.forms(folder):
                self._download(file, folder)
        return folder

    def _download(self, file: DataFile, folder: Path) -> None:
        """Fetch one file: under another name first, and under its own only when it is right."""
        name = f"{file.name}.gz" if self.packed else file.name
        url = f"{self.url}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer:
                content = answer.read(file.size + 1024)  # packing makes none of them larger
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as part:
                path = Path(part) / name
                path.write_bytes(content)
                file.read(path)
                path.replace(folder / path.name)
        except (OSError, HTTPException, ValueError) as error:
            # No network, no such host, an HTTP error, a full disk, or not the file we know.
            raise self._missing(None, f" (tried {url}: {error})") from error

    def _missing(self, data_dir: str | None, cause: str) -> OSError:
        return missing(self.name, self.folders(data_dir), cause, self.remedies)
