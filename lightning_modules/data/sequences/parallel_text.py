"""Texts in two languages, line by line: your own files, Multi30k, and WMT 2014.

Line n of one file is the translation of line n of the other; files may be packed (`.gz`).
Multi30k: Elliott, Frank, Sima'an and Specia (2016), "Multi30K: Multilingual English-German Image
Descriptions", 29,000 pairs to train on, 1,014 to validate, 1,000 to test (test_2016_flickr).
WMT 2014: Bojar et al. (2014), "Findings of the 2014 Workshop on Statistical Machine Translation".
"""

from __future__ import annotations

import gzip
import html
import re
from pathlib import Path

from ..arguments import one_of, wrong
from ..files import missing, search
from .multi30k_files import MULTI30K
from .pairs import SPLITS, PairDataModule, Texts

_SEGMENT = re.compile(r"<seg[^>]*>(.*?)</seg>", re.DOTALL | re.IGNORECASE)


def read_lines(content: bytes, path: str) -> list[str]:
    """The sentences of a file: its lines, or of an `.sgm` file its segments.

    Raises:
        ValueError: It is not UTF-8; the line is named.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise wrong(path, "UTF-8", f"not at line {line}") from None
    if path.removesuffix(".gz").endswith(".sgm"):
        return [html.unescape(segment).strip() for segment in _SEGMENT.findall(text)]
    # Only line feeds end a line: other separators occur inside sentences.
    lines = text.split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def aligned(source: list[str], target: list[str], names: tuple[str, str]) -> Texts:
    """Both sides, after a look whether they can belong together.

    Raises:
        ValueError: They have different numbers of lines.
    """
    if len(source) != len(target):
        short, long = sorted((len(source), len(target)))
        shorter = names[0] if len(source) < len(target) else names[1]
        longer = names[1] if len(source) < len(target) else names[0]
        raise wrong(
            names[1],
            f"as long as {names[0]}, which has {len(source)} lines",
            len(target),
            f"lines {short + 1} to {long} of {longer} have no partner: {shorter} ends at "
            f"line {short}",
        )
    return source, target


def read_file(path: Path) -> list[str]:
    """The sentences of a file, packed or not.

    Raises:
        ValueError: It is damaged or not UTF-8.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile) as error:
        raise wrong(str(path), "a whole gzip file", str(error)) from None
    return read_lines(content, str(path))


class Parallel(PairDataModule):
    """Your own texts: `NAME.LANGUAGE` or `NAME.LANGUAGE.gz`, two files for each split.

    Args:
        data_dir: The folder that holds the files.
        source: Language to translate from: the files' ending.
        target: Language to translate to: the files' ending.
        train: Name of the training files, without ending.
        val: Name of the validation files.
        test: Name of the test files.
        batch_size: Training pairs per step and process.
        vocab_size: Most units of each language.
        max_length: Longest sentence to train on, in units; default: any.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "parallel"

    def __init__(
        self,
        data_dir: str | None = None,
        source: str = "de",
        target: str = "en",
        train: str = "train",
        val: str = "val",
        test: str = "test",
        batch_size: int = 64,
        vocab_size: int = 6000,
        max_length: int | None = None,
    ):
        super().__init__(batch_size, vocab_size, max_length)
        if source == target:
            raise wrong("target", f"another language than `source` {source!r}", target)
        self.data_dir, self.languages = data_dir, (source, target)
        self.files = {"train": [train], "val": [val], "test": [test]}

    def folders(self) -> list[Path]:
        """Where the files may be, in the order of the search."""
        return list(search((self.name or "",), (), self.data_dir))

    def prepare_data(self) -> None:
        """Look whether the files are there.

        Raises:
            FileNotFoundError: One is nowhere.
        """
        for split in SPLITS:
            self.paths(split)

    def paths(self, split: str) -> list[tuple[Path, Path]]:
        """The files of a split, source and target.

        Raises:
            FileNotFoundError: One is nowhere.
        """
        return [
            (self._find(name, self.languages[0]), self._find(name, self.languages[1]))
            for name in self.files[split]
        ]

    def read(self, split: str) -> Texts:
        """Both sides of a split, file after file.

        Raises:
            FileNotFoundError: A file is nowhere.
            ValueError: A file is damaged, or the two have different numbers of lines.
        """
        sources, targets = [], []
        for pair in self.paths(split):
            lines = [read_file(path) for path in pair]
            texts = aligned(lines[0], lines[1], (str(pair[0]), str(pair[1])))
            sources += texts[0]
            targets += texts[1]
        return sources, targets

    def candidates(self, name: str, language: str) -> list[str]:
        """The names that a file may have, relative to a folder of the search, unpacked."""
        return [f"{name}.{language}"]

    def _find(self, name: str, language: str) -> Path:
        names = self.candidates(name, language)
        for folder in self.folders():
            for candidate in names:
                for path in (folder / candidate, folder / f"{candidate}.gz"):
                    if path.is_file():
                        return path
        remedy = f"put {names[0]} (or {names[0]}.gz) into a folder and name it with --data.data_dir"
        error = missing(self.name or "", self.folders(), f" ({names[0]} is absent)", ())
        error.__notes__ = [remedy]
        raise error


class Multi30k(PairDataModule):
    """Descriptions of photographs in German and English.

    Args:
        source: Language to translate from, `de` or `en`.
        target: Language to translate to, the other.
        batch_size: Training pairs per step and process.
        vocab_size: Most units of each language.
        max_length: Longest sentence to train on, in units; default: any.
        data_dir: The folder that holds the files; default: the search of `files.py`, then a
            download.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "multi30k"

    def __init__(
        self,
        source: str = "de",
        target: str = "en",
        batch_size: int = 64,
        vocab_size: int = 6000,
        max_length: int | None = None,
        data_dir: str | None = None,
    ):
        super().__init__(batch_size, vocab_size, max_length)
        one_of("source", source, ("de", "en"))
        one_of("target", target, tuple({"de", "en"} - {source}))
        self.languages, self.data_dir = (source, target), data_dir

    def prepare_data(self) -> None:
        """Find the files or download them.

        Raises:
            FileNotFoundError: They are nowhere and cannot be downloaded.
        """
        MULTI30K.get(self.data_dir)

    def read(self, split: str) -> Texts:
        """Both sides of a split, checked by digest.

        Raises:
            FileNotFoundError: The files are nowhere and cannot be downloaded.
            ValueError: A file is damaged.
        """
        folder = MULTI30K.get(self.data_dir)
        split = "test_2016_flickr" if split == "test" else split
        files = {file.name: file for file in MULTI30K.files}
        names = tuple(f"{split}.{language}" for language in self.languages)
        lines = [read_lines(files[n].read(files[n].forms(folder)[0]), n) for n in names]
        return aligned(lines[0], lines[1], (names[0], names[1]))
