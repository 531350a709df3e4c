"""How points are matched between scans, with every parameter: one flat model, to be mixed into a method's config."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

Matcher = Literal["auto", "embedding", "affine", "same_field"]

FORMAT_VERSION = 1
"""Raised when the same settings and scans would give another embedding or other registrations than before."""


def _marks(*matchers: str, **more: Any) -> dict[str, Any]:
    return {"when": {"matcher": list(matchers)}, **more}


class MatcherSettings(BaseModel):
    """What matches points, and its parameters. The names begin alike, so that they stay apart in a method's config."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matcher: Matcher = Field(
        default="auto",
        title="Match points by",
        description="auto: same field of view where all scans have the same size in mm within 15 %, otherwise the"
        " Self-supervised Anatomical eMbedding, which is trained first; affine: registration with SimpleITK.",
        json_schema_extra={"basic": True},
    )
    match_iterations: int = Field(
        default=300,
        ge=1,
        le=100_000,
        title="Steps of the embedding",
        description="Training steps of the Self-supervised Anatomical eMbedding, done once a study. Default 300.",
        json_schema_extra=_marks("auto", "embedding", basic=True, slider=(50, 2000)),
    )
    match_spacing: float | None = Field(
        default=None,
        ge=0.01,
        le=100.0,
        title="Common spacing",
        description="All scans are resampled to it before they are matched; none: chosen from the scans.",
        json_schema_extra=_marks("auto", "embedding", "affine", unit="mm"),
    )
    match_cycle: float = Field(
        default=2.0,
        ge=0.0,
        le=1000.0,
        title="Largest cycle error",
        description="A match whose way back ends further from the point is rejected. Default 2.",
        json_schema_extra=_marks("auto", "embedding", basic=True, key=False, unit="cells", slider=(0, 10)),
    )
    match_score: float = Field(
        default=0.0,
        ge=-1.0,
        le=1.0,
        title="Least similarity",
        description="A match that is less similar is rejected; alone it tells absent anatomy badly. Default 0.",
        json_schema_extra=_marks("auto", "embedding", key=False),
    )
    match_consensus: bool = Field(
        default=True,
        title="Consensus of matches",
        description="An accepted match is moved to where the mutual matches around it put it; otherwise it is the most"
        " similar place itself, as in the paper.",
        json_schema_extra=_marks("auto", "embedding", key=False),
    )
    match_channel: int = Field(
        default=0,
        ge=0,
        le=1023,
        title="Channel to match by",
        description="Channel of the scans that is compared.",
        json_schema_extra=_marks("auto", "embedding", "affine"),
    )
    match_seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed of the matcher",
        description="Of the embedding's first weights and its training views.",
        json_schema_extra=_marks("auto", "embedding"),
    )
    match_template: bool = Field(
        default=True,
        title="Through a template",
        description="Each scan is registered to one of them, and two scans through it; otherwise each pair by itself.",
        json_schema_extra=_marks("affine"),
    )
    match_device: str = Field(
        default="auto",
        title="Matcher on",
        description="Device that the embedding is trained on: auto, cpu, cuda, cuda:1 or mps.",
        json_schema_extra=_marks("auto", "embedding", key=False),
    )

    @field_validator("match_spacing", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ("", "none", "auto") else value


def matcher_settings(values: Mapping[str, Any]) -> MatcherSettings:
    """The settings with these values.

    Raises
    ------
    UserError
        Naming the field that there is none of, or whose value is out of bounds.
    """
    try:
        return MatcherSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        if field not in MatcherSettings.model_fields:
            known = ", ".join(MatcherSettings.model_fields)
            raise UserError(f"the matcher has no setting {field!r}; it has: {known}") from error
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise UserError(f"setting {field} of the matcher cannot be {first['input']!r}; it {reason}") from error


def matcher_part(settings: MatcherSettings) -> MatcherSettings:
    """The matcher's settings alone, of a method's config that has them among others."""
    return MatcherSettings(**{name: getattr(settings, name) for name in MatcherSettings.model_fields})


def settings_key(settings: MatcherSettings, **facts: Any) -> str:
    """A short hex name of exactly what changes the embedding or the registrations; ``matcher`` must be definite."""
    if settings.matcher == "auto":
        raise ValueError("resolve_matcher first: 'auto' means different things for different scans")
    parts: dict[str, Any] = {"version": FORMAT_VERSION, "matcher": settings.matcher, **facts}
    for name, field in MatcherSettings.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        if settings.matcher in extra.get("when", {}).get("matcher", ()) and extra.get("key", True):
            parts[name] = getattr(settings, name)
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
