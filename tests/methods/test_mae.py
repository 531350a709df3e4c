from __future__ import annotations

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.base import Pretext
from napari_ssl_seg.methods.mae_net import fold_patches, position_codes, unfold_patches
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import generator_for
from napari_ssl_seg.pretext.masks import block_statistics

SHAPES = [(2, 1, 64, 48), (2, 2, 32, 48, 32)]


def scans(*shape: int) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(image, ("a",) * shape[0], ((0, 0, 0),) * shape[0])


def built(method, shape: tuple[int, ...], name: str = "unetr"):
    torch.manual_seed(0)
    spec = NetworkSpec(name=name, dims=2 if len(shape) == 4 else 3, in_channels=shape[1], patch=shape[2:])
    return method.build(build_network(spec)).eval(), spec


def test_the_worked_number_of_a_normalised_target():
    # A patch (0, 0, 2, 2) has an unbiased variance of 4/3, so it becomes -+0.866; who says 0 everywhere is wrong by 0.75.
    mean, deviation = block_statistics(torch.tensor([[[[0.0, 0.0], [2.0, 2.0]]]]), (2, 2))
    target = (torch.tensor([[[[0.0, 0.0], [2.0, 2.0]]]]) - mean) / deviation
    assert target.flatten().tolist() == pytest.approx([-0.8660254, -0.8660254, 0.8660254, 0.8660254], abs=1e-6)
    assert float(target.square().mean()) == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_quarter_of_the_patches_is_visible(shape):
    pretext = get_method("mae").pretext(scans(*shape), generator_for(0, 0))
    patches = (shape[2] // 16) * (shape[3] // 16) * (shape[4] // 16 if len(shape) == 5 else 1)
    assert pretext.stats == {"share_hidden": 0.75, "patches": patches, "visible_patches": patches / 4}
    visible, mask = pretext.targets["visible"], pretext.targets["mask"]
    assert visible.shape == (2, patches // 4)
    assert (visible.diff(dim=1) > 0).all()
    # The numbers and the mask say the same of every patch.
    hidden = unfold_patches(mask.unsqueeze(1).float(), 16)
    assert ((hidden == 0) | (hidden == 1)).all()
    for sample in range(2):
        assert (hidden[sample, :, 0] == 0).nonzero().flatten().tolist() == visible[sample].tolist()
    assert not torch.equal(visible[0], visible[1]) or not torch.equal(
        visible, get_method("mae").pretext(scans(*shape), generator_for(1, 0)).targets["visible"]
    )


def test_64_patches_leave_16_visible():
    assert get_method("mae").pretext(scans(1, 1, 128, 128), generator_for(0, 0)).stats["visible_patches"] == 16


@pytest.mark.parametrize("shape", SHAPES)
def test_patches_come_in_the_order_of_the_transformers_tokens(shape):
    image = scans(*shape).image
    patches = unfold_patches(image, 16)
    assert torch.equal(fold_patches(patches, shape[2:], 16), image)
    # A stride-16 convolution sees patch n and nothing else in its n-th place.
    conv = torch.nn.Conv2d if len(shape) == 4 else torch.nn.Conv3d
    mean = conv(shape[1], 1, 16, 16, bias=False)
    torch.nn.init.constant_(mean.weight, 1 / mean.weight.numel())
    assert torch.allclose(mean(image).flatten(2)[:, 0], patches.mean(dim=2), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_hidden_voxels_reach_neither_the_network_nor_visible_ones_the_loss(shape):
    method, batch = get_method("mae"), scans(*shape)
    model, _ = built(method, shape)
    pretext = method.pretext(batch, generator_for(0, 0))
    hidden = pretext.targets["mask"].unsqueeze(1).expand(shape)
    said = model(pretext.inputs, pretext.targets["visible"])
    assert torch.equal(
        model(torch.where(hidden, torch.nan, batch.image).nan_to_num(7.0), pretext.targets["visible"]), said
    )
    assert torch.equal(pretext.inputs[~hidden], batch.image[~hidden])
    assert (pretext.inputs[hidden] <= batch.image[hidden]).all()
    # Other targets at visible voxels leave the loss; at hidden ones they do not.
    loss = float(method.loss(model, pretext).total.detach())
    for where, same in ((~hidden, True), (hidden, False)):
        targets = {**pretext.targets, "image": torch.where(where, 5.0, pretext.targets["image"])}
        other = float(method.loss(model, Pretext(pretext.inputs, targets)).total.detach())
        assert (other == pytest.approx(loss)) == same


def test_the_loss_by_hand():
    shape = SHAPES[0]
    method, batch = get_method("mae"), scans(*shape)
    model, _ = built(method, shape)
    pretext = method.pretext(batch, generator_for(0, 0))
    said, patches = model(pretext.inputs, pretext.targets["visible"]), unfold_patches(batch.image, 16)
    normal = (patches - patches.mean(dim=2, keepdim=True)) / (patches.var(dim=2, keepdim=True) + 1e-6).sqrt()
    errors = [
        (said[sample, patch] - normal[sample, patch]).square().mean()
        for sample in range(2)
        for patch in set(range(12)) - set(pretext.targets["visible"][sample].tolist())
    ]
    assert len(errors) == 18
    assert float(method.loss(model, pretext).total.detach()) == pytest.approx(
        float(sum(errors).detach()) / 18, rel=1e-4
    )


def test_plain_targets_and_the_scans_own_units():
    shape = SHAPES[0]
    method, batch = get_method("mae", {"normalise_target": False}), scans(*shape)
    pretext = method.pretext(batch, generator_for(0, 0))
    assert pretext.targets["image"] is batch.image
    model, _ = built(method, shape)
    for chosen in (method, get_method("mae")):
        pretext = chosen.pretext(batch, generator_for(0, 0))
        views = {view.name: view.data for view in chosen.output_views(model, pretext)}
        assert list(views) == ["restored", "pasted", "error"]
        seen = ~pretext.targets["mask"].unsqueeze(1)
        assert torch.allclose(views["pasted"][seen], batch.image[seen], atol=1e-5)
        assert torch.allclose(views["error"], (views["restored"] - batch.image).abs(), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_unetr_starts_from_the_whole_transformer(shape):
    method = get_method("mae")
    model, spec = built(method, shape)
    handed_on = method.transfer(model)
    torch.manual_seed(1)
    target = build_network(spec)
    of_transformer = {name for name in target.state_dict() if name.startswith("net.vit.")}
    assert handed_on.keys() == of_transformer
    report = target.load_state_dict(handed_on, strict=False)
    assert not report.unexpected_keys
    # With every patch visible the encoder is the UNETR's own: same tokens, layer by layer.
    image = scans(*shape).image
    tokens = target.encode(image)[-1].flatten(2).transpose(1, 2)
    everything = torch.arange(tokens.shape[1]).expand(2, -1)
    caught = []
    model.vit.norm.register_forward_hook(lambda module, inputs, output: caught.append(output))
    model(image, everything)
    assert torch.allclose(caught[0], tokens, atol=1e-5)


def test_a_network_without_a_transformer_is_refused():
    method = get_method("mae")
    with pytest.raises(UserError, match="use network unetr"):
        built(method, (2, 1, 32, 32), name="unet")
    with pytest.raises(UserError, match="multiple"):
        method.pretext(scans(1, 1, 40, 32), generator_for(0, 0))


@pytest.mark.parametrize("grid", [(4, 3), (2, 3, 4)])
def test_every_place_has_a_code_of_its_own(grid):
    codes = position_codes(grid, 48)[0]
    assert codes.shape[1] == 48
    distances = torch.cdist(codes, codes)
    distances.fill_diagonal_(1.0)
    assert distances.min() > 0.1
    assert codes.abs().max() <= 1
