"""From a `NetworkSpec` to a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks.heads import SegmentationNet
from napari_ssl_seg.networks.presets import layout_strides, list_networks, pair_features, unet_layout
from napari_ssl_seg.networks.unet import UNet

if TYPE_CHECKING:
    from napari_ssl_seg.networks.backbone import Backbone
    from napari_ssl_seg.networks.spec import NetworkSpec


@overload
def build_network(spec: NetworkSpec, out_channels: None = None) -> Backbone: ...
@overload
def build_network(spec: NetworkSpec, out_channels: int) -> SegmentationNet: ...
def build_network(spec: NetworkSpec, out_channels: int | None = None) -> Backbone | SegmentationNet:
    """Build the network with random weights (torch's global generator: seed it first).

    Parameters
    ----------
    spec
        What to build.
    out_channels
        None for the bare backbone; a number of classes, the background among them, for a `SegmentationNet`.

    Raises
    ------
    UserError
        For an unknown network, preset or option, or a patch that the network cannot take.
    """
    backbone = _build_backbone(spec)
    _check_patch(spec, backbone.stride)
    return backbone if out_channels is None else SegmentationNet(backbone, out_channels)


def total_stride(spec: NetworkSpec) -> tuple[int, ...]:
    """How much each axis shrinks down to the coarsest level; patches are multiples of it."""
    _check_name(spec)
    strides = layout_strides(unet_layout(spec), spec.dims)
    return tuple(math.prod(stride[axis] for stride in strides) for axis in range(spec.dims))


def _build_backbone(spec: NetworkSpec) -> Backbone:
    _check_name(spec)
    if spec.name == "unet_pair":
        from napari_ssl_seg.networks.pair import UNetPair

        return UNetPair(spec.dims, spec.in_channels, unet_layout(spec), pair_features(spec))
    return UNet(spec.dims, spec.in_channels, unet_layout(spec))


def _check_name(spec: NetworkSpec) -> None:
    if spec.name not in list_networks():
        raise UserError(f"there is no network {spec.name!r}; choose one of: {', '.join(list_networks())}")


def _check_patch(spec: NetworkSpec, stride: tuple[int, ...]) -> None:
    if any(size % step for size, step in zip(spec.patch, stride, strict=True)):
        fitting = tuple(max(1, round(size / step)) * step for size, step in zip(spec.patch, stride, strict=True))
        raise UserError(
            f"patch {spec.patch} is no multiple of {stride}, by which {spec.name} {spec.preset} shrinks it; use e.g. {fitting}"
        )
    if spec.patch == stride:
        raise UserError(
            f"patch {spec.patch} leaves one voxel at the coarsest level, too few to normalise; use a larger one"
        )
