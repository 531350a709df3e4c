"""What the Train tab offers: methods, networks, devices and runs to start from. No widget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.methods.base import Method
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.workbench.run_progress import RunProgress

SCRATCH = "scratch"


@dataclass(frozen=True)
class Start:
    """A run to start from: its id, what to call it, and its network's dimensions and preset."""

    id: str
    title: str
    dims: int | None = None
    preset: str | None = None


@dataclass
class Choices:
    """What the cards offer; read off the window's thread, because torch is imported for it."""

    methods: Sequence[type[Method]] = ()
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    devices: Sequence[Any] = ()


def load_choices() -> Choices:
    """What can be trained, and where. Imports torch."""
    from napari_ssl_seg.methods import list_methods
    from napari_ssl_seg.networks import list_networks
    from napari_ssl_seg.training import devices

    return Choices(methods=list_methods(), networks=list_networks(), devices=devices())


def prepare(function: str, study: Study, values: dict[str, Any]) -> Run:
    """Make the folder of a run; nothing is trained yet."""
    from napari_ssl_seg import training

    return getattr(training, function)(study, **values)


def as_start(run: RunProgress) -> Start | None:
    """What fine-tuning may start from: a run that has weights."""
    record = run.record
    if record is None or not run.run.weights_path.exists() or record.title == SCRATCH:
        return None
    network = record.network
    return Start(run.id, run.title, network.get("dims"), network.get("preset"))
