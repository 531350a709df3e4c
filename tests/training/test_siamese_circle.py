"""Methods that compare views, from a study to predictions, through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from napari_ssl_seg import training
from napari_ssl_seg.cli import main
from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain
from tests.training.conftest import TINY

if TYPE_CHECKING:
    from pathlib import Path

STEPS = ["--iterations", "4", "--batch-size", "2", "--dims", "2", "--device", "cpu"]
SMALL = {
    "simclr": [],
    "moco": ["--set", "queue=16"],
    "byol": ["--set", "hidden=32"],
    "simsiam": ["--set", "projection=32"],
    "dino": ["--set", "hidden=32", "--set", "prototypes=16"],
    "densecl": ["--set", "queue=16"],
    "moco_v3": ["--set", "hidden=32"],
    "ibot": ["--set", "hidden=32", "--set", "prototypes=16"],
}
LOSSES = {"ibot": {"cls", "tokens"}}
"""What the total is the sum of; of the others the one contrast."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory, scans) -> Study:
    folder = tmp_path_factory.mktemp("studies") / "balls"
    return Study.create(folder, images=scans / "images", labels=scans / "labels", split=(60, 20, 20))


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments] + ["--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", SMALL)
def test_pretrain_and_fine_tune(kept: Study, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrained = call(capsys, "pretrain", kept.folder, "--method", name, *STEPS, *SMALL[name])
    assert (pretrained["state"], pretrained["step"]) == ("finished", 4)
    losses = kept.run(pretrained["run"]).latest("step").data["losses"]
    summed = LOSSES.get(name, {"contrast"})
    assert {"total", *summed, "top1", "spread", "rank"} <= losses.keys()
    assert losses["total"] == pytest.approx(sum(losses[part] for part in summed), rel=1e-4)
    assert main(["finetune", str(kept.folder), "--init", pretrained["run"], "--cases", "2", "--iterations", "2"]) == 0
    # Four levels of two convolutions and two norms; the decoder and the head are new.
    said = "".join(capsys.readouterr())
    assert "weights: 32 tensors taken over, 32 start at random" in said
    (tuned,) = (run for run in kept.runs() if run.record.parent == pretrained["run"])
    assert tuned.state == "finished"
    weights = tuned.latest("weights").data
    assert {entry.split(".")[1] for entry in weights["loaded"]} == {"encoder"}
    assert {entry.split(".")[1] for entry in weights["random"]} == {"narrow", "decoder", "weight", "bias"}
    assert not weights["skipped"]
    case = kept.cases(split="test")[0].id
    shown = call(
        capsys, "inspect", kept.folder, "--method", name, "--case", case, "--run", pretrained["run"], "--out", tmp_path
    )
    assert len(shown["views"]) == len(list(tmp_path.glob("*.png"))) >= 6


def test_the_control_of_lrc_pretrains_both_encoders(study) -> None:
    settings = {"local_contrast": "global", "projection": 16, "queue": 32}
    run = drain(training.pretrain(study, "lrc", settings=settings, **TINY))
    losses = run.latest("step").data["losses"]
    assert {"local", "global", "local_spread", "global_spread", "local_rank", "global_rank"} <= losses.keys()
    weights = drain(training.finetune(study, run, cases=2, **TINY)).latest("weights").data
    origin = {key: {".".join(entry.split(".")[:4]) for entry in weights[key]} for key in ("loaded", "random")}
    assert origin["loaded"] == {"backbone.local.unet.encoder", "backbone.global_.unet.encoder"}
    assert {"backbone.local.unet.decoder", "backbone.global_.unet.decoder"} <= origin["random"]
