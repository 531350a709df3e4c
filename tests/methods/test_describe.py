"""Settings in plain values: what forms and `methods --json` are made from."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from napari_ssl_seg.methods import MethodConfig, describe_methods, get_method
from napari_ssl_seg.methods.describe import describe_field


class Config(MethodConfig):
    count: int | None = Field(default=None, ge=1, le=9, title="Count", description="How many.")
    share: float | None = Field(default=0.5, ge=0.0, le=1.0)
    kind: Literal["a", "b"] = "a"
    only: Literal["one"] = "one"
    choice: Literal["x", "y"] | None = None
    path: str = ""
    on: bool = Field(default=True, json_schema_extra={"when": {"kind": ["a"]}, "basic": True, "unit": "px"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count", {"type": "integer", "minimum": 1, "maximum": 9, "default": None, "optional": True, "title": "Count"}),
        ("share", {"type": "number", "minimum": 0.0, "maximum": 1.0, "default": 0.5, "optional": True}),
        ("kind", {"type": "string", "choices": ["a", "b"], "optional": False, "when": None}),
        ("only", {"type": "string", "choices": ["one"], "optional": False}),
        ("choice", {"type": "string", "choices": ["x", "y"], "optional": True}),
        ("path", {"type": "string", "choices": None, "default": "", "optional": False}),
        ("on", {"type": "boolean", "when": {"kind": ["a"]}, "basic": True, "unit": "px", "minimum": None}),
    ],
)
def test_a_field_in_plain_values(name, expected):
    described = describe_field(Config, name)
    assert {key: described[key] for key in expected} == expected


def test_fields_count_with_values_that_other_fields_can_have():
    for method in describe_methods():
        fields = {field["name"]: field for field in method["fields"]}
        for field in fields.values():
            for other, values in (field["when"] or {}).items():
                allowed = [True, False] if fields[other]["type"] == "boolean" else fields[other]["choices"]
                assert set(values) <= set(allowed), (method["name"], field["name"])


@pytest.mark.parametrize("text", ["none", "", "auto", "None"])
def test_nothing_can_be_said_in_words(text):
    assert get_method("fdas", {"channels": text}).config.channels is None


def test_fdas_has_the_papers_defaults():
    config = get_method("fdas").config
    paper = {"alpha": 0.95, "mask_ratio": 0.7, "lambda_fcl": 0.5, "temperature": 0.1, "assign": "submask"}
    assert {name: getattr(config, name) for name in paper} == paper
    assert (config.fuse, config.use_skd, config.use_fcl) == (True, True, True)
    assert (config.skd_target, config.fcl, config.uncovered, config.channels) == ("kept", "pooled", "region", None)
