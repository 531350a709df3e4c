"""Methods that train an encoder on labels that the samples give: from the command line to a fine-tuning, and stopped midway."""

from __future__ import annotations

import json

import pytest

from napari_ssl_seg import training
from napari_ssl_seg.cli import main
from tests.training.conftest import TINY

QUICK = ("--iterations", "3", "--batch-size", "2", "--device", "cpu")
SETTINGS = {"voco": ("--set", "features=16", "grid=2"), "swin_unetr_pretext": ("--network", "unet")}
RATES = {"rotation": 1e-3, "relative_location": 1e-3, "voco": 1e-3, "swin_unetr_pretext": 4e-4}


def call(capsys, *arguments) -> dict:
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("method", "dims"), [("rotation", 2), ("relative_location", 2), ("voco", 2), ("voco", 3), ("swin_unetr_pretext", 2)]
)
def test_from_the_command_line_to_a_fine_tuning(study, capsys, tmp_path, method, dims):
    pretrained = call(
        capsys, "pretrain", study.folder, "--method", method, "--dims", dims, *QUICK, *SETTINGS.get(method, ())
    )
    assert pretrained["state"] == "finished"
    run = study.run(pretrained["run"])
    assert run.record.settings["learning_rate"] == RATES[method]
    shown = call(
        capsys, "inspect", study.folder, "--method", method, "--case", study.cases()[0].id, "--dims", dims,
        "--run", run.id, "--out", tmp_path / "out",
    )  # fmt: skip
    assert len(shown["views"]) > 4
    events = list(training.finetune(study, run.id, cases=2, **TINY))
    weights = next(event.data for event in events if event.kind == "weights")
    assert weights["loaded"] and not weights["skipped"]
    # The decoder was not pretrained, and the run says so.
    assert any("decoder" in name for name in weights["random"])
    assert all("encoder" in name for name in weights["loaded"])
