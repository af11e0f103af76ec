from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.clustering import (
    check_points,
    cluster_sums,
    give_points_to_empty,
    k_means_plus_plus,
    nearest_centre,
    normalized_mutual_information,
    purity,
)
from paceline.lightning_modules.blocks.lloyd import elbow, lloyd
from sklearn.cluster import KMeans as ScikitKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return torch.from_numpy(load_digits().data).float()  # (1797, 64), 0 to 16


@pytest.fixture(params=[0, 1 << 40], ids=["bounds", "all points"])
def bounded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paceline.lightning_modules.blocks.lloyd.BOUNDED_FROM", request.param)


def numpy_step(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    squares = ((points[:, None] - centres[None]) ** 2).sum(2)  # (N, K)
    owner = squares.argmin(1)
    means = np.stack([points[owner == k].mean(0) for k in range(len(centres))])
    return owner, means, squares.min(1).sum()


@pytest.mark.usefixtures("bounded")
def test_one_step_agrees_with_numpy_in_float64(digits):
    points = digits.double()
    centres = points[:12].clone()
    owner, means, inertia = numpy_step(points.numpy(), centres.numpy())
    found, distances = nearest_centre(points, centres)
    sums, counts = cluster_sums(points, found, 12)
    assert found.tolist() == owner.tolist()
    np.testing.assert_allclose(distances.sum().item(), inertia, rtol=1e-12)
    np.testing.assert_allclose((sums / counts[:, None]).numpy(), means, rtol=1e-12, atol=1e-12)
    whole = lloyd(points, centres, max_iterations=1)
    np.testing.assert_allclose(whole.centres.numpy(), means, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("num_clusters", [1, 2, 10, 40])
def test_iterations_agree_with_numpy_to_the_last(digits, num_clusters):
    points = digits[:600].double()
    centres = k_means_plus_plus(points, num_clusters, torch.Generator().manual_seed(0))
    found, expected = lloyd(points, centres), centres.numpy()
    before, owner, number = None, np.full(len(points), -1), 0
    while before is None or (before != owner).any():
        before, (owner, expected, _) = owner, numpy_step(points.numpy(), expected)
        number += 1
    assert (found.num_iterations, found.converged) == (number, True)
    assert found.assignment.tolist() == owner.tolist()
    np.testing.assert_allclose(found.centres.numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("num_clusters", [10, 50])
def test_inertia_agrees_with_scikit_learn_from_the_same_start(digits, num_clusters):
    centres = k_means_plus_plus(digits, num_clusters, torch.Generator().manual_seed(1))
    found = lloyd(digits, centres)
    options = {"n_init": 1, "tol": 0, "algorithm": "lloyd"}
    peer = ScikitKMeans(num_clusters, init=centres.numpy(), **options).fit(digits.numpy())
    assert found.inertia == pytest.approx(peer.inertia_, rel=1e-3)
    assert found.converged


@pytest.mark.usefixtures("bounded")
def test_an_offset_of_all_points_changes_nothing(digits):
    near, far = (lloyd(digits + by, digits[:10] + by) for by in (0.0, 1000.0))
    assert near.inertia == pytest.approx(far.inertia, rel=1e-4)


@pytest.mark.usefixtures("bounded")
def test_few_points_at_a_time_give_the_same_as_all(digits, monkeypatch):
    whole = lloyd(digits, digits[:10])
    monkeypatch.setattr("paceline.lightning_modules.blocks.clustering.CHUNK_NUMBERS", 64 * 50)
    parts = lloyd(digits, digits[:10])
    assert parts.assignment.tolist() == whole.assignment.tolist()
    owner, distances = nearest_centre(digits, whole.centres)
    assert owner.tolist() == whole.assignment.tolist()
    assert distances.sum().item() == pytest.approx(whole.inertia, rel=1e-4)


@pytest.mark.usefixtures("bounded")
def test_an_empty_cluster_is_given_the_farthest_point():
    points = torch.tensor([[0.0], [1.0], [2.5], [10.0]])
    found = lloyd(points, torch.tensor([[1.0], [100.0], [200.0]]))
    assert sorted(found.centres.flatten().tolist()) == pytest.approx([0.5, 2.5, 10.0])
    assert found.converged


def test_a_cluster_of_one_point_keeps_it_when_others_are_empty():
    sums, counts = torch.tensor([[5.0], [4.0], [0.0]]), torch.tensor([1.0, 2.0, 0.0])
    owners = torch.tensor([0, 1, 1])
    points, distances = torch.tensor([[5.0], [1.0], [3.0]]), torch.tensor([9.0, 1.0, 4.0])
    assert give_points_to_empty(sums, counts, points, owners, distances) == [2]
    assert sums.flatten().tolist() == [5.0, 1.0, 3.0]
    assert counts.tolist() == [1.0, 1.0, 1.0]
    assert owners.tolist() == [0, 1, 2]


@pytest.mark.usefixtures("bounded")
def test_as_many_clusters_as_points_leave_nothing(digits):
    assert lloyd(digits[:20], digits[:20]).inertia == pytest.approx(0, abs=1e-3)


def test_clusters_that_lie_apart_are_all_found_by_the_start():
    # By chance two of eight starts in one group: below 1e-6, the groups are a thousand apart.
    groups = torch.arange(8.0)[:, None] * 1000 + torch.randn(8, 50, generator=seeded(0))
    start = k_means_plus_plus(groups.reshape(-1, 1), 8, seeded(0))
    assert sorted((start.flatten() / 1000).round().tolist()) == list(range(8))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_points_can_be_started_from():
    assert k_means_plus_plus(torch.ones(5, 2), 3, seeded(0)).tolist() == [[1.0, 1.0]] * 3


def test_measures_agree_with_scikit_learn_and_with_counting():
    rng = np.random.default_rng(0)
    clusters, classes = rng.integers(0, 6, 400), rng.integers(0, 4, 400)
    classes[clusters == 2] = 1
    table = np.zeros((6, 4))
    np.add.at(table, (clusters, classes), 1)
    found = normalized_mutual_information(torch.from_numpy(table)).item()
    assert found == pytest.approx(normalized_mutual_info_score(classes, clusters), abs=1e-12)
    commonest = sum(np.bincount(classes[clusters == k]).max() for k in range(6)) / 400
    assert purity(torch.from_numpy(table)).item() == pytest.approx(commonest)
    assert normalized_mutual_information(torch.eye(3)).item() == pytest.approx(1)
    assert normalized_mutual_information(torch.ones(1, 1)).item() == 1


def test_inertia_falls_with_the_number_of_clusters(digits):
    inertia = elbow(digits[:500], [1, 4, 16, 64])
    assert inertia == sorted(inertia, reverse=True)
    assert inertia[0] == pytest.approx(digits[:500].var(0, correction=0).sum().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("points", "number", "message"),
    [
        (torch.zeros(3, 2), 4, "`num_clusters` must be at most 3, the number of points, but is 4."),
        (torch.zeros(3, 2), 0, "`num_clusters` must be a whole number of at least 1, but is 0."),
        (
            torch.tensor([[0.0], [float("nan")], [float("inf")]]),
            2,
            "`points` must be finite, but 2 of 3 are not.",
        ),
    ],
)
def test_points_that_cannot_be_clustered_are_refused(points, number, message):
    with pytest.raises(ValueError, match="must be") as caught:
        check_points(points, number)
    assert str(caught.value) == message
