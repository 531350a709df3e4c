"""Matching by the embedding. The network's weights are random but in the tests that say otherwise: the rules are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_ssl_seg.anatomy import EmbeddingMatcher, EmbeddingNet
from napari_ssl_seg.anatomy.grid import Grids
from napari_ssl_seg.anatomy.net import joined, padded_length
from napari_ssl_seg.errors import LeakageError, UserError
from napari_ssl_seg.training.hardware import seeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ssl_seg.study import Study


def matcher_of(study: Study, spacing: float = 1.0, **options: Any) -> EmbeddingMatcher:
    with seeded(0):
        net = EmbeddingNet()
    return EmbeddingMatcher(net, Grids(study, spacing), **options)


def test_the_network_has_the_size_that_was_measured() -> None:
    net = EmbeddingNet()
    assert sum(parameter.numel() for parameter in net.parameters()) == 882_480
    with torch.no_grad():
        fine, coarse = net(torch.rand(2, 1, 16, 24, 16))
    assert fine.shape == (2, 32, 8, 12, 8)
    assert coarse.shape == (2, 32, 4, 6, 4)
    both = joined(fine, coarse)
    assert both.shape == (2, 64, 8, 12, 8)
    assert both.norm(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)
    # Where both levels are on one grid, a product of two is the mean of the similarities of the levels.
    a, b = both[0, :, 1, 2, 3], both[1, :, 3, 2, 1]
    assert float(a @ b) == pytest.approx(float(2 * a[:32] @ b[:32] + 2 * a[32:] @ b[32:]) / 2, abs=1e-6)
    assert [padded_length(n) for n in (1, 16, 17, 24)] == [16, 16, 24, 24]


def test_a_scan_matched_to_itself_gives_the_point_with_score_one_and_no_cycle_error(body_study: Study) -> None:
    matcher = matcher_of(body_study)
    for point in [(20, 20, 20), (0, 0, 0), (39, 39, 39), (7.3, 21.8, 30.1), (-0.4, 39.4, 12)]:  # some at the border
        match = matcher.match("whole", point, "whole")
        assert match.point == pytest.approx(np.clip(point, 0, 39))
        assert match.score == pytest.approx(1.0, abs=1e-5)
        assert match.cycle_error == 0.0
        assert match.accepted
        assert (match.how, match.reason) == ("embedding", "")


def test_a_shifted_crop_gives_the_shifted_point(body_study: Study) -> None:
    matcher = matcher_of(body_study)
    for point in [(18, 12, 20), (20, 20, 20), (26, 12, 28), (24.5, 22, 18)]:
        match = matcher.match("whole", point, "shifted")
        assert match.accepted
        assert match.point == pytest.approx(np.array(point) - (8, 0, 8), abs=2.01)  # a cell


def test_a_cell_is_measured_in_mm_and_points_in_the_scans_own_voxels(make_study: Callable[..., Study]) -> None:
    from tests.anatomy.conftest import body

    image = body()
    study = make_study({"fine": (image, (1, 1, 1)), "flat": (image[::2] / 2 + image[1::2] / 2, (2, 1, 1))})
    matcher = matcher_of(study, 1.0)
    assert matcher.cell_mm == 2.0
    found = matcher.match("fine", (21, 20, 22), "flat")
    assert found.point == pytest.approx((10.25, 20, 22), abs=2.0)
    assert matcher.match("flat", (10, 20, 22), "flat").point == pytest.approx((10, 20, 22))


def test_two_scans_that_share_no_anatomy_are_rejected_with_the_reason(make_study: Callable[..., Study]) -> None:
    from tests.anatomy.conftest import body

    noise = np.random.default_rng(5).normal(size=(40, 40, 40))
    study = make_study({"body": (body(), (1, 1, 1)), "noise": (noise, (1, 1, 1))})
    matcher = matcher_of(study)
    points = np.random.default_rng(6).uniform(5, 34, (40, 3))
    found = [matcher.match("body", point, "noise") for point in points]
    rejected = [match for match in found if not match.accepted]
    assert len(rejected) == 40
    reasons = [match.reason for match in rejected]
    assert any("noise may not show this place" in reason for reason in reasons)
    # A way back that happens to end near the point is no proof either.
    assert any("share no anatomy" in reason for reason in reasons)
    assert all(match.cycle_error > 4.0 for match in rejected if "may not show" in match.reason)
    guess = matcher.fallback("body", points[0], "noise")
    assert not guess.accepted
    assert "share no anatomy" in guess.reason
    assert (guess.how, guess.point) == ("fraction", pytest.approx(tuple(points[0])))


def test_the_fallback_is_the_affine_map_of_the_mutual_matches(body_study: Study) -> None:
    matcher = matcher_of(body_study)
    found = matcher.fallback("whole", (20, 20, 20), "shifted")
    assert found.how == "affine"
    assert not found.accepted
    assert "mutual matches" in found.reason
    assert found.point == pytest.approx((12, 20, 12), abs=1.5)
    gone = matcher.fallback("whole", (0, 20, 20), "shifted")
    assert "outside shifted" in gone.reason
    assert gone.point[0] == 0.0


def test_a_point_that_the_other_scan_was_cut_before_is_rejected_though_its_edge_looks_alike(body_study: Study) -> None:
    matcher = matcher_of(body_study, largest_cycle=1000.0)
    found = [matcher.match("whole", (z, 20, 20), "shifted") for z in (0, 4)]
    assert not any(match.accepted for match in found)
    assert "mm outside shifted" in found[0].reason or "mutual matches put it" in found[0].reason
    assert matcher.match("whole", (26, 12, 28), "shifted").accepted


def test_a_limit_on_the_similarity_rejects_by_name(body_study: Study) -> None:
    match = matcher_of(body_study, least_score=0.9999, largest_cycle=100.0).match("whole", (20, 20, 20), "small")
    assert not match.accepted
    assert "similarity" in match.reason


def test_the_map_of_similarity_has_the_other_scans_voxels_and_its_peak_at_the_match(body_study: Study) -> None:
    matcher = matcher_of(body_study)
    point = (20.5, 20.5, 20.5)
    found = matcher.similarity_map("whole", point, "shifted")
    assert found.shape == (32, 40, 32)
    assert found.dtype == np.float32
    assert found.max() <= 1.0 + 1e-5
    peak = np.unravel_index(found.argmax(), found.shape)
    match = matcher.match("whole", point, "shifted")
    assert np.abs(np.array(peak) - match.point).max() <= 2.0  # a cell
    # Read between the cells' centres, so that no voxel has all of the own cell's similarity of 1.
    assert 0.8 < matcher.similarity_map("whole", point, "whole").max() <= 1.0


def test_points_outside_and_cases_that_are_not_there(body_study: Study) -> None:
    matcher = matcher_of(body_study)
    with pytest.raises(UserError, match="outside whole"):
        matcher.match("whole", (40, 0, 0), "small")
    with pytest.raises(UserError, match="nobody"):
        matcher.match("whole", (0, 0, 0), "nobody")


def test_vectors_that_took_long_are_kept_on_disk(
    body_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssl_seg.anatomy.embedding.KEPT_SECONDS", 0.0)
    first = matcher_of(body_study, folder=tmp_path / "vectors")
    wanted = first.match("whole", (20, 20, 20), "small")
    assert len(list((tmp_path / "vectors").iterdir())) == 2
    again = matcher_of(body_study, folder=tmp_path / "vectors")
    monkeypatch.setattr(again.net, "forward", lambda *_: pytest.fail("the vectors are there"))
    found = again.match("whole", (20, 20, 20), "small")
    assert found == wanted
    for path in (tmp_path / "vectors").iterdir():
        path.write_bytes(b"damaged")
    damaged = matcher_of(body_study, folder=tmp_path / "vectors").match("whole", (20, 20, 20), "small")
    assert damaged.point == pytest.approx(wanted.point)


def test_a_test_scan_is_not_read_for_training(tmp_path: Path, make_study: Callable[..., Study]) -> None:
    from napari_ssl_seg.study import Study
    from tests.anatomy.conftest import body

    items = [(name, body(index)[:16, :16, :16], None, None) for index, name in enumerate("abcd")]
    study = Study.create_from_arrays(tmp_path / "split", items, split=(50, 0, 50))
    train, test = study.cases("train")[0].id, study.cases("test")[0].id
    with pytest.raises(LeakageError, match=test):
        matcher_of(study).match(train, (1, 1, 1), test)
    with seeded(0):
        shown = EmbeddingMatcher(EmbeddingNet(), Grids(study, 1.0, purpose="show"))
    assert shown.match(train, (8, 8, 8), test).how == "embedding"
