"""The processes that train one run together, started by ``torchrun`` or by a cluster that sets the same variables.

Each draws its share of one large batch, gradients are averaged, and the first alone writes. The loss of most methods is a mean
over the patches of a batch, so that N processes with batches of B train as one does with a batch of N·B. Where patches are
contrasted with each other, or a queue is kept, each process sees its own share only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import TrainingFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from napari_ssl_seg.methods.base import Losses

PATIENCE = timedelta(hours=24)
"""For a process that prepares or validates alone. One that died is noticed at once, by its broken connection."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; by default the only one, and then nothing here costs anything."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def number(self, step: int) -> int:
        """A number of its own for each process at each step; the step itself where there is one process."""
        return step * self.size + self.rank

    def any(self, flag: bool) -> bool:
        """Whether it holds in any process; every process must ask."""
        if self.size == 1:
            return flag
        import torch

        found = torch.tensor(float(flag))
        self._reduce(found)
        return bool(found > 0)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over all processes, of numbers without gradient; every process must ask."""
        if self.size == 1:
            return values
        found = values.detach().double().cpu()
        self._reduce(found)
        return found / self.size

    def mean_losses(self, losses: Losses) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """The total and the parts of a step's loss, their means where several processes train."""
        if self.size == 1:
            return losses.total, losses.parts
        import torch

        values = [losses.total, *losses.parts.values()]
        means = self.mean(torch.stack([value.detach().double().reshape(()) for value in values]))
        return means[0], dict(zip(losses.parts, means[1:], strict=True))

    def average_gradients(self, weights: Sequence[torch.nn.Parameter]) -> None:
        """Give every weight the mean of its gradients; one that has none in any process keeps none."""
        if self.size == 1:
            return
        import torch

        given = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.float32)
        self._reduce(given)
        chosen = [weight for weight, count in zip(weights, given.tolist(), strict=True) if count]
        for weight in chosen:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        flat = torch.cat([weight.grad.flatten() for weight in chosen if weight.grad is not None])
        self._reduce(flat)
        flat /= self.size
        start = 0
        for weight in chosen:
            assert weight.grad is not None
            weight.grad.copy_(flat[start : start + weight.numel()].view_as(weight))
            start += weight.numel()

    def text_of_first(self, text: str) -> str:
        """What the first process says; every process must ask."""
        if self.size == 1:
            return text
        import torch
        from torch import distributed

        data = torch.frombuffer(bytearray(text.encode() or b"\0"), dtype=torch.uint8)
        length = torch.tensor(len(data))
        distributed.broadcast(length, 0)
        if not self.first:
            data = torch.zeros(int(length), dtype=torch.uint8)
        distributed.broadcast(data, 0)
        return bytes(data.tolist()).decode().rstrip("\0")

    def wait(self) -> None:
        """Until every process is here."""
        self.any(False)

    def _reduce(self, values: torch.Tensor) -> None:
        from torch import distributed

        try:
            distributed.all_reduce(values)
        except RuntimeError as error:
            raise TrainingFailed(
                f"another of the {self.size} processes that train this run together has ended"
                f" ({str(error).splitlines()[0][:150]}); see what it said, and resume with any number of processes"
            ) from error


ALONE = Ranks()


def asked_for() -> bool:
    """Whether this process was started as one of several."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def join_ranks() -> Ranks:
    """Meet the other processes, where there are any; the same again where they have met.

    ``torchrun`` sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; on a cluster a job script does.

    Raises
    ------
    TrainingFailed
        When the others cannot be reached.
    """
    if not asked_for():
        return ALONE
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            distributed.init_process_group(backend, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise TrainingFailed(
                f"the other processes of this training cannot be reached ({str(error).splitlines()[0][:150]});"
                " start all of them with torchrun"
            ) from error
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def own_device(device: str) -> str:
    """The GPU of this process where each has its own: ``cuda`` or ``cuda:0`` becomes ``cuda:LOCAL_RANK``."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if asked_for() and device.startswith("cuda") else device
