"""The simulated annotator of the benchmark, by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "annotator.py"


@pytest.fixture(scope="module")
def annotator():
    spec = importlib.util.spec_from_file_location("annotator", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["annotator"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["annotator"]


def test_work_is_the_cheaper_of_clicking_and_mending_in_each_region(annotator):
    reference = np.zeros((10, 20), int)
    reference[:, :9] = 1
    regions = np.ones((10, 20), int)
    regions[:, 10:] = 2
    # The left region has 90 voxels to draw: one click gives it to class 1 and leaves 10 of background to mend.
    assert annotator.work_of(reference, np.zeros_like(reference), regions) == annotator.Work(1, 10)
    nearly = reference.copy()
    nearly[0, :3] = 0
    assert annotator.work_of(reference, nearly, regions) == annotator.Work(0, 3)
    assert annotator.work_of(reference, reference, regions).seconds == 0
    assert annotator.Work(2, 10).seconds == pytest.approx(
        2 * annotator.SECONDS_PER_REGION + 10 * annotator.SECONDS_PER_VOXEL
    )


def test_a_label_that_is_asked_for_counts_from_then_on(annotator, study):
    person = annotator.Annotator(study)
    person.forget()
    assert study.cases(split="train", labelled=True) == []
    case = study.cases(split="train")[1]
    work = person.label(case.id, 6, None)
    assert work.regions + work.voxels > 0
    assert study.case(case.id).labelled_slices == (6,)
    reference = np.asarray(study.label(case.id, purpose="train").array[7])
    assert person.label(case.id, 7, reference).seconds == 0
    assert study.case(case.id).labelled_slices == (6, 7)
