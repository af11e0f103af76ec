from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paceline.platform import catalog
from paceline.platform.catalog import (
    KINDS,
    Entry,
    entries,
    find,
    head_comment,
    recipe_path,
    summary,
)
from paceline.platform.configuration.classes import resolve_class
from paceline.platform.configuration.config import load
from paceline.platform.errors import UserError

MODULE = '''
from pytorch_lightning import LightningDataModule, LightningModule

class Net(LightningModule):
    """A net of theirs.

    It has a second paragraph.
    """

class Sheep(LightningDataModule):
    """Sheep, counted."""
'''

Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Installs a tiny package: its folder, its code and its entry points."""
    entries.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    planted: list[str] = []

    def install(name: str, entry_points: str, code: str = MODULE) -> Path:
        module = name.replace("-", "_")
        planted.append(module)
        folder = tmp_path / module
        (folder / "recipes").mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "nets.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        return folder

    yield install
    entries.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] in planted]:
        del sys.modules[name]


def test_classes_of_another_package_have_short_names(plant: Plant):
    plant(
        "their-zoo",
        "[paceline.models]\nTheirNet = their_zoo.nets:Net\n"
        "[paceline.data]\nsheep = their_zoo.nets:Sheep\n",
    )
    assert entries("models")["TheirNet"].package == "their-zoo"
    assert entries("data")["sheep"].target == "their_zoo.nets:Sheep"
    assert resolve_class("model", "TheirNet") == "their_zoo.nets.Net"
    assert resolve_class("data", "sheep") == "their_zoo.nets.Sheep"
    assert "digits" in entries("data")


def test_recipes_of_another_package_are_found_by_their_folder(plant: Plant):
    folder = plant("their-zoo", "[paceline.recipes]\ntheirs = their_zoo.recipes\n")
    (folder / "recipes" / "zebra.yaml").write_text(
        "# Stripes in a minute.\nmodel: MLP\ndata: digits\n"
    )
    assert entries("recipes")["zebra"].summary == "Stripes in a minute."
    assert load("zebra").get("model.class_path").endswith(".MLP")
    assert "mlp" in entries("recipes")


def test_a_recipe_that_is_added_later_needs_no_new_installation(plant: Plant):
    folder = plant("their-zoo", "[paceline.recipes]\ntheirs = their_zoo.recipes\n")
    assert "late" not in entries("recipes")
    (folder / "recipes" / "late.yaml").write_text("model: MLP\n")
    entries.cache_clear()  # another process starts with an empty cache
    assert "late" in entries("recipes")


def test_two_classes_of_one_name_need_the_prefix_of_their_package(plant: Plant):
    plant("zoo-a", "[paceline.models]\nNet = zoo_a.nets:Net\n")
    plant("a-far-longer-name-than-that", "[paceline.models]\nNet = zoo_b.nets:Net\n")
    assert "Net" not in entries("models")
    assert resolve_class("model", "zoo-a:Net") == "zoo_a.nets.Net"
    with pytest.raises(UserError) as error:
        resolve_class("model", "Net")
    assert "zoo-a:Net" in error.value.remedy
    assert "a-far-longer-name-than-that:Net" in error.value.remedy


def test_two_recipes_of_one_name_need_the_prefix_of_their_package(plant: Plant):
    folder = plant("their-zoo", "[paceline.recipes]\ntheirs = their_zoo.recipes\n")
    (folder / "recipes" / "mlp.yaml").write_text("model: MLP\n")
    assert "mlp" not in entries("recipes")
    assert recipe_path("their-zoo:mlp") == folder / "recipes" / "mlp.yaml"
    assert recipe_path("paceline:mlp").name == "mlp.yaml"
    with pytest.raises(UserError) as error:
        recipe_path("mlp")
    assert {"their-zoo:mlp", "paceline:mlp"} <= set(error.value.remedy.replace(",", "").split())


def test_a_name_that_one_package_gives_twice_is_one_name(plant: Plant):
    plant("their-zoo", "[paceline.models]\nTheirNet = their_zoo.nets:Net\n")
    plant("their-zoo-again", "[paceline.models]\nTheirNet = their_zoo.nets:Net\n")
    assert "TheirNet" in entries("models")


def test_a_summary_is_read_without_importing_the_code(plant: Plant):
    plant("their-zoo", "", MODULE + "\nraise SystemExit('imported')\n")
    assert summary(Entry("x", "their_zoo.nets:Net", "their-zoo")) == "A net of theirs."
    assert "their_zoo.nets" not in sys.modules


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("no_such_package.nets:Net", MODULE),
        ("their_zoo.no_such_module:Net", MODULE),
        ("their_zoo.nets:Net", "class Net(:"),
    ],
)
def test_an_entry_whose_code_is_gone_is_listed_all_the_same(plant: Plant, target: str, code: str):
    plant("their-zoo", f"[paceline.models]\nGone = {target}\n", code)
    assert target.replace(":", ".") in summary(entries("models")["Gone"]).replace(":", ".")


def test_an_entry_whose_code_is_gone_cannot_be_used(plant: Plant):
    plant("their-zoo", "[paceline.models]\nGone = their_zoo.gone:Net\n")
    with pytest.raises(UserError, match="class that can be imported"):
        resolve_class("model", "Gone")


def test_an_entry_whose_code_does_not_run_cannot_be_used(plant: Plant):
    plant("their-zoo", "[paceline.models]\nBad = their_zoo.nets:Net\n", "1 / 0")
    with pytest.raises(UserError, match="class whose module imports") as error:
        resolve_class("model", "Bad")
    assert "ZeroDivisionError" in error.value.remedy


def test_a_recipe_folder_that_is_gone_hides_no_other(plant: Plant):
    plant("their-zoo", "[paceline.recipes]\ngone = their_zoo.gone\n")
    plant("zoo-b", "[paceline.recipes]\ngone = no_such_package.recipes\n")
    assert "mlp" in entries("recipes")


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UserError) as error:
        find("data", "mnsit")
    assert "mnist" in error.value.remedy


def test_every_entry_of_ours_says_what_it_is():
    for kind in KINDS:
        for entry in entries(kind).values():
            if entry.package == "paceline":
                assert len(summary(entry)) > 10, (kind, entry)
                assert "cannot be read" not in summary(entry)


def test_a_recipe_without_a_head_comment_has_no_summary(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("model: MLP\n")
    (tmp_path / "b.yaml").write_bytes(b"# caf\xe9\n")
    assert head_comment(tmp_path / "a.yaml") == ""
    assert head_comment(tmp_path / "b.yaml").startswith("caf")


def test_listing_imports_no_torch():
    assert not any(catalog._is_heavy(e.target) for e in entries("recipes").values())


def test_list_answers_one_line_for_each(run_command):
    answer = run_command("list", "recipes")
    assert answer.code == 0
    assert any(line.startswith("mlp ") for line in answer.out.splitlines())
    rows = run_command("list", "recipes", "--json").json["recipes"]
    assert {"name", "summary", "package", "target"} <= set(rows[0])
