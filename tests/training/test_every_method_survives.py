"""Every method stopped in the middle goes on to the very weights of one that was not; what else it keeps, too."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
import torch

from napari_ssl_seg import training
from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.pretraining import PretrainTask
from tests.training.every_method import EVERY, quickest
from tests.training.killing import kill_and_resume


@pytest.fixture(scope="module")
def kept(tmp_path_factory, scans) -> Study:
    """One study for all: what a method prepares of it is made once."""
    folder = tmp_path_factory.mktemp("survivors") / "balls"
    return Study.create(folder, images=scans / "images", labels=scans / "labels", split=(60, 20, 20))


@pytest.mark.parametrize("name", EVERY)
def test_stopped_and_resumed_equals_uninterrupted_to_the_last_bit(
    kept: Study, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = quickest(name)
    whole = drain(training.pretrain(kept, name, **options))
    run = training.prepare_pretrain(kept, name, **options)
    after_step = PretrainTask.after_step

    def stop_after_the_third(self: PretrainTask, step: int, total: int) -> None:
        after_step(self, step, total)
        if step == 2:
            run.request_stop()

    with monkeypatch.context() as patched:
        patched.setattr(PretrainTask, "after_step", stop_after_the_third)
        drain(training.train(kept, run))
    assert run.state == "stopped"
    assert torch.load(run.checkpoint_path("last"), weights_only=True)["step"] == 3
    drain(training.resume(kept, run))
    assert run.state == "finished"
    first, second = (torch.load(item.checkpoint_path("last"), weights_only=True) for item in (whole, run))
    assert_same(first, second, name)
    assert any(torch.is_tensor(value) for value in first["model"].values())
    assert first["optimizer"]["state"]


def assert_same(first: Any, second: Any, path: str) -> None:
    """Tensors to the bit, everything else by value, whatever the nesting."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key, value in first.items():
            assert_same(value, second[key], f"{path}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for place, value in enumerate(first):
            assert_same(value, second[place], f"{path}[{place}]")
    elif torch.is_tensor(first):
        assert torch.equal(first, second), path
    else:
        assert first == second, path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.parametrize("name", ["simmim", "moco"])
def test_killed_at_any_moment_nothing_is_lost_or_damaged(kept: Study, name: str) -> None:
    """All methods and a hundred kills: benchmarks/training_kills.py."""
    toll = kill_and_resume(kept, name, 3, random.Random(name), iterations=12)
    assert toll.kills == 3 and toll.same_weights
    assert (toll.damaged, toll.lost_steps, toll.lost_events) == (0, 0, 0)
