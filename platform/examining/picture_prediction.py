"""`paceline predict NAME IMAGE...`: what a trained classifier takes one's own pictures for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..configuration.config import Config
from ..errors import UserError, failed, must
from ..evaluation import Changes, find_trained, finished, prepare_alone
from ..home import run_folder
from ..result import RunResult
from ..signals import interruptible
from ..training.building import Built
from ..training.fitting import load_weights, make_trainer
from ..training.trainer_context import quiet
from .dry_run import OneBatch
from .picture_files import as_input, read_picture

TOP = 5


def predict_pictures(
    target: str,
    paths: Sequence[str],
    *,
    changes: Changes | None = None,
    files: tuple[str, ...] = (),
    name: str | None = None,
    invert: bool = False,
) -> RunResult:
    """Classify picture files, and draw each with its probabilities.

    Args:
        target: As in `evaluation.evaluate`.
        paths: Picture files.
        changes: As in `evaluation.evaluate`.
        files: As in `evaluation.evaluate`.
        name: As in `evaluation.evaluate`.
        invert: Turn light and dark round.

    Returns:
        The result; `extra` has `pictures`, for each `file`, `classes` (at most five, the most
        probable first, each `class` and `probability`) and `picture`, the drawing.

    Raises:
        UserError: A file is no picture, or the model or its data takes none.
    """
    started = time.monotonic()
    images = [read_picture(path) for path in paths]
    config, checkpoint, result = find_trained(target, changes or {}, files, name)
    with interruptible():
        built = prepare_alone(config, checkpoint)
        shape = picture_shape(built, config)
        pixels = np.stack([as_input(image, shape, invert=invert) for image in images])
        try:
            probabilities = _probabilities(config, built, checkpoint, pixels)
        except UserError:
            raise
        except Exception as caught:  # whatever the module raises
            raise failed(caught) from caught
        names = class_names(built, probabilities.shape[1])
        folder = run_folder(result.name, config.launch.storage)
        folder = folder if folder.is_dir() else Path.cwd()
        told, drawings = [], _file_names(folder, result.name, paths)
        for i, path in enumerate(paths):
            classes = top_classes(probabilities[i], names)
            draw(images[i], pixels[i], classes).savefig(drawings[i], dpi=120)
            told.append({"file": str(path), "classes": classes, "picture": str(drawings[i])})
        result.extra = {"pictures": told}
    return finished(result, None, started)


def picture_shape(built: Built, config: Config) -> tuple[int, int, int]:
    """Channels, height and width of the pictures that a model's data has.

    Raises:
        UserError: The data has no pictures, or does not say how they become inputs.
    """
    shape = tuple(getattr(built.data, "in_shape", ()) or ())
    if not hasattr(built.data, "inputs_of") or len(shape) != 3 or shape[0] not in (1, 3):
        given = f"{type(built.data).__name__} of shape {list(shape)}" if built.data else "missing"
        raise UserError(
            must("data", "one of grey or colour pictures, with `in_shape` and `inputs_of`", given),
            config.where("data"),
            "without IMAGE, predict writes what the test set is taken for",
        )
    return shape


def _probabilities(config: Config, built: Built, checkpoint: str, pixels: np.ndarray) -> Tensor:
    """Probabilities (B, K) of pictures (B, C, H, W), the softmax of the model's scores."""
    load_weights(built.model, checkpoint or None)
    data: Any = built.data  # `picture_shape` has asked whether it can
    inputs = data.inputs_of(torch.from_numpy(pixels))
    with quiet():
        trainer = make_trainer(config, None, [], Path.cwd())
        batches: Any = trainer.predict(built.model, OneBatch(inputs))
    output = batches[0]
    scores = output.get("scores") if isinstance(output, dict) else None
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        raise UserError(
            f"`{type(built.model).__name__}.predict_step` must return a mapping with `scores` of "
            f"shape (B, K), but returns {type(output).__name__}.",
            config.where("model"),
        )
    return scores.detach().double().cpu().softmax(1)


def class_names(built: Built, count: int) -> list[str]:
    """Names of the classes: the model's, the data's or their numbers."""
    for owner in (built.model, built.data):
        names = list(getattr(owner, "class_names", None) or [])
        if len(names) == count:
            return [str(name) for name in names]
    return [str(number) for number in range(count)]


def top_classes(probabilities: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """The most probable classes of one picture, at most five, the most probable first."""
    values, order = probabilities.topk(min(TOP, len(names)))
    pairs = zip(values.tolist(), order.tolist(), strict=True)
    return [{"class": names[index], "probability": value} for value, index in pairs]


def told(picture: dict[str, Any]) -> str:
    """What a person reads about one picture."""
    width = max(len(one["class"]) for one in picture["classes"])
    lines = [f"  {one['class']:<{width}}  {one['probability']:7.2%}" for one in picture["classes"]]
    return "\n".join([picture["file"], *lines, f"  {picture['picture']}"])


def draw(image: Image.Image, pixels: np.ndarray, classes: Sequence[dict[str, Any]]) -> Any:
    """A picture as it is, as the network sees it, and its most probable classes; a figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    given, seen, bars = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    given.imshow(np.asarray(image))
    given.set_title("the picture", fontsize=9)
    seen.imshow(pixels.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)
    seen.set_title(f"as the network sees it, {pixels.shape[2]} x {pixels.shape[1]}", fontsize=9)
    for axes in (given, seen):
        axes.set_axis_off()
    names = [one["class"] for one in classes]
    values = [one["probability"] for one in classes]
    drawn = bars.barh(range(len(names)), values, color=["tab:blue"] + ["lightgray"] * len(names))
    bars.bar_label(drawn, [f"{value:.1%}" for value in values], padding=3, fontsize=8)
    bars.set_yticks(range(len(names)), names)
    bars.invert_yaxis()
    bars.set(xlim=(0, 1.2), xticks=[], title=f"{names[0]}: {values[0]:.1%}")
    bars.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def _file_names(folder: Path, name: str, paths: Sequence[str]) -> list[Path]:
    """`NAME-PICTURE.png` for each picture; a number where two have one name."""
    found: list[Path] = []
    for path in paths:
        stem, number = f"{name}-{Path(path).stem}", 1
        file = folder / f"{stem}.png"
        while file in found or file.absolute() == Path(path).absolute():
            number += 1
            file = folder / f"{stem}-{number}.png"
        found.append(file)
    return found
