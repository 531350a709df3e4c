"""What network to build, in plain values: stored in a run, enough to build it again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NetworkSpec(BaseModel):
    """A network's name, shape and the patch it is trained on.

    ``options`` override a preset's values; for ``unet`` these are the fields of `presets.UNetLayout`;
    ``unet_pair`` has ``features`` besides, the channels in which each branch ends, and ``global_encoder``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="unet", description="name of the network (`list_networks`)")
    dims: Literal[2, 3] = Field(default=2, description="2: axial slices, 3: volumes")
    in_channels: int = Field(default=1, ge=1, le=64, description="channels of a scan")
    preset: str = Field(default="small", description="size of the network; small trains on two CPU cores")
    patch: tuple[int, ...] = Field(description="(y, x) or (z, y, x) of a training patch, in voxels")
    options: dict[str, Any] = Field(default_factory=dict, description="values that differ from the preset's")

    @model_validator(mode="after")
    def _patch_fits_dims(self) -> NetworkSpec:
        if len(self.patch) != self.dims or min(self.patch, default=0) < 1:
            raise ValueError(f"patch {self.patch} should be {self.dims} positive sizes for a {self.dims}D network")
        return self

    @property
    def patch_3d(self) -> tuple[int, int, int]:
        """The patch along z, y and x; one slice thick in 2D."""
        return (1, self.patch[0], self.patch[1]) if self.dims == 2 else (self.patch[0], self.patch[1], self.patch[2])
