"""`paceline promote` over one small sweep: what is trained, what is registered, what is told."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import branching
import paceline
import pytest
import torch
from paceline.platform.configuration.config import load
from paceline.platform.errors import UserError
from paceline.platform.home import claim, read_state, write_state
from paceline.platform.runs import fit_config
from paceline.platform.tracking.export import try_export
from paceline.platform.tracking.registry import check_names
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import JOURNAL
from paceline.tuning.past import read_past
from paceline.tuning.promote import promotion
from paceline.tuning.promote.comparison import Contender
from paceline.tuning.promote.outcome import Outcome
from paceline.tuning.promote.promotion import Request, only_promotion, promote
from paceline.tuning.reconcile import reconcile
from paceline.tuning.result import SweepResult

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("ray_here", "module_home")]

CONFIG = {"trainer.max_epochs": 2, "model.hidden_sizes": [8], "tracking.log_model": False}


@pytest.fixture(scope="module")
def swept(module_home: Path) -> SweepResult:
    """Three trials, and the best of them trained with the seed 2, as `--seeds 1` does."""
    points = [{"learning_rate": 0.01}, {"learning_rate": 0.003}, {"learning_rate": 5e-4}]
    config = {**CONFIG, "sweep.points": points}
    flags = {"trials": 3, "seed": 1, "vary": ["learning_rate"], "scheduler": "none"}
    found = paceline.sweep("mlp", name="small", config=config, **flags)
    best = load(read_state("small")["best"]["config_file"])
    assert found.best is not None
    name = f"small-{found.best['trial_id']}-seed2"
    fit_config(best.override({"seed_everything": 2}), name=name, parent=found.run_id)
    return found


@pytest.fixture(scope="module")
def store(swept: SweepResult) -> Store:
    return Store(swept.tracking_uri, "mlp").open()


def swept_run() -> str:
    return str(read_state("small")["run_id"])


class Told(list[tuple[str, str]]):
    """What was reported."""

    def __call__(self, name: str, what: str) -> None:
        self.append((name, what))

    def trained(self) -> list[str]:
        return [name for name, what in self if what in ("trains", "goes on")]


def promoted(**changes: Any) -> tuple[Outcome, Told]:
    told = Told()
    return promote(Request("small", report=told, **changes)), told


@pytest.fixture(scope="module")
def first(swept: SweepResult) -> tuple[Outcome, Told]:
    """The first promotion, with two seeds."""
    return promoted(seeds=2)


def both(outcome: Outcome) -> tuple[Contender, Contender]:
    assert outcome.verdict.other is not None
    return outcome.verdict.promoted, outcome.verdict.other


def test_the_two_best_are_trained_with_the_same_seeds_but_for_what_the_sweep_had_trained(
    first: tuple[Outcome, Told], swept: SweepResult
):
    outcome, told = first
    pair = {contender.trial_id for contender in both(outcome)}
    assert swept.best is not None
    best = swept.best["trial_id"]
    [other] = pair - {best}
    assert outcome.verdict.is_upset == (outcome.verdict.promoted.trial_id == other)
    names = [name for name, _ in told]
    assert names[0] == f"small-{best}-seed2"
    assert told[0][1] == "is done already"
    assert names[1:] == [f"small-{best}-seed3", f"small-{other}-seed2", f"small-{other}-seed3"]
    assert told.trained() == names[1:]
    for one, two in zip(*(contender.attempts for contender in both(outcome)), strict=True):
        assert (one.seed, one.metrics.keys()) == (two.seed, two.metrics.keys())
        assert one.metrics["val/loss"] != two.metrics["val/loss"]


def test_the_model_of_the_median_seed_is_registered_with_its_lineage(
    first: tuple[Outcome, Told], store: Store, swept: SweepResult
):
    outcome, _ = first
    version = store.client.get_model_version_by_alias("mlp", "champion")
    assert (str(version.version), version.run_id) == ("1", outcome.taken.run_id)
    scores = sorted(a.metrics["val/loss"] for a in outcome.verdict.promoted.attempts)
    assert outcome.taken.metrics["val/loss"] == scores[-1]  # the worse of two
    tags = version.tags
    assert tags["paceline.sweep_run_id"] == swept.run_id
    assert tags["paceline.sweep_name"] == "small"
    assert tags["paceline.trial"] == outcome.verdict.promoted.trial_id
    assert tags["paceline.seeds"] == "2,3"
    assert tags["paceline.run_ids"].split(",") == [
        a.run_id for a in outcome.verdict.promoted.attempts
    ]
    assert len(tags["paceline.config_digest"]) == len(tags["paceline.data_digest"]) == 64
    assert json.loads(tags["paceline.config"]) == dict(outcome.verdict.promoted.config)
    assert tags["paceline.metric"] == "val/loss"
    assert float(tags["paceline.metric_mean"]) == pytest.approx(sum(scores) / 2, rel=1e-4)
    assert float(tags["paceline.metric_ci95"]) > 0
    assert "| `test/accuracy` |" in version.description


def test_the_registered_model_has_a_signature_an_example_and_no_pickle(
    first: tuple[Outcome, Told], store: Store
):
    from mlflow.models import Model

    version = store.client.get_model_version_by_alias("mlp", "champion")
    folder = Path(version.source.removeprefix("file://"))
    model = Model.load(str(folder))
    assert model.model_id == version.tags["paceline.model_id"]
    assert list(model.get_input_schema().inputs[0].shape) == [-1, 1, 8, 8]
    assert list(model.get_output_schema().inputs[0].shape) == [-1, 10]
    assert (folder / "input_example.json").is_file()
    assert sorted(p.name for p in (folder / "data").iterdir()) == ["model.pt2"]
    graph = torch.export.load(folder / "data" / "model.pt2").module().state_dict()
    trained = torch.load(str(first[0].taken.checkpoint), weights_only=True)["state_dict"]
    assert graph
    assert all(torch.equal(values, trained[name]) for name, values in graph.items())
    logged = store.client.get_logged_model(model.model_id)
    assert logged.source_run_id == version.run_id
    [linked] = json.loads(logged.tags["mlflow.modelVersions"])
    assert (linked["name"], str(linked["version"])) == ("mlp", "1")


def test_the_promotion_is_a_run_under_the_sweeps_and_its_runs_are_under_it(
    first: tuple[Outcome, Told], store: Store, swept: SweepResult
):
    outcome, told = first
    run = store.client.get_run(outcome.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == swept.run_id
    assert run.data.tags["paceline.promoted_run_id"] == outcome.taken.run_id
    assert run.data.metrics["promoted/margin"] == pytest.approx(outcome.verdict.margin)
    children = {store.client.get_run(r).info.run_name for r in store.children(outcome.run_id)}
    assert children == set(told.trained())
    assert reconcile("small")["repairs"] == []


def test_promoting_again_trains_nothing_and_registers_nothing(
    first: tuple[Outcome, Told], store: Store
):
    outcome, told = promoted(seeds=2)
    assert told.trained() == []
    assert outcome.version.version == first[0].version.version
    assert outcome.before is None
    assert len(store.client.search_model_versions("name = 'mlp'")) == 1
    assert told[0][1] == "is done already"
    runs = [store.client.get_run(run) for run in store.children(swept_run())]
    assert [run.info.run_name for run in runs].count("small-promotion") == 1


def test_the_answer_tells_both_and_how_sure_it_is(first: tuple[Outcome, Told]):
    outcome = first[0]
    text, answer = outcome.text(), outcome.as_dict()
    assert "paired t, 2 seeds" in text
    assert "go on         paceline serve mlp" in text
    assert answer["uri"] == "models:/mlp@champion"
    assert answer["difference"]["ci95"] == outcome.verdict.half_width
    assert set(answer["promoted"]["metrics"]) >= {"val/loss", "test/loss", "test/accuracy"}
    json.dumps(answer)


def test_a_new_champion_names_the_one_before_which_keeps_a_tag(
    first: tuple[Outcome, Told], store: Store
):
    outcome, _ = first
    spare = next(a for a in outcome.verdict.promoted.attempts if a.run_id != outcome.taken.run_id)
    made = store.client.create_model_version(
        "mlp",
        store.client.get_model_version("mlp", "1").source,
        spare.run_id,
        tags={"paceline.metric": "val/loss", "paceline.metric_mean": "0.5"},
    )
    store.client.set_registered_model_alias("mlp", "champion", str(made.version))

    again, _ = promoted(seeds=2)
    assert again.before is not None
    assert again.before.version == str(made.version)
    before = store.client.get_model_version("mlp", str(made.version))
    now = store.client.get_model_version_by_alias("mlp", "champion")
    assert before.tags["paceline.was_champion"] == "true"
    assert before.tags["paceline.replaced_by"] == str(now.version) == "1"
    assert now.tags["paceline.replaces"] == str(made.version)
    assert f"replaces      version {made.version} (val/loss 0.5)" in again.text()


def test_another_name_and_alias_make_another_model_without_training(
    first: tuple[Outcome, Told], store: Store
):
    outcome, told = promoted(seeds=2, model="digit reader", alias="shadow")
    assert told.trained() == []
    found = store.client.get_model_version_by_alias("digit reader", "shadow")
    assert str(found.version) == "1"
    assert "paceline serve 'digit reader' --alias shadow" in outcome.text()


@pytest.mark.slow
def test_a_promotion_that_was_killed_trains_no_run_twice(
    first: tuple[Outcome, Told], store: Store, module_home: Path, tmp_path: Path
):
    command = [sys.executable, "-m", "paceline", "promote", "small", "--seeds", "4"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stderr is not None
    began: list[str] = []
    for line in process.stderr:
        if line.rstrip().endswith(" trains"):
            began.append(line.split()[0])
        if len(began) == 2:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()

    outcome, told = promoted(seeds=4)
    happened = dict(told)
    assert happened[began[0]] == "is done already"
    assert happened[began[1]] in ("goes on", "trains")
    attempts = [a for contender in both(outcome) for a in contender.attempts]
    assert [a.seed for a in attempts] == [2, 3, 4, 5] * 2
    assert all(store.status(a.run_id) == "finished" for a in attempts)
    assert len({a.run_id for a in attempts}) == 8
    runs = [store.client.get_run(run) for run in store.children(outcome.run_id)]
    assert sorted(run.info.run_name for run in runs).count(began[1]) == 1
    assert store.status(outcome.run_id) == "finished"


def test_only_one_promotion_runs_at_a_time(swept: SweepResult):
    with only_promotion("another"), pytest.raises(UserError, match="promotes another"):
        promoted()


def test_a_sweep_that_runs_is_not_promoted(swept: SweepResult):
    with claim("small", again=True), pytest.raises(UserError, match="which runs"):
        promoted()


@pytest.fixture
def without_an_end(swept: SweepResult, module_home: Path) -> Iterator[str]:
    """The sweep as it was when its trials had begun."""
    folder = module_home / "runs" / "begun"
    shutil.copytree(module_home / "runs" / "small", folder)
    write_state(folder, {**read_state("small"), "name": "begun"})
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    ends = next(i for i, line in enumerate(lines) if b'"event": "report"' in line)
    (folder / JOURNAL).write_bytes(b"".join(lines[:ends]))
    yield "begun"
    shutil.rmtree(folder)


def test_a_sweep_without_a_finished_trial_is_one_message(without_an_end: str):
    with pytest.raises(UserError) as caught:
        promote(Request(without_an_end))
    assert "must have a finished trial with a finite val/loss" in caught.value.what
    assert "begun has none (" in caught.value.what
    assert "paceline resume begun" in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "alias", "where"),
    [
        ("a/b", "champion", "--name"),
        (" ", "champion", "--name"),
        ("..", "champion", "--name"),
        ("mlp", "latest", "--alias"),
        ("mlp", "v3", "--alias"),
        ("mlp", "7th", "--alias"),
        ("mlp", "the best", "--alias"),
    ],
)
def test_a_name_that_mlflow_would_refuse_is_told_before_anything_is_trained(
    model: str, alias: str, where: str
):
    with pytest.raises(UserError) as caught:
        check_names(model, alias)
    assert caught.value.where == where


def test_a_model_that_cannot_be_exported_is_told_before_training_and_nothing_is_registered(
    swept: SweepResult, store: Store, tmp_path: Path
):
    recipe = tmp_path / "branching.yaml"
    recipe.write_text(
        "model: {class_path: branching.Branching}\ndata: {class_path: fragile.Line}\n"
        "trainer: {max_epochs: 1}\nsweep: {space: {model.offset: {uniform: [0, 1]}}}\n"
    )
    paceline.sweep(str(recipe), name="branching", trials=2, seed=1, scheduler="none")
    told = Told()
    with pytest.raises(UserError) as caught:
        promote(Request("branching", report=told))
    assert "`Branching.forward` must be what torch.export can write" in caught.value.what
    assert "torch.where" in caught.value.remedy
    assert told == []
    names = {found.name for found in store.client.search_registered_models()}
    assert "branching" not in names


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("Counting", "does not take 1"),
        ("Paired", "must be one tensor"),
        ("Branching", "graph"),
        ("Fragile", "must have an `example_input_array`"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused(kind: str, told: str):
    with pytest.raises(UserError, match=told):
        try_export(getattr(branching, kind)())


def test_a_population_is_not_promoted(swept: SweepResult, monkeypatch: pytest.MonkeyPatch):
    past = read_past("small", {})  # its journal cannot be edited into one of a population
    population = replace(past, config=past.config.override({"sweep.scheduler": "pbt"}))
    monkeypatch.setattr(promotion, "read_past", lambda name, changes: population)
    with pytest.raises(UserError, match="finds a schedule"):
        promote(Request("small"))


def test_what_is_no_sweep_is_refused(swept: SweepResult):
    with pytest.raises(UserError, match="a single run"):
        promote(Request(f"small-{swept.best['trial_id']}-seed2"))
    with pytest.raises(UserError, match="smal"):
        promote(Request("smal"))
