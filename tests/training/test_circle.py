"""From a study to predictions: pretrain, fine-tune, predict, and what each leaves in its folder."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import torch

from napari_ssl_seg import training
from napari_ssl_seg.errors import LeakageError, RunError, UserError
from napari_ssl_seg.training import drain
from tests.training.conftest import TINY


@pytest.mark.parametrize("method", ["simmim", "volume_fusion"])
@pytest.mark.parametrize("dims", [2, 3])
def test_pretraining_uses_train_scans_only_and_leaves_a_backbone(study, method, dims):
    run = drain(training.pretrain(study, method, dims=dims, **TINY))
    record = run.record
    assert run.state == "finished" and record.kind == "pretrain" and record.method == method
    assert record.cases == {"train": [case.id for case in study.cases(split="train")]}
    assert record.fingerprint == study.fingerprint(record.cases["train"])
    assert record.settings["batch_size"] == 2 and record.network["dims"] == dims and record.versions["torch"]
    backbone, spec = training.load_backbone(run)
    assert spec.dims == dims
    assert all(torch.isfinite(weight).all() for weight in backbone.parameters())
    made, model, _ = training.load_pretraining(run)
    assert made.name == method
    transferred = made.transfer(model)
    assert all(torch.equal(tensor, transferred[name]) for name, tensor in backbone.state_dict().items())


def test_a_resumed_pretraining_equals_an_uninterrupted_one(study):
    whole = drain(training.pretrain(study, "volume_fusion", dims=2, **TINY))
    run = training.prepare_pretrain(study, "volume_fusion", dims=2, **TINY)
    assert run.state == "queued"
    run.request_stop()
    drain(training.train(study, run))
    assert run.state == "stopped"
    for event in training.resume(study, run.id):
        if event.kind == "step":
            run.request_stop()
    assert run.state == "stopped"
    drain(training.resume(study, run))
    assert run.state == "finished"
    first, second = (torch.load(item.checkpoint_path("last"), weights_only=True) for item in (whole, run))
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())


def test_fine_tuning_learns_takes_over_and_keeps_the_best(study):
    parent = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    arguments = {**TINY, "iterations": 60, "batch_size": 8}
    arguments["train"] = {**TINY["train"], "evaluate_every": 15, "preview_seconds": 0.5}
    run = drain(training.finetune(study, parent.id, cases=2, **arguments))
    record = run.record
    assert record.parent == parent.id and record.classes == {1: "class 1", 2: "class 2"}
    assert record.cases["train"] == study.train_labelled_order(0)[:2]
    assert record.cases["validation"] == [case.id for case in study.cases(split="validation")]
    weights = run.latest("weights").data
    assert (
        weights["source"] == parent.id and weights["random"] == ["head.weight", "head.bias"] and not weights["skipped"]
    )
    evaluations = [event.data for event in run.events() if event.kind == "evaluation"]
    assert [event["step"] for event in evaluations] == [15, 30, 45, 60]
    best = max(event["mean_dice"] for event in evaluations)
    assert best > 0.6
    step = next(event["step"] for event in evaluations if event["mean_dice"] == best)
    assert json.loads(run.model_path.read_text())["step"] == step
    network, _, classes = training.load_segmentation(run)
    assert classes == record.classes and not network.training
    best_state = torch.load(run.checkpoint_path("best"), weights_only=True)["model"]
    assert all(torch.equal(value, best_state[name]) for name, value in network.state_dict().items())
    preview = run.latest("preview").data
    with np.load(run.folder / preview["file"]) as arrays:
        assert arrays["labels"].shape == study.case(preview["case"]).shape[1:]

    paths = drain(training.predict(study, run, split="test"))
    assert [path.name for path in paths] == [f"{case.id}.nii.gz" for case in study.cases(split="test")]
    for path, case in zip(paths, study.cases(split="test"), strict=True):
        predicted, source = nibabel.load(path), nibabel.load(case.images[0])
        assert predicted.shape == source.shape and np.allclose(predicted.affine, source.affine)
        guess, truth = np.asarray(predicted.dataobj) > 0, np.asarray(nibabel.load(case.label).dataobj) > 0
        assert 2 * (guess & truth).sum() / (guess.sum() + truth.sum()) > 0.7, "it lies over its scan"


def test_fine_tuning_in_3d_from_a_fine_tuning_takes_everything(study):
    first = drain(training.finetune(study, dims=3, **TINY))
    second = drain(training.finetune(study, first, **TINY))
    weights = second.latest("weights").data
    assert not weights["random"] and not weights["skipped"] and "head.weight" in weights["loaded"]
    assert second.record.network == first.record.network


def test_probabilities_and_scans_outside_the_study(study, scans, tmp_path):
    run = drain(training.finetune(study, dims=2, **TINY))
    (path,) = drain(training.predict(study, run, cases=["scan_00"], probabilities=True))
    scores = np.asarray(nibabel.load(run.probabilities / path.name).dataobj)
    assert scores.shape[-1] == 3 and np.allclose(scores.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(scores.argmax(axis=-1), np.asarray(nibabel.load(path).dataobj))
    outside = drain(training.predict_files(run, scans / "images" / "scan_00.nii.gz", tmp_path / "out"))
    assert [item.name for item in outside] == ["scan_00.nii.gz"]
    assert np.array_equal(np.asarray(nibabel.load(outside[0]).dataobj), np.asarray(nibabel.load(path).dataobj))


def test_slices_without_labels_are_not_learnt_from(study):
    run = training.prepare_finetune(study, slices=3, dims=2, **TINY)
    slices = run.record.slices
    assert sum(map(len, slices.values())) == 3 and set(slices) == set(run.record.cases["train"])
    larger = training.prepare_finetune(study, slices=5, dims=2, **TINY).record.slices
    assert all(set(indices) <= set(larger[case_id]) for case_id, indices in slices.items())
    drain(training.train(study, run))
    assert run.state == "finished" and run.record.title == "scratch, 3 slices"


def test_without_validation_labels_the_last_weights_are_kept_and_a_warning_given(tmp_path, scans):
    from napari_ssl_seg.study import Study

    study = Study.create(tmp_path / "s", images=scans / "images", labels=scans / "labels", split=(80, 0, 20))
    run = drain(training.finetune(study, cases=1, dims=2, **TINY))
    assert "last weights" in run.latest("warning").data["message"] and run.latest("evaluation") is None
    assert json.loads(run.model_path.read_text())["step"] == 6


def test_early_stopping_says_why(study):
    arguments = {
        **TINY,
        "iterations": 50,
        "train": {**TINY["train"], "evaluate_every": 1, "patience": 1, "learning_rate": 1e-7},
    }
    run = drain(training.finetune(study, dims=2, **arguments))
    assert run.state == "finished" and run.latest("step").data["step"] < 50
    assert "no better validation Dice" in run.latest("state").data["reason"]


def test_a_finished_run_goes_on_only_when_asked_for_more(study):
    run = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    with pytest.raises(RunError, match="is finished"):
        drain(training.resume(study, run))
    drain(training.resume(study, run, iterations=8))
    assert run.latest("step").data["step"] == 8 and run.state == "finished"


def test_one_run_cannot_go_on_twice(study):
    run = training.prepare_pretrain(study, "simmim", dims=2, **TINY)
    events = training.train(study, run)
    next(events)
    with pytest.raises(RunError, match="already goes on"):
        drain(training.resume(study, run))
    drain(events)
    assert run.state == "finished"


def test_a_record_that_names_a_test_scan_is_refused(study):
    run = training.prepare_pretrain(study, "simmim", dims=2, **TINY)
    path = run.folder / "run.json"
    record = json.loads(path.read_text())
    record["cases"]["train"] = [study.cases(split="test")[0].id]
    path.write_text(json.dumps(record))
    with pytest.raises(LeakageError, match=record["cases"]["train"][0]):
        drain(training.train(study, run))
    assert run.state == "failed"


def test_mistakes_are_answered_before_a_folder_is_made(study):
    for arguments, words in (
        ({"cases": 7}, "more than the 6 labelled"),
        ({"cases": "0%"}, "at least 1"),
        ({"init": "nothing"}, "0 runs fit"),
        ({"train": {"learning_rate": -1}}, "'learning_rate' is -1"),
        ({"train": {"momentum": 1}}, "no training setting 'momentum'"),
        ({"device": "cuda:77"}, "no device 'cuda:77'"),
        ({"slices": 10_000}, "labelled ones"),
        ({"train": {"preview_case": "nobody"}}, "no case 'nobody'"),
    ):
        with pytest.raises(UserError, match=words):
            training.prepare_finetune(study, **arguments)
    assert study.runs() == []
    queued = training.prepare_pretrain(study, "simmim", dims=2, **TINY)
    with pytest.raises(RunError, match="has no weights yet"):
        training.prepare_finetune(study, queued)
    with pytest.raises(RunError, match=r"has dims 2, and 3 was asked for"):
        training.prepare_finetune(study, queued, dims=3)
    with pytest.raises(RunError, match="segments nothing"):
        drain(training.pretrain(study, "simmim", dims=2, **TINY))
        drain(training.predict(study, study.runs()[-1]))


def test_a_label_value_beyond_the_classes_is_named(study, scans):
    from napari_ssl_seg.training.labelled import LabelMap

    with pytest.raises(RunError, match="value 2"):
        list(LabelMap(study, study.train_labelled_order(0)[0], [1], purpose="train").slabs())


def test_nothing_fits_from_another_network(study):
    from napari_ssl_seg.networks import NetworkSpec, build_network
    from napari_ssl_seg.training.transfer import take_over

    run = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    network = build_network(NetworkSpec(dims=3, patch=(16, 16, 16)), 3)
    weights = run.weights_path.read_bytes()
    assert weights
    other = training.prepare_pretrain(study, "simmim", dims=2, **TINY)
    from napari_ssl_seg.training.weights import save_weights

    save_weights(other, {"encoder.unknown": torch.zeros(3)}, step=0)
    with pytest.raises(RunError, match="none of the 1 tensors"):
        take_over(network, other)


def test_default_dimensions_follow_the_slices():
    from napari_ssl_seg.training.planning import default_dims

    assert default_dims((35, 50, 35), (1, 1, 1), "standard") == 3
    assert default_dims((35, 50, 35), (1, 1, 1), "small") == default_dims((35, 50, 35), (1, 1, 1)) == 2
    assert default_dims((12, 256, 256), (10, 1.4, 1.4), "standard") == 2
    assert default_dims((12, 64, 64), (1, 1, 1), "standard") == 2
