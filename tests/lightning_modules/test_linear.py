from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.linear import LinearClassifier
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F


def blobs(num_classes: int, features: int, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % num_classes
    centres = torch.randn(num_classes, features, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, features, generator=generator, dtype=torch.float64)
    return centres[labels] + noise, labels


def minimise(model: LinearClassifier, x: torch.Tensor, labels: torch.Tensor) -> None:
    """Bring the objective to its minimum with full batches."""
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.data_loss(model(x), labels)
        if model.regularizer_weight:
            loss = loss + model.regularizer_weight * model.penalty()
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_softmax_with_l2_finds_scikit_learn_s_weights(num_classes):
    x, labels = blobs(num_classes, 3)
    weight = 0.05
    model = LinearClassifier(3, num_classes, regularizer="l2", regularizer_weight=weight).double()
    minimise(model, x, labels)
    # scikit-learn minimises C sum_i L_i + sum W^2 / 2: C = 1 / (2 N lambda).
    peer = LogisticRegression(C=1 / (2 * len(x) * weight), tol=1e-10, max_iter=5000).fit(x, labels)
    found = model.network.linear.weight.detach().numpy()
    np.testing.assert_allclose(found, peer.coef_, atol=1e-5)


def test_least_squares_finds_the_normal_equations_solution():
    x, labels = blobs(3, 4)
    model = LinearClassifier(4, 3, loss="squared").double()
    minimise(model, x, labels)
    design = np.c_[x.numpy(), np.ones(len(x))]
    expected = np.linalg.lstsq(design, np.eye(3)[labels.numpy()], rcond=None)[0]
    found = model.network.linear.weight.detach().numpy().T
    np.testing.assert_allclose(found, expected[:-1], atol=1e-6)


def test_two_classes_are_one_hyperplane_and_its_sign_decides():
    model = LinearClassifier(2, 2)
    linear = model.network.linear
    assert linear.weight.shape == (1, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, -2.0]]))
        linear.bias.fill_(0.5)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [-0.5, 0.0]])  # w.x + b = 0.5, -1.5, 0
    assert model.predict_step(x)["class"].tolist() == [1, 0, 0]


@pytest.mark.parametrize("loss", ["softmax", "svm", "squared"])
def test_binary_gradient_is_that_of_the_binary_loss(loss):
    x, labels = blobs(2, 3)
    model = LinearClassifier(3, 2, loss=loss).double()
    linear = model.network.linear
    s, y = linear(x).squeeze(1), 2.0 * labels - 1
    binary = {
        "softmax": F.binary_cross_entropy_with_logits(s, labels.double()),
        "svm": (1 - y * s).clamp(min=0).mean(),
        "squared": (s - y).square().mean() / 2,
    }[loss]
    (expected,) = torch.autograd.grad(binary, [linear.weight])
    (found,) = torch.autograd.grad(model.data_loss(model(x), labels), [linear.weight])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "classes", "picture"),
    [([1, 8, 8], 10, "templates"), ([3, 8, 8], 10, "templates"), ([40], 10, "templates"),
     ([40], 2, "templates"), ([2], 2, "hyperplane")],
)  # fmt: skip
def test_what_was_learned_can_be_looked_at(shape, classes, picture, tmp_path):
    figures = LinearClassifier(in_shape=shape, num_classes=classes).figures()
    assert list(figures) == [picture]
    figures[picture].savefig(tmp_path / "picture.png")


def test_templates_have_the_shape_of_the_image_and_the_names_of_the_classes():
    model = LinearClassifier(in_shape=[1, 2, 3], num_classes=3, class_names=["a", "b", "c"])
    axes = model.figures()["templates"].axes
    drawn = [(a.get_title(), a.images[0].get_array().shape) for a in axes if a.images]
    assert drawn == [(name, (2, 3)) for name in "abc"]
    weight = model.network.linear.weight.detach().numpy()
    np.testing.assert_array_equal(axes[1].images[0].get_array(), weight[1].reshape(2, 3))
