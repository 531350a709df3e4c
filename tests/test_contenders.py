"""Methods of a comparison, written as START@NETWORK+JOINT."""

from __future__ import annotations

import pytest

from napari_ssl_seg.contenders import Contender, joint_options, parse_contender, parse_contenders
from napari_ssl_seg.errors import UserError


def options(text, **settings):
    return joint_options(parse_contender(text), settings)


@pytest.mark.parametrize("text", ["scratch", "simmim", "simmim:mask_ratio=6e-1", "lrc:local_temperature=1e+0"])
def test_a_method_without_a_joint_one_is_fine_tuned_alone(text):
    assert options(text) == {}
    assert parse_contender(text) == Contender(text=text, start=text)


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


def test_a_contender_can_have_a_network_of_its_own():
    pair = parse_contender("scratch@unet_pair:global_encoder=resnet50")
    assert (pair.start, pair.network, pair.pretraining) == ("scratch", "unet_pair:global_encoder=resnet50", None)
    both = parse_contender("volume_fusion:levels=3 @ unetr + mod")
    assert both.start == "volume_fusion:levels=3"
    assert both.network == "unetr"
    assert both.joint == "mod"
    assert both.pretraining == "volume_fusion:levels=3@unetr"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no method"),
        ("@unetr", "no method"),
        ("scratch@", "no method"),
        ("scratch@lenet", "lenet"),
        ("simmin", "simmin"),
        ("fdas:nothing", "nothing"),
    ],
)
def test_what_does_not_exist_is_refused(text, word):
    with pytest.raises(UserError, match=word):
        parse_contender(text)


def test_an_ablation_is_every_variant_and_the_method_itself_each_once():
    texts = [contender.text for contender in parse_contenders(["scratch", "lrc:ablation", "scratch", "lrc"])]
    assert texts[0] == "scratch"
    assert texts[-1] == "lrc"
    assert len(texts) == len(set(texts)) > 3
