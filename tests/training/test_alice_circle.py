"""Alice from a study to predictions: matched crops, a target encoder that is resumed, the network that starts from it."""

from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest
import torch

from napari_ssl_seg import training
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.methods import get_method, inspect
from napari_ssl_seg.methods.alice_preparation import ONE_SCAN
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain
from tests.training.conftest import TINY

SETTINGS = {"hidden": 32, "features": 16, "decoder_width": 48, "decoder_layers": 1}
SWIN = "swin_unetr:feature_size=12"


def warnings_of(run) -> str:
    return " ".join(event.data["message"] for event in run.events() if event.kind == "warning")


@pytest.mark.parametrize(("network", "transformer"), [("unetr", "vit"), (SWIN, "swinViT")])
def test_from_matched_crops_to_predictions(study, network, transformer):
    run = drain(training.pretrain(study, "alice", network=network, settings=SETTINGS, **TINY))
    assert run.state == "finished" and run.facts == {"matcher": "same field of view"}
    assert (run.record.settings["learning_rate"], run.record.settings["beta2"]) == (5e-4, 0.95)
    faster = training.prepare_pretrain(study, "alice", train={"learning_rate": 0.01, "beta2": None})
    assert (faster.record.settings["learning_rate"], faster.record.settings["beta2"]) == (0.01, 0.95)
    losses = run.latest("step").data["losses"]
    assert losses.keys() == {"total", "restoration", "volume", "alignment", "spread", "rank"}
    assert losses["total"] == pytest.approx(losses["restoration"] + losses["volume"] + losses["alignment"], rel=1e-4)
    assert ("zero-mask variant" in warnings_of(run)) == (transformer == "swinViT")

    tuned = drain(training.finetune(study, run, cases=2, **TINY))
    weights = tuned.latest("weights").data
    assert not weights["skipped"]
    assert all(name.startswith(f"backbone.net.{transformer}.") for name in weights["loaded"])
    of_transformer = {name for name in weights["random"] if f".{transformer}." in name}
    assert all(".layers4." in name for name in of_transformer)
    assert len(weights["loaded"]) > 50 and any(name.startswith("backbone.net.decoder") for name in weights["random"])
    (path, *_) = drain(training.predict(study, tuned, split="test"))
    assert nibabel.load(path).shape == nibabel.load(study.cases(split="test")[0].images[0]).shape


def test_a_stopped_run_goes_on_to_the_last_bit(study):
    options = {"settings": SETTINGS, **TINY}
    whole = drain(training.pretrain(study, "alice", **options))
    run = training.prepare_pretrain(study, "alice", **options)
    for event in training.train(study, run):
        if event.kind == "step":
            run.request_stop()
    assert run.state == "stopped"
    drain(training.resume(study, run))
    first, second = (torch.load(item.checkpoint_path("last"), weights_only=True)["model"] for item in (whole, run))
    assert first.keys() == second.keys()
    parts = {"encoder", "decoder", "head", "target", "alignment", "gauge"}
    assert {name.split(".")[0] for name in first} == parts | {"volume_predictor", "alignment_predictor", "_extra_state"}
    for name, value in first.items():
        assert torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
    assert any(
        not torch.equal(first[name], first[name.removeprefix("target.")]) for name in first if "target.enc" in name
    )


def test_a_run_shows_what_it_makes_of_any_slice(study):
    run = drain(training.pretrain(study, "alice", settings=SETTINGS, **TINY | {"iterations": 1}))
    case = study.cases(split="test")[0]
    shown = inspect(
        study, "alice", case.id, spec=NetworkSpec.model_validate(run.record.network), slice_index=5, run=run
    )
    assert [view.name for view in shown.views] == [
        *("scan", "partner", "point", "partner_point", "match", "around", "box", "partner_around", "partner_box"),
        *("mask", "partner_mask", "visible", "partner_visible", "whole", "partner_whole", "target", "partner_target"),
        *("restored", "pasted", "error", "partner_restored", "partner_pasted", "partner_error"),
        *("asked", "attention", "target_attention", "gauge"),
    ]
    assert shown.batch.partner_ids[0] in {item.id for item in study.cases(split="train")}
    assert shown.warnings == () and shown.stats["matches_accepted"] == 1
    mae = inspect(study, get_method("alice", {"volume_weight": 0, "alignment_weight": 0}), case.id, spec=shown.spec)
    assert [view.name for view in mae.views][-1] == "partner_target"


def test_a_matcher_that_is_not_there_yet_is_said(study):
    case, spec = study.cases(split="train")[0], NetworkSpec(name="unetr", dims=2, patch=(32, 16))
    method = get_method("alice", SETTINGS | {"matcher": "embedding", "match_iterations": 2})
    shown = inspect(study, method, case.id, spec=spec)
    assert "a pretraining prepares one" in shown.warnings[0]
    run = drain(training.pretrain(study, method, **TINY | {"iterations": 1}))
    assert run.facts == {"matcher": "Self-supervised Anatomical eMbedding"}
    shown = inspect(study, method, case.id, spec=spec)
    assert shown.warnings == () and shown.batch.matches[0].how in ("embedding", "affine")


def test_a_study_with_one_scan_trains_and_says_what_is_missing(tmp_path, scans):
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(scans / "images" / "scan_00.nii.gz", folder)
    study = Study.create(tmp_path / "study", images=folder, split=(100, 0, 0))
    run = drain(training.pretrain(study, "alice", settings=SETTINGS, **TINY | {"iterations": 2, "batch_size": 1}))
    assert run.state == "finished" and ONE_SCAN in warnings_of(run)


def test_scans_that_share_no_anatomy_are_pretrained_on(tmp_path):
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).normal(size=(20, 24, 18 + 20 * number)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), folder / f"noise_{number}.nii.gz")
    study = Study.create(tmp_path / "study", images=folder, split=(100, 0, 0))
    settings = SETTINGS | {"match_iterations": 1, "match_cycle": 0.0, "match_score": 1.0}
    run = drain(training.pretrain(study, "alice", settings=settings, **TINY | {"iterations": 1}))
    assert run.state == "finished"
    shown = inspect(
        study, get_method("alice", settings), "noise_0", spec=NetworkSpec(name="unetr", dims=2, patch=(32, 16))
    )
    assert shown.stats["matches_rejected"] == 1 and shown.stats["matches_accepted"] == 0
    table = next(view.data for view in shown.views if view.name == "match")
    assert any(row.startswith("rejected: ") for row in table)


def test_networks_without_a_transformer_are_refused(study):
    with pytest.raises(RunError, match="unetr or swin_unetr"):
        training.prepare_pretrain(study, "alice", network="unet", **TINY)
