"""`paceline bench networks`: what is measured, which runs count, and the line through the times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from paceline.platform.commands.network_bench import add_accuracies, find_networks, fit_line
from paceline.platform.commands.network_picture import draw
from paceline.platform.configuration.config import load
from paceline.platform.home import write_state
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
    assert "accuracy      left out: no tested run; to get one: paceline fit lenet-mnist" in told.out
    assert Path("x.png").exists()


SHORT = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2)
SHORT = (*SHORT, "--trainer.limit_val_batches", 1, "--trainer.limit_test_batches", 2)


def test_accuracies_are_those_of_tested_runs_of_the_same_network_on_the_same_data(run_command):
    recipe = "lenet-mnist"

    def run(name: str, *changes: object, tested: bool = True) -> float:
        answer = run_command("fit", recipe, "--name", name, *SHORT, *changes, "--json")
        if "paceline data get" in answer.err:
            pytest.skip("the files of mnist are not here: `paceline data get mnist`")
        assert answer.code == 0, answer.err
        if not tested:
            return 0.0
        answer = run_command("test", name, "--json")
        assert answer.code == 0, answer.err
        return answer.json["metrics"]["test/accuracy"]

    run("older")
    accuracy = run("newer", "--optimizer.lr", 0.01)
    run("wider", "--model.channels", "[8, 16]")
    run("untested", tested=False)
    found, left_out = find_networks(TWO.split(","))
    assert left_out == {}
    assert add_accuracies(found) == {}
    lenet, cnn = (network for _, network in found)
    assert (lenet.accuracy, lenet.run) == (pytest.approx(accuracy), "newer")
    assert (cnn.accuracy, cnn.run) == (None, None)
    lenet.seconds = cnn.seconds = 0.001
    labels = [axes.get_ylabel() for axes in draw([lenet, cnn], None).axes]
    assert labels == ["test accuracy, %", "milliseconds a picture, CPU"]
    told = run_command("bench", "networks", "--recipes", TWO, "--rounds", 1)
    assert "accuracy      left out for 1: no tested run; to get one: paceline fit cnn" in told.out
    assert f"{accuracy:.2%}  newer" in told.out


def test_a_run_whose_record_is_gone_or_whose_state_is_broken_has_no_accuracy(
    paceline_home: Path, tmp_path: Path
):
    runs = tmp_path / "runs"
    for name in ("gone", "broken"):
        (runs / name).mkdir(parents=True)
    (runs / "broken" / "run.json").write_text("{")
    config = load("lenet-mnist")
    (runs / "gone" / "config.yaml").write_text(config.text())
    told = {"name": "gone", "run_id": "1", "status": "finished", "recipe": "lenet-mnist"}
    write_state(runs / "gone", told | {"tracking_uri": "http://127.0.0.1:9"})
    found, _ = find_networks(["lenet-mnist"])
    left_out = add_accuracies(found, str(runs))
    assert found[0][1].accuracy is None
    assert list(left_out) == ["http://127.0.0.1:9"]


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
