"""`paceline bench networks`: measure the catalog's networks and draw them over their cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..arguments import Arguments
from ..errors import UserError, must, unknown
from ..progress import console
from ..tables import table
from .network_bench import Line, Network, add_accuracies, all_recipes, find_networks, fit_line
from .network_bench import measure as measure_networks

Answer = tuple[Any, str, int]


def bench_command(arguments: Arguments) -> Answer:
    """`paceline bench networks`.

    Raises:
        UserError: Unknown thing to measure or recipe, no network among them, or a file that cannot
            be written.
    """
    if arguments.positional["WHAT"] != "networks":
        raise unknown("WHAT", str(arguments.positional["WHAT"]), ("networks",))
    storage = arguments.changes.get("launch.storage", (None, ""))[0]
    path = Path(arguments.options.get("output", "networks.png")).absolute()
    if path.suffix != ".png" or not path.parent.is_dir():
        raise UserError(must("--output", "a .png file in a folder that exists", str(path)))
    recipes = _chosen(arguments.options.get("recipes"))
    batch, rounds = arguments.options.get("batch", 8), arguments.options.get("rounds", 5)
    found, left_out = find_networks(recipes)
    if not found:
        rule = "recipes of which one convolves pictures"
        raise UserError(must("--recipes", rule, ",".join(recipes)), "", _reasons(left_out))
    left_out |= add_accuracies(found, storage)
    measure_networks(found, batch=batch, rounds=rounds, tell=_tell)
    networks = [network for _, network in found]
    line = fit_line([one.macs for one in networks], [one.seconds for one in networks])
    from .network_picture import draw  # matplotlib takes a while to import

    draw(networks, line).savefig(path, dpi=120)
    answer = {
        "networks": [asdict(one) for one in networks],
        "line": line and asdict(line),
        "left_out": left_out,
        "picture": str(path),
        "batch": batch,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }
    return answer, told(networks, line, answer), 0


def _chosen(given: str | None) -> list[str]:
    known = all_recipes()
    chosen = [name.strip() for name in given.split(",") if name.strip()] if given else known
    for name in chosen:
        if name not in known:
            raise unknown("--recipes", name, known)
    return chosen


def told(networks: list[Network], line: Line | None, answer: dict[str, Any]) -> str:
    """What a person reads."""
    header = ("recipe", "model", "picture", "parameters", "multiply-adds")
    header = (*header, "ms a picture", "GMAC/s", "test accuracy", "run")
    lines = [
        table(header, [_cells(one) for one in networks], "<<<>>>>>"),
        "",
        f"  time          median of {answer['rounds']} rounds of {answer['batch']} pictures, "
        f"{answer['threads']} CPU thread(s), ± half the quartiles' distance",
    ]
    if line is not None:
        slope = 1e12 * line.seconds_per_mac
        text = f"{1e3 * line.offset_s:.3g} ms + {slope:.3g} ms a GMAC, R^2 = {line.r2:.3f}"
        lines.append(f"  line          {text}")
    missing = [one.recipe for one in networks if one.accuracy is None]
    if missing:
        shown = "left out" if len(missing) == len(networks) else f"left out for {len(missing)}"
        get = f"paceline fit {missing[0]} --name NAME, then paceline test NAME"
        lines.append(f"  accuracy      {shown}: no tested run; to get one: {get}")
    lines += [f"  left out      {name}: {why}" for name, why in answer["left_out"].items()]
    return "\n".join([*lines, f"  picture       {answer['picture']}"])


def _cells(one: Network) -> tuple[str, ...]:
    return (
        one.recipe,
        one.model,
        " x ".join(map(str, one.input_shape)),
        f"{one.parameters:,}",
        f"{one.macs:,}",
        f"{1e3 * one.seconds:.3g} ± {1e3 * one.spread:.1g}",
        f"{one.macs / one.seconds / 1e9:.3g}",
        "" if one.accuracy is None else f"{one.accuracy:.2%}",
        one.run or "",
    )


def _reasons(left_out: dict[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in left_out.items())


def _tell(line: str) -> None:
    console().print(line, soft_wrap=True)
