"""Sizes of the networks that come from MONAI. No torch here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from napari_ssl_seg.networks.family import Family, Layout
from napari_ssl_seg.networks.strides import plan_kernels, plan_strides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.networks.spec import NetworkSpec

UNETR_PATCH = 16
"""Side of the cube that UNETR makes one token of; MONAI has no other."""
SWIN_STRIDE = 32
SWIN_STAGES = 4


class UNETRLayout(Layout):
    """Arguments of MONAI's ``UNETR``; it has 12 layers of attention."""

    feature_size: int = Field(default=16, ge=1, le=256, description="channels at full resolution")
    hidden_size: int = Field(default=768, ge=4, le=4096, description="features of a token")
    mlp_dim: int = Field(default=3072, ge=4, le=16384, description="width of the attention's hidden layer")
    heads: int = Field(default=12, ge=1, le=64, description="of attention")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="in the attention; MOD's logs: 0.3")
    qkv_bias: bool = Field(default=False, description="bias of queries, keys and values")

    @model_validator(mode="after")
    def _heads_divide(self) -> UNETRLayout:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} should be a multiple of the {self.heads} heads")
        return self


class SwinLayout(Layout):
    """Arguments of MONAI's ``SwinUNETR``."""

    feature_size: int = Field(
        default=24, ge=12, le=192, multiple_of=12, description="channels at full resolution, a multiple of 12"
    )
    depths: tuple[int, ...] = Field(
        default=(2, 2, 2, 2), min_length=SWIN_STAGES, max_length=SWIN_STAGES, description="layers of each stage"
    )
    heads: tuple[int, ...] = Field(
        default=(3, 6, 12, 24), min_length=SWIN_STAGES, max_length=SWIN_STAGES, description="of attention, each stage"
    )
    window: int = Field(default=7, ge=2, le=16, description="side of an attention window, on its stage's grid")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of features")
    attention_dropout: float = Field(default=0.0, ge=0, lt=1, description="of attention weights")
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="share of samples that skip the last layer; fewer above"
    )
    v2: bool = Field(default=False, description="with a residual convolution before each stage (SwinUNETR-V2)")

    @model_validator(mode="after")
    def _heads_divide(self) -> SwinLayout:
        widths = self.stage_features
        if min(self.heads) < 1 or any(width % heads for width, heads in zip(widths, self.heads, strict=False)):
            raise ValueError(f"the stages' channels {widths[:-1]} should be multiples of the heads {self.heads}")
        if min(self.depths) < 1:
            raise ValueError(f"depths {self.depths} should be positive")
        return self

    @property
    def stage_features(self) -> tuple[int, ...]:
        """Channels at strides 2, 4, 8, 16 and 32."""
        return tuple(self.feature_size * 2**stage for stage in range(SWIN_STAGES + 1))


class DynUNetLayout(Layout):
    """Arguments of MONAI's ``DynUNet``, which is the network of nnU-Net."""

    channels: tuple[int, ...] = Field(min_length=3, max_length=8, description="of each level, finest first")
    strides: tuple[tuple[int, ...], ...] = Field(
        default=(), description="between levels, e.g. (1, 2, 2) for thick slices; empty: 2 along each axis"
    )
    kernels: tuple[tuple[int, ...], ...] = Field(
        default=(), description="of each level, e.g. (1, 3, 3) for thick slices; empty: 3 along each axis"
    )
    residual: bool = Field(default=False, description="residual blocks in place of plain ones")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of features")
    deep: int = Field(default=1, ge=1, le=7, description="supervise so many of the finest levels")

    @model_validator(mode="after")
    def _levels_agree(self) -> DynUNetLayout:
        if min(self.channels) < 1:
            raise ValueError(f"channels {self.channels} should be positive")
        if self.strides and len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"strides should have {len(self.channels) - 1} entries, one between each two levels")
        if any(step not in (1, 2) for stride in self.strides for step in stride):
            raise ValueError("strides should be 1 or 2 along each axis")
        if self.kernels and len(self.kernels) != len(self.channels):
            raise ValueError(f"kernels should have {len(self.channels)} entries, one for each level")
        if any(side not in (1, 3, 5) for kernel in self.kernels for side in kernel):
            raise ValueError("kernels should be 1, 3 or 5 along each axis")
        if self.deep >= len(self.channels):
            raise ValueError(f"deep {self.deep} should be less than the {len(self.channels)} levels")
        return self

    def all_strides(self, dims: int) -> tuple[tuple[int, ...], ...]:
        """Strides between levels, spelled out."""
        return self.strides or ((2,) * dims,) * (len(self.channels) - 1)

    def all_kernels(self, dims: int) -> tuple[tuple[int, ...], ...]:
        """Kernels of the levels, spelled out."""
        return self.kernels or ((3,) * dims,) * len(self.channels)


def _fit_dynunet(layout: DynUNetLayout, dims: int, shape: Sequence[float], spacing: Sequence[float]) -> dict[str, Any]:
    strides = plan_strides(dims, shape, spacing, len(layout.channels))
    kernels = plan_kernels(dims, spacing, strides)
    planned = layout.model_copy(update={"strides": strides, "kernels": kernels})
    plain = layout.model_copy(update={"strides": (), "kernels": ()})
    found: dict[str, Any] = {}
    if planned.strides != plain.all_strides(dims):
        found["strides"] = strides
    if planned.kernels != plain.all_kernels(dims):
        found["kernels"] = kernels
    return found


def _dynunet_stride(layout: DynUNetLayout, dims: int) -> tuple[int, ...]:
    strides = layout.all_strides(dims)
    return tuple(math.prod(stride[axis] for stride in strides) for axis in range(dims))


def _build_unetr(spec: NetworkSpec, layout: UNETRLayout) -> Any:
    from napari_ssl_seg.networks.unetr import UNETRBackbone

    return UNETRBackbone(spec.dims, spec.in_channels, spec.patch, layout)


def _build_swin(spec: NetworkSpec, layout: SwinLayout) -> Any:
    from napari_ssl_seg.networks.swin_unetr import SwinUNETRBackbone

    return SwinUNETRBackbone(spec.dims, spec.in_channels, layout)


def _build_dynunet(spec: NetworkSpec, layout: DynUNetLayout) -> Any:
    from napari_ssl_seg.networks.dynunet import DynUNetBackbone

    return DynUNetBackbone(spec.dims, spec.in_channels, layout)


def _both(small: Layout, **others: Layout) -> dict[tuple[str, int], Layout]:
    return {(name, dims): layout for name, layout in {"small": small, **others}.items() for dims in (2, 3)}


UNETR = Family(
    name="unetr",
    presets=_both(
        UNETRLayout(feature_size=8, hidden_size=192, mlp_dim=384, heads=6),
        standard=UNETRLayout(),
    ),
    descriptions={
        "small": "a vision transformer whose every layer sees the whole patch; this thin one trains on two CPU cores",
        "standard": "UNETR as published (WACV 2022), 100 million weights in 3D; wants a GPU",
    },
    channels=lambda layout: (*(layout.feature_size * 2**level for level in range(4)), layout.hidden_size),
    stride=lambda layout, dims: (UNETR_PATCH,) * dims,
    build=_build_unetr,
)
SWIN_UNETR = Family(
    name="swin_unetr",
    presets=_both(
        SwinLayout(feature_size=12, heads=(1, 2, 4, 8), window=4),
        standard=SwinLayout(),
        large=SwinLayout(feature_size=48),
    ),
    descriptions={
        "small": "a transformer that looks within shifted windows; this thin one trains on two CPU cores, if slowly",
        "standard": "Swin UNETR with 24 features, 16 million weights in 3D; wants a GPU",
        "large": "Swin UNETR as published for brain tumours, 62 million weights in 3D; wants a large GPU",
    },
    channels=lambda layout: (layout.feature_size, *layout.stage_features),
    stride=lambda layout, dims: (SWIN_STRIDE,) * dims,
    build=_build_swin,
    least=1,  # 64 voxels along each axis would be more than many scans have
    tokens_at=lambda layout, dims: (SWIN_STRIDE // 2,) * dims,
)
DYNUNET = Family(
    name="dynunet",
    presets={
        ("small", 2): DynUNetLayout(channels=(16, 32, 64, 128)),
        ("small", 3): DynUNetLayout(channels=(8, 16, 32, 64)),
        ("standard", 2): DynUNetLayout(channels=(32, 64, 128, 256, 512, 512), deep=4),
        ("standard", 3): DynUNetLayout(channels=(32, 64, 128, 256, 320), deep=3),
    },
    descriptions={
        "small": "the network of nnU-Net, with strided convolutions; this thin one trains on two CPU cores",
        "standard": "the network of nnU-Net at its own width, supervised on several scales; wants a GPU in 3D",
    },
    channels=lambda layout: layout.channels,
    stride=_dynunet_stride,
    build=_build_dynunet,
    fit=_fit_dynunet,
)
