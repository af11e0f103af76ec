"""`paceline check RECIPE`: one batch through it, to see whether it would run.

With `--gradients`: its backpropagation against central differences.
"""

from __future__ import annotations

import math
import time
from typing import Any

from ..arguments import Arguments
from ..configuration.config import Config
from ..examining.dry_run import Found, Look, makes_its_data, prepare_one_batch, run_one_batch
from ..examining.gradient_check import MOST, SAMPLE, SMALL, TOLERANCE, Checked, layers
from ..examining.gradient_probe import GradientProbe
from ..progress import console, format_metrics
from ..tables import table
from .run_commands import config_of

Answer = tuple[Any, str, int]
# The promise of all families that a module may declare it cannot keep.
_EVERY_GRADIENT = "every_parameter_gets_a_gradient"


def check_command(arguments: Arguments) -> Answer:
    """`paceline check RECIPE`: 1 where its module is wrong, or its gradients cannot be compared."""
    config = config_of(arguments)
    if arguments.flag("gradients"):
        return _gradients(config, arguments.options.get("entries"))
    config, built = prepare_one_batch(config)
    look = Look()
    run_one_batch(config, built, look)
    declared = getattr(built.model, "conformance_exceptions", {}).get(_EVERY_GRADIENT, "")
    bad, notes = problems(look.found, config, declared)
    if built.data is None and not makes_its_data(built.model):
        notes.insert(0, "its data is not on this machine: the batch is noise")
    kind, found = type(built.model).__name__, look.found
    answer = {"recipe": config.recipe, "model": kind, "status": "wrong" if bad else "ok"}
    answer |= {"problems": bad, "notes": notes} | vars(found)
    return answer, _told(config.recipe, kind, found, bad, notes), int(bool(bad))


def problems(found: Found, config: Config, declared: str) -> tuple[list[str], list[str]]:
    """What is wrong, and what should only be known.

    Args:
        found: What one batch showed.
        config: The recipe.
        declared: Why the module says that some parameters get no gradient.
    """
    bad, notes = [], []
    if found.loss is not None and not math.isfinite(found.loss):
        bad.append(f"the loss must be finite, but is {found.loss}")
    broken = [n for n, g in found.gradients.items() if g is not None and not math.isfinite(g)]
    if broken:
        bad.append(f"gradients must be finite, but are not: {_named(broken)}")
    idle = [n for n, g in found.gradients.items() if not g]
    if idle and declared:
        notes.append(f"no gradient: {_named(idle)} ({declared})")
    elif idle:
        bad.append(f"every parameter must get a gradient, but these get none: {_named(idle)}")
    metric = config.sweep.metric
    if metric not in found.metrics:
        told = f"{metric} is not logged, which decides which checkpoint is best"
        (bad if "metric" in (config.values.get("sweep") or {}) else notes).append(told)
    return bad, notes


def _named(names: list[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest


def _told(recipe: str, kind: str, found: Found, bad: list[str], notes: list[str]) -> str:
    batch = ", ".join(f"{' x '.join(map(str, t['shape']))} {t['type']}" for t in found.batch)
    norms = [g for g in found.gradients.values() if g is not None]
    whole = math.sqrt(sum(g * g for g in norms))
    lines = [
        f"{recipe}: {kind}, one batch {'is wrong' if bad else 'ok'} in {found.seconds:.2g} s",
        f"  batch         {batch}",
        f"  loss          {'none returned' if found.loss is None else format(found.loss, '.4g')}",
        f"  gradients     {len(norms)} of {len(found.gradients)} tensors, norm {whole:.4g}",
    ]
    if found.metrics:
        lines.append(f"  logged        {format_metrics(found.metrics)}")
    lines += [f"  wrong         {one}" for one in bad] + [f"  note          {one}" for one in notes]
    return "\n".join(lines)


def _gradients(config: Config, sample: int | None) -> Answer:
    started = time.monotonic()
    config, built = prepare_one_batch(config, precision="64-true", limit_val_batches=0)

    def begin(entries: int, tensors: int, seconds: float) -> None:
        told = f"comparing {entries:,} entries of {tensors} tensors, about {seconds:.0f} s"
        console().print(told, soft_wrap=True)

    probe = GradientProbe(sample, config.seed or 0, begin)
    run_one_batch(config, built, probe)
    found = layers(probe.found)
    worst = max(found, key=lambda one: (math.isnan(one.error), one.error))
    counts = {
        key: sum(getattr(one, key) for one in found) for key in ("entries", "checked", "kinks")
    }
    status = "ok" if worst.error <= TOLERANCE else "differs"
    if status == "ok" and 2 * counts["kinks"] > counts["checked"]:
        status = "unclear"  # a subgradient method's rule may lie between two slopes everywhere
    answer = {"recipe": config.recipe, "model": type(built.model).__name__}
    answer |= {"status": status, "error": worst.error, **counts}
    answer |= {"tolerance": TOLERANCE, "loss": probe.loss, "examples": probe.examples}
    answer |= {"data": "noise" if built.data is None else type(built.data).__name__}
    answer |= {"layers": [vars(one) for one in found], "seconds": time.monotonic() - started}
    most = max(one.checked for one in probe.found)
    chosen = f"{_sampled(most, sample)}, by seed {config.seed or 0}"
    return answer, _compared(answer, found, chosen), int(status != "ok")


def _sampled(most: int, asked: int | None) -> str:
    """Which entries were compared, where `most` is the largest number of one tensor."""
    if asked is not None:
        return f"{asked} entries of each tensor that has more"
    if most < SAMPLE:  # a share of what all may have together
        return f"{most} entries of each tensor that has more, as {MOST} of all are enough"
    return f"all entries of tensors of up to {SMALL}, {SAMPLE} of larger"


def _compared(answer: dict[str, Any], found: list[Checked], chosen: str) -> str:
    header = ("layer", "parameters", "checked", "kinks", "largest error", "")
    rows = [
        (
            one.name,
            f"{one.entries:,}",
            str(one.checked),
            str(one.kinks or ""),
            f"{one.error:.1e}",
            "" if one.error <= TOLERANCE else _differs(one),
        )
        for one in found
    ]
    counts = (f"{answer['entries']:,}", str(answer["checked"]), str(answer["kinks"] or ""))
    rows.append(("total", *counts, f"{answer['error']:.1e}", ""))
    verdict = {"ok": "agree", "differs": "DIFFER", "unclear": "cannot be compared: mostly kinks"}
    said = verdict[answer["status"]]
    lines = [
        f"{answer['recipe']}: {answer['model']}, backpropagation and central differences {said}"
        f" (tolerance {TOLERANCE:g}, float64, {answer['seconds']:.1f} s)",
        f"  batch         {answer['examples']} examples of {answer['data']}, dropout off",
        f"  sample        {chosen}",
    ]
    if answer["kinks"]:
        share = answer["kinks"] / answer["checked"]
        lines.append(
            f"  kinks         {share:.2%} of the entries lie where the loss has two slopes (a ReLU"
            " at 0, a tie in max pooling); the gradient lies between them"
        )
    return "\n".join([*lines, "", table(header, rows, "<>>>>")])


def _differs(one: Checked) -> str:
    return f"{one.analytic:.6g}, by differences {one.numeric:.6g}, at {one.entry}"
