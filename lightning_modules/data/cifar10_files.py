"""The files of CIFAR-10 in the two forms that are in circulation.

- the parquet files of the Hugging Face hub, `train-*.parquet` and `test-*.parquet`: an encoded
  picture (PNG; some copies have JPEG, a quarter of the size and slightly changed) and its class in
  each row. They circulate in many encodings, so no digest is known: every row is decoded instead.
- the official batches (Krizhevsky 2009), six pickled files: see `cifar10_batches.py`.

Nothing here imports torch: `paceline data` must answer at once.

Letters: N pictures.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np

from .files import DOWNLOAD_TIMEOUT_S, Source, data_home, missing, search

SPLITS = ("train", "test")
BATCHES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}
LAYOUTS = ("cifar10", "cifar10/plain_text", "cifar10/data", "cifar10/cifar-10-batches-py")
CHUNK = 1 << 20
Split = tuple[np.ndarray, np.ndarray]  # pictures (N, 3, 32, 32) uint8, classes (N,) int64


@dataclass(frozen=True)
class Cifar10Source(Source):
    """Where CIFAR-10 comes from.

    Args:
        url: The official archive.
        archive_size: Its bytes.
        sha256: Of the archive, hexadecimal.
        counts: Pictures of the training and of the test split.
    """

    url: str = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    archive_size: int = 170_498_071
    sha256: str = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    counts: tuple[int, int] = (50_000, 10_000)
    name = "cifar10"
    origin = "Krizhevsky (2009), 60,000 colour pictures of 32 x 32, cs.toronto.edu/~kriz/cifar.html"

    @property
    def size(self) -> int:
        """Bytes of the files found, or of the archive."""
        folder = self.find()
        if folder is None:
            return self.archive_size
        return sum(path.stat().st_size for split in SPLITS for path in files_of(folder, split))

    def folders(self, data_dir: str | None = None) -> Iterator[Path]:
        """Where the files may be, in the order of the search."""
        # A folder that is given may be the set's own, so its sub-folders count as well.
        inner = tuple(layout.partition("/")[2] for layout in LAYOUTS[1:]) if data_dir else ()
        return search((*LAYOUTS, "cifar-10-batches-py", *inner), (), data_dir)

    def find(self, data_dir: str | None = None) -> Path | None:
        """The first folder of the search that has both splits, in one form or the other."""
        for folder in self.folders(data_dir):
            if all(files_of(folder, split) for split in SPLITS):
                return folder
        return None

    def read(self, folder: Path) -> dict[str, np.ndarray]:
        """All pictures, `train_x` and `test_x`, and classes, `train_y` and `test_y`.

        Raises:
            ValueError: A file is damaged, or a split is not complete.
        """
        arrays: dict[str, np.ndarray] = {}
        for split, count in zip(SPLITS, self.counts, strict=True):
            parts = [_read(path) for path in files_of(folder, split)]
            pictures, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
            if len(classes) != count:
                raise ValueError(
                    f"`{folder}` must hold {count:,} pictures for the {split} split, but is "
                    f"of {len(classes):,}."
                )
            arrays |= {f"{split}_x": pictures, f"{split}_y": classes}
        return arrays

    def digest(self, folder: Path) -> str:
        """SHA-256 over the contents of all files, as they lie there; 0.1 s."""
        total = hashlib.sha256()
        for path in (path for split in SPLITS for path in files_of(folder, split)):
            with path.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()

    def verify(self, data_dir: str | None = None) -> Path:
        """See `Source.verify`; decoding takes some seconds."""
        folder = self.find(data_dir)
        if folder is None:
            raise self._missing(data_dir, "")
        self.read(folder)
        return folder

    def get(self, data_dir: str | None = None) -> Path:
        """See `Source.get`; the official archive is unpacked into `$PACELINE_HOME/data/cifar10`."""
        folder = self.find(data_dir)
        if folder is not None:
            return folder
        if data_dir is not None:
            raise self._missing(data_dir, "")
        target = data_home() / self.name
        try:
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as part:
                return self._unpack(self._download(Path(part)), target)
        except (OSError, HTTPException, tarfile.TarError, ValueError, EOFError) as error:
            # No network, no such host, an HTTP error, a full disk, or not the archive we know.
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            raise self._missing(None, f" (tried {self.url}: {error})") from error

    def _download(self, folder: Path) -> Path:
        """Fetch the archive.

        Raises:
            ValueError: Its digest is another.
        """
        archive, total = folder / "archive.tar.gz", hashlib.sha256()
        with (
            urllib.request.urlopen(self.url, timeout=DOWNLOAD_TIMEOUT_S) as answer,
            archive.open("wb") as stream,
        ):
            left = self.archive_size + 1
            while left > 0 and (chunk := answer.read(min(CHUNK, left))):
                stream.write(chunk)
                total.update(chunk)
                left -= len(chunk)
        if total.hexdigest() != self.sha256:
            rule = f"have the SHA-256 {self.sha256}"
            raise ValueError(f"the archive must {rule}, but is {total.hexdigest()}")
        return archive

    def _unpack(self, archive: Path, target: Path) -> Path:
        """Take the six batches out of the archive, and nothing else; under their names at last."""
        part = archive.parent / "cifar-10-batches-py"
        part.mkdir()
        with tarfile.open(archive) as tar:
            for name in (name for split in SPLITS for name in BATCHES[split]):
                member = tar.extractfile(f"{part.name}/{name}")
                if member is None:
                    raise ValueError(f"the archive must hold files, but is without {name}")
                with member:
                    (part / name).write_bytes(member.read())
        return part.replace(target / part.name)

    def _missing(self, data_dir: str | None, cause: str) -> OSError:
        remedies = ("put the parquet files or the batches into a folder, and name it: --data_dir",)
        return missing(self.name, self.folders(data_dir), cause, remedies)


def files_of(folder: Path, split: str) -> list[Path]:
    """The files that hold a split in this folder; empty when it is not whole."""
    parquet = sorted(folder.glob(f"{split}-*.parquet"))
    batches = [folder / name for name in BATCHES[split]]
    return parquet or ([] if not all(path.is_file() for path in batches) else batches)


def _read(path: Path) -> Split:
    from .cifar10_batches import parse_batch
    from .cifar10_parquet import read_parquet

    if path.suffix == ".parquet":
        return read_parquet(path)
    return parse_batch(path.read_bytes(), str(path))


CIFAR10 = Cifar10Source()
