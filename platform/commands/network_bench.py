"""The catalog's convolutional networks side by side: their time and accuracy against their cost.

Deck, "An Analysis of Deep Neural Network Models for Practical Applications" (Canziani, Paszke and
Culurciello 2017, figures 2 and 9): accuracy over the operations of one forward pass, each network a
blob as large as its parameters, and the time of a picture, which there is linear in the operations.
Here: each network at its own recipe's picture size, on this machine's CPU, in evaluation.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..catalog import entries
from ..configuration import file as config_file
from ..configuration.config import Config, load
from ..errors import PacelineError
from ..home import names, read_state, run_folder
from ..tracking.search import search_runs
from ..training.building import build
from ..training.trainer_context import flushed_denormals, quiet
from .inspect_command import inspect_config

ACCURACY = "test/accuracy"


@dataclass
class Network:
    """One network and what was measured of it.

    Args:
        recipe: The recipe that it is from.
        model: Its class.
        data: The data set of the recipe.
        input_shape: Shape of one picture, (C, H, W).
        parameters: Numbers that it learns.
        macs: Multiply-adds of one picture.
        seconds: Time of one picture, the median over rounds.
        spread: Half of the distance between the rounds' quartiles, in seconds.
        accuracy: `test/accuracy` of the newest run of this recipe with this very model and data
            that has been tested; None: there is none.
        run: Name of that run.
    """

    recipe: str
    model: str
    data: str
    input_shape: list[int]
    parameters: int
    macs: int
    seconds: float = math.nan
    spread: float = 0.0
    accuracy: float | None = None
    run: str | None = None


@dataclass
class Line:
    """Seconds a picture = offset_s + seconds_per_mac x multiply-adds, by least squares.

    Args:
        offset_s: Time that does not depend on the cost.
        seconds_per_mac: Time of one multiply-add.
        r2: Share of the variance that the line explains.
    """

    offset_s: float
    seconds_per_mac: float
    r2: float


def find_networks(recipes: Sequence[str]) -> tuple[list[tuple[Config, Network]], dict[str, str]]:
    """Those of some recipes whose network convolves pictures, the cheapest first.

    Returns:
        Config and network of each, not measured yet; recipe -> why it was left out, for those that
        cannot be built here.
    """
    found, left_out = [], {}
    for recipe in recipes:
        try:
            config = load(recipe)
            built, inspection, _ = inspect_config(config)
        except PacelineError as error:
            left_out[recipe] = error.what
            continue
        has_convolution = any(isinstance(m, nn.Conv2d) for m in built.model.modules())
        if has_convolution and len(inspection.input_shape) == 3:
            data = str(getattr(built.data, "name", None) or type(built.data).__name__)
            totals = inspection.totals
            network = Network(
                recipe,
                type(built.model).__name__,
                data,
                inspection.input_shape,
                totals["parameters"],
                totals["macs"],
            )
            found.append((config, network))
    return sorted(found, key=lambda pair: pair[1].macs), left_out


def measure(
    found: Sequence[tuple[Config, Network]],
    *,
    batch: int = 8,
    rounds: int = 5,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Time each network's forward pass in turns, so that a busy moment meets all of them.

    Args:
        found: What `find_networks` returned; the times are written into it.
        batch: Pictures at a time.
        rounds: Turns that count; one before them does not.
        tell: Called with a line at each round.
    """
    models, pictures = [], []
    rng = torch.Generator().manual_seed(0)
    for config, network in found:
        with quiet():
            models.append(build(config).model.cpu().eval())
        pictures.append(torch.randn(batch, *network.input_shape, generator=rng))
    times: list[list[float]] = [[] for _ in found]
    with torch.inference_mode(), flushed_denormals():
        for number in range(rounds + 1):
            tell("warming up" if number == 0 else f"round {number} of {rounds}")
            for i, (model, x) in enumerate(zip(models, pictures, strict=True)):
                seconds = _seconds(model, x)
                if number:
                    times[i].append(seconds / batch)
    for (_, network), seconds in zip(found, times, strict=True):
        network.seconds = statistics.median(seconds)
        low, high = np.quantile(seconds, (0.25, 0.75))
        network.spread = float(high - low) / 2


def _seconds(model: nn.Module, x: Tensor) -> float:
    """Time of one pass, the mean over as many as take a twentieth of a second."""
    started, passes = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < 0.05 or not passes:
        model(x)
        passes += 1
    return seconds / passes


def add_accuracies(
    found: Sequence[tuple[Config, Network]], storage: str | None = None
) -> dict[str, str]:
    """Write into each network what its newest tested run reached, as the run's record has it.

    Not the best one: who chooses among runs by the test set measures it no more.

    Args:
        found: What `find_networks` returned.
        storage: Folder of runs; default under the home.

    Returns:
        Store -> why it could not be asked.
    """
    by_recipe = {network.recipe: (config, network) for config, network in found}
    tested: dict[str, dict[str, float]] = {}  # store -> run id -> accuracy
    failed: dict[str, str] = {}
    for name in names(storage):  # the newest first
        with contextlib.suppress(PacelineError, OSError, KeyError, TypeError, ValueError):
            state = read_state(name, storage)
            source = state.get("best") or state  # a sweep stands for its best trial
            file = source.get("config_file") or str(run_folder(name, storage) / "config.yaml")
            values, _ = config_file.read(Path(file))
            config, network = by_recipe[str(state.get("recipe") or values.get("recipe"))]
            if network.accuracy is None and _is_same(config, values):
                uri = str(state["tracking_uri"])
                if uri not in tested:
                    tested[uri] = _tested(uri, failed)
                network.accuracy, network.run = tested[uri][source["run_id"]], name
    return failed


def _tested(uri: str, failed: dict[str, str]) -> dict[str, float]:
    """Run id -> accuracy of the tested runs of a store; none where it does not answer."""
    try:
        runs = search_runs(uri, f"metrics.`{ACCURACY}` >= 0")
    except PacelineError as error:
        failed[uri] = error.what
        return {}
    return {run.info.run_id: run.data.metrics[ACCURACY] for run in runs}


def _is_same(config: Config, values: dict[str, Any]) -> bool:
    """Whether a run's config has the recipe's own network and data set."""
    ours = config.resolved
    return values["model"] == ours["model"] and (
        values["data"]["class_path"] == ours["data"]["class_path"]
    )


def fit_line(macs: Sequence[float], seconds: Sequence[float]) -> Line | None:
    """The least-squares line through times over costs; None with fewer than three networks."""
    x, y = np.asarray(macs, dtype=float), np.asarray(seconds, dtype=float)
    if len(x) < 3 or np.ptp(x) == 0:
        return None
    slope, offset = np.polyfit(x, y, 1)
    rest, whole = np.square(y - offset - slope * x).sum(), np.square(y - y.mean()).sum()
    return Line(float(offset), float(slope), float(1 - rest / whole) if whole else 1.0)


def all_recipes() -> list[str]:
    """The recipes of the catalog."""
    return sorted(entries("recipes"))
