"""Where regions come from, with every parameter of every source: one flat model.

A method that needs regions inherits its Config from `RegionSettings`, so that its form, its flags and its record carry
them. ``json_schema_extra["when"]`` says with which values of ``source`` a field counts; `region_key` uses the same mark,
so what does not count does not make a new cache.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_ssl_seg.errors import UserError

FORMAT_VERSION = 1
"""Raised when the same settings would give other label maps than before."""

Source = Literal["auto", "sam", "felzenszwalb", "slic", "masks"]


def _marks(*sources: str, **more: Any) -> dict[str, Any]:
    return {"when": {"source": list(sources)}, **more}


_MADE_HERE = ("auto", "sam", "felzenszwalb", "slic")


class RegionSettings(BaseModel):
    """Source of regions and its parameters. Defaults: those of the papers, or of the stock generator of masks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source = Field(
        default="auto",
        title="Regions from",
        description="auto: Segment Anything where its weights are found, Felzenszwalb's superpixels otherwise.",
        json_schema_extra={"basic": True},
    )
    channel: int = Field(
        default=0,
        ge=0,
        le=1023,
        title="Channel",
        description="Channel of the scan that regions are made from.",
        json_schema_extra=_marks(*_MADE_HERE),
    )

    # -- classical ------------------------------------------------------------------------------------------------
    scale: float = Field(
        default=100.0,
        ge=0.0,
        le=100_000.0,
        title="Scale",
        description="Felzenszwalb's k: larger gives larger superpixels; for intensities in [0, 1]. Default 100.",
        json_schema_extra=_marks("auto", "felzenszwalb", basic=True, slider=(1, 3000)),
    )
    sigma: float = Field(
        default=0.5,
        ge=0.0,
        le=20.0,
        title="Smoothing",
        description="Width of the Gaussian that smooths the slice before Felzenszwalb's method. Default 0.5.",
        json_schema_extra=_marks("auto", "felzenszwalb", basic=True, unit="px", slider=(0, 3)),
    )
    min_size: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        title="Smallest superpixel",
        description="Smaller ones join a neighbour; none: 0.0008 of the slice's area, at least 10.",
        json_schema_extra=_marks("auto", "felzenszwalb", basic=True, unit="px", slider=(1, 2000)),
    )
    segments: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        title="Superpixels",
        description="About so many a slice; none: one for each 0.0032 of the slice's area, each at least 40 px.",
        json_schema_extra=_marks("slic", basic=True, slider=(5, 2000)),
    )
    compactness: float = Field(
        default=0.1,
        gt=0.0,
        le=1000.0,
        title="Compactness",
        description="Larger gives squarer superpixels, smaller ones that follow edges; for intensities in [0, 1].",
        json_schema_extra=_marks("slic", basic=True, slider=(0.001, 10)),
    )
    background_out: bool = Field(
        default=True,
        title="Leave background out",
        description="Air around the body belongs to no superpixel.",
        json_schema_extra=_marks("auto", "felzenszwalb", "slic"),
    )

    # -- Segment Anything -----------------------------------------------------------------------------------------
    checkpoint: str = Field(
        default="",
        title="Weights",
        description="File with Segment Anything's weights; empty: looked for in the folder of weights.",
        json_schema_extra=_marks("auto", "sam", basic=True),
    )
    model_type: Literal["vit_b", "vit_l", "vit_h", "medsam_vit_b"] = Field(
        default="vit_b",
        title="Model",
        description="Size of Segment Anything; medsam_vit_b: MedSAM's weights. FDAS used vit_h.",
        json_schema_extra=_marks("auto", "sam", basic=True),
    )
    points_per_side: int = Field(
        default=32,
        ge=1,
        le=256,
        title="Points per side",
        description="Prompts on a grid of so many by so many points; time grows with the square. Stock: 32.",
        json_schema_extra=_marks("auto", "sam", basic=True, slider=(4, 64)),
    )
    points_per_batch: int = Field(
        default=64,
        ge=1,
        le=4096,
        title="Points at once",
        description="Prompts that go through the decoder together; fewer need less memory. Stock: 64.",
        json_schema_extra=_marks("auto", "sam", key=False),
    )
    pred_iou_thresh: float = Field(
        default=0.88,
        ge=-1.0,
        le=1.0,
        title="Predicted IoU",
        description="Masks whose quality the model itself puts lower are left out. Stock: 0.88.",
        json_schema_extra=_marks("auto", "sam"),
    )
    stability_score_thresh: float = Field(
        default=0.95,
        ge=0.0,
        le=1.0,
        title="Stability",
        description="Masks that change more than this with the cut-off are left out; 0: none is. Stock: 0.95.",
        json_schema_extra=_marks("auto", "sam"),
    )
    stability_score_offset: float = Field(
        default=1.0,
        ge=0.0,
        le=100.0,
        title="Stability offset",
        description="How far the cut-off is moved to measure stability, in logits. Stock: 1.",
        json_schema_extra=_marks("auto", "sam"),
    )
    box_nms_thresh: float = Field(
        default=0.7,
        ge=0.0,
        le=1.0,
        title="Overlap of boxes",
        description="Of two masks whose boxes overlap more, the better one stays. Stock: 0.7.",
        json_schema_extra=_marks("auto", "sam"),
    )
    crop_n_layers: int = Field(
        default=0,
        ge=0,
        le=4,
        title="Layers of crops",
        description="Layer i looks again at 4^i crops of the slice; finds small things, costs much. Stock: 0.",
        json_schema_extra=_marks("auto", "sam"),
    )
    crop_nms_thresh: float = Field(
        default=0.7,
        ge=0.0,
        le=1.0,
        title="Overlap between crops",
        description="Of two masks of different crops whose boxes overlap more, one stays. Stock: 0.7.",
        json_schema_extra=_marks("auto", "sam"),
    )
    crop_overlap_ratio: float = Field(
        default=512 / 1500,
        ge=0.0,
        le=1.0,
        title="Overlap of crops",
        description="How far crops of the first layer overlap; halved in each further one. Stock: 512/1500.",
        json_schema_extra=_marks("auto", "sam", unit="share of the shorter side"),
    )
    crop_n_points_downscale_factor: int = Field(
        default=1,
        ge=1,
        le=16,
        title="Fewer points in crops",
        description="Points per side in layer i are divided by this to the power of i. Stock: 1.",
        json_schema_extra=_marks("auto", "sam"),
    )
    min_mask_region_area: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="Smallest part",
        description="Smaller islands are removed and smaller holes filled; 0: left as they are. Stock: 0.",
        json_schema_extra=_marks("auto", "sam", unit="px"),
    )
    fast: bool = Field(
        default=False,
        title="Fast",
        description="Half the resolution inside the model and fewer points in flat areas: several times faster, but small objects are lost.",
        json_schema_extra=_marks("auto", "sam", basic=True),
    )
    sam_device: str = Field(
        default="auto",
        title="Segment Anything on",
        description="Device: auto, cpu, cuda, cuda:1 or mps.",
        json_schema_extra=_marks("auto", "sam", key=False),
    )

    # -- made elsewhere -------------------------------------------------------------------------------------------
    masks: str = Field(
        default="",
        title="Folder of masks",
        description="Label maps named like the scans (CASE.nii.gz), or records of the generator (CASE/0012.json).",
        json_schema_extra=_marks("masks", basic=True),
    )

    @field_validator("min_size", "segments", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ("", "none", "auto") else value


S = TypeVar("S", bound=RegionSettings)


def resolve_settings(settings: S) -> S:
    """The same settings, but with a definite source, and for Segment Anything with the full path of its weights.

    Whether the weights are sound shows when `open_source` reads them.

    Raises
    ------
    UserError
        When the weights or the folder of masks that the settings ask for are not there.
    """
    if settings.source in ("felzenszwalb", "slic"):
        return settings
    if settings.source == "masks":
        if not settings.masks:
            raise UserError("regions from masks made elsewhere need a folder: put it into the setting 'masks'")
        folder = Path(settings.masks).expanduser()
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; set 'masks' to the folder that holds the masks made elsewhere")
        return settings.model_copy(update={"masks": str(folder.resolve())})
    checkpoint = _checkpoint(settings)
    if checkpoint is None:
        if settings.source == "auto":
            return settings.model_copy(update={"source": "felzenszwalb"})
        from napari_ssl_seg.places import weights_folder

        raise UserError(
            f"no weights of Segment Anything {settings.model_type} are in {weights_folder()}; fetch them, set"
            " 'checkpoint' to a file, or choose the source felzenszwalb, which needs none"
        )
    return settings.model_copy(update={"source": "sam", "checkpoint": str(checkpoint)})


def region_key(settings: RegionSettings) -> str:
    """A short hex name of exactly what changes a label map; ``settings`` must be resolved.

    The fields that count for the source, a format version, the version of scikit-image for its superpixels, the SHA-256
    of the weights, and for masks made elsewhere the names, sizes and times of the files.
    """
    if settings.source == "auto":
        raise ValueError("resolve_settings first: 'auto' may mean different things on different days")
    parts: dict[str, Any] = {"version": FORMAT_VERSION, "source": settings.source}
    for name in counting_fields(settings.source):
        extra = RegionSettings.model_fields[name].json_schema_extra
        if isinstance(extra, dict) and extra.get("key", True):
            parts[name] = getattr(settings, name)
    if settings.source == "sam":
        from napari_ssl_seg.regions.digests import file_sha256

        parts["checkpoint"] = file_sha256(settings.checkpoint)
    elif settings.source == "masks":
        from napari_ssl_seg.regions.digests import folder_digest

        parts["masks"] = folder_digest(settings.masks)
    else:
        parts["library"] = _library_version()
        if settings.source == "slic":
            parts["seeds"] = "grid"  # they were laid by k-means in the body once
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def counting_fields(source: str) -> list[str]:
    """Names of the fields of `RegionSettings` that count with this source, without ``source`` itself."""
    names = []
    for name, field in RegionSettings.model_fields.items():
        extra = field.json_schema_extra
        when: Any = extra.get("when") if isinstance(extra, dict) else None
        if when and source in when["source"]:
            names.append(name)
    return names


def source_title(settings: RegionSettings) -> str:
    """What a layer, a run or a report calls these regions; says plainly where no weights of Segment Anything are used."""
    if settings.source == "sam":
        known = {"medsam_vit_b": "MedSAM vit_b"}
        title = known.get(settings.model_type, f"Segment Anything {settings.model_type}")
        return f"{title}, fast" if settings.fast else title
    return {
        "felzenszwalb": "Felzenszwalb superpixels (no SAM weights)",
        "slic": "SLIC superpixels (no SAM weights)",
        "masks": f"Masks from {Path(settings.masks).name or 'files'}",
        "auto": "Segment Anything or Felzenszwalb superpixels",
    }[settings.source]


def _checkpoint(settings: RegionSettings) -> Path | None:
    """The file that the user named, or the one that lies in the folder of weights; None: there is none."""
    if settings.checkpoint:
        path = Path(settings.checkpoint).expanduser()
        if not path.is_file():
            raise UserError(f"{path} is no file; set 'checkpoint' to a file with Segment Anything's weights")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty and holds no weights of Segment Anything; get the file again")
        return path.resolve()
    from napari_ssl_seg.regions.sam_weights import find_checkpoint

    return find_checkpoint(settings.model_type)


@lru_cache(maxsize=1)
def _library_version() -> str:
    from importlib.metadata import version

    return f"scikit-image {version('scikit-image')}"
