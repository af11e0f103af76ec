from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from paceline.lightning_modules.ensemble import Ensemble
from paceline.lightning_modules.mlp import MLP
from paceline.lightning_modules.resnet import ResNet
from torch import nn
from torch.nn import functional as F

SHAPE = [1, 8, 8]  # of `digits`


def saved(model: MLP | ResNet, path: Path) -> str:
    """Write what an ensemble reads of a run's checkpoint."""
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    torch.save(content, path)
    return str(path)


@pytest.fixture
def models() -> list[MLP | ResNet]:
    """Two families with weights and batch statistics of their own."""
    torch.manual_seed(0)
    residual = ResNet(SHAPE, 10, depth=8, design="cifar", width=4)
    for module in residual.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_()
    return [MLP(in_shape=SHAPE, num_classes=10, hidden_sizes=[6]).eval(), residual.eval()]


@pytest.fixture
def members(models, tmp_path) -> list[dict[str, str]]:
    """The same two, as a config names them."""
    paths = [saved(m, tmp_path / f"{type(m).__name__}.ckpt") for m in models]
    return [
        {"family": type(m).__name__, "checkpoint": p} for m, p in zip(models, paths, strict=True)
    ]


def test_probabilities_are_the_mean_of_the_members(models, members):
    ensemble, x = Ensemble(members).eval(), torch.randn(5, *SHAPE)
    expected = torch.stack([m(x).softmax(1) for m in models]).mean(0)
    torch.testing.assert_close(ensemble(x).exp(), expected, rtol=1e-5, atol=1e-6)
    labels = torch.tensor([0, 3, 9, 1, 1])
    loss = -expected[range(5), labels].log().mean()
    torch.testing.assert_close(ensemble.data_loss(ensemble(x), labels), loss)
    assert torch.equal(ensemble.predict_step(x)["class"], expected.argmax(1))


def test_its_loss_is_at_most_the_members_mean_loss(models, members):
    ensemble, x = Ensemble(members).eval(), torch.randn(64, *SHAPE)
    labels = torch.arange(64) % 10
    each = [F.cross_entropy(m(x), labels) for m in models]
    assert ensemble.data_loss(ensemble(x), labels) <= sum(each) / 2  # by Jensen's inequality


def test_one_member_is_that_member(models, members):
    x = torch.randn(3, *SHAPE)
    expected = models[0](x).log_softmax(1)
    torch.testing.assert_close(Ensemble(members[:1]).eval()(x), expected)


def test_its_own_checkpoint_needs_no_other_file(members, tmp_path):
    ensemble, x = Ensemble(members, num_classes=10).eval(), torch.randn(3, *SHAPE)
    content = {
        "state_dict": ensemble.state_dict(),
        "hyper_parameters": dict(ensemble.hparams),
        "pytorch-lightning_version": "2.6.6",
    }
    torch.save(content, tmp_path / "all.ckpt")
    for member in members:
        Path(member["checkpoint"]).unlink()
    again = Ensemble.load_from_checkpoint(tmp_path / "all.ckpt", weights_only=True).eval()
    assert torch.equal(again(x), ensemble(x))


def test_members_of_different_classes_are_told(members, tmp_path):
    other = saved(MLP(in_shape=SHAPE, num_classes=3), tmp_path / "three.ckpt")
    three = {"family": "MLP", "checkpoint": other}
    told = r"models with the same classes, but have 10 \(.*MLP.ckpt\), 3 \(.*three.ckpt\)"
    with pytest.raises(ValueError, match=told):
        Ensemble([members[0], three])


def test_members_of_different_inputs_are_told(members, tmp_path):
    other = saved(MLP(in_shape=[1, 9, 9], num_classes=10), tmp_path / "nine.ckpt")
    with pytest.raises(ValueError, match="inputs of the same shape"):
        Ensemble([members[0], {"family": "MLP", "checkpoint": other}])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"family": "MPL"}, "`family` must be one of .*MLP"),
        ({"family": "os.system"}, "`family` must be one of"),
        ({"family": "ResNet"}, "checkpoints of their family, but .* is none of ResNet"),
        ({"checkpoint": "no.ckpt"}, "checkpoints that exist, but is 'no.ckpt'"),
        ({"weight": 2}, r"made of family, checkpoint and init_args, but is \['weight'\]"),
        ({"init_args": {}}, "without init_args beside a checkpoint"),
    ],
)
def test_a_member_that_cannot_be_is_told(members, change, told):
    with pytest.raises(ValueError, match=told):
        Ensemble([{**members[0], **change}])


def test_no_members_are_told():
    with pytest.raises(ValueError, match="`members` must be at least one mapping"):
        Ensemble([])


def test_a_family_may_be_named_by_its_class_path(members):
    path = "paceline.lightning_modules.mlp.MLP"
    assert Ensemble([{**members[0], "family": path}]).num_classes == 10


def test_it_cannot_be_trained(members):
    with pytest.raises(ValueError, match="must be measured, but is to be trained"):
        Ensemble(members).setup("fit")


def test_the_command_measures_an_ensemble_without_a_checkpoint(
    members, run_command, paceline_home, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    parts = {"data": {"class_path": "digits"}, "trainer": {"max_epochs": 1}}
    parts["model"] = {"class_path": "Ensemble", "init_args": {"members": members}}
    Path("vote.yaml").write_text(yaml.safe_dump(parts))
    measured = run_command("test", "vote.yaml", "--json")
    assert measured.code == 0, measured.err
    assert 0 <= measured.json["metrics"]["test/accuracy"] <= 1
    predicted = run_command("predict", "vote.yaml", "--json")
    assert predicted.code == 0, predicted.err
    refused = run_command("fit", "vote.yaml", "--json")
    assert refused.code != 0
    assert "must be measured" in refused.out
    assert "Traceback" not in refused.out


def test_the_command_starts_from_weights_and_measures_them(
    run_command, paceline_home, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = {"depth": 8, "design": "cifar", "width": 4}
    torch.save(ResNet(SHAPE, 10, **arguments).network.state_dict(), "ten.pt")
    torch.save(ResNet(SHAPE, 3, **arguments).network.state_dict(), "three.pt")
    parts = {"data": {"class_path": "digits"}, "optimizer": {"class_path": "SGD"}}
    parts["model"] = {"class_path": "ResNet", "init_args": arguments}
    Path("res.yaml").write_text(yaml.safe_dump(parts))
    measured = run_command("test", "res.yaml", "--pretrained", "ten.pt", "--json")
    assert measured.code == 0, measured.err
    for argv, told in [
        (("test", "res.yaml"), "`--ckpt_path` must be given"),
        (("test", "res.yaml", "--pretrained", "three.pt"), "pretrained_head"),
        (("test", "res.yaml", "--pretrained", "no.pt"), "a file that exists"),
        (("test", "mlp", "--pretrained", "ten.pt"), "pretrained"),
    ]:
        refused = run_command(*argv, "--json")
        assert refused.code == 2
        assert told in refused.out
