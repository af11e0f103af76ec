"""Pictures on disk, one folder for each class: what is there, how it is split, what is damaged.

Two layouts are known. ImageNet's: `train/CLASS/...`, with `val/CLASS/...`, `test/CLASS/...` or
both beside it. Caltech-101's: `CLASS/...` and nothing else, split here by a seed, in proportion by
class. Only files with the ending of a picture count; other files and hidden ones are left alone.

Letters: N pictures.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from .splitting import stratified_split

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
SPLITS = ("train", "val", "test")
NAMED = 3  # damaged files that a warning names
AT_ONCE = 1024  # pictures that are read before the next ones are asked for
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pictures:
    """Files and their classes.

    Args:
        paths: N files.
        targets: Their classes, (N,) int64.
    """

    paths: tuple[str, ...]
    targets: np.ndarray

    def chosen(self, index: np.ndarray) -> Pictures:
        """Those of these numbers."""
        return Pictures(tuple(self.paths[i] for i in index), self.targets[index])


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of the classes of a split, sorted.

    Raises:
        ValueError: There are fewer than two.
    """
    rule = "`data_dir` must be a folder with one folder of pictures for each class, but"
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{rule} `{folder}` cannot be read: {error.strerror}.") from None
    if len(names) < 2:
        raise ValueError(f"{rule} `{folder}` has {len(names)} of them.")
    return tuple(names)


def root_of_classes(root: Path) -> Path:
    """The folder that names the classes: `train` when there is one, else the root itself."""
    return root / "train" if (root / "train").is_dir() else root


def find_pictures(folder: Path, class_names: tuple[str, ...]) -> Pictures:
    """All pictures of a split, sorted by class and name.

    Raises:
        ValueError: It has other classes, or a class without pictures; they are named.
    """
    found = class_folders(folder)
    if found != class_names:
        odd = sorted(set(found) ^ set(class_names))
        raise ValueError(
            f"`{folder}` must have the classes of the training pictures, but differs in "
            f"{_some(odd)}."
        )
    paths: list[str] = []
    counts: list[int] = []
    for name in class_names:
        names = sorted(n for n in os.listdir(folder / name) if _is_picture(n))
        paths += [os.path.join(folder, name, n) for n in names]
        counts.append(len(names))
    if 0 in counts:
        empty = [str(folder / n) for n, count in zip(class_names, counts, strict=True) if not count]
        raise ValueError(f"Each class folder must hold pictures, but {_some(empty)} is empty.")
    return Pictures(tuple(paths), np.repeat(np.arange(len(counts)), counts))


def find_splits(
    root: Path, class_names: tuple[str, ...], shares: tuple[float, float], seed: int
) -> dict[str, Pictures]:
    """The pictures of `train`, `val` and `test`.

    Args:
        root: The tree.
        class_names: The folders of the classes.
        shares: Of validation and of test pictures, where no folder holds them.
        seed: The split is a function of the files' names and this.

    Raises:
        ValueError: See `find_pictures`.
    """
    train = find_pictures(root_of_classes(root), class_names)
    given = {
        split: find_pictures(root / split, class_names)
        for split in SPLITS[1:]
        if (root / "train").is_dir() and (root / split).is_dir()
    }
    if "val" in given:
        # ImageNet publishes no classes for its test, so everybody reports what is validated.
        return {"train": train, "val": given["val"], "test": given.get("test", given["val"])}
    test_share = 0.0 if "test" in given else shares[1]
    val, test, rest = stratified_split(train.targets, (shares[0], test_share), seed)
    parts = {"train": train.chosen(rest), "val": train.chosen(val), "test": train.chosen(test)}
    return {**parts, **given}


def read_whole(
    pictures: Pictures, class_names: tuple[str, ...], read: Callable[[str], Result]
) -> tuple[Pictures, list[Result], list[str]]:
    """Read every picture, on all cores, and leave out the damaged ones.

    Args:
        pictures: What to read.
        class_names: What errors call the classes.
        read: Reads one file; a ValueError says that it is damaged.

    Returns:
        The pictures that are whole, what was read of each, and the paths of the others.

    Raises:
        ValueError: A class is left without pictures.
    """
    results: list[Result] = []
    kept: list[int] = []
    with warnings.catch_warnings():
        # Of metadata, which is not used, and of large pictures. Not in the threads: the filters
        # belong to the process.
        warnings.simplefilter("ignore")
        for number, result in enumerate(_results(pictures.paths, read)):
            if not isinstance(result, ValueError):
                results.append(result)
                kept.append(number)
    whole = pictures.chosen(np.array(kept, np.int64))
    damaged = sorted(set(pictures.paths) - set(whole.paths))
    check_classes(pictures, whole, class_names)
    return whole, results, damaged


def _results(
    paths: tuple[str, ...], read: Callable[[str], Result]
) -> Iterator[Result | ValueError]:
    def attempt(path: str) -> Result | ValueError:
        try:
            return read(path)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding leaves Python's lock
        for start in range(0, len(paths), AT_ONCE):
            yield from threads.map(attempt, paths[start : start + AT_ONCE])


def check_classes(pictures: Pictures, whole: Pictures, class_names: tuple[str, ...]) -> None:
    """Raise ValueError when a class of `pictures` is in none of the `whole` ones."""
    lost = sorted(set(pictures.targets.tolist()) - set(whole.targets.tolist()))
    if lost:
        names = _some([class_names[number] for number in lost])
        example = pictures.paths[int(np.argmax(pictures.targets == lost[0]))]
        raise ValueError(
            f"Each class must have a picture that can be read, but {names} has none left: all of "
            f"its files are damaged, `{example}` for one."
        )


def check_readable(
    pictures: Pictures, class_names: tuple[str, ...], read: Callable[[str], object]
) -> None:
    """Look for one whole picture of each class, before anything is started.

    Args:
        pictures: Those to learn from.
        class_names: What errors call the classes.
        read: Reads one file; a ValueError says that it is damaged.

    Raises:
        ValueError: A class has none.
    """
    found: dict[int, int] = {}  # class -> number of its first whole picture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, target in enumerate(pictures.targets.tolist()):
            if target not in found:
                with contextlib.suppress(ValueError):
                    read(pictures.paths[number])
                    found[target] = number
    check_classes(pictures, pictures.chosen(np.array(list(found.values()), np.int64)), class_names)


def warn_of_damaged(root: Path, damaged: list[str], count: int) -> None:
    """Name the first damaged files and tell how many there are, if there are any."""
    if damaged:
        warnings.warn(
            f"{len(damaged)} of {count} pictures below `{root}` are damaged and are left out: "
            f"{_some(damaged)}.",
            stacklevel=2,
        )


def _is_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:NAMED]) + more
