"""The Dice of a pretext's own classes while it is learnt: the same samples throughout, of train scans, and no segmentation."""

from __future__ import annotations

import pytest

from napari_ssl_seg import training
from napari_ssl_seg.commands.training import runs
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.pretraining import SCORED_PATCHES, PretrainTask
from napari_ssl_seg.training.settings import PretrainSettings
from napari_ssl_seg.workbench.run_progress import RunProgress
from tests.training.conftest import TINY


def arguments(**train):
    return {**TINY, "iterations": 12, "train": {**TINY["train"], **train}}


def scores(run):
    return [event.data for event in run.events() if event.kind == "evaluation"]


def test_a_pretraining_scores_its_own_classes_and_says_so(study):
    run = drain(training.pretrain(study, "volume_fusion", dims=2, **arguments(evaluate_every=5)))
    found = scores(run)
    assert [event["step"] for event in found] == [5, 10, 12]
    for event in found:
        assert event["what"] == "pretext"
        assert event["best"] is False
        assert list(event["dice"]) == [f"class {level}" for level in range(5)]
        known = [value for value in event["dice"].values() if value is not None]
        assert event["mean_dice"] == pytest.approx(sum(known) / len(known))
    assert not run.checkpoint_path("best").exists()
    progress = RunProgress(run)
    progress.update()
    assert progress.dice == {}
    assert progress.best_dice is None
    assert progress.pretext_dice["mean"].steps == [5, 10, 12]
    assert any("pretext Dice" in line for line in progress.log)
    assert runs(str(study.folder))["runs"][0]["best_dice"] is None


def test_scores_are_off_on_request_rare_in_short_runs_and_absent_where_there_is_nothing_to_score(study):
    assert not scores(drain(training.pretrain(study, "volume_fusion", dims=2, **arguments(evaluate_every=-1))))
    short = drain(training.pretrain(study, "volume_fusion", dims=2, **arguments()))
    assert [event["step"] for event in scores(short)] == [10, 12]
    assert not scores(drain(training.pretrain(study, "simmim", dims=2, **arguments(evaluate_every=5))))


@pytest.mark.parametrize("dims", [2, 3])
def test_samples_are_fixed_few_and_of_train_scans(study, dims, monkeypatch):
    asked = []
    real = type(study).patches_source

    def noted(self, case, *, purpose):
        asked.append((case, purpose))
        return real(self, case, purpose=purpose)

    monkeypatch.setattr(type(study), "patches_source", noted)
    run = training.prepare_pretrain(study, "volume_fusion", dims=dims, **TINY)
    method, spec = training_method(run)
    train = [case.id for case in study.cases(split="train")]
    made = [
        PretrainTask(study, run, method, spec, train, PretrainSettings(batch_size=3, seed=seed)) for seed in (0, 0, 1)
    ]
    for task in made:
        drain(task.prepare())
    first, again, other = (drain(task.evaluate()) for task in made)
    assert first == again != other
    assert drain(made[0].evaluate()) == first
    assert first.what == "pretext"
    assert sum(len(batch.case_ids) for batch in made[0]._scored) in range(
        SCORED_PATCHES[dims], SCORED_PATCHES[dims] + 3
    )
    assert {purpose for _, purpose in asked} == {"train"}
    assert {case for case, _ in asked} <= set(train)
    trained = made[0].sample(0).batch
    assert all((trained.image[0] != batch.image[0]).any() for batch in made[0]._scored)


def training_method(run):
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.networks import NetworkSpec

    return get_method(run.record.method, run.config), NetworkSpec.model_validate(run.record.network)
