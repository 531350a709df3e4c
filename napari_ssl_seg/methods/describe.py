"""Methods and their settings in plain values, for `methods --json` and for forms."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.methods.registry import list_methods

if TYPE_CHECKING:
    from napari_ssl_seg.methods.base import MethodConfig


def describe_methods() -> list[dict[str, Any]]:
    """One entry a method: ``name``, ``title``, ``paper``, ``dims``, ``description`` and ``fields`` (`describe_field`)."""
    return [
        {
            "name": method.name,
            "title": method.title,
            "paper": method.paper,
            "dims": sorted(method.dims),
            "description": (method.__doc__ or "").strip().splitlines()[0],
            "fields": [describe_field(method.Config, name) for name in method.Config.model_fields],
        }
        for method in list_methods()
    ]


def describe_field(config: type[MethodConfig], name: str) -> dict[str, Any]:
    """A setting's ``name``, ``title``, ``description``, ``type``, ``default``, bounds, ``choices``, ``unit``, ``basic``.

    ``minimum``, ``maximum``, ``choices`` and ``unit`` are None where the field has none.
    """
    schema = _properties(config)[name]
    return {
        "name": name,
        "title": schema.get("title", name),
        "description": schema.get("description", ""),
        "type": schema.get("type", "string"),
        "default": schema.get("default"),
        "minimum": schema.get("minimum", schema.get("exclusiveMinimum")),
        "maximum": schema.get("maximum", schema.get("exclusiveMaximum")),
        "choices": schema.get("enum"),
        "unit": schema.get("unit"),
        "basic": bool(schema.get("basic", False)),
    }


@lru_cache(maxsize=64)
def _properties(config: type[MethodConfig]) -> dict[str, dict[str, Any]]:
    return config.model_json_schema()["properties"]
