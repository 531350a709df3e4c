from __future__ import annotations

import pytest
import torch

from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.losses import masked_error
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import small_spec


def scans(*shape: int) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(image, ("a",) * shape[0], ((0, 0, 0),) * shape[0])


def test_error_by_hand():
    # Spec 3.4: mask 1 1 0 0, target 1 2 3 4, restored 1.5 1 0 0 -> (0.5 + 1) / 2.
    restored = torch.tensor([[[1.5, 1.0, 0.0, 0.0]]])
    target = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    mask = torch.tensor([[True, True, False, False]])
    assert float(masked_error(restored, target, mask, "l1")) == 0.75
    assert float(masked_error(restored, target, mask, "mse")) == pytest.approx((0.25 + 1.0) / 2)
    assert float(masked_error(restored, target, torch.zeros_like(mask), "l1")) == 0.0


def test_error_is_a_mean_over_channels_too():
    mask = torch.tensor([[True, False]])
    assert float(masked_error(torch.full((1, 3, 2), 2.0), torch.zeros(1, 3, 2), mask, "l1")) == 2.0


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_visible_voxels_are_irrelevant_even_when_they_are_infinite(kind):
    restored = torch.tensor([[[1.0, float("inf")]]], requires_grad=True)
    loss = masked_error(restored, torch.zeros(1, 1, 2), torch.tensor([[True, False]]), kind)
    loss.backward()
    assert float(loss.detach()) == 1.0
    assert restored.grad[0, 0, 1] == 0


@pytest.mark.parametrize(("shape", "blocks"), [((2, 1, 64, 64), 16), ((2, 2, 16, 32, 32), 64)])
def test_three_quarters_of_the_blocks_are_hidden(shape, blocks):
    batch = scans(*shape)
    pretext = get_method("simmim").pretext(batch, generator_for(0, 0))
    mask = pretext.targets["mask"]
    assert mask.flatten(1).double().mean(dim=1).tolist() == [0.75] * shape[0]
    assert pretext.stats["share_masked"] == 0.75
    everywhere = mask.unsqueeze(1).expand(shape)
    assert torch.equal(pretext.inputs[~everywhere], batch.image[~everywhere])
    assert pretext.targets["image"] is batch.image
    assert [view.name for view in pretext.views] == ["scan", "mask", "masked", "target"]


@pytest.mark.parametrize("fill", ["mean", "zero", "noise"])
def test_what_hidden_voxels_hold_tells_nothing_of_them(fill):
    batch = scans(2, 2, 64, 64)
    method = get_method("simmim", {"fill": fill})
    pretext = method.pretext(batch, generator_for(0, 0))
    hidden = pretext.targets["mask"].unsqueeze(1).expand_as(batch.image)
    changed = Batch(torch.where(hidden, batch.image * 5 + 1, batch.image), batch.case_ids, batch.origins)
    assert torch.equal(method.pretext(changed, generator_for(0, 0)).inputs, pretext.inputs)
    for sample in range(2):
        for channel in range(2):
            visible = batch.image[sample, channel][~pretext.targets["mask"][sample]]
            filled = pretext.inputs[sample, channel][pretext.targets["mask"][sample]]
            if fill == "zero":
                assert not filled.any()
            else:
                assert float(filled.mean()) == pytest.approx(
                    float(visible.mean()), abs=1e-6 if fill == "mean" else 0.05
                )
            assert float(filled.std()) == pytest.approx(float(visible.std()) if fill == "noise" else 0.0, abs=0.05)


def test_normalised_targets_have_mean_0_and_deviation_1_in_each_block_and_can_be_undone():
    batch = scans(1, 1, 64, 64)
    pretext = get_method("simmim", {"normalise_target": True}).pretext(batch, generator_for(0, 0))
    target = pretext.targets["image"]
    blocks = target.view(4, 16, 4, 16).movedim(2, 1).reshape(16, 256)
    assert blocks.mean(dim=1).abs().max() < 1e-5
    assert (blocks.std(dim=1) - 1).abs().max() < 1e-3
    undone = target * pretext.targets["deviation"] + pretext.targets["mean"]
    assert torch.allclose(undone, batch.image, atol=1e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_the_output_is_shown_in_the_scans_own_units(normalise):
    batch, spec = scans(1, 1, 32, 32), small_spec(2)
    method = get_method("simmim", {"normalise_target": normalise})
    pretext = method.pretext(batch, generator_for(0, 0))
    model = method.build(build_network(spec)).eval()
    views = {view.name: view.data for view in method.output_views(model, pretext)}
    hidden = pretext.targets["mask"].unsqueeze(1)
    assert torch.allclose(views["pasted"][~hidden], batch.image[~hidden], atol=1e-5)
    assert torch.equal(views["pasted"][hidden], views["restored"][hidden])
    assert torch.allclose(views["error"], (views["restored"] - batch.image).abs(), atol=1e-5)
    if normalise:  # a network that says 0 everywhere restores each block's mean
        torch.nn.init.zeros_(model.head.weight)
        torch.nn.init.zeros_(model.head.bias)
        flat = {view.name: view.data for view in method.output_views(model, pretext)}["restored"]
        assert torch.allclose(flat, pretext.targets["mean"])


def test_loss_looks_at_hidden_voxels_of_the_models_output():
    method, spec, batch = get_method("simmim", {"loss": "mse"}), small_spec(2), scans(2, 1, 32, 32)
    pretext = method.pretext(batch, generator_for(0, 0))
    model = method.build(build_network(spec)).eval()
    hidden = pretext.targets["mask"].unsqueeze(1)
    expected = (model(pretext.inputs) - batch.image)[hidden].square().mean()
    losses = method.loss(model, pretext)
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert losses.parts["restoration"] is losses.total
