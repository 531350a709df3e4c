"""Sizes of the U-Nets. No torch here, so that forms and `--help` can list them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from napari_ssl_seg.networks.spec import NetworkSpec


PAIR_FEATURES = 64
PAIR_OPTIONS = ("features", "global_encoder")
"""Options of ``unet_pair`` beside those of ``unet``."""
GLOBAL_ENCODERS = ("unet", "resnet50")


class UNetLayout(BaseModel):
    """Everything that shapes a `UNet`.

    Instance norm is the default: inputs with masked blocks and batches of two disturb the running statistics of batch
    norm, and a pretraining input's statistics differ from those of the whole scans that fine-tuning sees.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[int, ...] = Field(min_length=2, max_length=8, description="channels of each level, finest first")
    norm: Literal["instance", "batch"] = "instance"
    dropout: tuple[float, ...] = Field(default=(), description="dropout of each encoder level; empty: none")
    strides: tuple[tuple[int, ...], ...] = Field(
        default=(),
        description="pooling (z, y, x) between levels, e.g. (1, 2, 2) for thick slices; empty: 2 along each axis",
    )
    align_corners: bool = Field(
        default=False, description="how the upsampling meets the border (the papers' code: True)"
    )

    @model_validator(mode="after")
    def _levels_agree(self) -> UNetLayout:
        if min(self.channels) < 1:
            raise ValueError(f"channels {self.channels} should be positive")
        if self.dropout and len(self.dropout) != len(self.channels):
            raise ValueError(f"dropout should have one value for each of the {len(self.channels)} levels")
        if not all(0.0 <= rate < 1.0 for rate in self.dropout):
            raise ValueError(f"dropout {self.dropout} should lie in [0, 1)")
        if self.strides and len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"strides should have {len(self.channels) - 1} entries, one between each two levels")
        if any(step not in (1, 2) for stride in self.strides for step in stride):
            raise ValueError("strides should be 1 or 2 along each axis")
        return self


_DESCRIPTIONS = {
    "small": "trains on two CPU cores; the default for a first look",
    "standard": "the size of common medical U-Nets; wants a GPU in 3D",
    "fdas": "the 2D layout of FDAS (MICCAI 2025): batch norm, 32 to 512 channels",
    "unet3d": "the 3D U-Net of the Volume Fusion paper (arXiv 2306.16925): batch norm, 32 to 512 channels",
}

_UNETS: dict[tuple[str, int], UNetLayout] = {
    ("small", 2): UNetLayout(channels=(16, 32, 64, 128)),
    ("small", 3): UNetLayout(channels=(8, 16, 32, 64)),
    ("standard", 2): UNetLayout(channels=(32, 64, 128, 256, 320)),
    ("standard", 3): UNetLayout(channels=(32, 64, 128, 256, 320)),
    ("fdas", 2): UNetLayout(channels=(32, 64, 128, 256, 512), norm="batch", align_corners=True),
    ("unet3d", 3): UNetLayout(
        channels=(32, 64, 128, 256, 512), norm="batch", dropout=(0.0, 0.0, 0.2, 0.2, 0.2), align_corners=True
    ),
}


def describe_unets() -> dict[str, dict[str, dict[str, Any]]]:
    """The entries of ``unet`` and ``unet_pair`` in `catalogue.list_networks`."""
    presets: dict[str, dict[str, Any]] = {}
    for (preset, dims), layout in _UNETS.items():
        entry = presets.setdefault(preset, {"dims": [], "channels": {}, "description": _DESCRIPTIONS[preset]})
        entry["dims"].append(dims)
        entry["channels"][dims] = list(layout.channels)
    pairs = {
        name: {**entry, "description": f"two of unet's: {entry['description']}"} for name, entry in presets.items()
    }
    return {"unet": presets, "unet_pair": pairs}


def preset_layout(preset: str, dims: int) -> UNetLayout:
    """The layout of a preset of ``unet``.

    Raises
    ------
    UserError
        When there is none of that name for these dimensions.
    """
    layout = _UNETS.get((preset, dims))
    if layout is None:
        known = ", ".join(name for name, of_dims in _UNETS if of_dims == dims)
        raise UserError(f"network unet has no preset {preset!r} in {dims}D; choose one of: {known}")
    return layout


def unet_layout(spec: NetworkSpec) -> UNetLayout:
    """The layout that ``spec`` asks for: its preset with its options in place of the preset's values.

    Raises
    ------
    UserError
        For an unknown preset or an option that does not fit, naming it.
    """
    base = preset_layout(spec.preset, spec.dims)
    of_the_pair = PAIR_OPTIONS if spec.name == "unet_pair" else ()
    own = {name: value for name, value in spec.options.items() if name not in of_the_pair}
    values = base.model_dump() | own
    if "channels" in spec.options and "dropout" not in spec.options:
        values["dropout"] = ()  # the preset's rates belong to the preset's levels
    try:
        layout = UNetLayout.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "options"
        raise UserError(f"network option {field} does not fit: {first['msg']}; leave it out or mend it") from error
    if any(len(stride) != spec.dims for stride in layout.strides):
        raise UserError(f"network option strides should have {spec.dims} numbers a level for a {spec.dims}D network")
    return layout


def pair_features(spec: NetworkSpec) -> int:
    """Channels in which each branch of a ``unet_pair`` ends at full resolution (the paper's D): its option ``features``.

    Raises
    ------
    UserError
        When that is not a whole number from 1 to 1024.
    """
    features = spec.options.get("features", PAIR_FEATURES)
    if not isinstance(features, int) or isinstance(features, bool) or not 1 <= features <= 1024:
        raise UserError(f"network option features is {features!r}; it should be a whole number from 1 to 1024")
    return features


def pair_global_encoder(spec: NetworkSpec) -> str:
    """What the global branch of a ``unet_pair`` encodes with: its option ``global_encoder``.

    Raises
    ------
    UserError
        When there is none of that name for these dimensions.
    """
    encoder = str(spec.options.get("global_encoder", "unet"))
    if encoder not in GLOBAL_ENCODERS or (encoder == "resnet50" and spec.dims != 2):
        known = ", ".join(GLOBAL_ENCODERS if spec.dims == 2 else GLOBAL_ENCODERS[:1])
        raise UserError(f"network option global_encoder is {encoder!r}; in {spec.dims}D choose one of: {known}")
    return encoder


def layout_strides(layout: UNetLayout, dims: int) -> tuple[tuple[int, ...], ...]:
    """Pooling between levels, spelled out."""
    return layout.strides or ((2,) * dims,) * (len(layout.channels) - 1)
