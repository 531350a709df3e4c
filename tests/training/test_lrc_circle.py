"""Localized Region Contrast from a study to predictions: regions, both branches, the pair that is fine-tuned."""

from __future__ import annotations

import json
from collections import Counter

import nibabel
import numpy as np
import pytest
import torch

from napari_ssl_seg import training
from napari_ssl_seg.errors import LeakageError, RunError
from napari_ssl_seg.methods import get_method, inspect
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.training import drain
from tests.training.conftest import TINY

SETTINGS = {"points": 8, "projection": 16, "queue": 32}


def test_from_superpixels_to_predictions(study):
    run = drain(training.pretrain(study, "lrc", settings=SETTINGS, **TINY))
    assert run.state == "finished"
    slices = sum(case.shape[0] for case in study.cases(split="train"))
    assert run.facts["regions"] == "Felzenszwalb superpixels (no SAM weights)"
    assert run.facts["slices"] == slices and run.facts["median_regions"] >= 2 and run.facts["queue"] == 32
    losses = run.latest("step").data["losses"]
    assert {"total", "local", "global", "top1"} <= losses.keys()
    assert losses["total"] == pytest.approx(losses["local"] + losses["global"], rel=1e-4)
    backbone, spec = training.load_backbone(run)
    assert spec.name == "unet_pair" and backbone.out_features == 128

    tuned = drain(training.finetune(study, run, cases=2, **TINY))
    weights = tuned.latest("weights").data
    origin = {key: {".".join(name.split(".")[:4]) for name in weights[key]} for key in ("loaded", "random")}
    assert not weights["skipped"]
    assert {"backbone.local.unet.encoder", "backbone.local.unet.decoder", "backbone.global_.unet.encoder"} <= origin[
        "loaded"
    ]
    assert {"backbone.global_.unet.decoder", "backbone.global_.unet.narrow", "head.weight"} <= origin["random"]
    assert tuned.record.network == run.record.network | {"name": "unet_pair"}
    scratch = drain(training.finetune(study, cases=2, network="unet_pair", dims=2, **TINY))
    assert scratch.record.network == tuned.record.network
    sizes = [sum(w.numel() for w in training.load_segmentation(item)[0].parameters()) for item in (tuned, scratch)]
    assert sizes[0] == sizes[1]
    (path, *_) = drain(training.predict(study, tuned, split="test"))
    case = study.cases(split="test")[0]
    assert nibabel.load(path).shape == nibabel.load(case.images[0]).shape


def test_a_network_asked_for_may_be_either_name(study):
    run = drain(training.pretrain(study, "lrc", settings=SETTINGS, **TINY | {"iterations": 1}))
    for name in ("unet", "unet_pair", None):
        assert training.prepare_finetune(study, run, network=name, **TINY).record.network["name"] == "unet_pair"
    with pytest.raises(RunError, match="leave that out"):
        training.prepare_finetune(study, run, preset="standard", **TINY)


def test_the_queue_and_the_key_encoder_are_resumed_to_the_last_bit(study):
    options = {"settings": SETTINGS, **TINY, "train": TINY["train"] | {"clip_norm": 0}}
    whole = drain(training.pretrain(study, "lrc", **options))
    run = training.prepare_pretrain(study, "lrc", **options)
    for event in training.train(study, run):
        if event.kind == "step":
            run.request_stop()
    assert run.state == "stopped"
    drain(training.resume(study, run))
    first, second = (torch.load(item.checkpoint_path("last"), weights_only=True)["model"] for item in (whole, run))
    assert first.keys() == second.keys()
    assert Counter(name.split(".")[1] for name in first if name.startswith("global")).keys() == {
        "encoder",
        "key_encoder",
        "queue",
        "gauge",
    }
    for name, value in first.items():
        assert torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
    assert int(first["global_contrast.queue.place"]) == TINY["iterations"] * TINY["batch_size"] % 32


def test_a_run_shows_what_it_makes_of_any_slice(study):
    run = drain(training.pretrain(study, "lrc", settings=SETTINGS, **TINY | {"iterations": 1}))
    case = study.cases(split="test")[0]
    spec = NetworkSpec.model_validate(run.record.network)
    shown = inspect(study, "lrc", case.id, spec=spec, slice_index=case.shape[0] // 2, run=run)
    names = [view.name for view in shown.views]
    assert names == [
        *("scan", "superpixels", "warped", "warped_superpixels", "displacement", "grid"),
        *("points", "warped_points", "dropped", "similarity", "clusters", "retrieval"),
    ]
    assert shown.stats["regions"] >= 2
    other = inspect(study, get_method("lrc", {"source": "slic", "segments": 12}), case.id, spec=spec)
    assert not torch.equal(other.batch.regions, shown.batch.regions)


def test_scans_of_nothing_are_pretrained_on_and_said(tmp_path, scans):
    from napari_ssl_seg.study import Study

    folder = tmp_path / "flat"
    folder.mkdir()
    for number in range(4):
        flat = np.full((16, 16, 4), 7.0 + number, np.float32)
        nibabel.save(nibabel.Nifti1Image(flat, np.eye(4)), folder / f"flat_{number}.nii.gz")
    study = Study.create(tmp_path / "study", images=folder, split=(100, 0, 0))
    run = drain(training.pretrain(study, "lrc", settings=SETTINGS, dims=2, **TINY))
    assert run.state == "finished"
    assert run.facts["slices_without_regions"] == run.facts["slices"] == 16
    assert run.facts["queue"] == 0
    said = " ".join(event.data["message"] for event in run.events() if event.kind == "warning")
    assert "no slice has a region" in said and "too few for a queue" in said
    assert run.latest("step").data["losses"]["local"] == 0
    assert json.loads(run.model_path.read_text())["network"]["name"] == "unet_pair"


def test_regions_of_other_splits_are_not_made_for_training(study):
    test = [case.id for case in study.cases(split="test")]
    with pytest.raises(LeakageError):
        drain(get_method("lrc").prepare(study, test))
