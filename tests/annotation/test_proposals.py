"""Proposals are accepted by slice, class or region, and change nothing else."""

from __future__ import annotations

import os
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_ssl_seg.annotation import Proposal, Region, accept, changed_voxels, proposal_from_prediction
from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain

SHAPE = (4, 5, 6)
CLASSES = st.integers(0, 4)


def after(labels, boxes):
    result = labels.copy()
    for start, values in boxes:
        result[tuple(slice(at, at + side) for at, side in zip(start, values.shape, strict=True))] = values
    return result


@pytest.fixture
def labels():
    made = np.zeros(SHAPE, np.uint8)
    made[1, 0, 0], made[1, 2, 2], made[2, 4, 4] = 1, 2, 3
    return made


@pytest.fixture
def proposal():
    made = np.zeros(SHAPE, np.uint8)
    made[0], made[1, 1:4, 1:4], made[2, 3:, 3:], made[2, 0, 0] = 1, 1, 2, 3
    return Proposal("scan", made, (1, 2), "by hand")


def test_classes_that_are_proposed(proposal):
    assert proposal.values() == (1, 2, 3)
    assert proposal.values([1]) == (1,) and proposal.values([0]) == ()


def test_all_of_it(labels, proposal):
    boxes = accept(labels, proposal)
    expected = labels.copy()
    expected[1, 1:4, 1:4] = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    expected[2] = np.where(labels[2] == 0, proposal.labels[2], labels[2])
    np.testing.assert_array_equal(after(labels, boxes), expected)
    assert [(start, values.shape) for start, values in boxes] == [((1, 1, 1), (1, 3, 3)), ((2, 0, 0), (1, 5, 6))]
    assert accept(expected, proposal) == []


def test_with_overwriting_it_is_as_proposed(labels, proposal):
    result = after(labels, accept(labels, proposal, overwrite=True))
    np.testing.assert_array_equal(result[1:3], proposal.labels[1:3])
    np.testing.assert_array_equal(result[[0, 3]], labels[[0, 3]])  # slice 0 is not proposed, whatever its values
    kept = after(labels, accept(labels, proposal, overwrite=True, protected={2}))
    np.testing.assert_array_equal(kept == 2, labels == 2)


def test_a_slice_a_class_a_region(labels, proposal):
    one = after(labels, accept(labels, proposal, slices=[1, 3]))
    np.testing.assert_array_equal(one[2:], labels[2:])
    assert (one[1] == 1).sum() == 9
    of_class = after(labels, accept(labels, proposal, values=[3]))
    np.testing.assert_array_equal(np.argwhere(of_class != labels), [[2, 0, 0]])
    region = Region(np.ones((2, 9), bool), (3, -2), 0, 18)
    inside = after(labels, accept(labels, proposal, region=region))
    np.testing.assert_array_equal(np.unique(np.argwhere(inside != labels)[:, 1]), [3, 4])
    plane = np.zeros(SHAPE[1:], bool)
    plane[3:5] = True
    np.testing.assert_array_equal(after(labels, accept(labels, proposal, region=plane)), inside)
    np.testing.assert_array_equal(
        after(labels, accept(labels, proposal, region=np.broadcast_to(plane, SHAPE).copy())), inside
    )


def test_what_does_not_fit(labels, proposal):
    with pytest.raises(ValueError, match="shape"):
        accept(labels[:2], proposal)
    with pytest.raises(ValueError, match="does not lie in labels"):
        accept(labels, proposal, region=np.ones((2, 2), bool))
    large = Proposal("scan", np.full(SHAPE, 300, np.uint16), (1,), "by hand")
    with pytest.raises(ValueError, match="does not fit into labels of type uint8"):
        accept(labels, large)


@settings(max_examples=150, deadline=None)
@given(
    labels=hnp.arrays(np.uint8, SHAPE, elements=CLASSES),
    proposed=hnp.arrays(np.uint8, SHAPE, elements=CLASSES),
    slices=st.frozensets(st.integers(0, 3)),
    chosen=st.none() | st.frozensets(st.integers(-1, 5)),
    values=st.none() | st.frozensets(st.integers(1, 4)),
    region=st.none() | hnp.arrays(bool, SHAPE[1:]),
    protected=st.frozensets(st.integers(1, 4)),
    overwrite=st.booleans(),
)
def test_what_must_stay_stays(labels, proposed, slices, chosen, values, region, protected, overwrite):
    proposal = Proposal("scan", proposed, tuple(sorted(slices)), "by hand")
    options = {
        "slices": chosen,
        "values": values,
        "region": region,
        "protected": protected,
        "overwrite": overwrite,
    }
    before = labels.copy()
    boxes = accept(labels, proposal, **options)
    np.testing.assert_array_equal(labels, before)
    result = after(labels, boxes)
    changed = result != labels
    for number in protected:
        np.testing.assert_array_equal(result == number, labels == number)
    if not overwrite:
        assert not changed[labels != 0].any()
    allowed = slices if chosen is None else slices & chosen
    assert set(np.unique(np.nonzero(changed)[0]).tolist()) <= allowed
    if region is not None:
        assert not changed[:, ~region].any()
    np.testing.assert_array_equal(result[changed], proposed[changed])
    if values is not None:
        touched = set(np.unique(result[changed]).tolist()) - {0}
        removed = set(np.unique(labels[changed & (result == 0)]).tolist())
        assert touched <= values and removed <= values
    # every box is needed, tight, and of one slice; together they change just that
    for start, new in boxes:
        box = tuple(slice(at, at + side) for at, side in zip(start, new.shape, strict=True))
        differs = new != labels[box]
        assert new.shape[0] == 1
        for axis in (1, 2):
            line = differs.any(axis=tuple(other for other in range(3) if other != axis))
            assert line[0] and line[-1]
    assert len(changed_voxels(labels, boxes)[1]) == changed.sum()
    assert accept(result, proposal, **options) == []
    if chosen is None and values is None and region is None and overwrite and not protected:
        for z in slices:
            np.testing.assert_array_equal(result[z], proposed[z])


# -- predictions ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """A study of three scans with a run that was fine-tuned for two steps."""
    from napari_ssl_seg.training import finetune

    folder = tmp_path_factory.mktemp("predicted")
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(3):
        labels = np.zeros((12, 14, 4), np.uint8)
        labels[3:8, 4:9] = 1 + number % 2
        image = (random.normal(100, 5, labels.shape) + 60 * labels).astype(np.int16)
        for kind, array in (("images", image), ("labels", labels)):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 3, 1])), folder / kind / f"scan_{number}.nii.gz")
    study = Study.create(folder / "study", images=folder / "images", labels=folder / "labels", split=(100, 0, 0))
    run = drain(finetune(study, iterations=2, batch_size=1, dims=2, train={"evaluate_every": 2}))
    return study, run


def collect(events):
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


def test_a_prediction_is_made_once_and_read_again(fine_tuned):
    study, run = fine_tuned
    events, made = collect(proposal_from_prediction(study, run.id, "scan_0", skip=[1]))
    assert [event.kind for event in events].count("prediction") == 1
    assert made.slices == (0, 2, 3) and made.case_id == "scan_0" and run.id in made.source
    assert made.labels.shape == study.case("scan_0").shape and made.labels.dtype == np.uint8
    assert made.confidence is None
    events, read = collect(proposal_from_prediction(study, run, "scan_0", slices=[3, 0, 99]))
    assert events == [] and read.slices == (0, 3)
    np.testing.assert_array_equal(read.labels, made.labels)
    assert any(
        event.kind == "prediction" for event in collect(proposal_from_prediction(study, run, "scan_0", again=True))[0]
    )


def test_how_sure_it_is(fine_tuned):
    study, run = fine_tuned
    made = drain(proposal_from_prediction(study, run, "scan_1", confidence=True))
    assert made.confidence.shape == made.labels.shape
    assert made.confidence.min() >= 0.3 and made.confidence.max() <= 1
    assert collect(proposal_from_prediction(study, run, "scan_1", confidence=True))[0] == []


def test_how_sure_it_is_that_nothing_is_there_where_targets_overlap(fine_tuned, monkeypatch):
    study, run = fine_tuned
    plain = drain(proposal_from_prediction(study, run, "scan_1", confidence=True)).confidence
    monkeypatch.setattr("napari_ssl_seg.training.weights.load_answer", lambda run: SimpleNamespace(overlapping=True))
    sure = drain(proposal_from_prediction(study, run, "scan_1", confidence=True)).confidence
    np.testing.assert_allclose(sure, np.maximum(plain, 1 - plain), atol=1e-3)
    assert sure.min() >= 0.5


def test_predictions_older_than_the_weights_are_made_anew(fine_tuned):
    study, run = fine_tuned
    drain(proposal_from_prediction(study, run, "scan_2"))
    path = run.prediction_path("scan_2")
    past = run.weights_path.stat().st_mtime - 100
    os.utime(path, (past, past))
    assert collect(proposal_from_prediction(study, run, "scan_2"))[0]
    assert path.stat().st_mtime > past


def test_a_prediction_of_another_grid_or_none_at_all(fine_tuned):
    study, run = fine_tuned
    drain(proposal_from_prediction(study, run, "scan_2"))
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), run.prediction_path("scan_2"))
    with pytest.raises(RunError, match="predict that scan again"):
        drain(proposal_from_prediction(study, run, "scan_2"))
    with pytest.raises(UserError):
        drain(proposal_from_prediction(study, run, "nobody"))
    with pytest.raises(UserError):
        drain(proposal_from_prediction(study, "no_run", "scan_0"))
