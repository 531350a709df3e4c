"""A study and a training in memory, which write run folders as the core does: for tests of the Train tab."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from napari_ssl_seg.gui.train_choices import Choices
from napari_ssl_seg.methods.base import MethodConfig
from napari_ssl_seg.networks import list_networks
from napari_ssl_seg.training import DeviceInfo
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.runs import Run, RunRecord, list_runs
from tests.workbench.fakes import FakeCase, FakeStudy

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True)
class Class:
    value: int
    name: str
    color: str


class SimConfig(MethodConfig):
    ratio: float = Field(0.6, ge=0, le=1, title="Masked share", description="share of the blocks that is hidden")


class Sim:
    name: ClassVar[str] = "simmim"
    title: ClassVar[str] = "SimMIM"
    paper: ClassVar[str] = "Xie et al., CVPR 2022"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    networks: ClassVar[tuple[str, ...]] = ()
    training: ClassVar[dict[str, float]] = {}
    Config: ClassVar[type[MethodConfig]] = SimConfig


CLASSES = (Class(1, "LV", "#E69F00"), Class(2, "MYO", "#56B4E9"))
CHOICES = Choices(
    methods=[Sim],  # type: ignore[list-item]
    networks=list_networks(),
    devices=[DeviceInfo("cpu", "two cores", 3 * 2**30, 4 * 2**30)],
)


class Study(FakeStudy):
    """A fake study with a folder for its runs."""

    @property
    def runs_folder(self) -> Path:
        return self.folder / "runs"

    def runs(self) -> list[Run]:
        return list_runs(self.runs_folder)


def make_study(folder: Path, cases: int = 6) -> Study:
    items = [
        FakeCase(f"case_{index:02d}", split="test" if index == cases - 1 else "train", label=Path("l.nii.gz"))
        for index in range(cases - 1)
    ] + [FakeCase(f"case_{cases - 1:02d}", split="test")]
    return Study(items=items, classes=CLASSES, folder=folder)


def make_run(study: Study, title: str, kind: str = "pretrain", **fields: Any) -> Run:
    network = {"name": "unet", "dims": 2, "preset": "small", "patch": [64, 64]}
    options = {"method": "simmim" if kind == "pretrain" else None, "network": network, "settings": {"iterations": 40}}
    record = RunRecord(kind=kind, title=title, **{**options, **fields})  # type: ignore[arg-type]
    return Run.create(study.runs_folder, record)


def say(run: Run, kind: str, **data: Any) -> Event:
    event = Event(kind, data, run.id)  # type: ignore[arg-type]
    run.append(event)
    return event


def fake_train(
    run: Run, *, steps: int = 40, seconds: float = 0.02, error: BaseException | None = None, case: str = "case_00"
) -> Generator[Event, None, Run]:
    """Events as the core's loop writes them: stop and pause are looked at every step, and it saves before it stops."""
    run.beat()
    yield say(run, "state", state="running")
    yield say(run, "weights", loaded=["enc.a", "enc.b"], random=["head.weight"], skipped=[], source="simmim-1")
    for step in range(1, steps + 1):
        time.sleep(seconds)
        if error is not None and step == 3:
            raise error
        if run.stop_requested:
            yield say(run, "checkpoint", step=step, file="checkpoints/last.pt", best=False)
            yield say(run, "state", state="stopped", reason="asked to stop")
            return run
        while run.pause_requested:
            time.sleep(0.02)
        losses = {"total": 1 / step, "restoration": 0.6 / step}
        left = (steps - step) * seconds
        yield say(
            run, "step", step=step, total=steps, losses=losses, lr=1e-3, rate=1 / max(seconds, 1e-3), seconds_left=left
        )
        if step % 10 == 0:
            dice = {"LV": 0.5 + step / 100, "MYO": None}
            yield say(run, "evaluation", step=step, mean_dice=0.5 + step / 100, dice=dice, best=True)
            labels = np.zeros((20, 16), np.uint8)
            labels[5:12, 4:10] = 1
            np.savez(run.folder / "preview.npz", labels=labels)
            yield say(run, "preview", step=step, case=case, axis=0, index=4, origin=[2, 1], file="preview.npz")
    run.weights_path.write_bytes(b"")
    yield say(run, "state", state="finished")
    return run
