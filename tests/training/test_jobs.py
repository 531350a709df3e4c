"""A training as a file: run unchanged, gone on with, and as a script for a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch

from napari_ssl_seg import training
from napari_ssl_seg.cli import main
from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.jobs import read_job, run_job, slurm_script, write_job
from tests.training.conftest import TINY


def call(capsys, *arguments) -> dict:
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


def model(run) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoint_path("last"), weights_only=True)["model"]


def test_a_job_trains_what_the_function_does_and_once(study, tmp_path, capsys):
    options = {"method": "simmim", **TINY, "dims": 2, "settings": {"mask_ratio": 0.4}}
    file = write_job(tmp_path / "nightly.json", "pretrain", study.folder, options)
    found = call(capsys, "job", file)
    assert found["state"] == "finished"
    run = study.run(found["run"])
    assert run.record.config["mask_ratio"] == 0.4
    del options["method"]
    same = drain(training.pretrain(study, "simmim", **options))
    assert all(torch.equal(value, model(same)[name]) for name, value in model(run).items())
    assert call(capsys, "job", file)["run"] == run.id and len(study.runs()) == 2  # finished: nothing more is done
    tuned = write_job(tmp_path / "tune.json", "finetune", study.folder, {"init": run.id, "cases": 2, **TINY})
    assert study.run(call(capsys, "job", tuned)["run"]).record.parent == run.id


def test_a_job_that_was_broken_off_goes_on_with_its_run(study, tmp_path):
    options = {"method": "simmim", **TINY, "dims": 2}
    file = write_job(tmp_path / "job.json", "pretrain", study.folder, options)
    for event in run_job(file):
        if event.kind == "step":
            study.runs()[-1].request_stop()
    (run,) = study.runs()
    assert run.state == "stopped"
    assert drain(run_job(file)).id == run.id and run.state == "finished" and len(study.runs()) == 1
    write_job(file, "pretrain", study.folder, options)  # written anew it is another job
    assert drain(run_job(file)).id != run.id


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ('{"format": 1, "kind": "dance", "study": "x"}', "is no job: kind"),
        ('{"format": 2, "kind": "pretrain", "study": "x"}', "is no job: format"),
        ('{"kind": "pretrain", "study": "STUDY", "options": {"method": "simmim", "speed": 3}}', "speed"),
        ('{"kind": "pretrain", "study": "STUDY"}', "names no method"),
        ('{"kind": "pretrain", "study": "nowhere", "options": {"method": "simmim"}}', "holds no study"),
    ],
)
def test_what_is_no_job_is_said_in_a_sentence(study, tmp_path, content, words):
    file = tmp_path / "job.json"
    file.write_text(content.replace("STUDY", study.folder.as_posix()), encoding="utf-8")
    with pytest.raises(UserError, match=words) as caught:
        drain(run_job(file))
    assert "\n" not in str(caught.value)
    assert study.runs() == []


def test_a_script_for_a_cluster_asks_for_what_was_said_and_is_only_written(study, tmp_path, capsys):
    file = write_job(tmp_path / "my job's file.json", "pretrain", study.folder, {"method": "simmim"})
    found = call(capsys, "job", file, "--slurm", "--gpus", 4, "--nodes", 2, "--hours", 1.5, "--partition", "gpu")
    text = found["text"]
    assert found["submit_with"].startswith("sbatch ") and study.runs() == []
    for line in (
        "--nodes=2",
        "--gpus-per-node=4",
        "--time=1:30:00",
        "--partition=gpu",
        "--requeue",
        "--signal=B:USR1@120",
    ):
        assert f"#SBATCH {line}\n" in text
    assert "--nnodes 2 --nproc-per-node 4" in text and "#SBATCH --job-name=my-job-s-file\n" in text
    bash = shutil.which("bash")
    if bash is not None:
        assert subprocess.run([bash, "-n"], input=text, text=True, check=False).returncode == 0
        shown = subprocess.run(
            [bash, "-c", text.split("# Told")[0] + 'echo "$job"'], capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == str(file)
    with pytest.raises(RunError, match="is no job"):
        (tmp_path / "other.json").write_text("[]", encoding="utf-8")
        read_job(tmp_path / "other.json")
    assert "--gpus" not in slurm_script(file, gpus=0)
