"""Two processes under DDP step as one on the joined batch, for each recipe of this wing.

Batch norm's statistics and dropout's masks are each process's own, so they are held still here, and
so is what variational codes, coins and corruptions draw. A batch is noise, in float64, so hardly a
recipe needs its data; sentences and words in it have different lengths.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules import recipes
from paceline.lightning_modules.charlm import CharLM
from paceline.lightning_modules.classifier import Classifier
from paceline.lightning_modules.data.sequences.subwords import BEGIN, END
from paceline.lightning_modules.data.sequences.trees import draw_expression
from paceline.lightning_modules.recursive import RecursiveClassifier
from paceline.lightning_modules.rules.autoencoder_rule import AutoencoderRule
from paceline.lightning_modules.rules.variational_rule import VariationalRule
from paceline.lightning_modules.seq2seq import Seq2Seq
from paceline.lightning_modules.sequence_regressor import SequenceRegressor
from paceline.lightning_modules.spell import Speller
from paceline.lightning_modules.tagging import Tagger
from paceline.platform.configuration import config
from paceline.platform.errors import UserError
from paceline.platform.training.building import build as build_all
from paceline.tests.two_ranks import one_of_two, run_two
from torch import Tensor, nn

EXAMPLES, PATIENCE_S = 8, 400.0
RECIPES = sorted(path.stem for path in Path(recipes.__file__).parent.glob("*.yaml"))
PROMISE = "two_processes_step_as_one_does_on_the_joined_batch"
Batch = tuple[Tensor, ...]


class Objective(nn.Module):
    """A model's training step as a forward pass, which is what DDP wraps."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model
        model._trainer = SimpleNamespace(
            loggers=[], log_every_n_steps=0, global_step=0, current_epoch=0, num_training_batches=2
        )

    def forward(self, *batch: Tensor) -> Tensor:
        # The second batch of an epoch: of the first, autoencoders check that it holds pixels.
        return self.model.training_step(batch, 1)


def still(noise: Tensor, *_: Any, **__: Any) -> Tensor:
    """`Tensor.normal_` with the same numbers for each example."""
    return noise.copy_(torch.linspace(-1, 1, noise.shape[-1]).expand_as(noise))


def hold_still(model: Any) -> None:
    """Let nothing be drawn that the two processes would draw otherwise."""
    if isinstance(model, AutoencoderRule):
        model.corruption = "none"
    if isinstance(model, VariationalRule) and model.pixel_likelihood.binarize == "dynamic":
        object.__setattr__(model.pixel_likelihood, "binarize", "threshold")
    model.eval()


def batch_for(model: Any) -> Batch | None:
    """Noise that a model can learn from, or None where it makes its steps by itself."""
    rng = torch.Generator().manual_seed(0)

    def whole(most: int, *shape: int) -> Tensor:
        return torch.randint(most, (EXAMPLES, *shape), generator=rng)

    shape = () if model.example_input_array is None else model.example_input_array.shape[1:]
    noise = torch.randn(EXAMPLES, *shape, generator=rng, dtype=torch.float64)
    match model:
        case Tagger():
            return whole(model.hparams.vocab_size, *shape), whole(model.num_classes, *shape)
        case RecursiveClassifier():
            return trees(model.num_classes, shape[1]), whole(model.num_classes)
        case Classifier():
            tokens = not model.example_input_array.is_floating_point()
            x = whole(model.hparams.vocab_size, *shape) if tokens else noise
            return x, whole(model.num_classes)
        case SequenceRegressor():
            return noise, noise.flatten(1).mean(1)
        case CharLM():
            text = whole(len(model.coder), shape[0] + 1)
            return text[:, :-1], text[:, 1:]
        case Seq2Seq():
            return sentences(rng, model.hparams.source_vocab_size), sentences(
                rng, model.hparams.target_vocab_size, begins=True
            )
        case Speller():
            return noise, whole(len(model.words))
        case AutoencoderRule() | VariationalRule():
            return (noise,)
    return None


def sentences(rng: torch.Generator, vocab_size: int, begins: bool = False) -> Tensor:
    """Units (B, 10), of which the first sentences have few and the last many."""
    first = END + 1
    units = torch.randint(first, vocab_size, (EXAMPLES, 10), generator=rng)
    for row, length in enumerate(range(2, 2 + EXAMPLES)):
        units[row, length] = END
        units[row, length + 1 :] = 0
    if begins:
        units[:, 0] = BEGIN
    return units


def trees(modulus: int, num_nodes: int) -> Tensor:
    """Expressions (B, 4, M) of different sizes."""
    rng, rows = np.random.default_rng(0), np.zeros((EXAMPLES, 4, num_nodes), np.int64)
    for number, leaves in enumerate(range(2, 2 + EXAMPLES)):
        rows[number, :, : 2 * leaves - 1] = draw_expression(rng, leaves, modulus).rows
    return torch.from_numpy(rows)


def prepared(recipe: str) -> tuple[Any, Batch | None]:
    """A recipe's model, held still, with a batch for it."""
    pl.seed_everything(1, verbose=False)
    model = build_all(config.load(recipe)).model
    if not any(p.requires_grad for p in model.parameters()) or not model.automatic_optimization:
        return model, None
    hold_still(model.double())
    return model, batch_for(model)


def stepped(objective: nn.Module, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The weights after one step of gradient descent."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with mock.patch.object(Tensor, "normal_", still):
        objective(*batch).backward()
    optimizer.step()
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def half(folder: str, rank: int) -> None:
    """One of the two processes: a step on its half of each recipe's batch."""
    part = slice(0, EXAMPLES // 2) if rank == 0 else slice(EXAMPLES // 2, EXAMPLES)
    with one_of_two(folder, rank, PATIENCE_S):
        for recipe in RECIPES:
            try:
                model, batch = prepared(recipe)
            except UserError:
                continue  # its vocabulary is in a file that is not here
            if batch is not None:
                wrapped = nn.parallel.DistributedDataParallel(
                    Objective(model), find_unused_parameters=True
                )
                weights = stepped(wrapped, model, tuple(whole[part] for whole in batch))
                if rank == 1:
                    torch.save(weights, f"{folder}/{recipe}.pt")


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights after the step of two processes, a file for each recipe."""
    folder = tmp_path_factory.mktemp("halves")
    run_two(__file__, folder, patience_s=PATIENCE_S)
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_step_as_one_does_on_the_joined_batch(recipe: str, halves: Path):
    try:
        model, batch = prepared(recipe)
    except UserError as error:
        pytest.skip(f"{recipe}: {error.what}")
    kind = type(model).__name__
    if batch is None:
        learns = any(p.requires_grad for p in model.parameters())
        why = "optimizes by itself: test_gan, test_kmeans" if learns else "has no gradient"
        pytest.skip(f"{kind} {why}")
    reason = model.conformance_exceptions.get(PROMISE)
    if reason:
        pytest.skip(f"{kind} declares: {reason}")
    joined = stepped(Objective(model), model, batch)
    weights = torch.load(halves / f"{recipe}.pt", weights_only=True)
    assert weights.keys() == joined.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, joined[name], rtol=0, atol=1e-9, msg=name)


if __name__ == "__main__":
    half(sys.argv[1], int(sys.argv[2]))
