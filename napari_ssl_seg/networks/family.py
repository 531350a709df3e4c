"""What a kind of network declares, so that forms, `--help` and planning know it without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_ssl_seg.networks.spec import NetworkSpec


class Layout(BaseModel):
    """Everything that shapes a network; its fields are the options of a `NetworkSpec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def nothing_to_fit(layout: Any, dims: int, shape: Sequence[float], spacing: Sequence[float]) -> dict[str, Any]:
    """For networks that are the same whatever the scans."""
    return {}


@dataclass(frozen=True)
class Family:
    """A kind of network with its presets."""

    name: str
    presets: Mapping[tuple[str, int], Layout]
    """By name and dimensions."""
    descriptions: Mapping[str, str]
    """Of each preset, in plain words."""
    channels: Callable[[Any], Sequence[int]]
    """Of each level of a layout, finest first."""
    stride: Callable[[Any, int], tuple[int, ...]]
    """Of a layout and dimensions: by how much each axis shrinks down to the coarsest level."""
    build: Callable[[NetworkSpec, Any], Any]
    """Of a spec and its layout: the backbone. Imports torch."""
    fit: Callable[[Any, int, Sequence[float], Sequence[float]], dict[str, Any]] = nothing_to_fit
    """Of a layout, dimensions, shape (z, y, x) in voxels and spacing in mm: the options that suit such scans."""
    least: int = 2
    """A patch has at least so many strides along each axis."""
    tokens_at: Callable[[Any, int], tuple[int, ...]] | None = None
    """Of a layout and dimensions: voxels that a token of `Backbone.tokens` stands for; None: ``stride``."""

    @property
    def dims(self) -> tuple[int, ...]:
        """In which of 2D and 3D it works."""
        return tuple(sorted({dims for _, dims in self.presets}))

    def preset(self, name: str, dims: int) -> Any:
        """The layout of a preset.

        Raises
        ------
        UserError
            When there is none of that name, or not in these dimensions.
        """
        if dims not in self.dims:
            raise UserError(
                f"network {self.name} works in {self.dims[0]}D only; choose --dims {self.dims[0]}, or another network"
            )
        layout = self.presets.get((name, dims))
        if layout is None:
            known = ", ".join(preset for preset, of_dims in self.presets if of_dims == dims)
            raise UserError(f"network {self.name} has no preset {name!r} in {dims}D; choose one of: {known}")
        return layout

    def layout(self, spec: NetworkSpec) -> Any:
        """The layout that ``spec`` asks for: its preset with its options in place of the preset's values.

        Raises
        ------
        UserError
            For an unknown preset or an option that does not fit, naming it.
        """
        base = self.preset(spec.preset, spec.dims)
        try:
            return type(base).model_validate(base.model_dump() | spec.options)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "options"
            raise UserError(
                f"option {field} of network {self.name} does not fit: {first['msg']}; leave it out or mend it"
            ) from error

    def describe(self) -> dict[str, dict[str, Any]]:
        """The entry of this network in `list_networks`."""
        presets: dict[str, dict[str, Any]] = {}
        for (preset, dims), layout in self.presets.items():
            entry = presets.setdefault(preset, {"dims": [], "channels": {}, "description": self.descriptions[preset]})
            entry["dims"].append(dims)
            entry["channels"][dims] = list(self.channels(layout))
        return presets
