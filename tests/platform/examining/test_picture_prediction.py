"""`paceline predict NAME IMAGE...`: one's own pictures, read, fitted and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.samples import Samples, Splits
from paceline.lightning_modules.data.tensors import TensorDataModule
from paceline.platform.examining.picture_files import as_input, read_picture
from PIL import Image
from sklearn.datasets import load_digits

QUICK = ("--trainer.max_epochs", 6, "--tracking.log_model", "false", "--seed", 1)


@pytest.fixture
def digit(run_command) -> Path:
    """A digit of the data set as a picture file: number 0 is a 0."""
    pixels = load_digits().images[0]
    Image.fromarray(np.uint8(pixels * 255 / 16)).save("zero.png")
    return Path("zero.png")


def test_a_picture_is_classified_as_the_same_example_of_the_data_is(
    run_command, digit: Path, paceline_home: Path
):
    trained = run_command("fit", "mlp", *QUICK, "--name", "mine", "--json").json
    Image.open(digit).resize((80, 80), Image.Resampling.NEAREST).convert("RGB").save("large.jpg")
    answer = run_command("predict", "mine", digit, "large.jpg", "--json")
    assert answer.code == 0, answer.err
    first, second = answer.json["pictures"]
    assert answer.json["run_id"] == trained["run_id"]
    assert first["file"] == "zero.png"
    assert len(first["classes"]) == 5
    assert first["classes"][0]["class"] == second["classes"][0]["class"] == "0"
    values = [one["probability"] for one in first["classes"]]
    assert values == sorted(values, reverse=True)

    from paceline.lightning_modules.mlp import MLP

    model = MLP.load_from_checkpoint(trained["checkpoint"], weights_only=True).eval()
    scale = Digits().splits
    x = (torch.tensor(load_digits().images[0]).float() - scale.mean[0]) / scale.std[0]
    expected = model(x.reshape(1, 1, 8, 8)).softmax(1)[0].detach()
    assert values[0] == pytest.approx(float(expected[0]), abs=1e-3)  # 16 steps of grey became 256

    folder = paceline_home / "runs" / "mine"
    assert Path(first["picture"]) == folder / "mine-zero.png"
    with Image.open(first["picture"]) as drawing:
        assert drawing.size == (1080, 360)
    told = run_command("predict", "mine", digit)
    assert told.out.startswith("zero.png\n  0  ")
    assert str(folder / "mine-zero.png") in told.out


def test_without_pictures_the_test_set_is_predicted_as_before(run_command):
    run_command("fit", "mlp", *QUICK, "--name", "mine")
    assert run_command("predict", "mine", "--json").json["count"] == 360
    wrong = run_command("predict", "mine", "--invert")
    assert wrong.code == 2
    assert "`--invert` must be left out" in wrong.err


def test_two_pictures_of_one_name_are_drawn_into_two_files(run_command, digit: Path):
    run_command("fit", "mlp", *QUICK, "--name", "mine")
    Path("other").mkdir()
    Image.open(digit).save("other/zero.png")
    pictures = run_command("predict", "mine", digit, "other/zero.png", "--json").json["pictures"]
    assert len({one["picture"] for one in pictures}) == 2
    assert pictures[0]["classes"] == pictures[1]["classes"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.png", None, "there is no such file"),
        ("text.png", b"no picture", "it is no picture"),
        ("empty.jpg", b"", "it is no picture"),
        ("cut.png", "half", "truncated"),
        ("cut.jpg", "half", "truncated"),
        ("folder", "folder", "it is a folder"),
    ],
)
def test_what_is_no_picture_is_one_message_that_names_the_file(
    run_command, digit: Path, name: str, content, told: str
):
    if content == "half":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(name)
        Path(name).write_bytes(Path(name).read_bytes()[:2000])
    elif content == "folder":
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(content)
    answer = run_command("predict", "mine", digit, name, "--json")
    assert answer.code == 2
    error = answer.json["error"]
    assert error["what"].startswith(f"`IMAGE` must be a picture that can be read, but is '{name}'")
    assert told in error["what"]
    assert error["where"] == name


def test_data_without_pictures_is_one_message(run_command, digit: Path):
    run_command("fit", "linear-mnist1d", *QUICK, "--name", "signals")
    answer = run_command("predict", "signals", digit)
    assert answer.code == 2
    assert "`data` must be one of grey or colour pictures" in answer.err


def test_a_picture_becomes_the_networks_size_and_channels():
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (10, 0, 30, 20))  # the middle, which alone is seen
    colour = as_input(image, (3, 10, 10))
    assert colour.shape == (3, 10, 10)
    assert (colour[2] > 240).all()  # at its edges a little of the red is mixed in
    grey = as_input(image, (1, 10, 10))
    assert grey.shape == (1, 10, 10)
    assert abs(int(grey[0, 5, 5]) - 0.114 * 255) < 2  # the luminance of blue (ITU-R BT.601)
    assert (as_input(image, (1, 10, 10), invert=True) == 255 - grey).all()


def test_transparent_and_deep_pictures_and_turned_photographs_are_read(tmp_path: Path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(str(tmp_path / "clear.png")).getpixel((0, 0)) == (255, 255, 255)
    deep = np.array([[0, 65535], [32768, 0]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_picture(str(tmp_path / "deep.png")).getpixel((0, 1)) == (127, 127, 127)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(str(tmp_path / "turned.jpg")).size == (4, 6)


class Bytes(TensorDataModule):
    """Colour pictures stored as bytes."""

    in_shape, class_names = (3, 2, 2), ("a", "b")

    def load(self) -> Splits:
        some = Samples(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.zeros(4).long())
        return Splits(some, some, some, (10.0, 20.0, 30.0), (2.0, 4.0, 5.0))


def test_data_takes_ones_own_pictures_on_the_scale_of_its_own():
    pixels = torch.randint(0, 256, (2, 3, 2, 2), dtype=torch.uint8)
    mean, std = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([2.0, 4.0, 5.0])
    expected = (pixels - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    torch.testing.assert_close(Bytes().inputs_of(pixels), expected)
    digits = Digits()
    white = digits.inputs_of(torch.full((1, 1, 8, 8), 255, dtype=torch.uint8))
    splits = digits.splits
    torch.testing.assert_close(white, torch.full_like(white, (16 - splits.mean[0]) / splits.std[0]))
