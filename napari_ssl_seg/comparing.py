"""A comparison that goes on by itself, and the folder that says how far it is.

The process is the command line's ``compare``, so that it outlives the window, and one that was started in a terminal is
watched and stopped in the same way::

    OUT/
      comparison.json    the study and the protocol
      progress.json      `Standing`, at most twice a second
      process.json       pid, start time and host
      log.txt            what it printed, where the window started it
      stop               present = asked to stop at the next step
      report.html ...    at the end

``STUDY/comparison.json`` names the folder of the latest one. What is finished is found again through the ledger of
`protocol.compare_methods`, so that starting it anew goes on where it was.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.files import read_json, write_json, write_text
from napari_ssl_seg.processes import start_apart
from napari_ssl_seg.protocol import Protocol
from napari_ssl_seg.training.runs import noted_process_alive

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

T = TypeVar("T")
ACTIVE = ("starting", "running", "stopping")
WRITE_SECONDS = 0.5
STEPPED = ("step", "evaluation", "checkpoint", "preview")
"""Events of a training that saves when it is asked to stop."""
STOPPED = "the comparison was stopped; start it again and it goes on where it was"


@dataclass(frozen=True)
class Standing:
    """How far a comparison is."""

    state: str
    """starting, running, stopping, stopped, failed or finished."""
    text: str = ""
    """What it does: ``fine-tune simmim on 5 labelled scans, draw 2``."""
    fraction: float | None = None
    seconds_left: float | None = None
    report: str | None = None
    message: str = ""
    """Why it failed, in one sentence."""

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


def start_comparison(study: Study, protocol: Protocol, out: str | os.PathLike[str]) -> Path:
    """Run the protocol in a process of its own, which this one does not wait for; returns its folder.

    Raises
    ------
    UserError
        When a comparison goes on in that folder, its name cannot be used, or no process can be started.
    """
    folder = Path(out).resolve()
    if (folder / "process.json").exists() and read_standing(folder).active:
        raise RunError(f"a comparison goes on in {folder} already; stop it first, or choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stop").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}); choose another folder") from error
    write_json(folder / "comparison.json", {"study": str(study.folder), "protocol": asdict(protocol)})
    write_json(folder / "progress.json", asdict(Standing("starting", "starting")))
    write_json(study.folder / "comparison.json", {"out": str(folder)})
    (folder / "log.txt").unlink(missing_ok=True)
    pid = start_apart(command_of(study, protocol, folder), folder / "log.txt", "the comparison")
    _note_process(folder, pid)
    return folder


def command_of(study: Study, protocol: Protocol, out: Path) -> list[str]:
    """The line that a user would type."""
    command = [sys.executable, "-m", "napari_ssl_seg", "compare", str(study.folder), "--json", "--out", str(out)]
    command += ["--methods", ",".join(protocol.methods), "--cases", ",".join(map(str, protocol.budgets))]
    command += ["--repeats", str(protocol.repeats), "--device", protocol.device]
    for name in ("pretrain_iterations", "finetune_iterations", "network", "preset", "dims"):
        value = getattr(protocol, name)
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    if protocol.predictions:
        command += ["--predictions", *(f"{name}={folder}" for name, folder in protocol.predictions.items())]
    return command


def latest_comparison(study: Study) -> Path | None:
    """The folder of the comparison that was started last; None where there is none, or it is gone."""
    stored = _mapping(study.folder / "comparison.json")
    folder = Path(str(stored.get("out", "")))
    return folder if stored and (folder / "progress.json").exists() else None


def protocol_of(folder: Path) -> Protocol:
    """What was asked for; raises UserError where that is not known any more."""
    stored = _mapping(folder / "comparison.json").get("protocol")
    try:
        values = dict(stored)  # type: ignore[arg-type]
        return Protocol(**{**values, "methods": tuple(values["methods"]), "budgets": tuple(values["budgets"])})
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{folder / 'comparison.json'} names no comparison; start a new one") from error


def read_standing(folder: Path) -> Standing:
    """How far the comparison in a folder is; one whose process is gone without a word counts as stopped or failed."""
    stored = _mapping(folder / "progress.json")
    try:
        standing = Standing(**stored)
    except TypeError:
        return Standing("stopped", message=f"{folder} does not say how far it is")
    if not standing.active:
        return standing
    if noted_process_alive(_mapping(folder / "process.json")) is False:
        said = _error_in(folder / "log.txt")
        return Standing("failed" if said else "stopped", standing.text, standing.fraction, message=said)
    if (folder / "stop").exists():
        return Standing("stopping", standing.text, standing.fraction, standing.seconds_left)
    return standing


def stop_comparison(folder: Path) -> None:
    """Ask it to save and stop at its next step."""
    write_text(folder / "stop", "")


def noted(study: Study, protocol: Protocol, events: Generator[Event, None, T], out: Path) -> Generator[Event, None, T]:
    """Pass events on, write down how far it is, and stop when ``OUT/stop`` is there.

    Raises
    ------
    KeyboardInterrupt
        When it was asked to stop.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "stop").unlink(missing_ok=True)
    write_json(out / "comparison.json", {"study": str(study.folder), "protocol": asdict(protocol)})
    write_json(study.folder / "comparison.json", {"out": str(out.resolve())})
    _note_process(out, os.getpid())
    tally, written, asked = Tally(), 0.0, False
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                _write(out, Standing("running", "writing the report", 1.0))
                return end.value
            tally.hear(event)
            if not asked and (out / "stop").exists():
                asked = True
            if asked:
                if event.kind not in STEPPED or event.run is None:
                    if event.kind not in ("state", "weights", "warning"):
                        events.close()
                        raise KeyboardInterrupt(STOPPED)
                else:
                    study.run(event.run).request_stop()
            if time.monotonic() - written > WRITE_SECONDS:
                _write(out, Standing("running", tally.text, tally.fraction, tally.seconds_left))
                written = time.monotonic()
            yield event
    except UserError as error:
        if asked:
            _write(out, Standing("stopped", tally.text, tally.fraction))
            raise KeyboardInterrupt(STOPPED) from None
        _write(out, Standing("failed", tally.text, tally.fraction, message=str(error)))
        raise
    except (KeyboardInterrupt, GeneratorExit):
        _write(out, Standing("stopped", tally.text, tally.fraction))
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        _write(out, Standing("failed", tally.text, tally.fraction, message=f"{type(error).__name__}: {text}"))
        raise


def note_finished(out: Path, report: Path) -> None:
    """The last word."""
    _write(out, Standing("finished", "finished", 1.0, report=str(report)))


class Tally:
    """How far a protocol is, and how long the rest takes at the pace so far."""

    def __init__(self) -> None:
        self.text = "starting"
        self._done, self._total = 0, 0
        self._share = 0.0
        self._left: float | None = None
        self._begun = time.monotonic()
        self._rest: Mapping[str, int] = {}
        self._kind, self._worked = "", False
        self._took: dict[str, list[float]] = {}

    def hear(self, event: Event) -> None:
        """One event of `protocol.compare_methods`."""
        data = event.data
        if event.kind == "progress" and "rest" in data:
            if self._worked:
                self._took.setdefault(self._kind, []).append(time.monotonic() - self._begun)
            self.text, self._done, self._total = str(data["what"]), int(data["done"]), int(data["total"])
            self._rest, self._kind, self._worked = data["rest"], str(data["kind"]), False
            self._share, self._left, self._begun = 0.0, None, time.monotonic()
        elif event.kind == "step":
            self._worked = True
            self._share = min(1.0, float(data["step"]) / max(1, int(data["total"] or 1)))
            self._left = data.get("seconds_left")

    @property
    def fraction(self) -> float | None:
        """Share of the trainings that are done, 0 to 1."""
        return (self._done + self._share) / self._total if self._total else None

    @property
    def seconds_left(self) -> float | None:
        """None until the first step; where a kind of training was not seen yet, as long as those that were."""
        if self._left is None:
            return None
        now = time.monotonic() - self._begun + self._left
        took = {kind: sum(values) / len(values) for kind, values in self._took.items()}
        usual = max([*took.values(), now])
        return self._left + sum(
            number * took.get(kind, now if kind == self._kind else usual) for kind, number in self._rest.items()
        )


def _write(out: Path, standing: Standing) -> None:
    write_json(out / "progress.json", asdict(standing))


def _note_process(folder: Path, pid: int) -> None:
    import psutil

    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it ended at once; the log says why
        created = 0.0
    write_json(folder / "process.json", {"pid": pid, "create_time": created, "host": platform.node()})


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _error_in(log: Path) -> str:
    """The sentence that the command line ended with, or the last line of what broke it."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if not said and any(line.startswith("Traceback") for line in lines):
        said = [f"{lines[-1]} (log.txt in {log.parent} has the rest)"]
    return said[-1] if said else ""
