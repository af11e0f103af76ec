"""`paceline check`: one batch through a recipe, and its gradients against central differences."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from paceline.lightning_modules.alexnet import ResponseNorm
from paceline.platform.examining.gradient_check import (
    MOST,
    TOLERANCE,
    check_gradients,
    chosen_entries,
    layers,
    sample_sizes,
)
from torch import nn
from torch.nn import functional as F

THEIRS = '''
import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Slip(torch.autograd.Function):
    """Multiplies by w and forgets half of the gradient."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        return grad * w, 0.5 * (grad * x).sum(0)


class Net(LightningModule):
    """Right, with all that makes a check hard: dropout, batch norm, noise, a schedule's buffer."""

    def __init__(self, kind: str = "right"):
        super().__init__()
        self.kind, self.num_classes = kind, 3
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
        self.scale, self.idle = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(2))
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(()))
        self.example_input_array = torch.zeros(2, 4)
        if kind != "idle":
            self.idle = None
        self.automatic_optimization = kind != "manual"

    def forward(self, x):
        x = self.dropout(self.norm(self.first(x)).tanh())
        x = Slip.apply(x, self.scale) if self.kind == "slip" else x * self.scale
        return self.last(x)

    def training_step(self, batch):
        x, labels = batch
        self.seen += 1
        loss = nn.functional.cross_entropy(self(x + 0.1 * torch.randn_like(x)), labels)
        self.log("train/loss", loss)
        if self.kind == "manual":
            self.manual_backward(loss)
            return None
        if self.kind == "nan":
            return loss * float("nan")
        if self.kind == "fails":
            raise KeyError("the slip")
        return {"loss": loss + 0.01 * self.seen}

    def validation_step(self, batch):
        self.log("val/loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Points(LightningDataModule):
    def __init__(self, missing: bool = False):
        super().__init__()
        self.missing = missing

    def prepare_data(self):
        if self.missing:
            raise FileNotFoundError("`points` must be on this machine, but is not.")

    def train_dataloader(self):
        rng = torch.Generator().manual_seed(0)
        x, y = torch.randn(12, 4, generator=rng), torch.randint(0, 3, (12,), generator=rng)
        return DataLoader(TensorDataset(x, y), 6)

    val_dataloader = train_dataloader
'''


@pytest.fixture
def theirs(run_command, monkeypatch: pytest.MonkeyPatch) -> str:
    """A third party's module, in the folder that the command is called from."""
    Path("checked.py").write_text(THEIRS)
    Path("checked.yaml").write_text(
        "seed_everything: 1\nmodel: {class_path: checked.Net}\ndata: checked.Points\n"
        "sweep: {metric: val/loss}\n"
    )
    monkeypatch.delitem(sys.modules, "checked", raising=False)
    return "checked.yaml"


def straight_through(norm: ResponseNorm, x: torch.Tensor) -> torch.Tensor:
    """A response normalisation whose backward is that of the identity."""
    return x + (_RESPONSE_NORM(norm, x) - x).detach()


def constant_statistics(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """A batch norm whose backward takes mean and variance for constants."""
    var, mean = torch.var_mean(x.detach(), (0, 2, 3), correction=0)
    return F.batch_norm(x, mean, var, norm.weight, norm.bias, eps=norm.eps)


_RESPONSE_NORM = ResponseNorm.forward
# Recipe, its flags, the normalisation in it, a broken one, a layer after the last of them.
NORMALISED = {
    "batch norm": (
        ("resnet20-fashion-mnist", "--model.depth", 8, "--model.width", 4),
        (nn.BatchNorm2d, constant_statistics),
        "network.fc",
    ),
    "response norm": (
        ("alexnet-fashion-mnist", "--model.channels", "[4,8,8,8,4]", "--model.hidden_sizes", "[8]"),
        (ResponseNorm, straight_through),
        "network.features.8",
    ),
}


@pytest.mark.parametrize("kind", NORMALISED)
def test_a_normalising_network_passes_and_with_a_wrong_backward_does_not(
    run_command, monkeypatch: pytest.MonkeyPatch, kind: str
):
    words, (owner, broken), after = NORMALISED[kind]
    words = ("check", *words, "--gradients", "--entries", 2, "--json")
    right = run_command(*words)
    assert right.code == 0, right.err
    assert right.json["error"] <= TOLERANCE
    monkeypatch.setattr(owner, "forward", broken)
    wrong = run_command(*words)
    assert (wrong.code, wrong.json["status"]) == (1, "differs")
    errors = {layer["name"]: layer["error"] for layer in wrong.json["layers"]}
    assert max(errors.values()) > 0.1
    assert errors[after] <= TOLERANCE


@pytest.mark.parametrize("recipe", ["mlp", "linear", "cnn1d-mnist1d"])
def test_a_recipe_in_order_passes_both_checks(run_command, recipe: str):
    dry = run_command("check", recipe, "--json")
    assert dry.code == 0, dry.err
    assert dry.json["status"] == "ok"
    assert {"train/loss", "val/loss"} <= set(dry.json["metrics"])
    assert all(norm > 0 for norm in dry.json["gradients"].values())
    full = run_command("check", recipe, "--gradients", "--entries", 3, "--json")
    assert full.code == 0, full.err
    answer = full.json
    assert answer["error"] <= TOLERANCE
    assert answer["checked"] == sum(layer["checked"] for layer in answer["layers"])
    assert answer["examples"] == 4
    assert answer["kinks"] <= 0.05 * answer["checked"]


def test_nothing_is_left_behind(run_command, paceline_home: Path):
    run_command("check", "mlp")
    run_command("check", "mlp", "--gradients", "--entries", 1)
    assert not (paceline_home / "runs").exists()
    assert list(Path.cwd().iterdir()) == []


def test_dropout_noise_and_counting_buffers_do_not_spoil_the_comparison(run_command, theirs: str):
    answer = run_command("check", theirs, "--gradients", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["entries"] == answer.json["checked"] == 25 + 10 + 5 + 18
    assert answer.json["error"] < 1e-5  # tanh has no kinks
    assert [layer["name"] for layer in answer.json["layers"]] == ["scale", "first", "norm", "last"]


def test_a_wrong_backward_is_found_where_it_is(run_command, theirs: str):
    answer = run_command("check", theirs, "--gradients", "--model.kind", "slip", "--json")
    assert answer.code == 1
    errors = {layer["name"]: layer for layer in answer.json["layers"]}
    assert answer.json["status"] == "differs"
    assert errors["scale"]["error"] == pytest.approx(0.5, abs=1e-6)
    assert errors["scale"]["analytic"] == pytest.approx(errors["scale"]["numeric"] / 2)
    assert errors["first"]["error"] < 1e-5
    told = run_command("check", theirs, "--gradients", "--model.kind", "slip")
    assert "DIFFER" in told.out
    assert "by differences" in told.out


def test_a_loss_that_is_at_kinks_everywhere_is_not_said_to_agree(run_command):
    answer = run_command("check", "perceptron", "--gradients", "--json")
    assert answer.json["kinks"] == answer.json["checked"]
    assert (answer.code, answer.json["status"]) == (1, "unclear")


def test_without_its_data_a_classifier_is_checked_on_noise(run_command, theirs: str):
    missing = ("--data.missing", "true", "--json")
    answer = run_command("check", theirs, "--gradients", *missing)
    assert answer.code == 0, answer.err
    assert (answer.code, answer.json["data"]) == (0, "noise")
    dry = run_command("check", theirs, *missing)
    assert "not on this machine" in dry.json["notes"][0]
    assert dry.json["batch"][0]["shape"] == [4, 4]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("manual", "`Net.training_step` must return the loss"),
        ("nan", "must return one finite loss"),
        ("fails", "KeyError: 'the slip'"),
    ],
)
def test_what_cannot_be_compared_is_one_message(run_command, theirs: str, kind: str, told: str):
    answer = run_command("check", theirs, "--gradients", "--model.kind", kind, "--json")
    assert answer.code in (1, 2)
    assert told in answer.json["error"]["what"]
    assert "Traceback" not in answer.err


def test_a_dry_run_tells_what_is_wrong(run_command, theirs: str):
    idle = run_command("check", theirs, "--model.kind", "idle", "--json")
    assert idle.code == 1
    (problem,) = idle.json["problems"]
    assert problem == "every parameter must get a gradient, but these get none: idle"
    broken = run_command("check", theirs, "--model.kind", "nan")
    assert broken.code == 1
    assert "the loss must be finite, but is nan" in broken.out
    assert "gradients must be finite" in broken.out
    metric = run_command("check", theirs, "--sweep.metric", "val/acuracy", "--json")
    assert metric.json["problems"] == [
        "val/acuracy is not logged, which decides which checkpoint is best"
    ]
    manual = run_command("check", theirs, "--model.kind", "manual", "--json")
    assert (manual.code, manual.json["loss"]) == (0, None)


def compare(loss, weight: nn.Parameter) -> list:
    loss().backward()
    with torch.no_grad():
        return list(check_gradients({"w": weight}, {"w": weight.grad}, lambda: float(loss())))


def test_kinks_are_counted_and_not_taken_for_errors():
    weight = nn.Parameter(torch.tensor([0.0, 1.0, -2.0, 3e-6], dtype=torch.float64))
    (found,) = compare(lambda: weight.relu().sum() + weight.square().sum(), weight)
    assert (found.checked, found.kinks) == (4, 1)  # that at 3e-6 is seen with a smaller step
    assert found.error < 1e-6
    assert weight[0] == 0  # put back


def test_a_wrong_gradient_at_a_kink_is_no_kink():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    with torch.no_grad():
        checks = check_gradients(
            {"w": weight}, {"w": torch.tensor([1.5])}, lambda: float(weight.relu())
        )
        (found,) = list(checks)
    assert found.kinks == 0
    assert found.error > 0.5


def test_gradients_that_are_missing_count_as_zero():
    weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
    with torch.no_grad():
        (found,) = check_gradients({"w": weight}, {"w": None}, lambda: float(weight.sum()))
    assert found.error == pytest.approx(1)


def test_small_tensors_are_checked_whole_and_large_ones_by_a_seeded_sample():
    def chosen(size: int, seed: int) -> list[int]:
        (number,) = sample_sizes([size])
        return chosen_entries(size, number, torch.Generator().manual_seed(seed))

    assert chosen(64, 0) == list(range(64))
    assert len(set(chosen(65, 0))) == 24
    assert chosen(10_000, 1) == chosen(10_000, 1) != chosen(10_000, 2)
    assert sample_sizes([1, 10, 100], 5) == [1, 5, 5]


def test_many_tensors_share_the_entries_that_are_enough_for_all():
    assert sample_sizes([64, 1000, 3]) == [64, 24, 3]
    many = sample_sizes([64, 10_000, 3] * 20)
    assert sum(many) <= MOST < sum(many) + 40  # one more of each of the 40 would be too many
    assert many == [6, 6, 3] * 20
    assert sample_sizes([64] * 500) == [2] * 500


def test_a_layer_has_the_largest_error_of_its_tensors():
    from paceline.platform.examining.gradient_check import Checked

    found = layers(
        [Checked("a.weight", 6, 6, 1, 0.1, [0, 1], 1.0, 2.0), Checked("a.bias", 2, 2, 0, 0.2, [1])]
    )
    assert [(one.name, one.entries, one.checked, one.kinks, one.error) for one in found] == [
        ("a", 8, 8, 1, 0.2)
    ]
