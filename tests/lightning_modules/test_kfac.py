from __future__ import annotations

import copy
import math
import pickle
import sys

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.kfac import KFAC
from paceline.lightning_modules.blocks.kfac_factors import (
    Statistics,
    damped_inverses,
    has_factors,
    input_rows,
)
from paceline.lightning_modules.blocks.likelihoods import sampled_gradient
from paceline.lightning_modules.mlp import MLP
from paceline.tests.two_ranks import one_of_two, run_two
from pytorch_lightning import Trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

DAMPING = 1e-2


class Model(nn.Module):
    """What a training rule tells an optimizer: its network, and what the outputs stand for."""

    def __init__(self, network: nn.Module, likelihood: str | None = "categorical"):
        super().__init__()
        self.network, self.likelihood = network, likelihood


def small_convolution() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, 2, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )


def batch(count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(count, 2, 6, 6, dtype=torch.float64)
    return x, torch.randint(0, 3, (count,))


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model(small_convolution().double())


def kfac(model: nn.Module, **options) -> KFAC:
    plain = {"lr": 1.0, "momentum": 0.0, "damping": DAMPING, "kl_clip": math.inf}
    optimizer = KFAC(model.parameters(), **{**plain, **options})
    optimizer.attach(model)
    return optimizer


def step(model: Model, optimizer: torch.optim.Optimizer, x, labels) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(model.network(x), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


# Against an independent implementation.


def test_factors_and_natural_gradient_equal_those_of_curvlinops(model):
    """`ReLU(inplace=True)` and layers without a bias are among the layers."""
    curvlinops = pytest.importorskip(
        "curvlinops", reason="needs curvlinops-for-pytorch, which `make test` installs"
    )
    x, labels = batch()
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    reference = nn.Sequential(*small_convolution()).double()
    reference.load_state_dict(model.network.state_dict())
    reference[1] = nn.ReLU()
    theirs = curvlinops.KFACLinearOperator(
        reference,
        nn.CrossEntropyLoss(),
        list(reference.parameters()),
        [(x, labels)],
        fisher_type="empirical",
        kfac_approx="expand",
        separate_weight_and_bias=False,
        check_deterministic=False,
    )
    theirs.compute_kronecker_factors()
    optimizer = kfac(model, fisher="empirical")
    step(model, optimizer, x, labels)
    for name, layer in model.network.named_modules():
        if has_factors(layer):
            state = optimizer.state[layer.weight]
            close = {"rtol": 0, "atol": 1e-10}
            torch.testing.assert_close(state["a"], theirs._input_covariances[name], **close)
            torch.testing.assert_close(state["g"], theirs._gradient_covariances[name], **close)

    inverse = curvlinops.KFACInverseLinearOperator(
        theirs, damping=DAMPING, use_heuristic_damping=True, min_damping=0.0
    )
    gradient = [p.grad for p in model.network.parameters()]
    expected = inverse @ [g.clone() for g in gradient]
    for (name, p), direction in zip(model.network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(before[name] - p, direction, rtol=0, atol=1e-5)
        assert direction.abs().max() > 1e-3


# Against what the factors stand for.


def test_one_linear_layer_has_the_fisher_matrix_of_logistic_regression():
    """With one input vector for all examples, the product is the Fisher matrix itself."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 4).double()
    row = torch.randn(1, 3, dtype=torch.float64)
    a = torch.cat((row, torch.ones(1, 1, dtype=torch.float64)), 1)  # (1, 4)
    p = layer(row).softmax(1)[0].detach()
    curvature = torch.diag(p) - torch.outer(p, p)  # of the cross entropy by the scores
    full = torch.kron(curvature, a.T @ a)  # by [W b], row by row

    # 400,000 draws: the standard error of an entry of G, at most 1/4, is below 4e-4.
    statistics = Statistics(layer)
    count = 400_000
    statistics.add_inputs(row.expand(count, 3))
    statistics.add_gradients(sampled_gradient(layer(row).expand(count, 4).detach(), "categorical"))
    factor_a, factor_g = statistics.factors()
    found = torch.kron(factor_g, factor_a)
    torch.testing.assert_close(factor_a, a.T @ a, rtol=0, atol=1e-9)
    torch.testing.assert_close(found, full, rtol=0, atol=2e-3 * a.square().max().item())


def test_step_of_one_layer_is_newtons_with_the_full_damped_fisher():
    """Equal inputs: only the damping of the two factors, and not of their product, differs."""
    torch.manual_seed(0)
    model = Model(nn.Linear(3, 2, bias=False).double(), None)
    x = torch.randn(1, 3, dtype=torch.float64).expand(8, 3)
    labels = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0])
    rows = []
    for label in labels:
        loss = F.cross_entropy(model.network(x[:1]), label[None])
        rows.append(torch.autograd.grad(loss, model.network.weight)[0].flatten())
    each = torch.stack(rows)
    full = each.T @ each / 8  # the empirical Fisher matrix, (6, 6)
    gradient = each.mean(0)
    before = model.network.weight.detach().clone()
    step(model, kfac(model, damping=1e-10), x, labels)
    moved = (before - model.network.weight.detach()).flatten()
    # The matrix is singular; what it does to both directions can be compared.
    torch.testing.assert_close(full @ moved, gradient, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("likelihood", "curvature"),
    [
        (
            "categorical",
            lambda s: torch.diag(s.softmax(0)) - torch.outer(s.softmax(0), s.softmax(0)),
        ),
        ("bernoulli", lambda s: torch.diag(s.sigmoid() * (1 - s.sigmoid()))),
        ("gaussian", lambda s: 2 * torch.eye(len(s), dtype=s.dtype)),
    ],
)
def test_sampled_gradients_have_the_curvature_of_their_loss(likelihood, curvature):
    torch.manual_seed(0)
    s = torch.randn(4, dtype=torch.float64)
    drawn = sampled_gradient(s.expand(400_000, 4), likelihood)
    # The standard error of an entry is at most sqrt(8 / 400,000) = 0.0045 (gaussian, diagonal).
    torch.testing.assert_close(drawn.T @ drawn / len(drawn), curvature(s), rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.mean(0), torch.zeros_like(s), rtol=0, atol=0.012)


def test_scores_at_many_places_are_drawn_for_each_place():
    torch.manual_seed(0)
    drawn = sampled_gradient(torch.full((3, 5, 7), 0.0), "categorical")
    labels = drawn < 0  # p - 1 where the class was drawn
    assert torch.equal(labels.sum(1), torch.ones(3, 7, dtype=torch.long))
    assert drawn.sum(1).abs().max() < 1e-6


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # on purpose
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Conv2d(2, 3, (2, 3), dilation=(1, 2), padding="same"),
        nn.Conv2d(2, 3, 2, padding="valid", bias=False),
        nn.Conv1d(2, 3, 4, stride=3, padding=2),
        nn.Conv1d(2, 3, 4, padding="same"),
        nn.Linear(5, 3),
    ],
    ids=repr,
)
def test_rows_times_weights_are_the_layers_output(layer):
    torch.manual_seed(0)
    x = torch.randn(4, 2, 9, 7) if isinstance(layer, nn.Conv2d) else torch.randn(4, 2, 9)
    x = torch.randn(4, 6, 5) if isinstance(layer, nn.Linear) else x
    matrix = layer.weight.detach().flatten(1)
    if layer.bias is not None:
        matrix = torch.cat((matrix, layer.bias.detach()[:, None]), 1)
    y = layer(x).detach()
    y = y if isinstance(layer, nn.Linear) else y.movedim(1, -1)
    found = input_rows(layer, x) @ matrix.T
    torch.testing.assert_close(found, y.flatten(0, -2), rtol=0, atol=1e-5)


def test_damping_is_split_between_the_factors_by_their_mean_eigenvalues():
    generator = np.random.default_rng(0)
    a, g = (m @ m.T for m in (generator.normal(size=(5, 9)), generator.normal(size=(3, 9))))
    pi = math.sqrt((np.trace(a) / 5) / (np.trace(g) / 3))
    found = damped_inverses(torch.from_numpy(a), torch.from_numpy(g), 0.25)
    expected = (
        np.linalg.inv(a + 0.5 * pi * np.eye(5)),
        np.linalg.inv(g + 0.5 / pi * np.eye(3)),
    )
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-12)


# The rule of the steps.


def test_steps_follow_the_rule_written_out(model):
    """Momentum, decoupled weight decay and the bound of the length, on a twin without them."""
    x, labels = batch()
    options = {"fisher": "empirical", "statistics_interval": 1, "inverse_interval": 1}
    rule = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3, "kl_clip": 1e-3}
    optimizer = kfac(model, **rule, **options)
    twin = copy.deepcopy(model)
    velocity = [torch.zeros_like(p) for p in model.network.parameters()]
    natural = kfac(twin, **options)
    for _ in range(3):
        twin.load_state_dict(model.state_dict())
        before = [p.detach().clone() for p in model.network.parameters()]
        step(twin, natural, x, labels)
        step(model, optimizer, x, labels)
        pairs = list(zip(before, twin.network.parameters(), strict=True))
        directions = [start - p.detach() for start, p in pairs]
        product = sum((d * p.grad).sum() for d, (_, p) in zip(directions, pairs, strict=True))
        scale = min(1.0, math.sqrt(1e-3 / (0.01 * product)))
        assert scale < 1
        for i, p in enumerate(model.network.parameters()):
            velocity[i] = 0.8 * velocity[i] + scale * directions[i]
            expected = before[i] * (1 - 0.1 * 0.3) - 0.1 * velocity[i]
            torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-9)


def test_averages_are_plain_means_at_first_and_keep_their_share_later(model):
    x, _ = batch()
    optimizer = kfac(model, lr=1e-9, statistics_decay=0.6, statistics_interval=2)
    weight = model.network[7].weight
    seen, expected = [], None
    for number in range(8):
        inputs = x * (number + 1)
        rows = nn.Sequential(*model.network[:7])(inputs).detach()
        step(model, optimizer, inputs, torch.zeros(len(x), dtype=torch.long))
        if number < 3 or number % 2 == 0:
            seen.append(rows.T @ rows / len(rows))
            keep = min(1 - 1 / len(seen), 0.6)
            expected = seen[-1] if expected is None else keep * expected + (1 - keep) * seen[-1]
        torch.testing.assert_close(optimizer.state[weight]["a"], expected, rtol=1e-6, atol=1e-9)


def test_other_layers_take_plain_steps():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.GroupNorm(2, 4), nn.Flatten())
    network.append(nn.Linear(64, 3))
    model = Model(network.double())
    optimizer = kfac(model, lr=0.1)
    before = [p.detach().clone() for p in network.parameters()]
    step(model, optimizer, *batch())
    plain = [
        torch.allclose(start - 0.1 * p.grad, p.detach(), rtol=0, atol=1e-12)
        for start, p in zip(before, network.parameters(), strict=True)
    ]
    assert plain == [True] * 4 + [False] * 2


def test_a_weight_that_two_layers_share_takes_plain_steps():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    model = Model(nn.Sequential(first, second, nn.Linear(4, 3)))
    optimizer = kfac(model)
    step(model, optimizer, torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert "a" not in optimizer.state[first.weight]
    assert "a" in optimizer.state[model.network[2].weight]


def test_evaluation_and_copies_of_the_model_are_not_listened_to(model):
    optimizer = kfac(model)
    x, labels = batch()
    step(model, optimizer, x, labels)
    state = copy.deepcopy(optimizer.state_dict())
    twin = copy.deepcopy(model)
    pickle.loads(pickle.dumps(model)).network(x)
    twin.network(x).sum().backward()
    with torch.no_grad():
        model.network(x)
    model.network.eval()(x).sum().backward()
    assert not any(optimizer._records.values())
    assert not optimizer._pending
    for index, tensors in optimizer.state_dict()["state"].items():
        assert all(torch.equal(tensor, state["state"][index][n]) for n, tensor in tensors.items())


def test_activations_that_work_in_place_change_nothing(model):
    twin = copy.deepcopy(model)
    for number, layer in enumerate(twin.network):
        if isinstance(layer, nn.ReLU):
            twin.network[number] = nn.ReLU(inplace=not layer.inplace)
    x, labels = batch()
    for one in (model, twin):
        torch.manual_seed(1)
        step(one, kfac(one), x, labels)
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_a_trainer_clips_the_gradients_before_the_step():
    torch.manual_seed(0)
    x, labels = torch.randn(8, 4), torch.randint(0, 3, (8,))
    model = MLP(4, 3, hidden_sizes=[5])
    twin = copy.deepcopy(model)
    model.configure_optimizers = lambda: kfac(model, fisher="empirical")
    trainer = Trainer(
        max_steps=1,
        gradient_clip_val=0.01,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(TensorDataset(x, labels), batch_size=8)
    trainer.fit(model, loader, loader)  # without the second, Lightning misses validation
    optimizer = kfac(twin, fisher="empirical")
    F.cross_entropy(twin(x), labels).backward()
    assert nn.utils.clip_grad_norm_(twin.parameters(), 0.01) > 0.1
    optimizer.step()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)


def test_accumulated_batches_count_as_one(model):
    """Two halves, each with half its loss, as a trainer that accumulates gradients gives them."""
    x, labels = batch()
    twin = copy.deepcopy(model)
    whole, halves = kfac(model), kfac(twin)
    step(model, whole, x, labels)
    for part in (slice(0, 6), slice(6, 12)):
        (F.cross_entropy(twin.network(x[part]), labels[part]) / 2).backward()
    halves.step()
    for mine, other in zip(model.network, twin.network, strict=True):
        if has_factors(mine):
            a, b = whole.state[mine.weight]["a"], halves.state[other.weight]["a"]
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_quadratic_bowl_that_is_narrow_takes_a_tenth_of_the_steps_of_gradient_descent():
    torch.manual_seed(0)
    scale = torch.logspace(0, -2, 8, dtype=torch.float64)  # condition number 10^4
    x = torch.randn(400, 8, dtype=torch.float64) * scale
    y = x @ torch.randn(8, 2, dtype=torch.float64)

    def steps_until(make, limit: int) -> int:
        model = Model(nn.Linear(8, 2).double(), "gaussian")
        nn.init.zeros_(model.network.weight)
        optimizer = make(model)
        start = None
        for number in range(limit):
            optimizer.zero_grad()
            loss = (model.network(x) - y).square().sum() / len(x)
            loss.backward()
            start = loss.item() if start is None else start
            if loss.item() < 1e-3 * start:
                return number
            optimizer.step()
        return limit

    natural = steps_until(lambda m: kfac(m, damping=1e-6, lr=0.7), 200)
    plain = steps_until(lambda m: torch.optim.SGD(m.parameters(), 0.4), 5000)
    assert 10 * natural < plain


# State.


def test_a_resumed_optimizer_goes_on_to_the_bit(model):
    x, labels = batch()
    options = {"momentum": 0.9, "lr": 0.1, "statistics_interval": 2, "inverse_interval": 3}
    optimizer = kfac(model, **options)
    for _ in range(5):
        step(model, optimizer, x, labels)
    twin = Model(small_convolution().double())
    twin.load_state_dict(model.state_dict())
    resumed = kfac(twin, **options)
    file = pickle.dumps(optimizer.state_dict())
    resumed.load_state_dict(pickle.loads(file))
    random = torch.get_rng_state()
    ahead = [step(model, optimizer, x, labels) for _ in range(7)]
    torch.set_rng_state(random)
    assert [step(twin, resumed, x, labels) for _ in range(7)] == ahead
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_state_is_made_of_tensors_that_load_without_any_code(model, tmp_path):
    optimizer = kfac(model, momentum=0.9)
    step(model, optimizer, *batch())
    states = optimizer.state_dict()["state"].values()
    assert all(isinstance(value, torch.Tensor) for state in states for value in state.values())
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    loaded = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert loaded["state"].keys() == optimizer.state_dict()["state"].keys()


def test_a_network_that_diverged_shows_it(model):
    x, labels = batch()
    optimizer = kfac(model)
    step(model, optimizer, x * float("nan"), labels)
    assert not model.network[0].weight.isfinite().any()


# Many processes.


def half_of_the_batch(folder: str, rank: int) -> None:
    """What one of two processes does: a step on its half under DDP, and keep the weights."""
    with one_of_two(folder, rank):
        torch.manual_seed(0)
        model = Model(small_convolution().double())
        x, labels = batch()
        optimizer = kfac(model, fisher="empirical")
        wrapped = nn.parallel.DistributedDataParallel(model.network)
        part = slice(0, 6) if rank == 0 else slice(6, 12)
        F.cross_entropy(wrapped(x[part]), labels[part]).backward()
        optimizer.step()
        torch.save(model.state_dict(), f"{folder}/{rank}.pt")


def test_two_processes_step_as_one_does_on_the_joined_batch(model, tmp_path):
    x, labels = batch()
    step(model, kfac(model, fisher="empirical"), x, labels)
    run_two(__file__, tmp_path)
    for rank in (0, 1):
        for name, weight in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(weight, model.state_dict()[name], rtol=0, atol=1e-8)


# What is refused.


def test_a_step_without_the_modules_is_refused(model):
    optimizer = KFAC(model.parameters())
    with pytest.raises(RuntimeError, match=r"attach\(module\) must be called before"):
        optimizer.step()


def test_drawing_targets_for_a_module_without_a_likelihood_is_refused():
    model = Model(nn.Linear(2, 2), None)
    with pytest.raises(ValueError, match="must be auto or empirical: Model tells") as caught:
        kfac(model, fisher="sampled")
    assert "set `fisher` to empirical" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "`lr` must be a positive number, but is 0.0."),
        ({"momentum": 1.0}, "`momentum` must be in [0, 1), but is 1.0."),
        ({"weight_decay": -1.0}, "`weight_decay` must be 0 or above, but is -1.0."),
        ({"damping": 0.0}, "`damping` must be a positive number, but is 0.0."),
        ({"damping": float("nan")}, "`damping` must be a positive number, but is nan."),
        ({"statistics_decay": 1.0}, "`statistics_decay` must be in [0, 1), but is 1.0."),
        ({"statistics_interval": 0}, "`statistics_interval` must be at least 1, but is 0."),
        ({"inverse_interval": 0}, "`inverse_interval` must be at least 1, but is 0."),
        ({"kl_clip": 0.0}, "`kl_clip` must be above 0, but is 0.0."),
        ({"fisher": "exact"}, "`fisher` must be one of auto, sampled, empirical, but is 'exact'."),
    ],
)
def test_arguments_out_of_range_are_refused(model, options, message):
    with pytest.raises(ValueError, match="must be") as caught:
        KFAC(model.parameters(), **options)
    assert str(caught.value) == message


if __name__ == "__main__":  # a rank of the test of two processes
    half_of_the_batch(sys.argv[1], int(sys.argv[2]))
