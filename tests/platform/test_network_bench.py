"""`paceline bench networks`: what is measured, which runs count, and the line through the times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from paceline.platform.config import load
from paceline.platform.home import write_state
from paceline.platform.network_bench import add_accuracies, find_networks, fit_line
from paceline.platform.network_picture import draw
from PIL import Image
from sklearn.linear_model import LinearRegression

TWO = "cnn-fashion-mnist,lenet-mnist"


def test_networks_are_timed_and_drawn_over_their_cost(run_command):
    answer = run_command("bench", "networks", "--recipes", f"{TWO},mlp", "--rounds", 2, "--json")
    assert answer.code == 0, answer.err
    networks = answer.json["networks"]
    assert [one["recipe"] for one in networks] == ["lenet-mnist", "cnn-fashion-mnist"]
    assert networks[0]["parameters"] == 61_706
    # LeNet-5 on 32 x 32: 5x5x1x6x28^2 + 5x5x6x16x10^2 + 400x120 + 120x84 + 84x10
    assert networks[0]["macs"] == 117_600 + 240_000 + 48_000 + 10_080 + 840
    assert all(0 < one["seconds"] < 10 for one in networks)
    assert all(one["accuracy"] is None for one in networks)
    assert answer.json["line"] is None  # two networks have a line without a residual
    assert Path(answer.json["picture"]) == Path.cwd() / "networks.png"
    with Image.open("networks.png") as picture:
        assert picture.width > 800
    told = run_command("bench", "networks", "--recipes", TWO, "--rounds", 1, "--output", "x.png")
    assert "accuracy      left out for 2 network(s) without a run of their own" in told.out
    assert Path("x.png").exists()


def state(folder: Path, name: str, accuracy: float, changes: dict | None = None) -> None:
    """What a run of `cnn-fashion-mnist` leaves behind."""
    config = load("cnn-fashion-mnist", {k: (v, f"--{k}") for k, v in (changes or {}).items()})
    (folder / name).mkdir(parents=True)
    (folder / name / "config.yaml").write_text(config.text())
    told = {"name": name, "run_id": "1", "status": "finished", "tracking_uri": ""}
    told |= {"kind": "fit", "recipe": config.recipe, "metrics": {"val/accuracy": accuracy}}
    write_state(folder / name, told)


def test_accuracies_are_those_of_runs_of_the_same_network_on_the_same_data(
    paceline_home: Path, tmp_path: Path
):
    runs = tmp_path / "runs"
    state(runs, "worse", 0.90)
    state(runs, "wider", 0.95, {"model.channels": [64, 64]})
    state(runs, "easier", 0.99, {"data.class_path": "mnist"})
    state(runs, "good", 0.91, {"optimizer.lr": 0.01})  # the newest is looked at first
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    found, left_out = find_networks(TWO.split(","))
    add_accuracies(found, str(runs))
    assert left_out == {}
    assert [(one.accuracy, one.run) for _, one in found] == [(None, None), (0.91, "good")]
    networks = [one for _, one in found]
    for one in networks:
        one.seconds = 0.001
    figure = draw(networks, None)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "validation accuracy, %",
        "milliseconds a picture, CPU",
    ]


def test_the_line_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    x = rng.uniform(1e6, 1e8, 12)
    y = 1e-3 + 2e-11 * x + rng.normal(0, 1e-4, 12)
    line = fit_line(list(x), list(y))
    expected = LinearRegression().fit(x[:, None], y)
    assert line is not None
    assert line.seconds_per_mac == pytest.approx(expected.coef_[0], rel=1e-6)
    assert line.offset_s == pytest.approx(expected.intercept_, rel=1e-6)
    assert line.r2 == pytest.approx(expected.score(x[:, None], y), rel=1e-6)
    assert fit_line([1, 1, 1], [1, 2, 3]) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("bench", "network"), "`WHAT` must be a known name, but is 'network'"),
        (("bench", "networks", "--recipes", "lenet-mnits"), "lenet-mnist"),
        (("bench", "networks", "--recipes", "mlp"), "`--recipes` must be recipes of which one"),
        (("bench", "networks", "--output", "no/such/folder.png"), "`--output` must be a .png"),
        (("bench", "networks", "--output", "x.txt"), "`--output` must be a .png"),
        (("bench", "networks", "--rounds", 0), "`--rounds` must be an integer >= 1"),
    ],
)
def test_wrong_words_are_one_message(run_command, words: tuple, told: str):
    answer = run_command(*words)
    assert answer.code == 2
    assert told in answer.err
    assert list(Path.cwd().iterdir()) == []
