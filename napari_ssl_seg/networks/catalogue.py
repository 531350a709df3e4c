"""Every network by name: its presets, dimensions and stride. No torch here, so that forms and `--help` can ask at once."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks.families import FAMILIES
from napari_ssl_seg.networks.presets import describe_unets, layout_strides, unet_layout

if TYPE_CHECKING:
    from napari_ssl_seg.networks.spec import NetworkSpec

OUTSIDE_BRACKETS = re.compile(r",(?![^\[(]*[\])])")


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


def parse_network(text: str) -> tuple[str, dict[str, Any]]:
    """``"pctnet:resolution=2d-2d,window=4"`` as a name and its options; values are read as YAML scalars and lists.

    Raises
    ------
    UserError
        For an unknown network, or what is no option with a value.
    """
    import yaml

    name, colon, rest = text.partition(":")
    check_name(name.strip())
    options: dict[str, Any] = {}
    for pair in OUTSIDE_BRACKETS.split(rest) if colon else ():
        key, equals, value = pair.partition("=")
        try:
            options[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals or not key.strip():
            raise UserError(
                f"{pair!r} is no option of network {name}; write for example pctnet:resolution=2d-3d,window=6"
            )
    return name.strip(), options


def total_stride(spec: NetworkSpec) -> tuple[int, ...]:
    """How much each axis shrinks down to the coarsest level; patches are multiples of it."""
    check_name(spec.name)
    family = FAMILIES.get(spec.name)
    if family is not None:
        return family.stride(family.layout(spec), spec.dims)
    strides = layout_strides(unet_layout(spec), spec.dims)
    return tuple(math.prod(stride[axis] for stride in strides) for axis in range(spec.dims))


def token_stride(spec: NetworkSpec) -> tuple[int, ...]:
    """Voxels along each axis that one token of the network's `Backbone.tokens` stands for.

    Raises
    ------
    UserError
        For an unknown network or preset.
    """
    family = FAMILIES.get(spec.name)
    if family is not None and family.tokens_at is not None:
        return family.tokens_at(family.layout(spec), spec.dims)
    return total_stride(spec)


def check_name(name: str) -> None:
    """Refuse a network that does not exist.

    Raises
    ------
    UserError
        Naming those that do.
    """
    if name not in list_networks():
        raise UserError(f"there is no network {name!r}; choose one of: {', '.join(list_networks())}")
