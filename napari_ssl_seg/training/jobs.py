"""A training as a file: written by the panel or by hand, run elsewhere unchanged, and again where it was broken off.

    {"format": 1, "kind": "pretrain", "study": "/scans/study", "options": {"method": "fdas", "iterations": 20000, ...}}

``options`` are the arguments of `training.pretrain` or `training.finetune`. The run is made when the job is first run and
noted beside the file, so that a cluster that starts the job anew goes on with the very run.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import read_json, write_json, write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Mapping

    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.training.runs import Run

GRACE_SECONDS = 120
"""Before its time is over, or another takes its place, a job is told so long in advance: it saves and is started anew."""


class Job(BaseModel):
    """What to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Literal["pretrain", "finetune"]
    study: Path = Field(description="folder of the study, as the machine that runs the job sees it")
    options: dict[str, Any] = Field(default_factory=dict)


def write_job(path: str | os.PathLike[str], kind: str, study: Path, options: Mapping[str, Any]) -> Path:
    """Write a job; what was in the file before is gone, and with it the note of its run."""
    given = {name: value for name, value in options.items() if value not in (None, {}, ())}
    job = Job.model_validate({"kind": kind, "study": study, "options": given})
    write_json(path, job.model_dump(mode="json"))
    note(Path(path)).unlink(missing_ok=True)
    return Path(path)


def read_job(path: str | os.PathLike[str]) -> Job:
    """Raises RunError where the file is no job, and says what is wrong."""
    try:
        return Job.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise RunError(f"{path} is no job: {where}: {first['msg']}; write it anew in the tab 3 Train") from error


def note(path: Path) -> Path:
    """Where the run of a job is noted."""
    return path.with_name(f"{path.name}.run")


def run_job(path: str | os.PathLike[str]) -> Generator[Event, None, Run]:
    """Train what a job asks for; go on where it was broken off; do nothing where it is finished.

    Raises
    ------
    UserError
        As `training.pretrain`, `training.finetune` and `training.resume` do.
    """
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.verbs import made_once, train_run

    path = Path(path).absolute()
    job = read_job(path)
    study = Study.open(job.study)
    run = made_once(study, lambda: _its_run(path, job, study))
    if run.state == "finished":
        return run
    return (yield from train_run(study, run))


def _its_run(path: Path, job: Job, study: Any) -> Run:
    from napari_ssl_seg import training

    noted = note(path)
    if noted.exists():
        return study.run(str(read_json(noted)["run"]))
    options = dict(job.options)
    first = "method" if job.kind == "pretrain" else "init"
    given = (options.pop(first),) if first in options else ()
    if job.kind == "pretrain" and not given:
        raise RunError(f"{path} names no method; write it anew in the tab 3 Train")
    make = training.prepare_pretrain if job.kind == "pretrain" else training.prepare_finetune
    try:
        run = make(study, *given, **options)
    except TypeError as error:
        raise RunError(f"{path} asks for what a {job.kind} does not have ({error}); write it anew") from error
    write_json(noted, {"run": run.id})
    return run


def slurm_script(
    path: str | os.PathLike[str],
    *,
    gpus: int = 1,
    nodes: int = 1,
    hours: float = 24.0,
    cores: int = 8,
    memory_gb: int = 64,
    partition: str | None = None,
    command: str = "python",
) -> str:
    """A batch script for SLURM that runs a job on ``gpus`` GPUs of each of ``nodes`` machines; nothing is submitted.

    Shortly before its time is over, or when it is preempted, the job is told to save, and goes back into the queue.
    """
    path = Path(path).absolute()
    whole = int(hours)
    per_node = max(1, gpus)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={_plain(path.stem)}",
        f"#SBATCH --nodes={nodes}",
        "#SBATCH --ntasks-per-node=1",
        *([f"#SBATCH --gpus-per-node={gpus}"] if gpus else []),
        f"#SBATCH --cpus-per-task={cores}",
        f"#SBATCH --mem={memory_gb}G",
        f"#SBATCH --time={whole}:{round((hours - whole) * 60):02d}:00",
        *([f"#SBATCH --partition={_plain(partition)}"] if partition else []),
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={_plain(path.stem)}-%j.log",
        f"#SBATCH --signal=B:USR1@{GRACE_SECONDS}",
        "",
        f"job={shlex.quote(str(path))}",
        "# Told that time is nearly over: the run saves and stops, and this job goes back into the queue.",
        'requeue() { kill -TERM "$training"; wait "$training"; scontrol requeue "$SLURM_JOB_ID"; exit 0; }',
        "trap requeue USR1",
        f"export OMP_NUM_THREADS={max(1, cores // per_node)}",
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        f"srun {command} -m torch.distributed.run --nnodes {nodes} --nproc-per-node {per_node} \\",
        '    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:29500" \\',
        '    -m napari_ssl_seg job "$job" &',
        "training=$!",
        'wait "$training"',
    ]
    return "\n".join(lines) + "\n"


def write_slurm_script(path: str | os.PathLike[str], **options: Any) -> Path:
    """The script of a job, beside it; raises RunError where the file is no job."""
    read_job(path)
    target = Path(path).absolute().with_suffix(".sbatch")
    write_text(target, slurm_script(path, **options))
    return target


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text)
