"""Methods and their settings in plain values, for `methods --json` and for forms."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.methods.registry import family_of, list_methods

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import MethodConfig


def describe_methods() -> list[dict[str, Any]]:
    """One entry a method: ``name``, ``title``, ``family``, ``paper``, ``dims``, ``networks`` (empty: any), ``description`` and ``fields``
    (`describe_field`)."""
    return [
        {
            "name": method.name,
            "title": method.title,
            "family": family_of(method.name),
            "paper": method.paper,
            "dims": sorted(method.dims),
            "networks": list(method.networks),
            "description": (method.__doc__ or "").strip().splitlines()[0],
            "fields": [describe_field(method.Config, name) for name in method.Config.model_fields],
        }
        for method in list_methods()
    ]


def describe_field(config: type[MethodConfig], name: str) -> dict[str, Any]:
    """A setting's ``name``, ``title``, ``description``, ``type``, ``default``, bounds, ``choices`` and marks.

    ``minimum``, ``maximum``, ``choices`` and ``unit`` are None where the field has none. ``optional`` says that None is
    allowed, too; type and bounds are then those of the other values. ``when`` is None, or maps another field to the values
    with which alone this one counts. ``basic`` fields are shown at once.
    """
    schema = _properties(config)[name]
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    kind = kinds[0]
    return {
        "name": name,
        "title": schema.get("title", name),
        "description": schema.get("description", ""),
        "type": kind.get("type", "string"),
        "default": schema.get("default"),
        "minimum": kind.get("minimum", kind.get("exclusiveMinimum")),
        "maximum": kind.get("maximum", kind.get("exclusiveMaximum")),
        "choices": kind.get("enum", [kind["const"]] if "const" in kind else None),
        "optional": any(other.get("type") == "null" for other in schema.get("anyOf", ())),
        "unit": schema.get("unit"),
        "basic": bool(schema.get("basic", False)),
        "when": schema.get("when"),
    }


@lru_cache(maxsize=64)
def _properties(config: type[MethodConfig]) -> dict[str, dict[str, Any]]:
    return config.model_json_schema()["properties"]
