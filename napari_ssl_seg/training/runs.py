"""A run is a folder: this module reads and writes it, and nothing else does.

::

    runs/RUN/
      run.json            what was asked for (`RunRecord`), written once
      prepared.json       what the method's preparation settled: its whole config, and facts about the study
      events.jsonl        what happened (`Event`), appended to
      checkpoints/        last.pt, previous.pt, best.pt: everything needed to go on
      model.safetensors   weights; model.json says how to build the network
      predictions/        CASE.nii.gz
      probabilities/      CASE.nii.gz, one channel a class, where they were asked for
      previews/           latest.npz, what the network makes of a fixed scan
      scores.json         the table of scores of the latest evaluation
      process.json        pid, start time and host of the process that it goes on in
      heartbeat           touched while the run goes on
      stop, pause         present = asked to
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.files import inside, read_json, write_json, write_text
from napari_ssl_seg.study.records import Target  # noqa: TC001 - pydantic looks at it
from napari_ssl_seg.training.events import STATES, Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 20.0
"""A run that says it is running but has not touched its heartbeat for this long is taken for dead."""


class RunRecord(BaseModel):
    """What was asked for; enough to repeat the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pretrain", "finetune"]
    method: str | None = Field(None, description="name of the pretext method; None for a fine-tuning")
    joint: str | None = Field(None, description="name of the method that a fine-tuning trains beside its labels")
    title: str = Field("", description="what panels and tables call the run")
    network: dict[str, Any] = Field(description="NetworkSpec as plain values")
    config: dict[str, Any] = Field(
        default_factory=dict, description="the Config of the method, or of the joint one, as plain values"
    )
    settings: dict[str, Any] = Field(description="TrainSettings as plain values")
    seed: int = 0
    device: str = "cpu"
    versions: dict[str, str] = Field(default_factory=dict)
    fingerprint: str = Field("", description="SHA-256 over the contents of the cases used")
    cases: dict[str, list[str]] = Field(
        default_factory=dict, description="case ids by use: train, validation, unlabelled"
    )
    slices: dict[str, list[int]] = Field(default_factory=dict, description="labelled slices used, by case; empty: all")
    classes: dict[int, str] = Field(default_factory=dict, description="label value -> class name")
    targets: tuple[Target, ...] = Field(default=(), description="overlapping targets; empty: every class is one")
    parent: str | None = Field(None, description="id of the run whose weights this one started from")
    normalisation: str = "percentile"
    created: float = 0.0


@dataclass(frozen=True)
class Run:
    """A run folder. Cheap to make: everything is read when asked for."""

    folder: Path
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.folder.name)

    # -- made once ------------------------------------------------------------------------------------------------
    @classmethod
    def create(cls, runs: Path, record: RunRecord) -> Run:
        """Make a new folder below ``runs``, named after what it does and when; never an existing one."""
        origin = record.method or record.parent or "scratch"
        stem = "-".join(part for part in (record.kind, record.joint, origin) if part)[:60]
        stamp = time.strftime("%Y%m%d-%H%M%S")
        runs.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            name = f"{stamp}-{stem}" if number == 0 else f"{stamp}-{stem}-{number + 1}"
            try:
                (runs / name).mkdir()
                break
            except FileExistsError:
                number += 1
        run = cls(runs / name)
        (run.folder / "checkpoints").mkdir()
        write_json(
            run.folder / "run.json",
            record.model_copy(update={"created": time.time()}).model_dump(mode="json"),
        )
        run.append(Event("state", {"state": "queued"}, run.id))
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """Raises RunError when there is no run in ``folder``."""
        path = Path(folder)
        if not (path / "run.json").is_file():
            raise RunError(
                f"{path} holds no run (run.json is missing); `napari-ssl-seg runs STUDY` lists those there are"
            )
        return cls(path)

    @property
    def record(self) -> RunRecord:
        path = self.folder / "run.json"
        try:
            return RunRecord.model_validate(read_json(path))
        except ValidationError as error:
            raise RunError(f"{path} is not a run record ({error.error_count()} fields are wrong)") from error

    @property
    def prepared_path(self) -> Path:
        return self.folder / "prepared.json"

    @property
    def config(self) -> dict[str, Any]:
        """The method's config with what its preparation settled, as plain values."""
        return {**self.record.config, **self._prepared("config")}

    @property
    def facts(self) -> dict[str, Any]:
        """What the method's preparation found out about the study, as plain values."""
        return self._prepared("facts")

    def note_prepared(self, config: dict[str, Any], facts: dict[str, Any]) -> None:
        """Keep what a method's preparation settled."""
        write_json(self.prepared_path, {"config": config, "facts": facts})

    def _prepared(self, part: str) -> dict[str, Any]:
        stored = read_json(self.prepared_path) if self.prepared_path.exists() else {}
        found = stored.get(part, {}) if isinstance(stored, dict) else {}
        return found if isinstance(found, dict) else {}

    # -- events ---------------------------------------------------------------------------------------------------
    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    def append(self, event: Event) -> None:
        """Add one line; a single write, so that readers never see half a line but at the very end."""
        with open(self.events_path, "a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - 1))
            # What a full disk or a power cut left of a line must not spoil the next one.
            start = b"\n" if stream.read(1) not in (b"", b"\n") else b""
            stream.write(start + event.to_json().encode() + b"\n")

    def events(self) -> list[Event]:
        """All that happened so far, oldest first."""
        return list(self.events_from(0)[0])

    def events_from(self, offset: int) -> tuple[list[Event], int]:
        """Events after byte ``offset``, and the offset to ask with next time (for watching a run live)."""
        if not self.events_path.exists():
            return [], 0
        with open(self.events_path, "rb") as stream:
            stream.seek(offset)
            block = stream.read()
        whole = block[: block.rfind(b"\n") + 1]
        events = []
        for line in whole.splitlines():
            try:
                events.append(Event.from_json(line.decode("utf-8", "replace")))
            except ValueError:
                continue  # a line torn by a kill: the one before and the one after still stand
        return events, offset + len(whole)

    def latest(self, kind: str) -> Event | None:
        """The last event of that kind; the file is read from its end, so a long one costs no more."""
        mark = f'"kind": "{kind}"'.encode()
        for line in _lines_backwards(self.events_path):
            if mark in line:
                try:
                    event = Event.from_json(line.decode("utf-8", "replace"))
                except ValueError:
                    continue
                if event.kind == kind:
                    return event
        return None

    # -- state ----------------------------------------------------------------------------------------------------
    @property
    def state(self) -> str:
        """One of STATES. A run that was killed has no time to say so: silence is read as ``stopped``."""
        event = self.latest("state")
        state = str(event.data.get("state")) if event else "queued"
        if state not in STATES:
            return "stopped"
        if state in ("running", "paused") and not self.alive:
            return "stopped"
        return state

    @property
    def alive(self) -> bool:
        """Whether the run goes on somewhere.

        On this machine the process is looked at: one of its own is alive as long as it runs, however slow its start or
        a step; a thread of a program also has to show a recent heartbeat. From elsewhere there is only the heartbeat.
        """
        living = process_alive(self)
        if living is False:
            return False
        if living and self.process.get("detached"):
            return True
        try:
            return time.time() - (self.folder / "heartbeat").stat().st_mtime < SILENT_SECONDS
        except OSError:
            return False

    @property
    def process(self) -> dict[str, Any]:
        """``pid``, ``create_time``, ``host`` and ``detached`` of the process that the run goes on in; empty if unknown."""
        try:
            value = read_json(self.folder / "process.json")
        except UserError:
            return {}
        return value if isinstance(value, dict) else {}

    def beat(self) -> None:
        """Say that the run goes on."""
        (self.folder / "heartbeat").touch()

    # -- asked for from outside -----------------------------------------------------------------------------------
    def request_stop(self) -> None:
        """Ask the run, wherever it goes on, to save and stop at its next step."""
        write_text(self.folder / "stop", "")

    def request_pause(self, pause: bool = True) -> None:
        """Ask the run to wait after its next step, or to go on."""
        if pause:
            write_text(self.folder / "pause", "")
        else:
            (self.folder / "pause").unlink(missing_ok=True)

    @property
    def stop_requested(self) -> bool:
        return (self.folder / "stop").exists()

    @property
    def pause_requested(self) -> bool:
        return (self.folder / "pause").exists()

    def clear_requests(self) -> None:
        """Forget earlier requests, before the run goes on."""
        for name in ("stop", "pause"):
            (self.folder / name).unlink(missing_ok=True)

    # -- files ----------------------------------------------------------------------------------------------------
    @property
    def weights_path(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def model_path(self) -> Path:
        return self.folder / "model.json"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def scores_path(self) -> Path:
        return self.folder / "scores.json"

    @property
    def probabilities(self) -> Path:
        return self.folder / "probabilities"

    @property
    def log_path(self) -> Path:
        """What a process of its own printed."""
        return self.folder / "log.txt"

    def checkpoint_path(self, name: Literal["last", "previous", "best"]) -> Path:
        return self.folder / "checkpoints" / f"{name}.pt"

    def prediction_path(self, case_id: str) -> Path:
        """Where the prediction of a case lies; raises UserError for an id that would lead out of the folder."""
        return inside(self.predictions, f"{case_id}.nii.gz")


def process_alive(run: Run) -> bool | None:
    """Whether the process noted in ``process.json`` still runs; None where that cannot be known from here."""
    return noted_process_alive(run.process)


def noted_process_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether the process with this ``pid``, ``create_time`` and ``host`` still runs; None where that cannot be known.

    A pid alone would do until it is given to another process; the start time tells the two apart.
    """
    pid, started = process.get("pid"), process.get("create_time", 0.0)
    if process.get("host") != platform.node() or not isinstance(pid, int) or not isinstance(started, int | float):
        return None
    if not 0 < pid < 2**31:
        return False
    import psutil

    try:
        found = psutil.Process(pid)
        return abs(found.create_time() - float(started)) < 1.0 and (found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def list_runs(runs: Path) -> list[Run]:
    """Every run below ``runs``, oldest first."""
    if not runs.is_dir():
        return []

    def age(record: Path) -> tuple[str, int]:
        # Names tell seconds; of runs that were made within one the records' own times tell.
        return record.parent.name[:15], record.stat().st_mtime_ns

    return [Run(path.parent) for path in sorted(runs.glob("*/run.json"), key=age)]


def find_run(runs: Path, run_id: str) -> Run:
    """The run of that id, or the one whose id begins so where only one does.

    Raises
    ------
    RunError
        When none or several fit.
    """
    fitting = [run for run in list_runs(runs) if run.id == run_id] or [
        run for run in list_runs(runs) if run.id.startswith(run_id)
    ]
    if len(fitting) != 1:
        known = ", ".join(run.id for run in list_runs(runs)[-5:]) or "none yet"
        raise RunError(f"{len(fitting)} runs fit {run_id!r}; the latest are: {known}")
    return fitting[0]


def watch(run: Run, offset: int = 0, *, poll: float = 0.5) -> Iterator[Event]:
    """Yield events as they are written until the run ends."""
    while True:
        events, offset = run.events_from(offset)
        yield from events
        if not events and run.state not in ("queued", "running", "paused"):
            return
        time.sleep(poll)


def _lines_backwards(path: Path, block: int = 65536) -> Iterator[bytes]:
    """The whole lines of a file, last one first."""
    try:
        stream = open(path, "rb")
    except OSError:
        return
    with stream:
        position = stream.seek(0, os.SEEK_END)
        rest = b""
        while position > 0:
            start = max(0, position - block)
            stream.seek(start)
            lines = (stream.read(position - start) + rest).split(b"\n")
            position, rest = start, lines[0]
            yield from reversed(lines[1:])
        yield rest
