from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.anatomy.matching import Match
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.alice_views import chosen_token
from napari_ssl_seg.methods.base import Pretext
from napari_ssl_seg.methods.variants import get_variant
from napari_ssl_seg.pretext import generator_for
from tests.methods.small_alice import QUICK, built, made


def test_matches_are_counted_and_told():
    method, _, batch, pretext = made()
    assert pretext.stats["matches_accepted"] == 2 and pretext.stats["matches_rejected"] == 0
    assert "match_score" not in pretext.stats  # the same field of view has none
    matches = (
        Match((1.0, 2.0, 3.0), 0.5, 4.0, "embedding", accepted=True),
        Match((1.0, 2.0, 3.0), 0.7, math.nan, "affine", accepted=False, reason="too far"),
    )
    stats = method.pretext(replace(batch, matches=matches, draws=(3, 100)), generator_for(0, 0)).stats
    assert (stats["matches_accepted"], stats["matches_rejected"], stats["points_tried"]) == (1, 1, 103)
    assert stats["match_score"] == pytest.approx(0.6) and stats["cycle_error_mm"] == 4.0
    rejected = replace(batch, matches=matches[::-1], draws=(100, 3))
    views = {view.name: view.data for view in method.pretext(rejected, generator_for(0, 0)).views}
    table = views["match"]
    assert table["by affine"] == 1 and table["accepted"] == 0 and table["rejected: too far"] == 1
    assert table["score"] == 0.7 and "cycle error (mm)" not in table and table["points tried"] == 100
    assert table["z of the point"] == batch.points[0][0] and table["x of the match"] == batch.partner_points[0][2]


def test_the_attention_shown_is_that_of_the_patch_asked_for():
    method, spec, _, pretext = made("unetr", (64, 64))
    model = built(method, spec)
    views = {view.name: view.data for view in method.output_views(model, pretext)}
    for name in ("attention", "target_attention"):
        assert views[name].shape == (2, 1, 64, 64)
        assert torch.allclose(views[name].sum(dim=(1, 2, 3)) / 256, torch.ones(2), atol=1e-4)
    top, left = (int(value) // 16 for value in views["asked"][0, 0, :2])
    assert top * 4 + left in pretext.targets["visible"][0].tolist()
    places = torch.stack(torch.unravel_index(pretext.targets["visible"], (4, 4)), dim=2)
    assert chosen_token(places, [4, 4], 2).tolist() == [2, 2]
    assert chosen_token(places, [4, 4], 99).tolist() == [3, 3]
    nearest = chosen_token(places, [4, 4], -1)
    distance = (places - 1.53125).square().sum(dim=2)
    assert torch.equal(distance.gather(1, nearest[:, None])[:, 0], distance.amin(dim=1))
    other = get_method("alice", QUICK | {"shown_token": 3})
    assert not torch.equal(
        {view.name: view.data for view in other.output_views(model, pretext)}["asked"], views["asked"]
    )


def test_a_sample_is_shown_with_the_settings_asked_for_on_a_model_of_others():
    trained = get_variant("alice:mae", QUICK)
    asked = get_method("alice", {"mask_ratio": 0.5})
    fitted = asked.fitted_to(trained)
    assert fitted.config.mask_ratio == 0.5 and fitted.config.hidden == 32
    assert fitted.config.volume_weight == fitted.config.alignment_weight == 0
    same = get_method("alice", {"volume_weight": 3.0}).fitted_to(get_method("alice"))
    assert same.config.volume_weight == 3.0


def test_a_collapse_is_remarked():
    method, spec, _, pretext = made(size=1)
    model = built(method, spec).train()
    with torch.no_grad():
        model.head.mlp[-1].weight.zero_()
        model.head.mlp[-1].bias.fill_(1.0)
    method.loss(model, pretext)
    assert method.remarks(model) == ()
    summaries = method.outputs(model, pretext).student.mean(dim=1)
    for _ in range(150):
        model.gauge.observe(summaries)
    (remark,) = method.remarks(model)
    assert "Alice has collapsed" in remark


def test_pairs_that_found_no_match_are_remarked_once_they_are_many():
    method, spec, _, pretext = made()
    model = built(method, spec).train()
    rejected = Pretext(pretext.inputs, pretext.targets, stats={"matches_accepted": 0.0, "matches_rejected": 30.0})
    for shown, remarks in ((pretext, 0), (rejected, 0), (rejected, 1)):
        method.loss(model, shown)
        assert len(method.remarks(model)) == remarks
    assert "60 of the first 62 pairs" in method.remarks(model)[0]
    again = built(method, spec).train()
    again.load_state_dict(model.state_dict())
    assert method.remarks(again) == method.remarks(model)
    fine = Pretext(pretext.inputs, pretext.targets, stats={"matches_accepted": 60.0, "matches_rejected": 0.0})
    method.loss(again, fine)
    assert method.remarks(again) == method.remarks(model)  # said of the first pairs, and no more
