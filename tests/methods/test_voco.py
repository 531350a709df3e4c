from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.voco_losses import elsewhere_loss, likeness, overlap_loss, regularisation
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.networks.tokens import encoder_weights
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import FakeStudy

QUARTERS = torch.tensor([[[0.25] * 4 + [0.0] * 12]])
"""A crop in the corner of four base crops."""


SMALL = {
    "unetr": {"feature_size": 4, "hidden_size": 48, "mlp_dim": 48, "heads": 4},
    "swin_unetr": {"feature_size": 12},
}


def scans(*shape: int) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(image, ("a",) * shape[0], ((0, 0, 0),) * shape[0])


def made(patch: tuple[int, ...], network: str = "unet", batch: int = 2, **settings):
    spec = NetworkSpec(name=network, dims=len(patch), patch=patch, options=SMALL.get(network, {}))
    method = get_method("voco", {"features": 32, **settings}).on_network(spec)
    torch.manual_seed(0)
    return method, method.build(build_network(spec)), scans(batch, 1, *patch), spec


# -- losses -----------------------------------------------------------------------------------------------------------
def test_worked_numbers_of_the_losses():
    nothing = torch.zeros_like(QUARTERS)
    assert float(overlap_loss(QUARTERS, QUARTERS)) == pytest.approx(0.0, abs=2e-6)
    assert float(overlap_loss(QUARTERS, nothing)) == pytest.approx(0.28768, abs=1e-5)
    assert float(overlap_loss(QUARTERS, nothing)) == pytest.approx(-math.log(0.75), abs=2e-6)
    assert float(elsewhere_loss(QUARTERS, QUARTERS)) == 0.0
    assert float(elsewhere_loss(QUARTERS, torch.full_like(QUARTERS, 0.5))) == pytest.approx(0.25)
    # Crops of two scans: 3/4 and 1/4, said to be 1/2 and 1/2; each misses by 1/4.
    uneven = torch.tensor([[[0.75, 0.25]]])
    assert float(overlap_loss(uneven, torch.tensor([[[0.5, 0.5]]]))) == pytest.approx(-math.log(0.75), abs=2e-6)


def test_the_mean_is_over_scans():
    other = torch.zeros(1, 1, 16)
    other[..., 0] = 1.0
    shares, alike = torch.cat((QUARTERS, other)), torch.zeros(2, 1, 16)
    alike[1, 0, 0] = 0.5
    alike[1, 0, 1] = 1.0
    assert float(overlap_loss(shares, alike)) == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2, abs=1e-5)
    assert float(elsewhere_loss(shares, alike)) == pytest.approx((0 + 1 / 15) / 2)


def test_base_crops_that_are_alike_are_punished():
    apart = torch.eye(4)[None]
    assert float(regularisation(apart)) == 0.0
    assert float(regularisation(torch.ones(1, 4, 3))) == pytest.approx(1.0)
    # Opposite ones are no worse than unlike ones: relu. Cosines 0.6, -1 and -0.6 of three pairs.
    three = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]])
    assert float(regularisation(three)) == pytest.approx(0.36 / 3)
    assert float(regularisation(apart[:, :1])) == 0.0


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 9), st.integers(0, 1000))
def test_losses_are_finite_and_not_negative(batch, crops, bases, seed):
    random = torch.Generator().manual_seed(seed)
    shares = torch.rand(batch, crops, bases, generator=random)
    shares = torch.where(shares > 0.5, shares, 0.0)
    vectors = torch.randn(2, batch, max(crops, bases), 5, generator=random)
    alike = likeness(vectors[0, :, :crops], vectors[1, :, :bases])
    assert ((alike >= 0) & (alike <= 1)).all()
    for value in (overlap_loss(shares, alike), elsewhere_loss(shares, alike), regularisation(vectors[1])):
        assert value.isfinite()
        assert value >= -2e-6
    # Neither the length of the embeddings nor the order of the base crops matters.
    order = torch.randperm(bases, generator=random)
    longer = likeness(3.0 * vectors[0, :, :crops], 0.5 * vectors[1, :, :bases])
    assert torch.allclose(longer, alike, atol=1e-5)
    assert torch.allclose(overlap_loss(shares[..., order], alike[..., order]), overlap_loss(shares, alike), atol=1e-5)


# -- the sample -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("patch", [(64, 48), (16, 64, 64)])
def test_crops_are_what_the_boxes_show(patch):
    method, _, batch, _ = made(patch, shift=0.0)
    dims = len(patch)
    pretext = method.pretext(batch, generator_for(0, 0))
    shares, size = pretext.targets["shares"], pretext.inputs.shape[2:]
    assert shares.shape == (2, 2, 16)
    assert torch.allclose(shares.sum(dim=2), torch.ones(2, 2))
    for images, boxes in ((pretext.inputs, "boxes"), (pretext.targets["bases"], "base_boxes")):
        corners = pretext.targets[boxes].long().flatten(0, 1)
        assert len(corners) == len(images)
        for number, (image, corner) in enumerate(zip(images, corners.tolist(), strict=True)):
            sample = number // (len(images) // 2)
            inside = tuple(slice(*ends) for ends in zip(corner[:dims], corner[dims:], strict=True))
            cut = batch.image[(sample, slice(None), *inside)][None]
            mode = "bilinear" if dims == 2 else "trilinear"
            assert torch.allclose(image, torch.nn.functional.interpolate(cut, size=size, mode=mode)[0], atol=1e-6)
    drawn = {view.name: view.data for view in pretext.views}
    assert drawn["shares"].shape == (4, 4)
    assert torch.equal(drawn["shares"].flatten(), shares[0, 0])


def test_a_grid_along_z():
    method, model, batch, _ = made((32, 32, 32), grid=2, grid_depth=2, crops=3)
    pretext = method.pretext(batch, generator_for(0, 0))
    assert pretext.targets["shares"].shape == (2, 3, 8)
    views = {view.name: view.data for view in (*pretext.views, *method.output_views(model, pretext))}
    assert views["shares"].shape == views["alike"].shape == (4, 2)
    assert views["bases_alike"].shape == (8, 8)


def test_changes_of_the_crops():
    batch = scans(8, 1, 64, 64)
    plain = get_method("voco", {"shift": 0.0}).pretext(batch, generator_for(0, 0))
    brighter = get_method("voco").pretext(batch, generator_for(0, 0))
    moved = torch.cat((brighter.inputs, brighter.targets["bases"])) - torch.cat((plain.inputs, plain.targets["bases"]))
    moved = moved.flatten(1)
    changed = moved.abs().amax(dim=1) > 0
    assert 4 <= int(changed.sum()) <= 30  # of 144, one in ten
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-6)
    assert moved.abs().max() <= 0.1 * 2.0
    mirrored = get_method("voco", {"shift": 0.0, "flip": 1.0}).pretext(batch, generator_for(0, 0))
    assert torch.equal(mirrored.inputs, plain.inputs.flip(2, 3))


def test_base_crops_tile_the_scans_as_far_as_patches_of_the_network_would():
    study = FakeStudy({"a": np.zeros((1, 30, 100, 300), np.float32), "b": np.zeros((1, 34, 100, 300), np.float32)})
    for dims, patch, drawn in (
        (2, (32, 48), (100, 192)),
        (3, (64, 32, 48), (64, 100, 192)),
        (2, (128, 64), (128, 256)),
    ):
        spec = NetworkSpec(dims=dims, patch=patch)
        method = get_method("voco", {"features": 16}).on_network(spec)
        assert method.sampled(spec) == spec  # nothing is known of the scans
        prepared = method.prepare_slice(study, "a", 0).method
        assert prepared.sampled(spec).patch == drawn
        assert prepared.sampled(spec).model_copy(update={"patch": patch}) == spec
        whole = get_method("voco", {"field": "patch"}).on_network(spec).prepare_slice(study, "a", 0).method
        assert whole.sampled(spec) == spec
    # 192 / 4 = 48 voxels, two thirds of which are 32.
    batch = scans(1, 1, 100, 192)
    spec = NetworkSpec(dims=2, patch=(32, 48))
    prepared = get_method("voco", {"features": 16}).on_network(spec).prepare_slice(study, "a", 0).method
    assert prepared.pretext(batch, generator_for(0, 0)).inputs.shape[2:] == (24, 32)
    unetr = get_method("voco").on_network(NetworkSpec(name="unetr", dims=2, patch=(32, 48)))
    assert unetr.pretext(batch, generator_for(0, 0)).inputs.shape[2:] == (32, 48)


@pytest.mark.parametrize("patch", [(34, 50), (40, 56)])
def test_patches_that_the_grid_or_the_stride_do_not_divide(patch):
    method = get_method("voco", {"features": 16}).on_network(NetworkSpec(dims=2, patch=(40, 56)))
    pretext = method.pretext(scans(1, 1, *patch), generator_for(0, 0))
    assert pretext.inputs.shape[2:] == (16, 16)
    assert pretext.stats["crop_y"] == patch[0] // 4
    assert torch.allclose(pretext.targets["shares"].sum(dim=2), torch.ones(1, 2))


def test_a_patch_too_small_for_the_grid_is_refused():
    with pytest.raises(UserError, match="4 by 4 base crops, and 7x64 voxels"):
        get_method("voco").pretext(scans(1, 1, 7, 64), generator_for(0, 0))


# -- the model --------------------------------------------------------------------------------------------------------
@torch.no_grad()
def test_the_loss_is_the_sum_of_its_three_parts():
    method, model, batch, _ = made((64, 48), regularisation=0.5)
    pretext = method.pretext(batch, generator_for(0, 0))
    losses = method.loss(model, pretext)
    parts = losses.parts
    assert list(parts) == ["overlap", "elsewhere", "bases", "spread", "rank"]
    assert float(losses.total) == pytest.approx(float(parts["overlap"] + parts["elsewhere"] + 0.5 * parts["bases"]))
    # By hand: each crop against the base crops, the student's against the teacher's and the other way.
    student, teacher = (
        part(torch.cat((pretext.inputs, pretext.targets["bases"]))) for part in (model.student, model.teacher)
    )
    shares, found = pretext.targets["shares"], method.outputs(model, pretext).alike
    # `outputs` has each sample's crops before its base crops; batch norm does not mind the order.
    for sample in (0, 1):
        for crop in (0, 1):
            cosines = [
                torch.nn.functional.cosine_similarity(
                    one[2 * sample + crop], other[4 + 16 * sample :][:16], dim=1
                ).relu()
                for one, other in ((student, teacher), (teacher, student))
            ]
            assert torch.allclose((cosines[0] + cosines[1]) / 2, found[sample, crop], atol=1e-5)
    terms = shares * torch.log(1 - (shares - found).abs() + 1e-6)
    assert float(parts["overlap"]) == pytest.approx(float(-terms.sum() / 4), abs=1e-5)


def test_the_teacher_follows_and_is_not_trained():
    method, model, _, _ = made((64, 48), momentum=0.9)
    assert not any(weight.requires_grad for weight in model.teacher.parameters())
    before = copy.deepcopy(model.teacher.state_dict())
    with torch.no_grad():
        for weight in model.student.parameters():
            weight.add_(1.0)
    method.after_step(model, 0, 10)
    for name, weight in model.teacher.named_parameters():
        assert torch.allclose(weight, before[name] + 0.1, atol=1e-6)


@pytest.mark.parametrize(("network", "patch"), [("unet", (64, 48)), ("unetr", (32, 48)), ("swin_unetr", (64, 64))])
def test_all_levels_of_the_encoder_are_handed_on(network, patch):
    method, model, batch, spec = made(patch, network, batch=1, grid=2)
    method.loss(model, method.pretext(batch, generator_for(0, 0))).total.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
    fresh = build_network(spec)
    assert method.transfer(model).keys() == encoder_weights(fresh, every_level=True) < fresh.state_dict().keys()


def test_a_batch_of_one_and_a_constant_image():
    method, model, batch, _ = made((64, 48), batch=1)
    flat = replace(batch, image=torch.full_like(batch.image, 0.3))
    for one in (batch, flat):
        pretext = method.pretext(one, generator_for(0, 0))
        losses = method.loss(model, pretext)
        losses.total.backward()
        assert losses.total.isfinite()
        assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.requires_grad)
        model.eval()
        views = {view.name: view.data for view in method.output_views(model, pretext)}
        model.train()
        assert views["placed"].shape == (1, 2, 4)
        assert list(views["away"]) == ["crop 1", "crop 2"]


def test_a_crop_is_put_where_the_base_crops_that_it_is_like_lie(monkeypatch):
    method, model, batch, _ = made((64, 64), batch=1, crops=1)
    pretext = method.pretext(batch, generator_for(3, 0))
    found = method.outputs(model, pretext)
    monkeypatch.setattr(type(method), "outputs", lambda *_: replace(found, alike=pretext.targets["shares"]))
    views = {view.name: view.data for view in method.output_views(model, pretext)}
    assert torch.allclose(views["placed"], pretext.targets["boxes"], atol=1e-3)
    assert views["away"]["crop 1"] == pytest.approx(0.0, abs=1e-3)


def test_the_embeddings_collapse_is_told():
    method, model, batch, _ = made((64, 48))
    with torch.no_grad():
        for part in (model.student, model.teacher):
            part[1][-1].weight.zero_()
            part[1][-1].bias.fill_(1.0)
    pretext = method.pretext(batch, generator_for(0, 0))
    for _ in range(200):
        model.gauge.observe(torch.ones(4, 32))
    assert float(method.loss(model, pretext).parts["spread"]) < 0.1
    assert any("VoCo has collapsed" in remark for remark in method.remarks(model))
