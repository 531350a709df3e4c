"""Every verb from the command line, on a small study, with ``--json``."""

from __future__ import annotations

import csv
import functools
import json
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from napari_ssl_seg.cli import main, parse_settings
from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from napari_ssl_seg.training import Run

TINY = ["--iterations", "4", "--batch-size", "2", "--dims", "2", "--device", "cpu"]


def call(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> dict[str, Any]:
    """Run one verb with ``--json``; standard output must be one JSON object."""
    assert main([str(argument) for argument in arguments] + ["--json"]) == status
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small scans: a bright ball (1) beside a dark one (2), in noise."""
    folder = tmp_path_factory.mktemp("scans")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    grid = np.indices((24, 22, 18))
    for number in range(12):
        random = np.random.default_rng(number)
        image, label = random.normal(100, 10, grid.shape[1:]), np.zeros(grid.shape[1:], np.uint8)
        for value, level in ((1, 60), (2, -60)):
            centre = np.array([8 * value, 11, 9]) + random.integers(-1, 2, 3)
            ball = ((grid - centre[:, None, None, None]) ** 2).sum(0) < 16
            image[ball] += level
            label[ball] = value
        affine = np.diag([1.0, 1.0, 2.0, 1.0])
        nibabel.Nifti1Image(image.astype(np.int16), affine).to_filename(folder / "images" / f"scan_{number:02d}.nii.gz")
        nibabel.Nifti1Image(label, affine).to_filename(folder / "labels" / f"scan_{number:02d}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def study(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "balls"
    arguments = ["create", str(folder), "--images", str(scans / "images"), "--labels", str(scans / "labels"), "--json"]
    assert main([*arguments, "--split", "50,25,25"]) == 0
    return folder


def test_create_and_info_give_cases_by_split(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "info", study)
    assert answer["cases"] == answer["labelled"] == 12
    assert answer["counts"] == {"train": 6, "validation": 3, "test": 3}
    ids = functools.reduce(operator.iadd, answer["splits"].values(), [])
    assert sorted(ids) == [f"scan_{number:02d}" for number in range(12)]
    assert [item["value"] for item in answer["classes"]] == [1, 2]


def test_methods_lists_every_field_with_default(capsys: pytest.CaptureFixture[str]) -> None:
    methods = {method["name"]: method for method in call(capsys, "methods")["methods"]}
    assert {"volume_fusion", "simmim"} <= set(methods)
    fields = {field["name"]: field for field in methods["volume_fusion"]["fields"]}
    assert all("default" in field and field["description"] for field in fields.values())


def test_inspect_writes_pictures_tensors_and_stats(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = call(capsys, "info", study)["splits"]["train"][0]
    arguments = ["inspect", study, "--method", "simmim", "--case", case, "--dims", 2, "--seed", 3]
    first = call(capsys, *arguments, "--out", tmp_path / "a")
    second = call(capsys, *arguments, "--out", tmp_path / "b")
    assert len(list((tmp_path / "a").glob("*.png"))) == len(first["views"]) >= 3
    with np.load(tmp_path / "a" / "tensors.npz") as one, np.load(tmp_path / "b" / "tensors.npz") as two:
        assert set(one.files) == set(two.files)
        assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one.files)
    assert first["stats"] == second["stats"] == json.loads((tmp_path / "a" / "stats.json").read_text())["stats"]


def test_the_whole_circle(study: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrained = call(capsys, "pretrain", study, "--method", "volume_fusion", *TINY, "--set", "levels=2")
    assert pretrained["state"] == "finished"
    assert pretrained["step"] == 4
    assert pretrained["seconds"] > 0
    tuned = call(capsys, "finetune", study, "--init", pretrained["run"], "--cases", "2", "--iterations", "4")
    scratch = call(capsys, "finetune", study, "--init", "scratch", "--cases", "50%", *TINY)
    for run in (tuned, scratch):
        assert run["state"] == "finished"
        files = call(capsys, "predict", study, "--run", run["run"])["predictions"]
        assert len(files) == 3
    reference = nibabel.load(scans / "images" / Path(files[0]).name)
    predicted = nibabel.load(files[0])
    assert predicted.shape == reference.shape
    np.testing.assert_allclose(predicted.affine, reference.affine, atol=1e-6)

    table = tmp_path / "scores.csv"
    answer = call(capsys, "evaluate", study, "--csv", table)
    rows = list(csv.DictReader(table.open()))
    assert answer["rows"] == len(rows) == 2 * 3 * 2
    assert list(rows[0])[:6] == ["run", "case", "split", "label", "dice", "assd"]
    assert list(rows[0])[-1] == "note"

    listed = {row["run"]: row for row in call(capsys, "runs", study)["runs"]}
    assert listed[tuned["run"]]["parent"] == pretrained["run"]
    outside = call(
        capsys,
        "predict",
        study,
        "--run",
        tuned["run"],
        "--images",
        scans / "images" / "scan_00.nii.gz",
        "--out",
        tmp_path,
    )
    assert [Path(path).name for path in outside["predictions"]] == ["scan_00.nii.gz"]
    folders = call(capsys, "evaluate", "--pred", tmp_path, "--ref", scans / "labels")
    assert folders["rows"] == 2 * 12
    assert sum(row["missed"] for row in folders["summary"] if row["class"] not in ("mean", "average")) >= 22


def test_a_stopped_run_is_resumed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from napari_ssl_seg import Study, pretrain

    opened = Study.open(study)
    events = pretrain(opened, method="simmim", iterations=6, batch_size=2, dims=2, device="cpu")
    run: Run | None = None
    for event in events:
        if event.kind == "step" and run is None:
            run = opened.run(str(event.run))
            assert call(capsys, "stop", study, run.id)["asked_to_stop"]
    assert run is not None
    assert run.state == "stopped"
    answer = call(capsys, "resume", study, run.id)
    assert (answer["run"], answer["state"], answer["step"]) == (run.id, "finished", 6)


def test_compare_writes_a_report(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(
        capsys, "compare", study, "--methods", "scratch,simmim", "--cases", 2, "--repeats", 1, "--out", tmp_path,
        "--pretrain-iterations", 3, "--finetune-iterations", 3, "--dims", 2, "--device", "cpu",
    )  # fmt: skip
    assert [row["method"] for row in answer["results"]] == ["scratch", "simmim"]
    text = Path(answer["report"]).read_text()
    assert "scratch" in text and "SimMIM" in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "<script src" not in text


def test_doctor_says_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "doctor")
    assert answer["versions"]["torch"] != "not installed"
    assert answer["devices"][0]["total_gib"] > 0
    assert {row["model"] for row in answer["sam_weights"]} == {"vit_b", "vit_l", "vit_h"}
    assert all(row["how to mend it"] for row in answer["problems"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere"], "nowhere"),
        (["create", "{new}", "--images", "nowhere"], "nowhere"),
        (["create", "{new}", "--images", "{scans}", "--split", "70,20"], "--split"),
        (["pretrain", "{study}", "--method", "alchemy"], "alchemy"),
        (["pretrain", "{study}", "--method", "simmim", "--set", "mask_ratio=7"], "mask_ratio"),
        (["pretrain", "{study}", "--method", "simmim", "--set", "mask_ratio"], "KEY=VALUE"),
        (["finetune", "{study}", "--init", "no-such-run"], "no-such-run"),
        (["finetune", "{study}", "--cases", "many"], "many"),
        (["finetune", "{study}", "--cases", "99"], "99"),
        (["inspect", "{study}", "--method", "simmim", "--case", "nobody", "--out", "x"], "nobody"),
        (["evaluate"], "either a STUDY or both"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_mistake_of_the_callers_is_one_line_and_status_2(
    arguments: list[str], words: str, study: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"study": study, "scans": scans / "images", "new": tmp_path / "new"}
    filled = [argument.format(**places) for argument in arguments]
    try:
        status = main(filled)
    except SystemExit as exit_:  # argparse leaves by itself
        status = exit_.code if isinstance(exit_.code, int) else 1
    said = capsys.readouterr()
    assert status == 2
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in said.err
    assert said.out == ""


def test_settings_are_read_as_yaml_and_never_run() -> None:
    assert parse_settings(["a=1", "b=0.5", "c=true", "d=[1, 2]", "e=text"]) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": [1, 2],
        "e": "text",
    }
    with pytest.raises(UserError, match="cannot be read"):
        parse_settings(["a=!!python/object/apply:os.system ['true']"])


@pytest.mark.real_data
def test_the_contract_on_real_scans(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((real_data / "hippocampus" / "images").glob("*.nii.gz"))[:12]
    study = tmp_path / "hippocampus"
    made = call(
        capsys, "create", study, "--images", *files, "--labels", real_data / "hippocampus" / "labels", "--split", "50,25,25",
    )  # fmt: skip
    assert made["cases"] == made["labelled"] == 12
    assert made["problems"] == []
    pretrained = call(capsys, "pretrain", study, "--method", "simmim", *TINY)
    tuned = call(capsys, "finetune", study, "--init", pretrained["run"], "--cases", "2", "--iterations", "5")
    assert len(call(capsys, "predict", study, "--run", tuned["run"])["predictions"]) == 3
    assert call(capsys, "evaluate", study, "--run", tuned["run"])["rows"] == 6


def test_lesions_are_counted_and_other_grids_resampled_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[1:4, 1:4, 1:4] = reference[8:10, 8:10, 8:10] = 1
    predicted = np.zeros((6, 6, 6), np.uint8)  # half the resolution, and the small lesion is missed
    predicted[0:2, 0:2, 0:2] = 1
    for name, voxels, spacing in (("ref", reference, 1.0), ("pred", predicted, 2.0)):
        (tmp_path / name).mkdir()
        affine = np.diag([spacing, spacing, spacing, 1.0])
        affine[:3, 3] = (spacing - 1) / 2  # the same corner
        nibabel.Nifti1Image(voxels, affine).to_filename(tmp_path / name / "a.nii.gz")
    folders = ["evaluate", "--pred", tmp_path / "pred", "--ref", tmp_path / "ref", "--lesions", 1]
    assert main([str(part) for part in folders]) == 2
    assert "does not lie on the grid" in capsys.readouterr().err
    table = tmp_path / "scores.csv"
    call(capsys, *folders, "--resample", "--csv", table)
    (row,) = csv.DictReader(table.open())
    assert (row["lesions_detected"], row["lesions_missed"]) == ("1.0", "1.0")
    assert "resampled" in row["note"]
