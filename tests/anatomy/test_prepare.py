"""Training the embedding in the background: stoppable, the same when it goes on, and kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_ssl_seg.anatomy import (
    EmbeddingMatcher,
    MatcherSettings,
    SameFieldMatcher,
    cached_matcher,
    prepare_matcher,
)
from napari_ssl_seg.anatomy.settings import settings_key
from napari_ssl_seg.training.events import Event, drain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ssl_seg.study import Study

SETTINGS = MatcherSettings(matcher="embedding", match_iterations=3, match_device="cpu")


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    from tests.anatomy.conftest import body

    cut = {"a": (0, 16), "b": (6, 24), "c": (4, 24)}
    return make_study(
        {name: (body(seed)[a:b, 8:24, 8:24], (1, 1, 1)) for seed, (name, (a, b)) in enumerate(cut.items())}
    )


def ids(study: Study) -> list[str]:
    return [case.id for case in study.cases("train")]


def steps(events: list[Event]) -> list[int]:
    return [event.data["done"] for event in events if event.kind == "progress"]


def run(study: Study, settings: MatcherSettings = SETTINGS, cases: list[str] | None = None) -> tuple[list[Event], Any]:
    events, generator = [], prepare_matcher(study, cases or ids(study), settings)
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def weights(matcher: object) -> dict[str, torch.Tensor]:
    assert isinstance(matcher, EmbeddingMatcher)
    return matcher.net.state_dict()


def test_it_is_trained_once_and_kept(study: Study) -> None:
    assert cached_matcher(study, ids(study), SETTINGS) is None
    events, matcher = run(study)
    assert steps(events) == [1, 2, 3]
    assert events[-1].data["seconds_left"] == 0
    assert all(np.isfinite(event.data["loss"]) for event in events)
    again, same = run(study)
    assert again == []
    assert all(torch.equal(weights(matcher)[name], tensor) for name, tensor in weights(same).items())
    assert isinstance(cached_matcher(study, ids(study), SETTINGS), EmbeddingMatcher)
    folder = next((study.cache_folder / "anatomy").iterdir())
    assert not (folder / "half.safetensors").exists()
    record = json.loads((folder / "record.json").read_text())
    assert (record["scans"], record["parameters"], len(record["losses"])) == (3, 882_480, 3)


def test_stopped_and_gone_on_gives_what_one_without_a_break_gives(study: Study, tmp_path: Path) -> None:
    generator = prepare_matcher(study, ids(study), SETTINGS)
    next(generator)
    generator.close()
    events, matcher = run(study)
    assert steps(events) == [2, 3]
    for path in study.cache_folder.rglob("*.safetensors"):
        path.unlink()
    _, straight = run(study)
    for name, tensor in weights(straight).items():
        assert torch.equal(weights(matcher)[name], tensor), name


@pytest.mark.parametrize("name", ["embedding.safetensors", "half.safetensors"])
def test_a_damaged_file_is_made_anew(study: Study, name: str) -> None:
    generator = prepare_matcher(study, ids(study), SETTINGS)
    next(generator)
    generator.close()
    (next((study.cache_folder / "anatomy").iterdir()) / name).write_bytes(b"nothing of use")
    events, matcher = run(study)
    assert steps(events)[-1] == 3
    assert isinstance(matcher, EmbeddingMatcher)


def test_other_scans_or_settings_are_another_embedding_and_what_does_not_count_is_not(study: Study) -> None:
    def key(**changes: object) -> str:
        return settings_key(SETTINGS.model_copy(update=changes), cases="x")

    assert key() == key(match_cycle=1.0) == key(match_device="cuda") == key(match_template=False)
    assert len({key(), key(match_iterations=4), key(match_seed=1), key(match_spacing=2.0), key(matcher="affine")}) == 5
    assert settings_key(SETTINGS, cases="y") != key()


def test_auto_takes_the_same_field_of_view_where_the_sizes_agree(study: Study) -> None:
    auto = MatcherSettings()
    matcher = drain(prepare_matcher(study, ["b", "c"], auto))  # 18 and 20 mm long
    assert isinstance(matcher, SameFieldMatcher)
    longer = MatcherSettings(match_iterations=1, match_device="cpu")
    assert isinstance(drain(prepare_matcher(study, ["a", "c"], longer)), EmbeddingMatcher)  # 16 and 20 mm


@pytest.mark.parametrize("matcher", ["embedding", "affine"])
def test_a_study_with_one_scan_is_told_so(study: Study, matcher: str) -> None:
    events, found = run(study, MatcherSettings(matcher=matcher), ["a"])  # type: ignore[arg-type]
    assert [event.kind for event in events] == ["warning"]
    assert "one scan" in events[0].data["message"]
    assert found.match("a", (1, 2, 3), "a").point == (1, 2, 3)
