"""Backbones by name, and the heads that are put on them. Torch is imported when a network is first built."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from napari_ssl_seg.networks.catalogue import list_networks, network_dims, parse_network, token_stride, total_stride
from napari_ssl_seg.networks.patch import plan_patch, plan_spec
from napari_ssl_seg.networks.spec import NetworkSpec
from napari_ssl_seg.networks.strides import plan_strides

if TYPE_CHECKING:
    from napari_ssl_seg.networks.backbone import Backbone
    from napari_ssl_seg.networks.build import build_network
    from napari_ssl_seg.networks.heads import Restorer, SegmentationNet
    from napari_ssl_seg.networks.pair import UNetPair
    from napari_ssl_seg.networks.unet import UNet

__all__ = [
    "Backbone",
    "NetworkSpec",
    "Restorer",
    "SegmentationNet",
    "UNet",
    "UNetPair",
    "build_network",
    "list_networks",
    "network_dims",
    "parse_network",
    "plan_patch",
    "plan_spec",
    "plan_strides",
    "token_stride",
    "total_stride",
]

_HOMES = {
    "Backbone": "backbone",
    "Restorer": "heads",
    "SegmentationNet": "heads",
    "UNet": "unet",
    "UNetPair": "pair",
    "build_network": "build",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"napari_ssl_seg.networks.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
