"""The round of fine-tuning, suggesting and predicting; the curve; slices named one by one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_ssl_seg.cli import main
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.suggestion import efficiency, kept_baseline, next_round, random_baseline, skip, suggest
from napari_ssl_seg.training import drain, finetune, prepare_finetune
from tests.suggestion.conftest import QUICK


def test_a_round_goes_on_from_the_last_weights_and_leaves_proposals(study):
    first = drain(next_round(study, iterations=3, count=3, train=QUICK, device="cpu"))
    assert first.run.record.parent is None and first.run.state == "finished"
    assert len(first.suggestions) == 3 and all(item.strategy == "mixed" for item in first.suggestions)
    assert {item.run for item in first.suggestions} == {first.run.id}
    asked = dict.fromkeys(item.case_id for item in first.suggestions)
    assert [path.name for path in first.predictions] == [f"{case_id}.nii.gz" for case_id in asked]
    assert all(path.is_file() for path in first.predictions)
    for item in first.suggestions:
        known = study.case(item.case_id).labelled_slices
        study.set_labelled_slices(item.case_id, [*known, item.slice_index])
    second = drain(next_round(study, iterations=3, count=2, train=QUICK, device="cpu"))
    assert second.run.record.parent == first.run.id
    points = efficiency(study)
    assert [point.run for point in points] == [first.run.id, second.run.id]
    assert [point.slices for point in points] == [2, 5]
    assert all(0 <= point.dice <= 1 and point.minutes is None for point in points)


def test_runs_of_other_purposes_are_no_part_of_the_curve_once_there_are_rounds(study):
    other = drain(finetune(study, iterations=2, dims=2, device="cpu", train=QUICK))
    assert [point.run for point in efficiency(study)] == [other.id]
    made = drain(next_round(study, init="scratch", strategy="random", iterations=2, count=1, train=QUICK, device="cpu"))
    assert [point.run for point in efficiency(study)] == [made.run.id]


def test_a_stopped_fine_tuning_ends_the_round(study):
    events = next_round(study, iterations=50, train=QUICK, device="cpu")
    for event in events:
        if event.kind == "step":
            study.run(event.run).request_stop()
            break
    made = drain(events)
    assert made.run.state == "stopped" and made.suggestions == () == made.predictions


def test_chance_is_simulated_on_what_is_labelled(study):
    study.set_labelled_slices(study.cases(split="train")[1].id, [1, 3, 6])
    used = []
    for event in (events := random_baseline(study, budgets=[1, 2], repeats=2, iterations=2, train=QUICK, device="cpu")):
        if event.kind == "weights":
            used.append(study.run(event.run).record.slices)
        if len(used) == 4:
            break
    points = drain(events)
    assert [point.slices for point in points] == [1, 2, 1, 2]
    assert points == kept_baseline(study)
    assert study.runs() == []
    for small, large in (used[:2], used[2:]):
        assert all(set(indices) <= set(large[case_id]) for case_id, indices in small.items())
    for case in study.cases(split="train"):
        study.set_labelled_slices(case.id, [])
    with pytest.raises(RunError, match="at least 4"):
        drain(random_baseline(study))


def test_a_fine_tuning_takes_the_slices_that_are_named(study):
    train = [case.id for case in study.cases(split="train")]
    run = prepare_finetune(study, slices={train[0]: [5]}, dims=2, device="cpu")
    assert run.record.slices == {train[0]: [5]} and run.record.cases["train"] == [train[0]]
    assert "1 slices" in run.record.title
    for wrong, words in (({train[0]: [4]}, "slice 4"), ({train[1]: [0]}, "no labelled scan"), ({}, "no slice")):
        with pytest.raises(RunError, match=words):
            prepare_finetune(study, slices=wrong, dims=2, device="cpu")


def test_the_verb_says_what_is_next(study, capsys):
    assert main(["suggest", str(study.folder), "--count", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["strategy"] == "mixed" and len(answer["suggestions"]) == 3
    assert set(answer["suggestions"][0]) == {"case", "slice", "score", "reason", "run"}
    first = answer["suggestions"][0]
    skip(study, first["case"], first["slice"])
    assert main(["suggest", str(study.folder), "--count", "3", "--strategy", "random", "--unit", "case"]) == 0
    assert "drawn at random" in capsys.readouterr().out
    assert main(["suggest", str(study.folder), "--strategy", "uncertainty"]) == 2
    assert capsys.readouterr().err.startswith("error: uncertainty asks a fine-tuned run")


def test_minutes_are_those_of_the_effort_log_and_what_was_drawn_counts(study):
    from napari_ssl_seg.annotation import Effort, SliceState, open_labels

    case = study.cases(split="train")[1]
    store = open_labels(study)
    store.put(case.id, (3, 4, 4), np.ones((1, 5, 5), np.uint8))
    store.set_state(case.id, [3], SliceState.LABELLED)
    store.set_state(case.id, [5], SliceState.FLAGGED)
    store.add_effort(Effort(case.id, 3, "paint", seconds=90.0))
    store.close()
    found = drain(suggest(study, strategy="random", count=1000))
    spots = {(item.case_id, item.slice_index) for item in found}
    assert len(found) == 28 and not spots & {(case.id, 3), (case.id, 5)}
    made = drain(next_round(study, strategy="random", iterations=2, count=1, train=QUICK, device="cpu"))
    assert efficiency(study)[0].minutes == pytest.approx(1.5)
    assert efficiency(study)[0].slices == 3 and made.run.record.slices[case.id] == [3]
