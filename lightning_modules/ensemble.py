"""An ensemble: trained models vote with their probabilities.

Deck, slide "Why Deep Learning" (2016: ensembled networks); ResNet's 3.57 % top-5 error is an
ensemble's. The members' probabilities are averaged, p = 1/M sum_m softmax(f_m(x)), which errs less
than the members do on average (Hansen and Salamon 1990). Nothing is trained here: each member is a
checkpoint of a run of its own, of whatever family.
M members, B batch, K classes.
"""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .blocks.checks import require, require_one_of
from .classifier import Classifier

MODELS = "paceline.models"  # the entry points that name our families and any plugin's


class AveragedProbabilities(nn.Module):
    """The logarithm of the members' mean probabilities.

    Args:
        members: Each maps x to scores (B, K).
    """

    def __init__(self, members: list[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Map x to log p, (B, K): as scores they have p as their softmax."""
        each = torch.stack([member(x).log_softmax(1) for member in self.members])  # (M, B, K)
        return each.logsumexp(0) - math.log(len(self.members))


class Ensemble(Classifier):
    """Averages the probabilities of trained classifiers; for `validate`, `test` and `predict`.

    Args:
        members: One mapping a member: `family`, a model of the catalog, by its name or its class
            path, and `checkpoint`, the file of its run. `init_args` in place of `checkpoint` builds
            it untrained, which is how the ensemble's own checkpoints describe it.
        num_classes: K; default: the members'.
        in_shape: Shape of one example; default: the members'.
        class_names: K names for the pictures; default: the first member's.

    Raises:
        ValueError: If there is no member, a file is missing or no checkpoint of such a family, or
            the members differ in their classes or in the shape of their inputs.
    """

    # A module that is trained when it is built may be measured without a checkpoint.
    brings_weights = True

    def __init__(
        self,
        members: list[dict[str, Any]],
        num_classes: int | None = None,
        in_shape: list[int] | None = None,
        class_names: list[str] | None = None,
    ):
        require(len(members) >= 1, "members", "at least one mapping", members)
        models = [build_member(dict(member)) for member in members]
        names = [str(member.get("checkpoint", member.get("family"))) for member in members]
        classes = [model.num_classes for model in models]
        _require_equal("models with the same classes", classes, names)
        shapes = [list(_example(model).shape[1:]) for model in models]
        _require_equal("models of inputs of the same shape", shapes, names)
        rule = f"{classes[0]}, as the members have it"
        require(num_classes in (None, classes[0]), "num_classes", rule, num_classes)
        rule = f"{shapes[0]}, as the members have it"
        require(in_shape in (None, shapes[0]), "in_shape", rule, in_shape)
        super().__init__(
            AveragedProbabilities([model.network for model in models]),
            classes[0],
            torch.zeros(2, *shapes[0]),
            class_names=class_names or models[0].class_names,
        )
        self.requires_grad_(False)
        described = [
            {"family": member["family"], "init_args": dict(model.hparams)}
            for member, model in zip(members, models, strict=True)
        ]
        self.save_hyperparameters({"members": described, "class_names": class_names})

    def setup(self, stage: str) -> None:
        """Refuse to be trained.

        Raises:
            ValueError: If the trainer fits.
        """
        if stage == "fit":
            error = ValueError("An ensemble must be measured, but is to be trained.")
            error.add_note("train the members, each in a run of its own; then `paceline test`")
            raise error

    def configure_optimizers(self) -> None:
        """There is nothing to optimize."""


def build_member(member: dict[str, Any]) -> Classifier:
    """Build a member and give it its checkpoint's weights; nothing in the file can run.

    Args:
        member: See `Ensemble`.

    Raises:
        ValueError: If the family is unknown, or the file is missing or of another family.
    """
    unknown = sorted(set(member) - {"family", "checkpoint", "init_args"})
    require(not unknown, "members", "made of family, checkpoint and init_args", unknown)
    family = _family(member.get("family"))
    if "checkpoint" not in member:
        return family(**member.get("init_args", {}))
    path = member["checkpoint"]
    require("init_args" not in member, "members", "without init_args beside a checkpoint", member)
    require(Path(path).is_file(), "members", "checkpoints that exist", str(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model = family(**content["hyper_parameters"])
        model.load_state_dict(content["state_dict"])
    except Exception as error:  # a damaged file, other arguments, other weights: many types
        wrong = ValueError(
            f"`members` must be checkpoints of their family, but {str(path)!r} is none of "
            f"{family.__name__}."
        )
        wrong.add_note(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        raise wrong from None
    return model


def _family(name: object) -> type[Classifier]:
    """The class behind a name of the catalog, which alone decides what code may run."""
    points = {p.name: p for p in entry_points(group=MODELS)}
    by_path = {p.value.replace(":", "."): p for p in points.values()}
    point = points.get(str(name)) or by_path.get(str(name))
    if point is None:
        require_one_of("family", name, sorted(points))
    assert point is not None
    family = point.load()
    is_one = isinstance(family, type) and issubclass(family, Classifier)
    require(is_one, "family", "a classifier", name)
    return family


def _example(model: Classifier) -> Tensor:
    assert isinstance(model.example_input_array, Tensor)
    return model.example_input_array


def _require_equal(rule: str, values: list[Any], names: list[str]) -> None:
    told = ", ".join(f"{value} ({name})" for value, name in zip(values, names, strict=True))
    if any(value != values[0] for value in values):
        raise ValueError(f"`members` must be {rule}, but have {told}.")
