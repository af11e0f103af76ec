from __future__ import annotations

from pathlib import Path

import pytest
import torch
from paceline.lightning_modules.googlenet import GoogLeNet
from paceline.lightning_modules.pretrained import compare, read_weights
from paceline.lightning_modules.resnet import ResNet
from paceline.lightning_modules.senet import SEResNet

SMALL = {"depth": 8, "design": "cifar", "width": 4}


def resnet(num_classes: int = 5, kind: type[ResNet] = ResNet, **arguments) -> ResNet:
    return kind(in_shape=[3, 16, 16], num_classes=num_classes, **{**SMALL, **arguments})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A state dict of a small network of five classes, as torchvision publishes its own."""
    torch.manual_seed(1)
    path = tmp_path / "weights.pt"
    torch.save(resnet().network.state_dict(), path)
    return path


def notes(error: pytest.ExceptionInfo) -> str:
    return "\n".join(error.value.__notes__)


def test_a_state_dict_gives_the_same_outputs(weights):
    model = resnet(pretrained=str(weights))
    x = torch.randn(2, 3, 16, 16)
    expected = resnet()
    expected.network.load_state_dict(torch.load(weights, weights_only=True))
    assert torch.equal(model.eval()(x), expected.eval()(x))
    assert not torch.equal(model(x), resnet().eval()(x))


def test_a_checkpoint_of_a_training_run_serves_too(tmp_path):
    first = resnet()
    path = tmp_path / "run.ckpt"
    torch.save({"state_dict": first.state_dict(), "epoch": 3}, path)
    second = resnet(pretrained=str(path))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_the_head_can_be_left_out_for_other_classes(weights):
    model = resnet(num_classes=7, pretrained=str(weights), pretrained_head=False)
    state = torch.load(weights, weights_only=True)
    own = model.network.state_dict()
    assert own["fc.weight"].shape == (7, 16)
    for name in (n for n in state if not n.startswith("fc.")):
        assert torch.equal(own[name], state[name]), name


def test_other_classes_are_told_with_the_remedy(weights):
    with pytest.raises(ValueError, match="`pretrained` must be a file of this network's") as error:
        resnet(num_classes=7, pretrained=str(weights))
    assert "other shape: fc.weight is (7, 16) in the network, (5, 16) in the file" in notes(error)
    assert "trained on 5 classes, `num_classes` is 7: set `pretrained_head` to false" in notes(
        error
    )


def test_each_missing_and_each_unknown_name_is_told(weights):
    state = torch.load(weights, weights_only=True)
    state["conv2.weight"] = state.pop("conv1.weight")
    torch.save(state, weights)
    with pytest.raises(ValueError, match="weights") as error:
        resnet(pretrained=str(weights))
    expected = ["missing in the file: conv1.weight", "unknown to the network: conv2.weight"]
    assert error.value.__notes__ == expected


def test_long_lists_of_names_end_with_their_number(weights):
    with pytest.raises(ValueError, match="weights") as error:
        resnet(depth=20, pretrained=str(weights))
    told = error.value.__notes__
    assert len(told) == 13
    assert told[-1] == "... and 48 more"  # six blocks more of ten tensors each, and no counters


def test_a_plain_residual_network_is_no_se_network(weights):
    with pytest.raises(ValueError, match="weights") as error:
        resnet(kind=SEResNet, reduction=4, pretrained=str(weights))
    assert "missing in the file: layer1.0.gate.fc1.weight" in notes(error)


def test_se_networks_start_from_their_own_weights(tmp_path):
    first = resnet(kind=SEResNet, reduction=4)
    torch.save(first.network.state_dict(), tmp_path / "se.pt")
    second = resnet(kind=SEResNet, reduction=4, pretrained=str(tmp_path / "se.pt"))
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_files_of_before_the_counters_of_batch_norm_fit(weights):
    state = torch.load(weights, weights_only=True)
    torch.save({n: t for n, t in state.items() if "num_batches" not in n}, weights)
    assert resnet(pretrained=str(weights)).brings_weights


def test_auxiliary_classifiers_in_the_file_may_be_left_out(tmp_path):
    def googlenet(**arguments) -> GoogLeNet:
        return GoogLeNet([3, 32, 32], 5, stem="small", width=0.1, **arguments)

    whole = googlenet()
    torch.save(whole.network.state_dict(), tmp_path / "googlenet.pt")
    alone = googlenet(auxiliary_weight=0, pretrained=str(tmp_path / "googlenet.pt"))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(whole.eval()(x), alone.eval()(x))
    without = googlenet(pretrained=str(tmp_path / "googlenet.pt"), pretrained_head=False)
    assert torch.equal(without.network.aux1.fc1.weight, whole.network.aux1.fc1.weight)
    assert not torch.equal(without.network.aux1.fc2.weight, whole.network.aux1.fc2.weight)


def test_a_checkpoint_of_the_fine_tuned_model_does_not_need_the_file(weights):
    model = resnet(pretrained=str(weights), pretrained_head=False)
    assert not {"pretrained", "pretrained_head"} & set(model.hparams)
    weights.unlink()
    again = ResNet(**model.hparams)
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.eval()(x), again.eval()(x))


class Harmful:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize(
    "content",
    [{"a": Harmful()}, {"a": 1.0}, {}, [torch.zeros(1)], torch.zeros(2)],
    ids=["object", "number", "empty", "list", "tensor"],
)
def test_files_of_anything_but_tensors_are_refused(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "odd.pt")
    with pytest.raises(ValueError, match="`pretrained` must be a state dict or a checkpoint"):
        read_weights("odd.pt")
    assert not Path("canary").exists()


def test_missing_and_damaged_files_are_told(tmp_path, weights):
    with pytest.raises(ValueError, match="`pretrained` must be a file that exists"):
        read_weights("no.pt")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="`pretrained` must be a state dict") as error:
        read_weights(broken)
    assert "damaged" in notes(error)


def test_equal_states_have_no_differences():
    state = {"a": torch.zeros(2), "b": torch.zeros(3, 1)}
    assert compare(state, dict(state)) == []
