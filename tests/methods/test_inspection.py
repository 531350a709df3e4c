from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_ssl_seg.errors import RunError, StudyError, UserError
from napari_ssl_seg.methods import get_method, inspect, list_methods, save_inspection
from napari_ssl_seg.methods.base import View
from napari_ssl_seg.methods.inspection import backdrop_of
from napari_ssl_seg.methods.pictures import PALETTE, picture
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import batch_at, generator_for
from napari_ssl_seg.training.checkpoints import save_checkpoint
from napari_ssl_seg.training.runs import Run, RunRecord
from tests.methods.fakes import fake_prepared, settled, small_spec, small_study

EVERY = [(method.name, dims) for method in list_methods() for dims in sorted(method.dims)]


@pytest.fixture(autouse=True)
def regions_without_a_study(monkeypatch):
    """Scans in memory have no cache and no fingerprint: methods that need regions get those of `fakes.grid_regions`."""
    for method in list_methods():
        if method.needs.regions or method.needs.matched:
            monkeypatch.setattr(method, "prepare_slice", lambda self, study, case, index: fake_prepared(self, study))


def finished_run(folder, name: str, dims: int) -> Run:
    method = settled(name)
    spec = small_spec(dims, method=method)
    record = RunRecord(
        kind="pretrain",
        method=name,
        network=spec.model_dump(mode="json"),
        config=method.config.model_dump(),
        settings={},
    )
    run = Run.create(folder, record)
    torch.manual_seed(0)
    save_checkpoint(run.checkpoint_path("last"), {"model": method.build(build_network(spec)).state_dict()})
    return run


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_what_is_shown_is_what_pretext_returns(name, dims):
    study, method = small_study(), settled(name)
    spec = small_spec(dims, method=method)
    shown = inspect(study, method, "case1", spec=spec, slice_index=7, seed=5)
    batch = batch_at(
        study,
        "case1",
        shown.method.sampled(spec),
        method.needs,
        slice_index=7,
        seed=5,
        case_ids=list(study.scans),
        prepared=fake_prepared(method, study),
    )
    expected = shown.method.pretext(batch, generator_for(5, 0))
    assert torch.equal(shown.pretext.inputs, expected.inputs)
    assert [view.name for view in shown.views] == [view.name for view in expected.views]
    for view in shown.views:
        assert any(view.data is made.data for made in shown.pretext.views)
        assert view.kind != "image" or view.range is not None
    assert shown.stats == expected.stats
    assert shown.slice_index == 7
    assert shown.batch.origins[0][0] + shown.row == 7
    assert shown.seconds > 0


def test_another_seed_shows_another_draw():
    study, spec = small_study(), small_spec(2)
    first, again, other = (inspect(study, "simmim", "case0", spec=spec, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.pretext.inputs, again.pretext.inputs)
    assert not torch.equal(first.pretext.inputs, other.pretext.inputs)
    assert first.slice_index == 10


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_a_run_adds_the_views_of_its_output(tmp_path, name, dims):
    run = finished_run(tmp_path, name, dims)
    plain = inspect(small_study(), settled(name), "case0", spec=small_spec(dims))
    shown = inspect(small_study(), settled(name), "case0", spec=small_spec(dims), run=run)
    names = [view.name for view in shown.views]
    assert names[: len(plain.views)] == [view.name for view in plain.views]
    assert len(names) > len(plain.views)
    assert len(set(names)) == len(names)


def test_a_run_that_does_not_fit_is_refused(tmp_path):
    run = finished_run(tmp_path, "simmim", 2)
    with pytest.raises(RunError, match="made by simmim, not by volume_fusion"):
        inspect(small_study(), "volume_fusion", "case0", spec=small_spec(2), run=run)
    save_checkpoint(run.checkpoint_path("last"), {"model": {"backbone.x": torch.zeros(1)}})
    with pytest.raises(RunError, match="do not fit"):
        inspect(small_study(), "simmim", "case0", spec=small_spec(2), run=run)
    run.checkpoint_path("last").unlink()
    with pytest.raises(RunError, match="no checkpoint yet"):
        inspect(small_study(), "simmim", "case0", spec=small_spec(2), run=run)


def test_what_cannot_be_shown_is_said():
    with pytest.raises(StudyError, match="slices 0 to 19"):
        inspect(small_study(), "simmim", "case0", spec=small_spec(2), slice_index=-1)
    method = get_method("simmim")
    method.dims = frozenset({3})
    with pytest.raises(UserError, match="3D only"):
        inspect(small_study(), method, "case0", spec=small_spec(2))


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_saved_files_hold_the_tensors(tmp_path, name, dims):
    shown = inspect(
        small_study(),
        settled(name),
        "case2",
        spec=small_spec(dims),
        slice_index=3,
        run=finished_run(tmp_path, name, dims),
    )
    paths = save_inspection(shown, tmp_path / "out")
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    pictures = [path for path in paths if path.suffix == ".png"]
    assert [path.stem.split("_", 1)[1] for path in pictures] == [view.name for view in shown.views]
    height, width = shown.batch.image.shape[-2:]
    enlarged = math.ceil(256 / max(height, width))
    for path, view in zip(pictures, shown.views, strict=True):
        with Image.open(path) as image:
            expected = (width * enlarged, height * enlarged)
            assert view.kind not in ("image", "labels", "mask", "boxes") or image.size == expected
    with np.load(tmp_path / "out" / "tensors.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["inputs"], shown.pretext.inputs.numpy())
        for target, tensor in shown.pretext.targets.items():
            np.testing.assert_array_equal(stored[f"target_{target}"], tensor.numpy())
        for view in shown.views:
            assert (f"view_{view.name}" in stored) == isinstance(view.data, torch.Tensor)
    stats = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert stats["case"] == "case2"
    assert stats["slice"] == 3
    assert stats["stats"] == pytest.approx(dict(shown.stats))
    assert stats["config"] == shown.method.config.model_dump()


def test_pictures_of_images_labels_and_masks():
    grey = View("a", "A", "image", torch.tensor([[[[-1.0, 0.0], [1.0, 3.0]]]]), (-1.0, 1.0))
    pixels = np.asarray(picture(grey, row=0, dims=2))
    assert pixels.shape == (256, 256)
    assert pixels[::128, ::128].tolist() == [[0, 128], [255, 255]]
    labels = View("b", "B", "labels", torch.tensor([[[0, 1], [2, 3]]]))
    np.testing.assert_array_equal(
        np.asarray(picture(labels, row=0, dims=2))[::128, ::128].reshape(4, 3), PALETTE[[0, 1, 2, 3]]
    )
    mask = View("c", "C", "mask", torch.tensor([[[[True, False]], [[False, True]]]]))
    assert np.asarray(picture(mask, row=1, dims=3))[0, [0, 255]].tolist() == [0, 255]


def test_pictures_of_channels_lie_side_by_side():
    two = View("a", "A", "image", torch.stack([torch.zeros(256, 256), torch.ones(256, 256)])[None], (0.0, 1.0))
    pixels = np.asarray(picture(two, row=0, dims=2))
    assert pixels.shape == (256, 512)
    assert (pixels[:, :256] == 0).all()
    assert (pixels[:, 256:] == 255).all()


def test_pictures_of_boxes_show_those_on_the_slice():
    corners = torch.tensor([[[0, 64, 64, 2, 128, 128], [3, 0, 0, 4, 32, 32], [0, 0, 0, 0, 0, 0]]])
    backdrop = View("a", "A", "image", torch.zeros(1, 1, 4, 256, 256), (0.0, 1.0))
    boxes = View("b", "B", "boxes", corners)
    pixels = np.asarray(picture(boxes, row=1, dims=3, backdrop=backdrop))
    assert pixels[64, 64].tolist() == PALETTE[1].tolist()
    assert not pixels[:64].any()
    assert np.asarray(picture(boxes, row=3, dims=3, backdrop=backdrop))[:33, :33].any()


def test_boxes_are_drawn_on_the_view_that_they_name():
    first, second = (View(name, name, "image", torch.zeros(1, 1, 4, 4)) for name in ("first", "second"))
    boxes = View("b", "B", "boxes", torch.zeros(1, 0, 4))
    assert backdrop_of(boxes, [first, boxes, second]) is first
    assert backdrop_of(replace(boxes, over="second"), [first, boxes, second]) is second
    assert backdrop_of(boxes, [boxes]) is None
    views = inspect(small_study(), "volume_fusion", "case0", spec=small_spec(2)).views
    assert backdrop_of(next(view for view in views if view.kind == "boxes"), views).name == "alpha"


def test_pictures_of_curves_and_tables():
    curve = View("c", "C", "curve", np.array([[0.0, 1.0], [1.0, 3.0], [2.0, np.nan]]))
    assert (np.asarray(picture(curve, row=0, dims=2)) == PALETTE[5]).all(axis=2).any()
    table = View("t", "T", "table", {"class 0": 0.5, "class 1": float("nan")})
    assert (np.asarray(picture(table, row=0, dims=2)) < 128).any()
