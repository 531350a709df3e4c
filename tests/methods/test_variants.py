from __future__ import annotations

import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.simmim import SimMIM
from napari_ssl_seg.methods.variants import expand_ablations, get_variant, split_variant, title_of


@pytest.fixture
def variants(monkeypatch):
    monkeypatch.setattr(SimMIM, "variants", {"mild": {"mask_ratio": 0.5}, "fine": {"block_size": 4}})


def test_a_name_alone_has_no_settings():
    assert split_variant("simmim") == ("simmim", {})


def test_settings_and_variants_are_taken_in_turn(variants):
    assert split_variant("simmim:mild:fill=noise") == ("simmim", {"mask_ratio": 0.5, "fill": "noise"})
    assert split_variant("simmim:mild:mask_ratio=0.7") == ("simmim", {"mask_ratio": 0.7})


def test_a_variant_is_a_method_and_settings_beside_it_count_more(variants):
    method = get_variant("simmim:mild:block_size=4", {"block_size": 8})
    assert (method.config.mask_ratio, method.config.block_size) == (0.5, 8)


def test_an_unknown_variant_names_those_there_are(variants):
    with pytest.raises(UserError, match=r"no variant 'harsh'.*mild, fine"):
        split_variant("simmim:harsh")


def test_an_ablation_is_every_variant_and_the_method_itself(variants):
    assert expand_ablations(["scratch", "simmim:ablation", "simmim"]) == (
        "scratch",
        "simmim:mild",
        "simmim:fine",
        "simmim",
    )
    with pytest.raises(UserError, match="volume_fusion has no variants"):
        expand_ablations(["volume_fusion:ablation"])


def test_a_title_tells_what_is_not_the_default(variants):
    assert title_of(get_method("simmim")) == SimMIM.title
    assert title_of(get_method("simmim", {"block_size": 4})) == f"{SimMIM.title} (fine)"
    assert title_of(get_method("simmim", {"block_size": 8})) == f"{SimMIM.title} (block_size 8)"
    many = {"block_size": 8, "mask_ratio": 0.6, "fill": "noise"}
    assert title_of(get_method("simmim", many)) == f"{SimMIM.title} (3 settings changed)"
