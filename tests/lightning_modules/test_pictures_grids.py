from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.pictures import latent_walks
from paceline.lightning_modules.pictures.grids import code_map, picture_grid, picture_rows, tiled
from paceline.lightning_modules.vae import VAE


def shown(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def evaluated(**arguments) -> VAE:
    torch.manual_seed(0)
    model = VAE(**{"in_shape": [1, 5, 4], "hidden_sizes": [6], "code_size": 3, **arguments})
    model._start_evaluation()
    model.validation_step((torch.rand(9, *model.network.in_shape), torch.arange(9)), 0)
    return model.eval()


def test_pictures_are_tiled_row_by_row_with_white_between():
    pictures = np.arange(3).reshape(3, 1, 1, 1) / 4 * np.ones((3, 1, 2, 3))
    image = tiled(pictures, columns=2)
    assert image.shape == (1, 5, 7)
    assert (image[0, :2, :3] == 0).all()
    assert (image[0, :2, 4:] == 0.25).all()
    assert (image[0, 3:, :3] == 0.5).all()
    assert (image[0, 2] == 1).all()
    assert (image[0, :, 3] == 1).all()
    assert (image[0, 3:, 4:] == 1).all()  # there is no fourth picture


def test_walks_go_straight_from_one_code_to_the_other():
    starts, ends = torch.tensor([[0.0, 1.0], [2.0, 2.0]]), torch.tensor([[4.0, 1.0], [2.0, 0.0]])
    ways = latent_walks.between(starts, ends, 5)
    assert ways[0].tolist() == [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1]]
    assert ways[1][:, 1].tolist() == [2, 1.5, 1, 0.5, 0]


def test_walks_along_single_numbers_leave_the_others_alone():
    walks = latent_walks.along_single_numbers(torch.tensor([7.0, 8.0, 9.0]), [2, 0], 3)
    assert walks.tolist() == [
        [[7, 8, -2.5], [7, 8, 0], [7, 8, 2.5]],
        [[-2.5, 8, 9], [0, 8, 9], [2.5, 8, 9]],
    ]


def test_manifold_begins_at_the_top_left_with_equal_shares_between_its_lines():
    codes = latent_walks.manifold(4).view(4, 4, 2)
    x, y = codes[..., 0], codes[..., 1]
    assert (x.diff(dim=1) > 0).all()
    assert (y.diff(dim=0) < 0).all()
    assert torch.equal(x[0], x[3])
    shares = torch.distributions.Normal(0.0, 1.0).cdf(x[0])
    torch.testing.assert_close(shares, torch.tensor([0.125, 0.375, 0.625, 0.875]))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 6), (40,)])
def test_grids_and_rows_of_any_shape_can_be_drawn(shape, tmp_path):
    pictures = np.random.default_rng(0).uniform(size=(6, *shape))
    picture_grid(pictures, 4, "a title").savefig(tmp_path / "grid.png")
    picture_rows(pictures.reshape(2, 3, *shape), ["one", "two"]).savefig(tmp_path / "rows.png")
    assert min((tmp_path / f"{name}.png").stat().st_size for name in ("grid", "rows")) > 1000


def test_names_of_rows_stand_beside_their_rows():
    figure = picture_rows(np.zeros((4, 2, 1, 9, 9)), list("abcd"))
    axes = figure.axes[0]
    rows = [np.clip(round(tick / 10 - 0.45), 0, 3) for tick in axes.get_yticks()]
    assert rows == [0, 1, 2, 3]
    assert [label.get_text() for label in axes.get_yticklabels()] == list("abcd")


def test_codes_are_drawn_over_the_circles_of_the_unit_gaussian():
    axes = code_map(np.zeros((5, 2)), np.arange(5)).axes[0]
    assert [np.hypot(*line.get_data()).round(6).max() for line in axes.lines] == [1, 2]
    assert len(code_map(np.zeros((5, 2)), None).axes) == 1


def test_all_pictures_of_a_model_are_there(tmp_path):
    assert set(VAE(in_shape=[1, 5, 4], code_size=3).figures()) == {"samples", "single_numbers"}
    seen = {"samples", "single_numbers", "reconstructions", "latent_walk"}
    assert set(evaluated().figures()) == seen
    of_two_numbers = evaluated(code_size=2).figures()
    assert set(of_two_numbers) == seen | {"manifold", "code_map"}
    for name, figure in of_two_numbers.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_a_latent_walk_begins_and_ends_with_what_is_said_of_two_pictures():
    model = evaluated()
    assert model._pictures is not None
    codes, _ = model.network.encode(model._pictures[0])
    made = model.picture_of(codes).detach()
    image = shown(model.figures()["latent_walk"])
    np.testing.assert_allclose(image[:5, :4], made[0, 0], atol=1e-6)
    np.testing.assert_allclose(image[:5, -4:], made[1, 0], atol=1e-6)


def test_snapshots_show_the_same_codes_and_leave_the_generator_alone():
    model = evaluated()
    state = torch.get_rng_state()
    first, second = (shown(model.snapshots()["samples"]) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (5 * 6 - 1, 5 * 5 - 1)
    assert torch.equal(state, torch.get_rng_state())


def test_samples_follow_their_seed_and_the_numbers_given():
    model = evaluated()
    first, again = (shown(model.sample(seed=4, count=4)["samples"]) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (2 * 6 - 1, 2 * 5 - 1)
    assert not np.array_equal(first, shown(model.sample(seed=5, count=4)["samples"]))
    whole = shown(model.sample(latent=[1.0, -2.0, 0.5])["samples"])
    expected = model.picture_of(torch.tensor([[1.0, -2.0, 0.5]])).detach()[0, 0]
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    part = model.draw_codes(4)
    part[:, 0] = 2.0
    expected = model.picture_of(part).detach()[3, 0]
    found = shown(model.sample(count=4, latent=[2.0])["samples"])
    np.testing.assert_allclose(found[6:, 5:], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` must be from 1 to 400, but is 0."),
        ({"count": 401}, "`count` must be from 1 to 400, but is 401."),
        ({"latent": [1.0] * 4}, "`latent` must be at most 3 finite numbers, but is "),
        ({"latent": [float("nan")]}, "`latent` must be at most 3 finite numbers, but is "),
    ],
)
def test_wrong_options_of_samples_are_told_with_their_rule(options, message):
    with pytest.raises(ValueError, match="must be") as caught:
        evaluated().sample(**options)
    assert str(caught.value).startswith(message)
