"""What the inspector tells the panel: the trainer's own tensors, in the viewer's axes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import View
from napari_ssl_seg.workbench.pretexts import (
    InspectionRequest,
    Inspector,
    answer,
    chips,
    fitting_runs,
    layer_array,
    number,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    from napari_ssl_seg.study import Study

    rng = np.random.default_rng(0)
    items = [
        (f"case {number}", rng.normal(size=(6, 24, 20)).astype(np.float32), None, (4.0, 2.0, 1.0))
        for number in range(4)
    ]
    return Study.create_from_arrays(tmp_path_factory.mktemp("studies") / "s", items)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", ["simmim", "volume_fusion"])
def test_pictures_are_the_tensors_of_the_pretext(study: Study, method: str, dims: int) -> None:
    from napari_ssl_seg.methods import get_method
    from napari_ssl_seg.methods.inspection import inspect
    from napari_ssl_seg.networks.patch import plan_spec

    case = study.cases()[1].id
    found = answer(InspectionRequest(study, method, case, 3, seed=5, dims=dims))
    spec = plan_spec(dims, 1, study.median_shape(), study.median_spacing())
    trained_on = inspect(study, get_method(method), case, spec=spec, slice_index=3, seed=5)
    assert [picture.name for picture in found.pictures] == [view.name for view in trained_on.pretext.views]
    inputs = next(picture for picture in found.pictures if picture.name == found.front)
    expected = trained_on.pretext.inputs[0, 0].numpy()
    assert np.array_equal(inputs.array, expected if dims == 3 else expected[None])
    for picture in found.pictures:
        assert picture.thumbnail.dtype == np.uint8 and picture.thumbnail.ndim == 3
        assert max(picture.thumbnail.shape) <= 128
        if picture.kind in ("image", "labels", "mask"):
            assert picture.array is not None and picture.array.ndim == 3


def test_the_patch_lies_where_it_was_cut(study: Study) -> None:
    from napari_ssl_seg.volumes import layer_kwargs

    case = study.cases()[0].id
    whole = layer_kwargs(study.image(case, purpose="show"))
    found = answer(InspectionRequest(study, "simmim", case, 4))
    origin = found.placement["metadata"]["patch_origin"]
    assert origin[0] == 4
    for axis in range(3):
        shift = found.placement["translate"][axis] - whole["translate"][axis]
        assert shift == pytest.approx(origin[axis] * whole["scale"][axis])


def test_a_bad_setting_or_slice_is_the_users_to_mend(study: Study) -> None:
    case = study.cases()[0].id
    with pytest.raises(UserError, match="mask_ratio"):
        answer(InspectionRequest(study, "simmim", case, 0, settings={"mask_ratio": 7}))
    with pytest.raises(UserError, match="slices"):
        answer(InspectionRequest(study, "simmim", case, 99))


def test_only_the_answer_to_the_last_question_is_current(study: Study) -> None:
    inspector, case = Inspector(), study.cases()[0].id
    first = answer(inspector.ask(study, "simmim", case, 1))
    assert inspector.is_current(first)
    inspector.ask(study, "simmim", case, 2)
    assert not inspector.is_current(first)
    last = answer(inspector.ask(study, "simmim", case, 3))
    assert inspector.is_current(last)
    inspector.forget()
    assert not inspector.is_current(last)


def test_boxes_are_start_then_stop_in_zyx() -> None:
    flat = View("boxes", "Boxes", "boxes", np.array([[[1, 2, 5, 9]]]))
    assert layer_array(flat, 2).tolist() == [[0, 1, 2, 1, 5, 9]]
    block = View("boxes", "Boxes", "boxes", np.array([[[0, 1, 2, 3, 5, 9]]]))
    assert layer_array(block, 3).tolist() == [[0, 1, 2, 3, 5, 9]]


def test_points_are_zyx_and_those_that_are_none_are_left_out() -> None:
    flat = View("points", "Points", "points", np.array([[[1.0, 2.0], [np.nan, 0.0], [-1.0, -1.0]]]))
    assert layer_array(flat, 2).tolist() == [[0, 1, 2]]
    block = View("points", "Points", "points", np.array([[[4, 1, 2], [-1, -1, -1]]]))
    assert layer_array(block, 3).tolist() == [[4, 1, 2]]


def test_of_several_patches_the_first_is_shown(study: Study) -> None:
    found = answer(InspectionRequest(study, "fdas", study.cases()[0].id, 3))
    donor = next(picture for picture in found.pictures if picture.name == "donor")
    assert found.chips[0] == f"donor {donor.title.removeprefix('Donor: ')}"
    assert donor.array is not None and donor.array.ndim == 3
    curve = next(picture for picture in found.pictures if picture.kind == "curve")
    assert curve.array is None and curve.preview is not None
    assert max(curve.preview.shape) > max(curve.thumbnail.shape)
    assert any("this slice alone" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("share_masked", 0.75, "75 %"),
        ("share_class_3", 0.004, "0.4 %"),
        ("share_x", 0.0, "0 %"),
        ("boxes", 40.0, "40"),
        ("loss", 0.12345, "0.123"),
        ("dice", float("nan"), "–"),
        ("overlap", 3.0, "3"),
    ],
)
def test_numbers_are_shown_as_their_name_wants(name: str, value: float, text: str) -> None:
    assert number(name, value) == text


def test_chips_name_donors_and_tables() -> None:
    table = View("dice", "Dice", "table", {"class 1": 0.5})
    assert chips({"share_masked": 0.7}, ("b", "b"), (table,)) == ["donor b", "share masked 70 %", "dice class 1 0.5"]
    assert chips({"block_z": 8.0, "block_y": 8.0, "block_x": 16.0, "x": 1.0}) == ["block 8×8×16", "x 1"]


def test_runs_that_fit_are_those_of_the_method_with_something_saved(tmp_path: Path) -> None:
    from napari_ssl_seg.training.runs import Run, RunRecord

    def make(method: str, saved: bool) -> Run:
        run = Run.create(tmp_path, RunRecord(kind="pretrain", method=method, title=method, network={}, settings={}))
        if saved:
            run.checkpoint_path("last").write_bytes(b"")
        return run

    runs = [make("simmim", True), make("simmim", False), make("volume_fusion", True), make("simmim", True)]
    assert [run_id for run_id, _ in fitting_runs(runs, "simmim")] == [runs[3].id, runs[0].id]
