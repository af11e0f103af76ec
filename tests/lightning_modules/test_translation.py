from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.cnn import CNN
from paceline.lightning_modules.mlp import MLP
from paceline.lightning_modules.translation import accuracy_when_shifted, shift, translation_figure


def test_shift_moves_and_fills_with_the_background():
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    assert shift(x, 0, 1).tolist() == [[[[1, 1, 2], [1, 4, 5]]]]
    assert shift(x, -1, 0).tolist() == [[[[4, 5, 6], [1, 1, 1]]]]
    assert shift(x, 1, -2).tolist() == [[[[1, 1, 1], [3, 1, 1]]]]
    assert torch.equal(shift(x, 0, 0), x)


def in_the_middle(classifier: MLP | CNN) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two batches of pictures with a spot in the middle, labelled by the classifier itself."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(100, 1, 16, 16)
    x[..., 5:11, 5:11] = torch.rand(100, 1, 6, 6, generator=generator)
    with torch.no_grad():
        labels = classifier.eval()(x).argmax(1)
    assert len(labels.unique()) >= 2  # or no shift could change an answer
    return [(x[:60], labels[:60]), (x[60:], labels[60:])]


def test_convolution_pooled_over_all_places_keeps_its_answers_and_an_mlp_does_not():
    torch.manual_seed(0)
    cnn = CNN([1, 16, 16], 10, channels=[32], pooling="stride", kernel_size=5, batch_norm=False)
    mlp = MLP(in_shape=[1, 16, 16], num_classes=10)
    even = accuracy_when_shifted(cnn, in_the_middle(cnn), distances=(0, 2))
    assert even == [1, 1]  # a stride of 2 is equivariant to shifts by 2
    curve = accuracy_when_shifted(mlp, in_the_middle(mlp), distances=(0, 2))
    assert curve[0] == 1
    assert curve[1] < 0.7


def test_all_four_directions_count_and_the_mode_comes_back():
    class LeftHalf(torch.nn.Module):
        def forward(self, x):
            left, right = x[..., :2].sum((1, 2, 3)), x[..., 2:].sum((1, 2, 3))
            return torch.stack((left, right), 1)

    model = MLP(in_shape=[1, 4, 4], num_classes=2).train()
    model.network = LeftHalf()
    x = torch.zeros(1, 1, 4, 4)
    x[..., 1, 1] = 1  # a point left of the middle, one pixel from it
    assert accuracy_when_shifted(model, [(x, torch.tensor([0]))], distances=(0, 1)) == [1, 0.75]
    assert model.training


@pytest.mark.parametrize(
    ("shape", "distances", "message"),
    [
        ((2, 16), (0,), "`batches` must be pictures (B, C, H, W), but is (2, 16)."),
        ((2, 1, 4, 4), (4,), "`distances` must be at least 0 and less than 4, "),
        ((2, 1, 4, 4), (-1,), "`distances` must be at least 0 and less than 4, "),
    ],
)
def test_what_cannot_be_shifted_is_refused(shape, distances, message):
    model = MLP(in_shape=[1, 4, 4], num_classes=2)
    with pytest.raises(ValueError, match="must be") as caught:
        accuracy_when_shifted(model, [(torch.zeros(shape), torch.zeros(2).long())], distances)
    assert str(caught.value).startswith(message)


def test_no_batches_have_no_accuracy():
    with pytest.raises(ValueError, match=r"`batches` must be at least one, but is 0\."):
        accuracy_when_shifted(MLP(in_shape=[1, 4, 4], num_classes=2), [])


def test_figure_has_a_line_for_each_classifier(tmp_path):
    figure = translation_figure({"CNN": [0.9, 0.8], "MLP": [0.9, 0.3]}, distances=(0, 2))
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"CNN": [[0, 0.9], [2, 0.8]], "MLP": [[0, 0.9], [2, 0.3]]}
    figure.savefig(tmp_path / "translation.png")
