"""A run's record is enough to repeat it; what is not as it was is said."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from napari_ssl_seg import training
from napari_ssl_seg.cli import main
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.repeating import compare_weights, prepare_repeat
from tests.training.conftest import TINY


def call(capsys, *arguments) -> dict:
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_same_weights_come_out_by_study_and_id_and_by_folder(study, capsys):
    first = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    tuned = drain(training.finetune(study, first, cases=2, slices=9, **{**TINY, "seed": 3}))
    for arguments, run in (((study.folder, first.id), first), ((tuned.folder,), tuned)):
        again = call(capsys, "repeat", *arguments)
        assert again["repeats"] == run.id and again["run"] != run.id
        assert again["differences"] == []
        assert again["same_weights"] is True and again["verdict"] == "the same weights, to the last bit"
        new = study.run(again["run"]).record
        assert new.model_dump(exclude={"created"}) == run.record.model_dump(exclude={"created"})


def test_steps_that_were_asked_for_later_are_repeated_too(study):
    run = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    drain(training.resume(study, run, iterations=8))
    again, differences = prepare_repeat(study, run)
    assert again.record.settings["iterations"] == 8 and differences == ()
    drain(training.train(study, again))
    assert again.latest("step").data["step"] == 8


def test_changed_data_code_and_versions_are_named_and_the_weights_compared(study, capsys):
    run = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    path = run.folder / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["versions"] |= {"torch": "2.10.0", "code": "0" * 32}
    path.write_text(json.dumps(record), encoding="utf-8")
    used = study.case(record["cases"]["train"][0]).images[0]
    image = nibabel.load(used)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + 40 * np.eye(12, 22)[..., None], image.affine), used)
    again = call(capsys, "repeat", study.folder, run.id)
    data, code, torch_ = again["differences"]
    assert data == "the scans or labels are not those of then"
    assert code == "the code of napari-ssl-seg is not that of then"
    assert torch_.startswith("torch was 2.10.0, is ")
    assert again["same_weights"] is False and again["largest_difference"] > 0
    assert all(text in again["verdict"] for text in again["differences"])


def test_what_cannot_be_repeated_or_compared_is_said(study):
    run = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    unfinished = training.prepare_pretrain(study, "simmim", dims=2, **TINY)
    with pytest.raises(RunError, match="left no weights"):
        compare_weights(run, unfinished)
    path = run.folder / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["cases"]["train"].append("scan_99")
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match=r"used scan_99, which .* no longer has"):
        prepare_repeat(study, run)
