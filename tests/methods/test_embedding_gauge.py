from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.methods.embedding_gauge import (
    EVERY,
    KEPT,
    PATIENCE,
    EmbeddingGauge,
    effective_rank,
    spread,
)


def random(count: int, features: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def test_spread_by_hand():
    # Features of the unit vectors are (1, 0) and (0, 1): deviations 1/2, times sqrt 2.
    assert float(spread(torch.tensor([[3.0, 0.0], [0.0, 0.1]]))) == pytest.approx(math.sqrt(2) / 2)
    assert float(spread(torch.tensor([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]]))) == pytest.approx(0.0, abs=1e-6)
    assert float(spread(random(1, 8))) == 0.0
    assert float(spread(random(4096, 64))) == pytest.approx(1.0, abs=0.02)


def test_rank_by_hand():
    assert float(effective_rank(torch.eye(5))) == pytest.approx(5.0, rel=1e-5)
    assert float(effective_rank(torch.tensor([[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0]]))) == pytest.approx(1.0, rel=1e-4)
    assert float(effective_rank(torch.zeros(3, 4))) == pytest.approx(1.0)
    # Singular values sqrt 2 and 1 of (e1, e1, e2).
    shares = np.array([math.sqrt(2), 1.0]) / (math.sqrt(2) + 1.0)
    wanted = math.exp(-(shares * np.log(shares)).sum())
    assert float(effective_rank(torch.tensor([[1.0, 0.0], [4.0, 0.0], [0.0, 2.0]]))) == pytest.approx(wanted, rel=1e-5)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_rank_against_the_singular_values(count, features, seed):
    vectors = random(count, features, seed)
    unit = vectors.double() / vectors.double().norm(dim=1, keepdim=True)
    values = np.linalg.svd(unit.numpy(), compute_uv=False)
    shares = values[values > 1e-9] / values[values > 1e-9].sum()
    assert float(effective_rank(vectors)) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
    assert 0.999 <= float(effective_rank(vectors)) <= min(count, features) + 1e-3
    assert 0.0 <= float(spread(vectors)) <= math.sqrt(features)
    assert float(spread(7 * vectors)) == pytest.approx(float(spread(vectors)), abs=1e-5)


def test_it_judges_the_last_embeddings_together():
    gauge = EmbeddingGauge(4, "X")
    batches = [random(2, 4, seed) for seed in range(EVERY + 1)]
    seen = [gauge.observe(batch) for batch in batches]
    assert float(seen[0]["spread"]) == pytest.approx(float(spread(batches[0])))
    assert float(seen[EVERY - 1]["spread"]) == float(seen[0]["spread"])
    assert float(seen[EVERY]["rank"]) == pytest.approx(float(effective_rank(torch.cat(batches))), rel=1e-5)
    gauge.observe(random(3 * KEPT, 4, 1))
    assert torch.isfinite(gauge.kept).all()


def run(gauge: EmbeddingGauge, steps: int, start: int = 0, *, alike: bool = True) -> list[str]:
    said = []
    for step in range(start, start + steps):
        drawn = random(4, 8, step)
        gauge.observe(torch.ones(4, 8) + 1e-3 * drawn if alike else drawn)
        said += [remark for remark in gauge.remarks() if remark not in said]
    return said


def test_it_speaks_once_of_a_collapse():
    gauge = EmbeddingGauge(8, "BYOL")
    # Its first judgement has too few embeddings.
    assert run(gauge, EVERY * PATIENCE) == []
    said = run(gauge, 3 * EVERY * PATIENCE, EVERY * PATIENCE)
    assert len(said) == 1
    assert "BYOL" in said[0] and "same way" in said[0]
    assert run(EmbeddingGauge(8, "BYOL"), 3 * EVERY * PATIENCE, alike=False) == []


def test_vectors_on_one_line_are_a_collapse_too():
    gauge = EmbeddingGauge(8, "MoCo")
    line = torch.ones(8)
    for step in range(EVERY * (PATIENCE + 1)):
        gauge.observe(random(4, 1, step) * line)
    assert float(gauge.judged[0]) > 0.5
    assert "one line" in gauge.remarks()[0]


def test_it_goes_on_as_if_it_had_not_stopped():
    straight, first, second = (EmbeddingGauge(8, "X") for _ in range(3))
    run(straight, 60)
    run(first, 33)
    second.load_state_dict(first.state_dict())
    run(second, 27, 33)
    assert torch.equal(second.judged, straight.judged)
    assert second.get_extra_state() == straight.get_extra_state()


def test_checkpoints_from_before_it_can_be_read():
    holder = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2), "gauge": EmbeddingGauge(2, "X")})
    old = {name: tensor for name, tensor in holder.state_dict().items() if not name.startswith("gauge")}
    holder.load_state_dict(old)
    assert not holder["gauge"].kept.any()


def test_in_eval_mode_it_remembers_nothing():
    gauge = EmbeddingGauge(4, "X").eval()
    seen = gauge.observe(torch.eye(4))
    assert float(seen["rank"]) == pytest.approx(4.0, rel=1e-5)
    assert not gauge.kept.any()
    assert gauge.get_extra_state()["steps"] == 0
