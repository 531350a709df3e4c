"""Sizes of PCT-Net, and how it treats thick slices. No torch here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, model_validator

from napari_ssl_seg.networks.family import Family, Layout
from napari_ssl_seg.networks.strides import ANISOTROPY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.networks.spec import NetworkSpec

LEVELS = 5
PCT_LEVELS = 3
"""The coarsest levels, in which convolution and attention run side by side."""
Resolution = Literal["3d-3d", "2d-3d", "2d-2d"]
Triple = tuple[int, int, int]
"""Along (z, y, x)."""


class PCTLayout(Layout):
    """Everything that shapes a `PCTNet`; the defaults are the paper's."""

    channels: tuple[int, ...] = Field(
        default=(24, 48, 128, 256, 512), min_length=LEVELS, max_length=LEVELS, description="of each level, finest first"
    )
    heads: tuple[int, ...] = Field(
        default=(4, 8, 16), min_length=PCT_LEVELS, max_length=PCT_LEVELS, description="of attention on levels 3 to 5"
    )
    resolution: Resolution = Field(
        default="2d-3d",
        description="convolutions and pooling of the two finest levels: within slices (2d) or across them (3d)",
    )
    slice_axis: int = Field(default=0, ge=0, le=2, description="across slices: 0 z, 1 y, 2 x")
    window: int = Field(default=6, ge=2, le=16, description="side of an attention window, on its level's grid")
    mlp_ratio: float = Field(default=4.0, gt=0, le=16, description="width of the attention's hidden layer")
    dropout: tuple[float, ...] = Field(
        default=(0.0, 0.0, 0.2, 0.2, 0.2), min_length=LEVELS, max_length=LEVELS, description="of each level"
    )
    drop_path: float = Field(default=0.2, ge=0, lt=1, description="share of samples that skip a layer of attention")
    attention_norm: bool = Field(
        default=True, description="normalise what attention gives; the authors' code builds this norm and leaves it out"
    )
    deep: bool = Field(default=True, description="supervise the four finest levels, not the finest alone")

    @model_validator(mode="after")
    def _values_agree(self) -> PCTLayout:
        if min(self.channels) < 1 or min(self.heads) < 1:
            raise ValueError("channels and heads should be positive")
        if any(width % heads for width, heads in zip(self.channels[-PCT_LEVELS:], self.heads, strict=True)):
            raise ValueError(f"channels {self.channels[-PCT_LEVELS:]} should be multiples of the heads {self.heads}")
        if not all(0.0 <= rate < 1.0 for rate in self.dropout):
            raise ValueError(f"dropout {self.dropout} should lie in [0, 1)")
        return self

    @property
    def flat(self) -> tuple[bool, bool]:
        """Whether each of the two finest levels works within slices."""
        return self.resolution[:2] == "2d", self.resolution[3:] == "2d"

    @property
    def pools(self) -> tuple[Triple, ...]:
        """Pooling between levels."""
        return tuple(self._within(2) if flat else (2, 2, 2) for flat in (*self.flat, False, False))

    @property
    def kernels(self) -> tuple[Triple, ...]:
        """Convolution kernel of each level."""
        return tuple(self._within(3) if flat else (3, 3, 3) for flat in (*self.flat, False, False, False))

    def _within(self, side: int) -> Triple:
        z, y, x = (1 if axis == self.slice_axis else side for axis in range(3))
        return z, y, x

    @property
    def stride(self) -> tuple[int, ...]:
        """Total pooling of each axis."""
        return tuple(math.prod(pool[axis] for pool in self.pools) for axis in range(3))


def fit_resolution(layout: PCTLayout, dims: int, shape: Sequence[float], spacing: Sequence[float]) -> dict[str, Any]:
    """The resolution mode for such scans: how the two finest levels treat the axis across slices, and which that is.

    A level works within slices while these are still `ANISOTROPY` times as far apart as the pixels, which pooling within
    slices doubles on each level; and where there are too few slices to be halved four times.
    """
    axis = max(range(3), key=lambda number: (spacing[number], -number))
    pixel = min(spacing[number] for number in range(3) if number != axis)
    thickness = spacing[axis] / pixel
    if thickness < ANISOTROPY:
        axis = min(range(3), key=lambda number: (shape[number], number))
    modes = get_args(Resolution)
    by_spacing = 0 if thickness < ANISOTROPY else 1 if thickness < 2 * ANISOTROPY else 2
    # Padding a third of the patch is the most that is worth another halving: 24 slices for two strides of 16.
    by_count = 0 if shape[axis] >= 24 else 1 if shape[axis] >= 12 else 2
    return {"resolution": modes[max(by_spacing, by_count)], "slice_axis": axis}


def _build(spec: NetworkSpec, layout: PCTLayout) -> Any:
    from napari_ssl_seg.networks.pctnet import PCTNet

    return PCTNet(spec.in_channels, layout)


FAMILY = Family(
    name="pctnet",
    presets={
        ("small", 3): PCTLayout(channels=(8, 16, 32, 64, 128), heads=(2, 4, 8), window=4),
        ("paper", 3): PCTLayout(),
    },
    descriptions={
        "small": "convolution and attention side by side, in 3D; a thin one that trains on two CPU cores",
        "paper": "PCT-Net of the Volume Fusion paper (arXiv 2306.16925), 44 million weights; wants a GPU",
    },
    channels=lambda layout: layout.channels,
    stride=lambda layout, dims: layout.stride,
    build=_build,
    fit=fit_resolution,
)
