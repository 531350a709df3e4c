"""From a `NetworkSpec` to a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks.catalogue import check_name, total_stride
from napari_ssl_seg.networks.families import FAMILIES
from napari_ssl_seg.networks.heads import SegmentationNet
from napari_ssl_seg.networks.presets import pair_features, pair_global_encoder, unet_layout
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
    _check_patch(spec, total_stride(spec))
    backbone = _build_backbone(spec)
    return backbone if out_channels is None else SegmentationNet(backbone, out_channels)


def _build_backbone(spec: NetworkSpec) -> Backbone:
    check_name(spec.name)
    family = FAMILIES.get(spec.name)
    if family is not None:
        backbone: Backbone = family.build(spec, family.layout(spec))
        return backbone
    if spec.name == "unet_pair":
        from napari_ssl_seg.networks.pair import UNetPair

        return UNetPair(spec.dims, spec.in_channels, unet_layout(spec), pair_features(spec), pair_global_encoder(spec))
    return UNet(spec.dims, spec.in_channels, unet_layout(spec))


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
