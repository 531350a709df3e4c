"""MoCo: find the key of the other view among those of earlier patches, which wait in a queue.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, arXiv 1911.05722 (v1: a linear
head, temperature 0.07); Chen et al., "Improved Baselines with Momentum Contrastive Learning", arXiv 2003.04297 (v2: two
layers, 0.2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.methods.siamese import Siamese, SiameseConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from napari_ssl_seg.methods.base import MethodConfig
    from napari_ssl_seg.methods.siamese_net import Design
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

TEMPERATURES = {"v1": 0.07, "v2": 0.2}
QUEUE_SHARE = 0.5
"""Of the patches that a study has room for: a longer queue holds the same place several times, as a false negative."""


class MoCoConfig(SiameseConfig):
    """The papers', but for the length of the queue."""

    version: Literal["v1", "v2"] = Field(
        default="v2",
        title="Version",
        description="v1: a linear head and temperature 0.07; v2: two layers and 0.2.",
        json_schema_extra={"basic": True},
    )
    queue: int = Field(
        default=4096,
        ge=0,
        le=1_000_000,
        title="Queue",
        description=(
            "Keys of earlier patches to tell from, at most half as many as the scans have room for; 0: the other patches of"
            " the batch, and no second encoder. Paper: 65536 of a million images."
        ),
        json_schema_extra={"basic": True},
    )
    momentum: float = Field(
        default=0.999,
        ge=0.0,
        le=1.0,
        title="Momentum",
        description="Share of itself that the key encoder keeps at each step. Paper: 0.999.",
    )
    temperature: float = Field(
        default=0.0,
        ge=0.0,
        le=10.0,
        title="Temperature",
        description="Divides the cosines; 0: 0.07 with v1 and 0.2 with v2.",
    )


class MoCo(Siamese):
    """Finds the other view of a patch among earlier patches, encoded by a slowly following encoder and kept in a queue."""

    name = "moco"
    title = "MoCo"
    paper = "He et al., MoCo, CVPR 2020, arXiv 1911.05722; v2: Chen et al., arXiv 2003.04297"
    Config: ClassVar[type[MethodConfig]] = MoCoConfig
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"v1": {"version": "v1"}, "in_batch": {"queue": 0}}
    shaping: ClassVar[tuple[str, ...]] = ("projection", "version", "queue")

    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """The length of the queue: at most half as many as these cases have room for patches."""
        queue = self._queue(study.case(case_id).shape for case_id in case_ids)
        warnings: tuple[str, ...] = ()
        if self.config.queue and not queue:
            warnings = ("the scans have room for too few patches to fill a queue; the batch alone is looked at",)
        return Prepared(self._with_queue(queue), warnings=warnings, facts={"queue": queue})
        yield

    def prepare_slice(self, study: Study, case_id: str, index: int) -> Prepared:
        """The queue as it would be for the study's train scans."""
        return Prepared(self._with_queue(self._queue(case.shape for case in study.cases(split="train"))))

    def design(self) -> Design:
        """An encoder that follows, a queue of its keys, InfoNCE one way."""
        from napari_ssl_seg.methods.projection import Head
        from napari_ssl_seg.methods.siamese_net import Design

        config = self.config
        return Design(
            title=self.title,
            projector=Head(() if config.version == "v1" else (0,), config.projection),
            objective="info_nce",
            temperature=config.temperature or TEMPERATURES[config.version],
            momentum=config.momentum if config.queue else None,
            queue=config.queue,
        )

    def _queue(self, shapes: Iterable[Sequence[int]]) -> int:
        patch = self.spec.patch if self.spec is not None else ()
        return min(self.config.queue, int(QUEUE_SHARE * sum(room_for(shape, patch) for shape in shapes)))

    def _with_queue(self, queue: int) -> MoCo:
        return type(self)(self.config.model_copy(update={"queue": queue}), spec=self.spec)


def room_for(shape: Sequence[int], patch: Sequence[int]) -> int:
    """How many patches (y, x) or (z, y, x) lie side by side in a scan (z, y, x), at least one a slice or a scan."""
    sides = (1,) * (len(shape) - len(patch)) + tuple(patch)
    return math.prod(max(1, length // side) for length, side in zip(shape, sides, strict=True))
