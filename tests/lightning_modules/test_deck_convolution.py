"""The numbers of the deck's convolution slides, on the layers that our networks use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.layers import AVERAGE_POOLING, MAX_POOLING, LayerStyle
from paceline.lightning_modules.cnn import ConvolutionalNetwork
from paceline.lightning_modules.mlp import MLPNetwork
from paceline.lightning_modules.pictures.kernels import (
    KERNELS,
    apply_kernel,
    kernels_figure,
    photograph,
)
from torch import nn

LINEAR = LayerStyle("linear")

# Slide "Strides and Padding". The operands are the slide's; what it prints below them does not
# follow from them, so the result is worked out here.
INPUT = [[2, 2, 3, 3, 3], [0, 1, 3, 0, 3], [2, 3, 0, 1, 3], [3, 3, 2, 1, 2], [3, 3, 0, 2, 3]]
KERNEL = [[2, 0, 1], [1, 0, 0], [0, 1, 1]]
RESULT = [[1, 5, 6], [7, 8, 3], [3, 10, 4]]


def convolution(kernel: object, **sizes: int) -> nn.Conv2d:
    """Our convolutional layer, from one channel to one, with this kernel."""
    weight = torch.tensor(kernel, dtype=torch.float32)
    layer, _ = LINEAR.convolution(1, 1, len(weight), **sizes)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def slide_over(image: np.ndarray, kernel: np.ndarray, stride: int, pad: int) -> np.ndarray:
    """Cross-correlation of (H, W) in NumPy, one place after the other."""
    image, side = np.pad(image, pad), len(kernel)
    places = range(0, len(image) - side + 1, stride)
    return np.array(
        [[(image[i : i + side, j : j + side] * kernel).sum() for j in places] for i in places]
    )


def test_stride_and_padding_give_the_slide_s_three_by_three():
    x = torch.tensor(INPUT, dtype=torch.float32)
    found = convolution(KERNEL, stride=2, padding=1)(x[None, None])[0, 0]
    assert found.tolist() == RESULT
    assert slide_over(np.array(INPUT), np.array(KERNEL), stride=2, pad=1).tolist() == RESULT


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_same_padding_keeps_the_size_and_valid_takes_the_kernel_off(kernel_size):
    x = torch.zeros(1, 1, 9, 9)
    kernel = np.ones((kernel_size, kernel_size)).tolist()
    assert convolution(kernel)(x).shape[2:] == (9, 9)
    valid = 9 - kernel_size + 1
    assert convolution(kernel, padding=0)(x).shape[2:] == (valid, valid)


def test_pooling_takes_each_map_by_itself_and_halves_it():
    maps = torch.tensor(
        [[[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], [[9] * 4] * 4]
    ).float()
    assert MAX_POOLING[2](2)(maps[None])[0].tolist() == [[[6, 8], [3, 4]], [[9, 9], [9, 9]]]
    assert AVERAGE_POOLING[2](2)(maps[None])[0, 0].tolist() == [[3.25, 5.25], [2, 2]]


def shift_error(network: nn.Module, pixels: int, unit: int) -> float:
    """Largest difference between features of a shifted picture and shifted features.

    Args:
        network: Layers that shrink the picture `unit` times.
        pixels: Shift to the right, a multiple of `unit`; or not, then features shift by the floor.
        unit: See above.
    """
    x = torch.zeros(1, 3, 32, 32)
    x[..., 12:20, 8:16] = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, shifted = network(x), network(x.roll(pixels, dims=3))
    return (shifted - features.roll(pixels // unit, dims=3)).abs().max().item()


def layers(*strides: int) -> nn.Sequential:
    """3x3 layers without biases, so that an empty background stays empty up to the edges."""
    torch.manual_seed(0)
    widths = [3, *[8] * len(strides)]
    stack = [
        module
        for width, stride in zip(widths, strides, strict=False)
        for module in LayerStyle("relu").convolution(width, 8, 3, stride=stride)
    ]
    return nn.Sequential(*stack).eval()


@pytest.mark.parametrize("pixels", [1, 2, 3, 5])
def test_convolution_is_equivariant_to_shifts_away_from_the_edges(pixels):
    assert shift_error(layers(1, 1, 1), pixels, unit=1) < 1e-6


def test_stride_two_is_equivariant_to_shifts_by_two_and_not_by_one():
    strided, pooled = layers(1, 2), nn.Sequential(layers(1, 1), nn.MaxPool2d(2))
    for network in (strided, pooled):
        assert shift_error(network, pixels=2, unit=2) < 1e-6
        assert shift_error(network, pixels=1, unit=2) > 2.5  # features reach 2.7 and 4.6


def test_fully_connected_layer_is_not_equivariant():
    torch.manual_seed(0)
    network = nn.Sequential(*MLPNetwork(3 * 32 * 32, 64), nn.Unflatten(1, (1, 8, 8)))
    assert shift_error(network, pixels=4, unit=4) > 0.01


def test_average_head_makes_the_scores_invariant_to_shifts():
    torch.manual_seed(0)
    network = ConvolutionalNetwork((3, 32, 32), 5, (8,), head="average", style=LayerStyle("relu"))
    network.eval()
    with torch.no_grad():
        network.features[0].bias.zero_()  # pyright: ignore[reportIndexIssue]
        x = torch.zeros(1, 3, 32, 32)
        x[..., 12:20, 8:16] = 1
        scores, shifted = network(x), network(x.roll((2, 4), dims=(2, 3)))
    torch.testing.assert_close(shifted, scores, rtol=0, atol=1e-6)


def test_fully_connected_layer_over_a_picture_is_a_convolution_as_large_as_the_picture():
    torch.manual_seed(0)
    linear = MLPNetwork(32 * 32 * 3, 10, []).double()[-1]  # the slide's 3072 numbers to 10
    layer = LINEAR.convolution(3, 10, 32, padding=0)[0].double()
    assert layer.weight.numel() == linear.weight.numel() == 30_720
    with torch.no_grad():
        layer.weight.copy_(linear.weight.reshape(10, 3, 32, 32))
        layer.bias.copy_(linear.bias)
        x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
        torch.testing.assert_close(layer(x)[:, :, 0, 0], linear(x.flatten(1)), rtol=0, atol=1e-12)


def test_first_fully_connected_layer_of_alexnet_is_a_6x6_convolution_that_slides_over_more():
    """FC6 sees 256 maps of 6x6; over maps of 8x7 the convolution answers for each window."""
    torch.manual_seed(0)
    linear = nn.Linear(256 * 6 * 6, 32, dtype=torch.float64)  # 32 of its 4096 units
    layer = LINEAR.convolution(256, 32, 6, padding=0)[0].double()
    with torch.no_grad():
        layer.weight.copy_(linear.weight.reshape(32, 256, 6, 6))
        layer.bias.copy_(linear.bias)
        maps = torch.randn(1, 256, 8, 7, dtype=torch.float64)
        answers = layer(maps)  # (1, 32, 3, 2)
        assert answers.shape == (1, 32, 3, 2)
        for i in range(3):
            for j in range(2):
                window = maps[:, :, i : i + 6, j : j + 6].flatten(1)
                torch.testing.assert_close(answers[:, :, i, j], linear(window), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "in_channels", "out_channels", "kernel_size", "stride", "padding"),
    [(32, 3, 16, 3, 1, 1), (32, 3, 16, 3, 2, 1), (227, 3, 96, 11, 4, 0), (13, 256, 384, 3, 1, 1)],
)
def test_weights_and_multiply_adds_follow_the_slide_s_two_formulas(
    size, in_channels, out_channels, kernel_size, stride, padding
):
    layer = LINEAR.convolution(
        in_channels, out_channels, kernel_size, stride=stride, padding=padding
    )[0]
    parameters = kernel_size * kernel_size * in_channels * out_channels
    assert layer.weight.numel() == parameters
    assert layer.bias.numel() == out_channels
    output = layer(torch.zeros(1, in_channels, size, size))
    # Each output value takes one multiply-add for each weight of its kernel. The slide's
    # width / stride is exact where the padding keeps the size; without padding it is an upper
    # bound (227 / 4 = 56.75 for AlexNet's 55).
    counted = output.numel() * layer.weight[0].numel()
    slide = parameters * (size / stride) ** 2
    assert counted == slide if padding else 0.9 * slide < counted < slide


def test_kernels_are_the_slide_s():
    rows = {
        name: " / ".join(" ".join(map(str, r)) for r in kernel) for name, kernel in KERNELS.items()
    }
    assert rows == {
        "identity": "0 0 0 / 0 1 0 / 0 0 0",
        "blur": "1 1 1 / 1 1 1 / 1 1 1",
        "sharpen": "0 -1 0 / -1 4 -1 / 0 -1 0",
        "edge": "0 0 0 / -1 1 0 / 0 0 0",
    }


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_does_to_a_photograph_what_numpy_does(name):
    image, kernel = photograph()[100:140, 260:300], np.array(KERNELS[name])
    found = apply_kernel(image, kernel)
    for channel in range(3):
        expected = slide_over(image[..., channel], kernel, stride=1, pad=0)
        inside = found[1:-1, 1:-1, channel]
        np.testing.assert_allclose(inside, expected, rtol=0, atol=1e-12)


def test_identity_changes_nothing_and_flat_pictures_have_no_edges():
    image, flat = photograph("flower"), np.full((8, 9, 3), 0.7)
    np.testing.assert_array_equal(apply_kernel(image, np.array(KERNELS["identity"])), image)
    for name in ("sharpen", "edge"):
        assert np.abs(apply_kernel(flat, np.array(KERNELS[name]))).max() < 1e-12
    np.testing.assert_allclose(apply_kernel(flat, np.array(KERNELS["blur"])), 9 * flat)


def test_kernels_figure_draws_each_kernel_by_its_name(tmp_path):
    figure = kernels_figure()
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == [*KERNELS, "identity + sharpen"]
    figure.savefig(tmp_path / "kernels.png")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: photograph("cat"), "`name` must be one of china, flower, but is 'cat'."),
        (lambda: apply_kernel(np.zeros((4, 4)), np.ones((3, 3))), "`image` must be of shape (H, "),
        (lambda: apply_kernel(np.zeros((4, 4, 3)), np.ones((2, 2))), "`kernel` must be of shape "),
        (lambda: apply_kernel(np.zeros((4, 4, 3)), np.ones((3, 1))), "`kernel` must be of shape "),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match="must be") as caught:
        call()
    assert str(caught.value).startswith(message)
