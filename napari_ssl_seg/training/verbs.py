"""The verbs: pretrain, finetune, train, resume. Each is a generator of events that returns the run."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.files import read_json, sweep_temporaries, write_json
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.planning import prepare_finetune, prepare_pretrain
from napari_ssl_seg.training.processes import note_process
from napari_ssl_seg.training.ranks import join_ranks, own_device
from napari_ssl_seg.training.settings import FinetuneSettings, PretrainSettings, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Unpack

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.options import FinetuneOptions, PretrainOptions
    from napari_ssl_seg.training.runs import Run, RunRecord
    from napari_ssl_seg.training.settings import TrainSettings
    from napari_ssl_seg.training.task import Task

OVERRIDES = "overrides.json"


def pretrain(
    study: Study,
    method: str | Method = "volume_fusion",
    **options: Unpack[PretrainOptions],
) -> Generator[Event, None, Run]:
    """Pretrain on every scan of the train split, labelled or not; no label is looked at.

    Parameters
    ----------
    method
        Name of a method, or one with its config.
    network, preset, dims
        ``unet`` and ``small`` by default; slices (2) where they are thick or few and for ``small``, volumes (3) elsewhere.
    iterations, batch_size, device, seed
        The commonest of the `PretrainSettings`.
    settings
        Hyper-parameters of the method, by name.
    train
        Any other of the `PretrainSettings`, by name.

    Yields
    ------
    Event
        See `napari_ssl_seg.training.events`.

    Returns
    -------
    Run
        Its folder holds everything.

    Raises
    ------
    UserError
        When something asked for does not fit, or the training failed.
    """
    return (yield from train_run(study, made_once(study, lambda: prepare_pretrain(study, method, **options))))


def finetune(
    study: Study,
    init: str | Run = "scratch",
    **options: Unpack[FinetuneOptions],
) -> Generator[Event, None, Run]:
    """Train a segmentation on labelled scans, from scratch or from an earlier run.

    Parameters
    ----------
    init
        ``scratch``, or a run (or its id): of a pretraining the backbone is taken over, of a fine-tuning everything.
    cases
        How many labelled scans to use: a number, a share such as ``"10%"``, or None for all. Smaller budgets are
        contained in larger ones of the same seed.
    slices
        How many labelled axial slices to use in all, drawn from those scans; the others count as unlabelled. Or just
        which: case -> axial indices.
    network, preset, dims
        As in `pretrain`; from a run they are that run's.
    joint
        Name of a method to train beside the supervised loss at each step (``mod``); the network left is a plain one.
    settings
        Hyper-parameters of that method, by name.
    iterations, batch_size, device, seed, train
        Of the `FinetuneSettings`.

    Yields
    ------
    Event
        See `napari_ssl_seg.training.events`.

    Returns
    -------
    Run
        ``model.safetensors`` holds the weights that were best in validation, or the last where there was none.

    Raises
    ------
    UserError
        When something asked for does not fit, or the training failed.
    """
    return (yield from train_run(study, made_once(study, lambda: prepare_finetune(study, init, **options))))


def resume(study: Study, run: str | Run, *, iterations: int | None = None) -> Generator[Event, None, Run]:
    """Go on with a run from its last checkpoint; on the CPU the result is that of a run that never stopped.

    Parameters
    ----------
    iterations
        Train up to this many steps in all, instead of those first asked for.

    Raises
    ------
    UserError
        When there is no such run, it goes on elsewhere, or it is finished.
    """
    found = study.run(run) if isinstance(run, str) else run
    return (yield from train_run(study, found, iterations=iterations))


def train_run(study: Study, run: Run, *, iterations: int | None = None) -> Generator[Event, None, Run]:
    """Train a run that was prepared or stopped, until it ends or is asked to stop.

    Started by ``torchrun`` (or with its variables set), every process trains its share of one batch of all their sizes
    together; the first alone writes (`training.ranks`).

    Raises
    ------
    UserError
        When the run goes on elsewhere, is finished, needs a device that is not here, or fails.
    """
    from napari_ssl_seg.training.loop import train_task

    if iterations is not None:
        make_settings(PretrainSettings, {"iterations": iterations})
    ranks = join_ranks()
    with _alone(run) if ranks.first else nullcontext():
        finished = run.state == "finished" and iterations is None
        if ranks.any(finished):
            raise RunError(f"run {run.id} is finished; ask for more iterations to train it further")
        if ranks.first:
            _forget_old_requests(run)
            note_process(run)
            sweep_temporaries(run.folder)
            if iterations is not None:
                write_json(run.folder / OVERRIDES, {"iterations": iterations})
        ranks.wait()  # until what the first writes is there
        try:
            record = run.record
            settings = recorded_settings(run)
            device, moved = _place(record, settings)
            device = own_device(device)
            task = _make_task(study, run, record, settings)
            task.ranks = ranks
        except Exception as error:
            if ranks.first:
                run.append(Event("error", {"message": str(error)}, run.id))
                run.append(Event("state", {"state": "failed", "reason": str(error)}, run.id))
            raise
        if moved and ranks.first:
            run.append(Event("warning", {"message": moved}, run.id))
        return (yield from train_task(run, task, settings, device=device))


def _make_task(study: Study, run: Run, record: RunRecord, settings: TrainSettings) -> Task[Any]:
    from napari_ssl_seg.networks import NetworkSpec

    spec = NetworkSpec.model_validate(record.network)
    if record.kind == "pretrain":
        from napari_ssl_seg.methods import get_method
        from napari_ssl_seg.training.pretraining import PretrainTask

        assert isinstance(settings, PretrainSettings) and record.method is not None
        return PretrainTask(study, run, get_method(record.method, run.config), spec, record.cases["train"], settings)
    from napari_ssl_seg.training.finetuning import FinetuneTask

    assert isinstance(settings, FinetuneSettings)
    started = any(run.checkpoint_path(name).exists() for name in ("last", "previous"))
    source = None if record.parent is None or started else study.run(record.parent)
    if record.joint is not None:
        from napari_ssl_seg.training.joint import JointTask

        return JointTask(study, run, record, spec, settings, source)
    return FinetuneTask(study, run, record, spec, settings, source)


def made_once(study: Study, make: Callable[[], Run]) -> Run:
    """The run that the first process makes; the others open it."""
    ranks = join_ranks()
    if ranks.size == 1:
        return make()
    failure: Exception | None = None
    folder = ""
    if ranks.first:
        try:
            folder = make().id
        except Exception as error:  # the others are told before it is raised
            failure = error
    folder = ranks.text_of_first(folder)
    if failure is not None:
        raise failure
    if not folder:
        raise RunError("the first of the processes that train together could not make the run; see what it said")
    return study.run(folder)


def recorded_settings(run: Run) -> TrainSettings:
    """What a run was trained with: its record, and the steps that were asked for later."""
    record, path = run.record, run.folder / OVERRIDES
    overrides = read_json(path) if path.exists() else {}
    kind = PretrainSettings if record.kind == "pretrain" else FinetuneSettings
    return make_settings(kind, {**record.settings, **overrides})


def _place(record: RunRecord, settings: TrainSettings) -> tuple[str, str | None]:
    """The device to train on, and a sentence where it is not the recorded one."""
    from napari_ssl_seg.training.hardware import pick_device

    try:
        return pick_device(record.device).name, None
    except RunError:
        device = pick_device(settings.device).name  # raises where a device was named and is not here
        return device, f"{record.device} is not here; going on with {device}"


def _forget_old_requests(run: Run) -> None:
    """Requests from before this start do not count: all but those to a run still queued, or to this very process."""
    if run.state == "queued":
        return
    process = run.process
    own = process.get("detached") and process.get("pid") == os.getpid()
    since = (run.folder / "process.json").stat().st_mtime if own else float("inf")
    for name in ("stop", "pause"):
        path = run.folder / name
        if path.exists() and path.stat().st_mtime < since:
            path.unlink(missing_ok=True)


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Hold the run's lock, which the system frees even when the holder is killed."""
    from filelock import FileLock, Timeout

    lock = FileLock(run.folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(f"run {run.id} already goes on, in this program or another; stop it there first") from error
    except NotImplementedError:  # a network drive without locks: then only the user can know
        yield
        return
    try:
        yield
    finally:
        lock.release()
