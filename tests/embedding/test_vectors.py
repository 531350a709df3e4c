"""Vectors of a run's encoder: where they come from, what they tell apart, and that the cache is whole or made anew."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.embedding import Embedding, embed
from napari_ssl_seg.embedding.vectors import cached_path
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain, finetune, prepare_finetune
from napari_ssl_seg.volumes import write_volume


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four scans: a disc that grows from slice to slice; the last has no label."""
    rng = np.random.default_rng(0)
    items = []
    rows, columns = np.indices((32, 32)) - 16
    for number in range(4):
        label = np.zeros((6, 32, 32), np.uint8)
        for index in range(1, 6):
            label[index][rows**2 + columns**2 < (2 * index) ** 2] = 1
        image = (100 * label + rng.normal(0, 5, label.shape)).astype(np.float32)
        items.append((f"scan_{number}", image, label if number < 3 else None, (2.0, 1.0, 1.0)))
    return Study.create_from_arrays(tmp_path_factory.mktemp("study") / "discs", items, split=(50, 25, 25))


@pytest.fixture(scope="module")
def run(study):
    train = {"batch_size": 2, "evaluate_every": 0}
    return drain(finetune(study, iterations=1, dims=2, preset="small", device="cpu", train=train))


def test_there_is_one_vector_a_slice_with_its_label(study, run):
    found = drain(embed(study, run, device="cpu"))
    assert len(found.vectors) == len(found.places) == 24
    assert np.isfinite(found.vectors).all()
    unlabelled = [place.case_id == "scan_3" for place in found.places]
    assert (found.labels == -1).tolist() == unlabelled
    assert found.labels[:6].tolist() == [0, 1, 1, 1, 1, 1]
    # Discs of one size lie nearer to each other, over scans, than discs of two sizes in one scan.
    by_slice = found.vectors.reshape(4, 6, -1)
    same = np.linalg.norm(by_slice[0, 5] - by_slice[1, 5])
    other = np.linalg.norm(by_slice[0, 5] - by_slice[0, 2])
    assert 2 * same < other


def test_the_same_weights_are_embedded_once(study, run):
    first = drain(embed(study, run, device="cpu"))
    events = list(embed(study, run, device="cpu"))
    assert events == []
    path = cached_path(study, run, "slices", 5000)
    kept = Embedding.load(path)
    assert np.array_equal(kept.vectors, first.vectors)
    assert kept.places == first.places
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="make it again"):
        Embedding.load(path)
    assert np.array_equal(drain(embed(study, run, device="cpu")).vectors, first.vectors)


def test_labels_that_come_later_are_in_the_map_and_slices_without_are_not(tmp_path):
    rng = np.random.default_rng(1)
    items = [(f"scan_{number}", rng.normal(size=(3, 32, 32)), None, None) for number in range(3)]
    study = Study.create_from_arrays(tmp_path / "study", items, split=(100, 0, 0))
    label = np.zeros((3, 32, 32), np.uint8)
    label[1] = 1
    file = write_volume(tmp_path / "label.nii.gz", study.image("scan_0", purpose="show").with_array(label))
    study.add_label("scan_0", file)
    train = {"batch_size": 2, "evaluate_every": 0}
    run = drain(finetune(study, iterations=1, dims=2, preset="small", device="cpu", train=train))
    assert drain(embed(study, run, device="cpu")).labels.tolist() == [0, 1, 0] + 6 * [-1]
    study.add_label("scan_1", file)
    assert drain(embed(study, run, device="cpu")).labels.tolist() == [0, 1, 0, 0, 1, 0] + 3 * [-1]
    study.set_labelled_slices("scan_1", [1])
    assert drain(embed(study, run, device="cpu")).labels.tolist() == [0, 1, 0, -1, 1, -1] + 3 * [-1]


def test_patches_are_embedded_too_and_progress_is_told(study, run):
    events = list(embed(study, run, "patches", most=10, device="cpu"))
    assert [event.data["done"] for event in events] == [10]
    assert len(drain(embed(study, run, "patches", most=10, device="cpu")).places) == 10


def test_a_run_without_weights_is_refused(study):
    fresh = prepare_finetune(study, iterations=1, dims=2, preset="small", device="cpu")
    with pytest.raises(RunError, match="no weights yet"):
        drain(embed(study, fresh))
