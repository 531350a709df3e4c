"""The volume methods on real scans of the torso, CT and MR, through the command line and through the window."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.cli import main
from napari_ssl_seg.gui.dock import TRAIN, SSLDock
from napari_ssl_seg.study import Study

if TYPE_CHECKING:
    from pathlib import Path

SCANS = {"ct": "example_ct", "ct_thin": "example_ct_sm", "mr": "example_mr_sm"}
LABELS = {"ct": "example_ct_spine_seg", "ct_thin": "example_seg", "mr": "example_seg_mr"}
METHODS = [
    ("volume_fusion", "pctnet"),
    ("models_genesis", "unet"),
    ("patch_swap", "unet"),
    ("simmim", "dynunet"),
    ("mae", "unetr"),
    ("mod", "swin_unetr"),
]
BARELY = ["--iterations", "2", "--batch-size", "1", "--device", "cpu"]

pytestmark = [pytest.mark.real_data, pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")]


@pytest.fixture(scope="module")
def torso(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two CTs and an MR, thinned out; what is labelled, whichever structure, is one class."""
    folder = tmp_path_factory.mktemp("torso")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for case in SCANS:
        scan, label = (coarse(real_data / "torso" / f"{name}.nii.gz") for name in (SCANS[case], LABELS[case]))
        scan.to_filename(folder / "images" / f"{case}.nii.gz")
        structures = (np.asarray(label.dataobj) > 0).astype(np.uint8)
        nibabel.Nifti1Image(structures, label.affine).to_filename(folder / "labels" / f"{case}.nii.gz")
    Study.create(
        folder / "study", images=folder / "images", labels=folder / "labels", split=(34, 33, 33), classes={1: "organs"}
    )
    return folder / "study"


def coarse(path: Path) -> Any:
    """Small enough for a test: every fourth row and column, and at most 40 slices of which every other."""
    scan: Any = nibabel.load(path)
    return scan.slicer[::4, ::4, :40:2]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main([str(argument) for argument in arguments] + ["--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("method", "network"), METHODS)
def test_each_volume_method_goes_the_whole_way_on_the_command_line(
    torso: Path, capsys: pytest.CaptureFixture[str], method: str, network: str
) -> None:
    pretrained = call(
        capsys, "pretrain", torso, "--method", method, "--network", network, "--dims", 3, "--preset", "small", *BARELY
    )
    assert pretrained["state"] == "finished"
    tuned = call(capsys, "finetune", torso, "--init", pretrained["run"], "--cases", 1, *BARELY)
    assert tuned["state"] == "finished"
    check_prediction(torso, call(capsys, "predict", torso, "--run", tuned["run"])["predictions"])


def test_labels_and_mod_train_together_on_the_command_line(torso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--joint", "mod", "--network", "unetr", "--dims", 3, "--preset", "small", "--cases", 1]
    tuned = call(capsys, "finetune", torso, "--init", "scratch", *options, *BARELY)
    assert tuned["state"] == "finished"
    check_prediction(torso, call(capsys, "predict", torso, "--run", tuned["run"])["predictions"])


def test_each_volume_method_goes_the_whole_way_in_the_window(torso: Path, make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    dock = SSLDock(viewer)
    viewer.window.add_dock_widget(dock, name="SSL segmentation", area="right")
    dock.open_study(torso)
    qtbot.waitUntil(lambda: dock.workbench.study is not None, timeout=60_000)
    tab = dock.show_tab(TRAIN)
    qtbot.waitUntil(lambda: tab.pretrain_card.method.value() in dict(METHODS), timeout=60_000)
    known = {run.id for run in dock.workbench.runs}

    def state(run_id: str) -> str | None:
        return tab.queue.state(run_id) if any(run.id == run_id for run in tab.queue.runs) else None

    def train(card) -> str:
        card.budget.unit.set_value("steps")
        card.budget.number.setValue(1)
        card.train_form.set_values({"batch_size": 1})
        assert card.problem() is None
        card.button.click()
        qtbot.waitUntil(lambda: bool({run.id for run in dock.workbench.runs} - known), timeout=60_000)
        (run_id,) = {run.id for run in dock.workbench.runs} - known
        known.add(run_id)
        qtbot.waitUntil(lambda: state(run_id) in ("finished", "failed"), timeout=120_000)
        assert state(run_id) == "finished", dock.messages.text
        return run_id

    for method, network in METHODS:
        card = tab.pretrain_card
        card.method.set_value(method)
        card.method.edited.emit()
        card.network.set_value((network, "small"))
        card.network.edited.emit()
        card.dims.set_value(3)
        pretrained = train(card)
        tab.finetune_card.init.set_value(pretrained)
        tab.finetune_card.init.edited.emit()
        tuned = train(tab.finetune_card)
        assert Study.open(torso).run(tuned).record.parent == pretrained


def check_prediction(folder: Path, predictions: list[str]) -> None:
    """One map a test scan, on the scan's own grid."""
    study = Study.open(folder)
    tested = study.cases(split="test")
    assert len(predictions) == len(tested) == 1
    predicted, scan = nibabel.load(predictions[0]), nibabel.load(tested[0].images[0])
    assert predicted.shape == scan.shape
    np.testing.assert_allclose(predicted.affine, scan.affine, atol=1e-4)
    assert set(np.unique(np.asarray(predicted.dataobj))) <= {0, 1}
