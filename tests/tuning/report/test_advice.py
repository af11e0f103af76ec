from __future__ import annotations

import shlex
from typing import Any

from paceline.platform.arguments import parse
from paceline.tuning.report.advice import Advice, advise, next_command
from paceline.tuning.report.importance import Importances, KnobImportance, importances
from paceline.tuning.report.sweep_report import SweepReport
from paceline.tuning.rows import Rows
from paceline.tuning.search.space import Space, read_space

BASE = {"optimizer": {"class_path": "Adam"}, "trainer": {"max_epochs": 10}}
KNOBS: dict[str, Any] = {
    "optimizer": {"to": "optimizer.class_path", "choice": ["Adam", "SGD"]},
    "rate": {"to": "optimizer.lr", "loguniform": [1e-4, 1e-2]},
    "momentum": {"to": "optimizer.momentum", "uniform": [0, 0.9], "when": {"optimizer": ["SGD"]}},
}


def told(**drops: float) -> Importances:
    """Importances as given, each known to a hundredth of itself."""
    total = sum(drops.values())
    knobs = tuple(KnobImportance(n, d, d / 100, d / total) for n, d in drops.items())
    return Importances(knobs, 0.8, 40)


NOTHING = Importances((), 0.0, 0, "too few")


def report_with(curves: list[tuple[dict[str, Any], list[float]]], **fields: Any) -> SweepReport:
    """A sweep of trials given by their values and their scores, epoch by epoch."""
    rows = Rows("val/loss", "min")
    for number, (values, scores) in enumerate(curves):
        rows.apply({"event": "begin", "number": number, "values": values})
        for epoch, score in enumerate(scores, 1):
            report = {"epoch": epoch, "time": float(epoch), "metrics": {"val/loss": score}}
            rows.apply({"event": "report", "number": number, **report})
        end = {"status": "finished", "stop_reason": "completed", "time": 99.0}
        rows.apply({"event": "end", "number": number, **end})
    space: Space = fields.pop("space", None) or read_space(KNOBS, BASE)
    return SweepReport("try", rows, space, **{"recipe": "mlp", **fields})


def flat(values: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[float]]]:
    """One epoch each, every trial worse than the one before it."""
    return [(v, [float(number)]) for number, v in enumerate(values)]


def titles(report: SweepReport, found: Importances) -> list[str]:
    return [advice.title for advice in advise(report, found)]


AT_TOP = [{"optimizer": "Adam", "rate": 9e-3}] * 8 + [{"optimizer": "SGD", "rate": 1e-3}] * 24


def test_a_knob_that_matters_and_leans_on_an_edge_is_widened_by_a_flag_that_parses():
    report = report_with(flat(AT_TOP))
    advice = advise(report, told(rate=0.7, optimizer=0.3))[0]
    assert advice.title == "Widen `rate` at its upper end"
    assert "8 of the 8 best trials" in advice.why
    assert advice.yaml == "rate: {to: [optimizer.lr], loguniform: [0.0001, 0.1]}"
    changes = parse(["sweep", "mlp", *advice.flags]).changes
    assert changes["sweep.space.rate"][0]["loguniform"] == [0.0001, 0.1]


def test_a_knob_that_does_not_matter_is_not_widened_wherever_its_best_trials_lie():
    report = report_with(flat(AT_TOP))
    assert "Widen `rate` at its upper end" not in titles(report, told(optimizer=0.98, rate=0.02))


def test_no_knob_is_touched_while_no_importance_can_be_told():
    assert not any("`" in title for title in titles(report_with(flat(AT_TOP)), NOTHING))


def test_an_option_that_the_best_never_have_is_dropped_with_how_often_it_was_tried():
    advice = {a.title: a for a in advise(report_with(flat(AT_TOP)), told(rate=0.5, optimizer=0.5))}
    dropped = advice["Drop options of `optimizer`"]
    assert dropped.why == "Tried, but never among the best quarter: SGD (24x)."
    assert dropped.yaml == "optimizer: {to: [optimizer.class_path], choice: [Adam]}"


def test_an_option_that_was_tried_seldom_is_kept():
    values = [{"optimizer": "Adam", "rate": 1e-3}] * 28 + [{"optimizer": "SGD", "rate": 1e-3}] * 4
    found = titles(report_with(flat(values)), told(rate=0.5, optimizer=0.5))
    assert "Drop options of `optimizer`" not in found


def test_knobs_that_hardly_matter_are_left_out_but_not_those_that_a_condition_names():
    values = [{"optimizer": "SGD", "rate": 1e-3, "momentum": 0.5}] * 32
    report = report_with(flat(values))
    idle = {a.title: a for a in advise(report, told(momentum=0.97, rate=0.02, optimizer=0.01))}
    assert idle["Leave out what hardly matters"].flags == ("--vary", "optimizer,momentum")
    idle = {a.title: a for a in advise(report, told(rate=0.98, momentum=0.01, optimizer=0.01))}
    assert idle["Leave out what hardly matters"].flags == ("--vary", "rate")


def test_a_knob_whose_importance_is_not_known_well_stays():
    knobs = (KnobImportance("rate", 0.9, 0.1, 0.97), KnobImportance("momentum", 0.03, 0.05, 0.03))
    found = titles(report_with(flat(AT_TOP)), Importances(knobs, 0.8, 40))
    assert "Leave out what hardly matters" not in found


FALLING = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
SETTLED = [1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.11, 0.105, 0.1049, 0.1048]


def test_a_best_trial_that_still_gains_at_its_end_wants_more_epochs():
    advice = advise(report_with([({}, FALLING)], horizon=10.0), NOTHING)
    assert [a.title for a in advice] == ["Train longer"]
    assert advice[0].flags == ("--trainer.max_epochs", "20")
    assert "22 % of all that it gained came in the last fifth of its 10 epochs" in advice[0].why


def test_a_best_trial_that_has_settled_or_turned_wants_none():
    assert titles(report_with([({}, SETTLED)], horizon=10.0), NOTHING) == []
    turned = [*FALLING[:-1], 0.9]
    assert titles(report_with([({}, turned)], horizon=10.0), NOTHING) == []


def test_a_best_trial_that_did_not_come_to_the_end_says_nothing_of_it():
    assert titles(report_with([({}, FALLING)], horizon=11.0), NOTHING) == []
    assert titles(report_with([({}, FALLING)]), NOTHING) == []


def test_the_flag_for_a_longer_training_follows_the_time_axis():
    report = report_with([({}, FALLING)], horizon=10.0, time_axis="step")
    assert advise(report, NOTHING)[0].flags == ("--trainer.max_steps", "20")
    report = report_with([({}, FALLING)], horizon=10.0, time_axis="env_steps")
    assert advise(report, NOTHING)[0].flags == ()


def test_a_best_trial_that_came_early_speaks_against_more_of_the_same():
    values = [{"rate": 1e-3}] * 24
    assert titles(report_with(flat(values)), NOTHING) == ["More of the same will hardly help"]


def test_a_clearly_best_trial_that_came_late_speaks_for_going_on():
    scores = [1.0 + 0.01 * number for number in range(23)]
    report = report_with([({}, [score]) for score in [*scores, 0.2]])
    (advice,) = advise(report, NOTHING)
    assert advice.title == "Go on with this sweep"
    assert advice.command == "paceline extend try --trials 12"


def test_a_late_best_trial_that_is_hardly_better_says_nothing():
    scores = [1.0 + 0.01 * number for number in range(23)]
    assert titles(report_with([({}, [score]) for score in [*scores, 0.999]]), NOTHING) == []


def test_a_sweep_that_runs_is_not_told_to_go_on():
    values = [{"rate": 1e-3}] * 24
    assert titles(report_with(flat(values), status="running"), NOTHING) == []


def test_many_failures_are_told_first_of_all_when_there_is_nothing_else():
    report = report_with([({}, [1.0])] * 5)
    assert titles(report, NOTHING) == []
    report.rows.by_number[0].status = "failed"
    assert titles(report, NOTHING) == ["See to the failures first"]


def test_few_trials_get_no_advice_on_the_space(report_of):
    report = report_of(12)
    assert not any(advice.knob or advice.vary for advice in advise(report, NOTHING))


def test_the_next_command_follows_all_advice_and_keeps_the_sweep_s_own_flags():
    changes = {"trainer.max_epochs": 10, "sweep.metric": "val/loss", "sweep.points": [{}]}
    report = report_with(flat(AT_TOP), changes=changes)
    advice = advise(report, told(rate=0.5, optimizer=0.5))
    advice.append(Advice("Train longer", "", ("--trainer.max_epochs", "20")))
    words = shlex.split(next_command(report, advice))
    given = {key: value for key, (value, _) in parse(words[1:]).changes.items()}
    assert words[:3] == ["paceline", "sweep", "mlp"]
    assert len([word for word in words if word.startswith("--")]) == len(given)
    assert given["trainer.max_epochs"] == 20
    assert given["sweep.metric"] == "val/loss"
    assert given["sweep.trials"] == 32
    assert "sweep.points" not in given
    assert given["sweep.like"] == "try"
    assert given["sweep.space.optimizer"]["choice"] == ["Adam"]
    assert given["sweep.vary"] == ["optimizer", "rate"]  # momentum needs the option that went


def test_a_password_stays_out_of_the_next_command():
    advice = [Advice("Train longer", "", ("--trainer.max_epochs", "20"))]
    for uri, is_told in (("postgresql://me:secret@host/db", False), ("http://host:5000", True)):
        report = report_with(flat(AT_TOP), changes={"tracking.uri": uri, "launch.storage": "/runs"})
        command = next_command(report, advice)
        assert (uri in command) == is_told
        assert "secret" not in command
        assert "--launch.storage /runs" in command


def test_without_advice_there_is_no_next_command():
    assert next_command(report_with(flat(AT_TOP)), []) == ""
    assert next_command(report_with(flat(AT_TOP)), [Advice("See", "why")]) == ""


def test_a_real_search_is_told_to_widen_the_rate_and_to_drop_the_worst_optimizer(report_of):
    """The synthetic sweep's best rate lies beyond the range, and its SGD is bad."""
    report = report_of(200)
    found = [advice.title for advice in advise(report, importances(report.rows, report.space))]
    assert found[:2] == ["Widen `learning_rate` at its upper end", "Drop options of `optimizer`"]
