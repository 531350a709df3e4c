"""Each network pretrains, hands its weights on, fine-tunes and predicts; thick slices among the scans."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain, finetune, predict, prepare_finetune, prepare_pretrain, pretrain

QUICK = {
    "iterations": 1,
    "batch_size": 2,
    "device": "cpu",
    "train": {"preview_seconds": 0, "threads": 1, "checkpoint_seconds": 3600},
}
THICKNESS = 8.0


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Four scans of nine slices of 8 mm, pixels of 1.4 mm, with a ball of 40 mm in each."""
    folder = tmp_path_factory.mktemp("thick")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    rng = np.random.default_rng(0)
    affine = np.diag([1.4, 1.4, THICKNESS, 1.0])
    for number in range(4):
        shape = (40, 48, 9)
        millimetres = [
            (axis - side / 2) * step for axis, side, step in zip(np.indices(shape), shape, (1.4, 1.4, 8.0), strict=True)
        ]
        label = (sum(axis**2 for axis in millimetres) < 20**2).astype(np.uint8)
        image = (100 * label + rng.normal(0, 10, shape)).astype(np.float32)
        for kind, array in (("images", image), ("labels", label)):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / kind / f"mr_{number}.nii.gz")
    return Study.create(folder / "study", images=folder / "images", labels=folder / "labels", split=(75, 0, 25))


def weights_event(run):
    return next(event.data for event in run.events() if event.kind == "weights")


@pytest.mark.parametrize(
    ("network", "dims", "method"),
    [
        ("pctnet", 3, "volume_fusion"),
        ("unetr", 3, "simmim"),
        ("swin_unetr", 2, "volume_fusion"),
        ("dynunet", 3, "volume_fusion"),
    ],
)
def test_a_pretrained_network_is_taken_over_but_for_its_heads(study, network, dims, method):
    before = drain(pretrain(study, method, network=network, dims=dims, **QUICK))
    after = drain(finetune(study, before, **QUICK))
    assert before.state == after.state == "finished"
    found = weights_event(after)
    assert found["skipped"] == [] and len(found["loaded"]) > 20
    assert {name.split(".")[0] for name in found["random"]} <= {"head", "deep_heads"}
    assert not [name for name in found["loaded"] if not name.startswith("backbone.")]
    (path,) = drain(predict(study, after))
    prediction, case = nibabel.load(path), study.cases(split="test")[0]
    assert prediction.shape == (40, 48, 9)
    assert np.allclose(prediction.affine, nibabel.load(case.images[0]).affine)


def test_thick_slices_are_not_pooled_into_one_another_at_first(study):
    spec = prepare_pretrain(study, "volume_fusion", network="pctnet", device="cpu").record.network
    assert spec["dims"] == 3  # the only possibility, so it need not be asked for
    assert spec["options"] == {"resolution": "2d-2d", "slice_axis": 0}
    assert spec["patch"] == [8, 48, 32]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"network": "pctnet", "dims": 2}, "3D only"),
        ({"network": "pctnet", "preset": "standard"}, "small, paper"),
        ({"network": "nnformer"}, "swin_unetr"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_a_run_is_made(study, choice, words):
    runs = len(study.runs())
    with pytest.raises(UserError, match=words):
        prepare_finetune(study, device="cpu", **choice)
    assert len(study.runs()) == runs


def test_options_are_taken_with_the_networks_name(study):
    run = prepare_pretrain(study, "volume_fusion", network="pctnet:resolution=3d-3d,window=2", device="cpu")
    assert run.record.network["options"] == {"resolution": "3d-3d", "slice_axis": 0, "window": 2}
    with pytest.raises(UserError, match="windows"):
        prepare_pretrain(study, "volume_fusion", network="pctnet:windows=2", device="cpu")


def test_a_method_for_slices_says_which_dimensions_the_network_has(study):
    with pytest.raises(UserError, match="pctnet works in 3D, this method in 2D"):
        prepare_pretrain(study, "fdas", network="pctnet", device="cpu")
