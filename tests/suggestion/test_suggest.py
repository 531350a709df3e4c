"""What is suggested: never a test case, never what is labelled, each with a reason and a number; skipped ones wait."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import LeakageError, RunError, StudyError, UserError
from napari_ssl_seg.study import Study
from napari_ssl_seg.suggestion import Suggestion, forget_skips, list_strategies, skip, skipped, suggest
from napari_ssl_seg.suggestion.pool import make_pool
from napari_ssl_seg.training import drain, finetune, predict
from tests.suggestion.conftest import QUICK, make_study

ASKING = ("uncertainty", "disagreement", "expected_error")


def ask(study, **options) -> list[Suggestion]:
    return drain(suggest(study, device="cpu", **options))


def spots(found):
    return [(item.case_id, item.slice_index) for item in found]


# -- what may be suggested ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", list_strategies())
@pytest.mark.parametrize("unit", ["slice", "case"])
def test_every_strategy_suggests_unlabelled_train_slices_with_a_number(kept_study, strategy, unit):
    found = ask(kept_study, strategy=strategy, unit=unit, count=5)
    assert len(found) == (5 if unit == "slice" else 3)
    assert len(set(spots(found))) == len(found)
    for item in found:
        case = kept_study.case(item.case_id)
        assert case.split == "train"
        assert item.strategy == strategy
        assert re.search(r"\d", item.reason)
        if unit == "case":
            assert item.slice_index is None and not case.labelled
        else:
            assert 0 <= item.slice_index < case.shape[0]
            assert item.slice_index not in case.labelled_slices
    assert (found[0].run is None) == (strategy == "random")
    assert ask(kept_study, strategy=strategy, unit=unit, count=5) == found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scans=st.integers(2, 7),
    split=st.sampled_from([(70, 10, 20), (34, 33, 33), (50, 0, 50), (10, 10, 80)]),
    seed=st.integers(0, 5),
    labelled=st.data(),
    strategy=st.sampled_from(["random", "diversity", "mixed"]),
    purpose=st.sampled_from(["label", "validation"]),
    unit=st.sampled_from(["slice", "case"]),
)
def test_never_a_test_case(tmp_path_factory, scans, split, seed, labelled, strategy, purpose, unit):
    rng = np.random.default_rng(seed)
    items = [
        (f"s{number}", rng.normal(size=(4, 8, 8)).astype(np.float32), np.ones((4, 8, 8), np.uint8), None)
        for number in range(scans)
    ]
    study = Study.create_from_arrays(tmp_path_factory.mktemp("any") / "study", items, split=split, seed=seed)
    for case in study.cases():
        chosen = labelled.draw(st.lists(st.integers(0, 3), unique=True) | st.just([]) | st.none())
        study.set_labelled_slices(case.id, chosen)
    wanted = {"label": "train", "validation": "validation"}[purpose]
    free = {
        (case.id, index)
        for case in study.cases(split=wanted)
        for index in range(4)
        if case.labelled_slices is not None and index not in case.labelled_slices
    }
    if unit == "case":
        free = {(case.id, None) for case in study.cases(split=wanted) if not case.labelled}
    options = {"strategy": strategy, "purpose": purpose, "unit": unit, "count": 40}
    if not free:
        with pytest.raises(StudyError, match="no unlabelled"):
            ask(study, **options)
        return
    found = spots(ask(study, **options))
    assert set(found) == free and len(found) == len(free)


def test_the_gate_refuses_a_test_case_even_where_the_split_were_read_wrongly(study, monkeypatch):
    everything = type(study).cases
    monkeypatch.setattr(type(study), "cases", lambda self, split=None, labelled=None: everything(self))
    for purpose in ("label", "validation"):
        with pytest.raises(LeakageError):
            make_pool(study, purpose=purpose, unit="slice", skip=(), seed=0)


def test_slices_to_measure_with_are_of_the_validation_split(study):
    for case in study.cases(split="validation"):
        study.set_labelled_slices(case.id, [])
    found = ask(study, strategy="random", purpose="validation", count=3)
    assert {study.case(item.case_id).split for item in found} == {"validation"}


# -- skipping -------------------------------------------------------------------------------------------------------
def test_what_is_left_out_does_not_come(study):
    first = ask(study, strategy="diversity", count=3)
    again = ask(study, strategy="diversity", count=30, skip=[spots(first)[0], (first[1].case_id, None)])
    assert spots(first)[0] not in spots(again)
    assert first[1].case_id not in {item.case_id for item in again}


def test_skipped_slices_come_back_last_the_longest_ago_first(study):
    first = ask(study, strategy="diversity", count=3)
    for item in (first[1], first[0]):
        skip(study, item.case_id, item.slice_index)
    few = ask(study, strategy="diversity", count=5)
    assert not set(spots(first)[:2]) & set(spots(few))
    everything = ask(study, strategy="diversity", count=1000)
    assert len(everything) == 30
    assert spots(everything)[-2:] == [spots(first)[1], spots(first)[0]]
    assert [item[:2] for item in skipped(Study.open(study.folder))] == [spots(first)[1], spots(first)[0]]
    forget_skips(study)
    assert ask(study, strategy="diversity", count=3) == first


def test_a_whole_case_can_be_skipped(study):
    case_id = ask(study, strategy="random", unit="case", count=1)[0].case_id
    skip(study, case_id)
    assert case_id not in {item.case_id for item in ask(study, strategy="random", count=15)}
    assert ask(study, strategy="random", unit="case", count=9)[-1].case_id == case_id
    with pytest.raises(StudyError, match="slices 0 to 7"):
        skip(study, case_id, 8)


# -- what the strategies see ----------------------------------------------------------------------------------------
def test_the_disagreement_said_is_that_of_the_predictions(kept_study):
    runs = kept_study.runs()
    found = ask(kept_study, strategy="disagreement", unit="case", count=3, runs=[run.id for run in runs])
    for run in runs:
        drain(predict(kept_study, run, split="train", device="cpu"))
    from napari_ssl_seg.volumes import read_volume

    for item in found:
        a, b = (read_volume(run.prediction_path(item.case_id), role="label").array for run in runs)
        share, name = re.match(r"both runs disagree on (\d+)% of (\w+)", item.reason).groups()
        value = {"ring": 1, "core": 2}[name]
        dice = 2 * ((a == value) & (b == value)).sum() / ((a == value).sum() + (b == value).sum())
        assert int(share) == pytest.approx(100 * (1 - dice), abs=0.51)


def test_a_run_is_unsure_where_it_cannot_see(tmp_path):
    """Slices that are as grey as half of a structure are what the run asks for."""
    study = make_study(tmp_path / "study")
    run = drain(finetune(study, iterations=60, dims=2, device="cpu", train=QUICK))
    found = ask(study, strategy="uncertainty", count=4, runs=[run], variation="none")
    sure = ask(study, strategy="uncertainty", count=1000, runs=[run], variation="none")
    scores = {spot: item.score for spot, item in zip(spots(sure), sure, strict=True)}
    assert min(item.score for item in found) >= np.median(list(scores.values()))
    assert all(0 <= item.score <= 1 for item in sure)


@pytest.mark.parametrize("variation", ["tta", "dropout"])
def test_variations_leave_the_run_as_it_was_and_ask_the_same_each_time(kept_study, variation):
    run = kept_study.runs()[0]
    before = run.weights_path.read_bytes()
    found = ask(kept_study, strategy="uncertainty", runs=[run], variation=variation, count=3)
    assert run.weights_path.read_bytes() == before
    for folder in (kept_study.cache_folder / "suggestion").glob(f"*{variation}"):
        for file in folder.iterdir():
            file.unlink()
    assert ask(kept_study, strategy="uncertainty", runs=[run], variation=variation, count=3) == found


def test_volumes_are_read_slice_by_slice_too(study):
    run = drain(finetune(study, iterations=2, dims=3, device="cpu", train={**QUICK, "batch_size": 1}))
    for strategy in ("uncertainty", "mixed"):
        found = ask(study, strategy=strategy, runs=[run], count=4, variation="none")
        assert len({item.slice_index for item in found}) > 1


def test_diversity_asks_for_slices_unlike_one_another(study):
    """A disc grows from slice to slice, alike in all scans: typical ones are of different slices, not scans."""
    for case in study.cases(split="train"):
        study.set_labelled_slices(case.id, [])
    found = ask(study, strategy="diversity", count=4)
    indices = sorted(item.slice_index for item in found)
    assert len(set(indices)) == 4 and indices[-1] - indices[0] >= 4


def test_with_many_labels_diversity_turns_to_what_is_far(study):
    train = study.cases(split="train")
    for case in train[:2]:
        study.set_labelled_slices(case.id, range(6))
    found = ask(study, strategy="diversity", count=2)
    assert {item.slice_index for item in found} <= {6, 7}
    assert all("times as far" in item.reason for item in found)


def test_what_looks_like_an_empty_labelled_slice_waits(study):
    """Slice 0 is empty in every scan, slice 7 shows most: both are labelled in one."""
    first, *others = study.cases(split="train")
    study.set_labelled_slices(first.id, [0, 7])
    order = spots(ask(study, strategy="diversity", count=1000))
    place = {z: np.mean([order.index((case.id, z)) for case in others]) for z in (0, 7)}
    assert place[7] < place[0]


# -- mistakes, stopping, lightness ----------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", ASKING)
def test_a_strategy_without_its_runs_says_so(study, strategy):
    with pytest.raises(RunError, match="fine-tun"):
        ask(study, strategy=strategy)


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "best"},
        {"count": 0},
        {"unit": "voxel"},
        {"purpose": "test"},
        {"runs": ["nothing"]},
    ],
)
def test_wrong_arguments_are_said(study, options):
    with pytest.raises(UserError):
        ask(study, **{"strategy": "random", **options})


def test_a_stopped_call_goes_on_where_it_was(tmp_path, study):
    run = drain(finetune(study, iterations=1, dims=2, device="cpu", train=QUICK))
    events = suggest(study, strategy="uncertainty", runs=[run], device="cpu", variation="none")
    seen = [next(events) for _ in range(3)]
    assert [event.data["done"] for event in seen] == [0, 1, 2]
    events.close()
    kept = list((study.cache_folder / "suggestion").rglob("*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(b"torn")
    assert len(ask(study, strategy="uncertainty", runs=[run], variation="none")) == 10


def test_no_network_is_loaded_where_none_is_asked(study):
    code = (
        "import sys; from napari_ssl_seg import Study, suggest\n"
        f"from napari_ssl_seg.training.events import drain; study = Study.open({str(study.folder)!r})\n"
        "drain(suggest(study, strategy='random')); drain(suggest(study, strategy='diversity'))\n"
        "assert not {'torch', 'monai', 'napari', 'qtpy'} & set(sys.modules), 'too heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
