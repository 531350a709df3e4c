"""Several processes that train one run together, started by torchrun, as users start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import psutil
import pytest
import torch

from napari_ssl_seg import training
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.pretext import sample_batch
from napari_ssl_seg.training import drain
from napari_ssl_seg.training.labelled import LabelledSampler
from tests.training.conftest import TINY

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def torchrun(*arguments: object) -> dict[str, Any]:
    words = [*TORCHRUN, "napari_ssl_seg", *map(str, arguments), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)  # one object: the first process alone speaks


def losses(run: training.Run) -> list[float]:
    return [event.data["losses"]["total"] for event in run.events() if event.kind == "step"]


def weights(run: training.Run) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoint_path("last"), weights_only=True)["model"]


@pytest.mark.parametrize("dims", [2, 3])
def test_shares_are_parts_of_one_batch_and_each_scan_is_seen_once_an_epoch(study, dims):
    spec = NetworkSpec(dims=dims, patch=(16, 16) if dims == 2 else (16, 16, 16), preset="small")
    ids = [case.id for case in study.cases(split="train")]
    needs = get_method("volume_fusion").needs
    whole = sample_batch(study, ids, spec, needs, 6, 1, 4)
    parts = [sample_batch(study, ids, spec, needs, 2, 1, 4, share=(rank, 3)) for rank in range(3)]
    assert torch.equal(whole.image, torch.cat([part.image for part in parts]))
    assert torch.equal(whole.partner, torch.cat([part.partner for part in parts]))
    seen = Counter(
        name
        for step in range(len(ids) // 2)  # two processes with one patch each: an epoch
        for rank in range(2)
        for name in sample_batch(study, ids, spec, needs, 1, 1, step, share=(rank, 2)).case_ids
    )
    assert seen == Counter(ids)
    sampler = LabelledSampler(study, ids, spec, [1, 2], slices={}, foreground=0.5, batch_size=2, seed=1)
    larger = LabelledSampler(study, ids, spec, [1, 2], slices={}, foreground=0.5, batch_size=4, seed=1)
    halves = [sampler.batch(3, (rank, 2)) for rank in range(2)]
    assert torch.equal(larger.batch(3).label, torch.cat([half.label for half in halves]))


def test_two_processes_train_as_one_with_the_doubled_batch(study):
    """Without augmentation nothing but the order of sums differs; SimMIM draws its masks anew in each process."""
    common = ["finetune", study.folder, "--iterations", 6, "--dims", 2, "--device", "cpu"]
    common += ["--train", "augment=false", "threads=1", "clip_norm=0", "evaluate_every=3"]
    found = torchrun(*common, "--batch-size", 2)
    two = study.run(found["run"])
    assert found["state"] == two.state == "finished" and len(study.runs()) == 1
    train = {"augment": False, "threads": 1, "clip_norm": 0, "evaluate_every": 3}
    one = drain(training.finetune(study, dims=2, iterations=6, batch_size=4, device="cpu", train=train))
    assert losses(two)[-1] == pytest.approx(losses(one)[-1], rel=0.02)
    assert [event.data["step"] for event in two.events() if event.kind == "evaluation"] == [3, 6]
    (started,) = [event for event in two.events() if event.data.get("processes")]
    assert started.data["processes"] == 2
    assert drain(training.predict(study, two, split="test"))


def test_a_killed_process_ends_the_run_with_its_reason_and_one_alone_goes_on(study):
    words = [*TORCHRUN, "napari_ssl_seg", "pretrain", str(study.folder), "--method", "simmim", "--dims", "2"]
    words += ["--iterations", "100000", "--batch-size", "2", "--device", "cpu", "--train", "checkpoint_seconds=0"]
    launcher = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
    try:
        deadline = time.monotonic() + 180
        while not any(run.latest("checkpoint") for run in study.runs()):
            assert time.monotonic() < deadline and launcher.poll() is None
            time.sleep(0.1)
        (run,) = study.runs()
        children = psutil.Process(launcher.pid).children()
        (second,) = [child for child in children if child.environ().get("RANK") == "1"]
        os.kill(second.pid, signal.SIGKILL)
        launcher.communicate(timeout=120)
    finally:
        launcher.kill()
    assert launcher.returncode != 0
    assert run.state in ("failed", "stopped")  # the launcher may end the first before it sees the broken connection
    if run.state == "failed":
        assert "processes that train this run together has ended" in run.latest("error").data["message"]
    reached = torch.load(run.checkpoint_path("last"), weights_only=True)["step"]
    assert reached > 0
    run = drain(training.resume(study, run, iterations=reached + 2))
    assert run.state == "finished" and run.latest("step").data["step"] == reached + 2


def test_one_process_alone_is_not_changed_by_the_variables_of_one(study, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with_variables = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name)
    without = drain(training.pretrain(study, "simmim", dims=2, **TINY))
    assert all(torch.equal(value, weights(without)[name]) for name, value in weights(with_variables).items())
