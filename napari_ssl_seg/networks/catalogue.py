"""Every network by name: its presets, dimensions and stride. No torch here, so that forms and `--help` can ask at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks.families import FAMILIES
from napari_ssl_seg.networks.presets import describe_unets, layout_strides, unet_layout

if TYPE_CHECKING:
    from napari_ssl_seg.networks.spec import NetworkSpec


def list_networks() -> dict[str, dict[str, dict[str, Any]]]:
    """``{network: {preset: {"dims": [2, 3], "channels": {2: ..., 3: ...}, "description": ...}}}``."""
    return describe_unets() | {name: family.describe() for name, family in FAMILIES.items()}


def network_dims(name: str, preset: str | None = None) -> frozenset[int]:
    """In which of 2D and 3D a network works; with that preset, where one is named.

    Raises
    ------
    UserError
        For an unknown network or preset.
    """
    check_name(name)
    presets = list_networks()[name]
    if preset is not None and preset not in presets:
        raise UserError(f"network {name} has no preset {preset!r}; choose one of: {', '.join(presets)}")
    chosen = presets.values() if preset is None else (presets[preset],)
    return frozenset(dims for entry in chosen for dims in entry["dims"])


def total_stride(spec: NetworkSpec) -> tuple[int, ...]:
    """How much each axis shrinks down to the coarsest level; patches are multiples of it."""
    check_name(spec.name)
    family = FAMILIES.get(spec.name)
    if family is not None:
        return family.stride(family.layout(spec), spec.dims)
    strides = layout_strides(unet_layout(spec), spec.dims)
    return tuple(math.prod(stride[axis] for stride in strides) for axis in range(spec.dims))


def check_name(name: str) -> None:
    """Refuse a network that does not exist.

    Raises
    ------
    UserError
        Naming those that do.
    """
    if name not in list_networks():
        raise UserError(f"there is no network {name!r}; choose one of: {', '.join(list_networks())}")
