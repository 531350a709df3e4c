"""Methods written as START+JOINT in a comparison."""

from __future__ import annotations

import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.protocol import Protocol, joint_options


def options(method, **settings):
    return joint_options(method, Protocol(methods=(method,), budgets=(1,), method_settings=settings))


@pytest.mark.parametrize("method", ["scratch", "simmim", "simmim:mask_ratio=6e-1", "lrc:temperature=1e+0"])
def test_a_method_without_a_joint_one_is_fine_tuned_alone(method):
    assert options(method) == {}


def test_the_joint_method_has_its_variant_and_what_the_protocol_sets():
    assert options("scratch+mod") == {"joint": "mod", "settings": {}}
    assert options("simmim:mask_ratio=0.5 + mod:logs") == {"joint": "mod", "settings": {"mod_weight": 0.001}}
    assert options("scratch+mod:logs", mod={"alpha": 1.0, "mod_weight": 2.0}) == {
        "joint": "mod",
        "settings": {"alpha": 1.0, "mod_weight": 0.001},
    }


def test_what_cannot_be_trained_jointly_is_refused_before_anything_runs():
    with pytest.raises(UserError, match="SimMIM cannot be trained jointly"):
        options("scratch+simmim")
