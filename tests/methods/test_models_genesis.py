from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import small_spec

NOTHING = {"flip": 0, "shuffle": 0, "nonlinear": 0, "paint": 0}
SHAPES = [(4, 2, 24, 20), (3, 1, 16, 20, 12)]


def scans(*shape: int, seed: int = 0) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(image, ("a",) * shape[0], ((0, 0, 0),) * shape[0])


def pretext_of(batch: Batch, seed: int = 0, **chosen: float):
    return get_method("models_genesis", {**NOTHING, **chosen}).pretext(batch, generator_for(seed, 0))


def view(pretext, name: str):
    return next(view.data for view in pretext.views if view.name == name)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_any_corruption_the_scan_stays(shape):
    batch = scans(*shape)
    pretext = pretext_of(batch)
    assert torch.equal(pretext.inputs, batch.image)
    assert torch.equal(pretext.targets["image"], batch.image)
    assert set(pretext.stats.values()) == {0.0}


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from(SHAPES), flip=st.sampled_from([0.0, 0.4, 1.0]))
def test_the_target_is_the_scan_but_for_flips_whatever_the_input_suffers(seed, shape, flip):
    batch = scans(*shape)
    kept = batch.image.clone()
    pretext = get_method("models_genesis", {"flip": flip}).pretext(batch, generator_for(seed, 0))
    assert torch.equal(batch.image, kept)
    target = pretext.targets["image"]
    for sample in range(shape[0]):
        mirrored = [
            batch.image[sample].flip([axis for axis in range(1, len(shape) - 1) if number >> axis & 1])
            for number in range(0, 2 ** (len(shape) - 1), 2)
        ]
        assert any(torch.equal(target[sample], candidate) for candidate in mirrored)
        if flip == 0:
            assert torch.equal(target[sample], batch.image[sample])
    assert pretext.inputs.min() >= -1
    assert pretext.inputs.max() <= 1
    assert pretext.inputs.shape == batch.image.shape


@pytest.mark.parametrize("shape", SHAPES)
def test_flips_go_to_input_and_target_alike(shape):
    batch = scans(*shape)
    found = [pretext_of(batch, seed, flip=0.6) for seed in range(8)]
    assert all(torch.equal(pretext.inputs, pretext.targets["image"]) for pretext in found)
    assert any(not torch.equal(pretext.inputs, batch.image) for pretext in found)


@pytest.mark.parametrize("shape", SHAPES)
def test_shuffling_keeps_the_histogram_and_stays_close(shape):
    batch = scans(*shape)
    pretext = pretext_of(batch, shuffle=1)
    assert torch.equal(
        pretext.inputs.flatten(2).sort(dim=2).values, pretext.targets["image"].flatten(2).sort(dim=2).values
    )
    # Windows reach over a tenth of each side, here 2 voxels: nothing goes further than to the next place.
    ramp = torch.arange(float(shape[-1])).expand(shape).contiguous() / shape[-1]
    moved = pretext_of(Batch(ramp, batch.case_ids, batch.origins), shuffle=1).inputs
    assert 0 < (moved - ramp).abs().max() * shape[-1] < 1.01
    assert pretext.stats["share_moved"] > 0.2


def test_the_curve_is_one_for_all_channels_and_keeps_or_turns_the_order():
    batch = scans(6, 2, 16, 16)
    pretext = pretext_of(batch, nonlinear=1)
    for sample in range(6):
        order = batch.image[sample].flatten().argsort()
        steps = pretext.inputs[sample].flatten()[order].diff()
        assert steps.min() >= -1e-6 or steps.max() <= 1e-6
    rising = pretext_of(batch, nonlinear=1, falling=0)
    assert (rising.inputs[:, 0].flatten(1).argmax(dim=1) == batch.image[:, 0].flatten(1).argmax(dim=1)).all()


def test_the_drawn_curve_is_the_one_that_is_applied():
    image = torch.linspace(-1, 1, 65).view(1, 1, 5, 13).clone()
    pretext = pretext_of(Batch(image, ("a",), ((0, 0, 0),)), nonlinear=1)
    curve = view(pretext, "curve")
    assert torch.allclose(curve[:, 0], image.flatten(), atol=1e-6)
    assert torch.allclose(curve[:, 1], pretext.inputs.flatten(), atol=2e-3)
    two = view(pretext_of(scans(2, 1, 8, 8)), "curve")
    assert two.isnan().any(dim=1).nonzero().flatten().tolist() == [65]
    assert torch.allclose(two[:65, 0], two[:65, 1])


@pytest.mark.parametrize("outside", [0.0, 1.0])
def test_painting_hides_what_the_mask_says_and_nothing_else(outside):
    batch = scans(30, 2, 30, 28)
    pretext = pretext_of(batch, paint=1, outside=outside)
    hidden = view(pretext, "hidden").unsqueeze(1).expand_as(batch.image)
    assert torch.equal(pretext.inputs[~hidden], batch.image[~hidden])
    assert (pretext.inputs[hidden] != batch.image[hidden]).all()
    noise = pretext.inputs[hidden]
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(noise.std()) == pytest.approx(2 / 12**0.5, abs=0.02)
    share = pretext.stats["share_hidden"]
    assert (0.25 < share < 0.75) if outside else (0.05 < share < 0.4)
    assert pretext.stats["out_painted"] == outside


def test_scans_beyond_minus_one_to_one_keep_their_own_range():
    batch = scans(2, 1, 16, 16)
    wide = Batch(batch.image * 5, batch.case_ids, batch.origins)
    inputs = get_method("models_genesis", {"nonlinear": 1, "paint": 1}).pretext(wide, generator_for(1, 0)).inputs
    assert inputs.abs().max() <= 5
    assert inputs.abs().max() > 2


def test_loss_is_the_mean_squared_error_everywhere():
    method, spec, batch = get_method("models_genesis"), small_spec(2), scans(2, 1, 32, 32)
    pretext = method.pretext(batch, generator_for(0, 0))
    model = method.build(build_network(spec)).eval()
    expected = (model(pretext.inputs) - pretext.targets["image"]).square().mean()
    losses = method.loss(model, pretext)
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert [made.name for made in method.output_views(model, pretext)] == ["restored", "error"]
