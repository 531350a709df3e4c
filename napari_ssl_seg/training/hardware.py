"""What there is to train on: devices with their memory, the choice among them, threads and warming up."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_fabric import Fabric


@dataclass(frozen=True)
class DeviceInfo:
    """One device; memory in bytes, None where it cannot be asked."""

    name: str
    """What settings and `torch.device` call it: ``cpu``, ``cuda:0``, ``mps``."""
    title: str
    free_bytes: int | None
    total_bytes: int | None

    def describe(self) -> str:
        """One line for menus: name, model, free memory."""
        if self.free_bytes is None:
            return f"{self.name}: {self.title}"
        return f"{self.name}: {self.title}, {self.free_bytes / 2**30:.1f} GiB free"


def devices() -> list[DeviceInfo]:
    """Every usable device, the fastest kind first, the CPU last. Loads torch."""
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        try:
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError:  # a device in exclusive use by another process, or one whose driver failed
            continue
        found.append(DeviceInfo(f"cuda:{index}", torch.cuda.get_device_name(index), free, total))
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        found.append(DeviceInfo("mps", "Apple GPU", total - torch.mps.driver_allocated_memory(), total))
    return [*found, _cpu()]


def pick_device(name: str = "auto") -> DeviceInfo:
    """The device of that name; ``auto``: the GPU with most free memory, else the CPU; ``cuda``: the first of them.

    Raises
    ------
    RunError
        When there is no such device here.
    """
    known = devices()
    if name == "auto":
        gpus = known[:-1]
        return max(gpus, key=lambda device: device.free_bytes or 0) if gpus else known[-1]
    wanted = "cuda:0" if name == "cuda" else name
    for device in known:
        if device.name == wanted:
            return device
    raise RunError(
        f"there is no device {name!r} here; choose one of auto, {', '.join(device.name for device in known)}"
    )


def choose_precision(device: str, wanted: str = "auto") -> str:
    """``32`` or ``bf16``. bf16 pays on GPUs that have it in hardware; on CPUs it was seen to halve the speed."""
    if wanted != "auto":
        return wanted
    if not device.startswith("cuda"):
        return "32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"


def make_fabric(device: str, precision: str) -> Fabric:
    """Lightning Fabric on one device: it places tensors, casts, and runs the backward pass."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    kind, _, index = device.partition(":")
    return Fabric(
        accelerator=kind,
        devices=[int(index or 0)] if kind == "cuda" else 1,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        plugins=[LightningEnvironment()],  # one device, even inside a cluster's allocation of many tasks
    )


def default_threads() -> int:
    """All cores but one, at least one, and no more than OMP_NUM_THREADS where that is set."""
    threads = max(1, _cores() - 1)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(threads, int(asked)) if asked.isdigit() and int(asked) > 0 else threads


@contextmanager
def limited_threads(threads: int) -> Iterator[int]:
    """Cap this thread's arithmetic at ``threads`` cores (0: `default_threads`) while the block runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or default_threads())
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random weights from ``seed`` and leave the program's own random numbers as they were."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def warm_up() -> None:
    """Import and build what the first step would, so that no window stalls in the middle of it (seconds, once).

    The first optimiser of a process imports ``torch._dynamo``, which held the main thread for up to 0.8 s.
    """
    import lightning_fabric  # noqa: F401
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> DeviceInfo:
    import platform

    try:
        import psutil

        memory = psutil.virtual_memory()
        free, total = memory.available, memory.total
    except (ImportError, OSError):
        free = total = None
    return DeviceInfo("cpu", f"{platform.machine() or 'CPU'}, {_cores()} cores", free, total)
