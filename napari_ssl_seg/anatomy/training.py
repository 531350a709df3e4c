"""Training the Self-supervised Anatomical eMbedding on a study's scans: stoppable at each step, and it goes on where it stopped."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_ssl_seg.anatomy.loss import OTHERS, draw_anchors, info_nce
from napari_ssl_seg.anatomy.net import COARSE, FINE, EmbeddingNet
from napari_ssl_seg.anatomy.store import HALF_DONE, WEIGHTS, load_tensors, save_record, save_tensors
from napari_ssl_seg.anatomy.views import two_embedding_views, view_shape
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.hardware import limited_threads, pick_device, seeded
from napari_ssl_seg.training.meter import Clock

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_ssl_seg.anatomy.grid import Grids
    from napari_ssl_seg.anatomy.settings import MatcherSettings
    from napari_ssl_seg.anatomy.views import EmbeddingView

PAIRS = 2
"""Scans a step, two views of each; at least two, since each gives the other negatives."""
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
WARM_UP = 10
LARGEST_GRADIENT = 1.0
SAVE_SECONDS = 20.0
WHAT = "Self-supervised Anatomical eMbedding"


def train_embedding(
    grids: Grids, case_ids: Sequence[str], settings: MatcherSettings, folder: Path
) -> Generator[Event, None, EmbeddingNet]:
    """Train the network, or read the one that lies in ``folder`` already.

    The step that comes next depends on its number and the seed alone, so a training that was stopped and goes on gives
    what one without a break would have given.

    Yields
    ------
    Event
        ``progress`` after each step: ``done`` and ``total`` in steps, ``seconds_left``, ``loss``.

    Returns
    -------
    EmbeddingNet
        In eval mode, on the CPU.
    """
    with seeded(settings.match_seed):
        net = EmbeddingNet()
    finished = load_tensors(folder / WEIGHTS)
    if finished is not None and _fits(net, finished):
        net.load_state_dict(finished)
        return net.eval()
    device = pick_device(settings.match_device).name
    training = _Training(net.to(device), grids, case_ids, settings)
    training.load(load_tensors(folder / HALF_DONE))
    yield from _steps(training, folder)
    net = net.cpu().eval()
    save_tensors(folder / WEIGHTS, net.state_dict())
    save_record(folder, training.record())
    (folder / HALF_DONE).unlink(missing_ok=True)
    return net


def _steps(training: _Training, folder: Path) -> Generator[Event, None, None]:
    clock = Clock(training.total)
    clock.step(training.step)
    saved = time.monotonic()
    try:
        while training.step < training.total:
            with limited_threads(0):
                training.advance()
            clock.step(training.step)
            if time.monotonic() - saved > SAVE_SECONDS and training.step < training.total:
                save_tensors(folder / HALF_DONE, training.state())
                saved = time.monotonic()
            yield _progress(training, clock.seconds_left(training.step))
    except GeneratorExit:
        save_tensors(folder / HALF_DONE, training.state())
        raise


def _progress(training: _Training, left: float | None) -> Event:
    data = {
        "what": WHAT,
        "done": training.step,
        "total": training.total,
        "seconds_left": left,
        "text": f"loss {training.losses[-1]:.3f}",
        "loss": training.losses[-1],
    }
    return Event("progress", data)


class _Training:
    """Network, optimiser and how far they are."""

    def __init__(self, net: EmbeddingNet, grids: Grids, case_ids: Sequence[str], settings: MatcherSettings) -> None:
        self.net, self.grids, self.case_ids, self.settings = net.train(), grids, list(case_ids), settings
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.total, self.step = settings.match_iterations, 0
        self.losses: list[float] = []
        self.device = next(net.parameters()).device
        cases = [grids.study.case(case_id) for case_id in case_ids]
        shapes = [[n * s / grids.spacing for n, s in zip(case.shape, case.spacing, strict=True)] for case in cases]
        self.view_shape = view_shape(np.median(shapes, axis=0).tolist())

    def advance(self) -> None:
        """One step."""
        generator = torch.Generator().manual_seed(self.settings.match_seed * 1_000_003 + self.step)
        pairs = [self._views(generator, index) for index in range(PAIRS)]
        images = torch.stack([view.image for pair in pairs for view in pair])[:, None]
        fine, coarse = self.net(images)
        loss = torch.zeros((), device=self.device)
        for index, views in enumerate(pairs):
            other = (2 * index + 2) % (2 * PAIRS)
            for level, stride in ((fine, FINE), (coarse, COARSE)):
                first, second = level[2 * index], level[2 * index + 1]
                anchors = draw_anchors(*views, generator, FINE)
                others = _some(level[other], generator)
                loss = loss + info_nce(first, second, anchors, views, others, stride) / (2 * PAIRS)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.total)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.losses.append(float(loss.detach()))
        self.step += 1

    def _views(self, generator: torch.Generator, index: int) -> tuple[EmbeddingView, EmbeddingView]:
        count = len(self.case_ids)
        epoch, place = divmod(self.step * PAIRS + index, count)
        order = np.random.default_rng((self.settings.match_seed, epoch)).permutation(count)
        image = np.array(self.grids.get(self.case_ids[int(order[place])]).image)
        return two_embedding_views(torch.from_numpy(image).to(self.device), self.view_shape, generator)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in slots.items()}
        return tensors | {"step": torch.tensor(self.step), "losses": torch.tensor(self.losses, dtype=torch.float64)}

    def load(self, tensors: dict[str, Tensor] | None) -> None:
        """Go on from a `state`; one that does not fit is not taken."""
        if tensors is None or "step" not in tensors or int(tensors["step"]) > self.total:
            return
        weights = {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}
        if not _fits(self.net, weights):
            return
        self.net.load_state_dict(weights)
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, index, slot = name.split(".")
                slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self.step = int(tensors["step"])
        self.losses = tensors["losses"].tolist()

    def record(self) -> dict[str, Any]:
        """What is worth knowing afterwards."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "scans": len(self.case_ids),
            "spacing_mm": self.grids.spacing,
            "view": list(self.view_shape),
            "parameters": sum(parameter.numel() for parameter in self.net.parameters()),
            "losses": [round(value, 4) for value in self.losses],
        }


def learning_rate(step: int, total: int) -> float:
    """A cosine after a short linear warm-up."""
    warm = min(1.0, (step + 1) / WARM_UP)
    return LEARNING_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / total))


def _some(level: Tensor, generator: torch.Generator) -> Tensor:
    """(`OTHERS`, C) vectors of a map (C, d, h, w), drawn at random."""
    flat = level.flatten(1).T
    return flat[torch.randint(len(flat), (OTHERS,), generator=generator).to(level.device)]


def _fits(net: EmbeddingNet, tensors: dict[str, Tensor]) -> bool:
    expected = {name: tensor.shape for name, tensor in net.state_dict().items()}
    return {name: tensor.shape for name, tensor in tensors.items()} == expected and all(
        bool(torch.isfinite(tensor).all()) for tensor in tensors.values()
    )
