"""Rotation and relative location: the label, the views, and the encoder that is handed on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.networks.tokens import encoder_weights
from napari_ssl_seg.pretext import generator_for
from napari_ssl_seg.pretext.neighbours import offsets
from napari_ssl_seg.pretext.turning import turned
from tests.methods.fakes import FakeStudy

METHODS = ["rotation", "relative_location"]
PATCHES = {
    ("unet", 2): (32, 48),
    ("unet", 3): (16, 32, 32),
    ("unetr", 2): (32, 48),
    ("swin_unetr", 2): (64, 64),
    ("dynunet", 3): (32, 32, 32),
    ("pctnet", 3): (16, 16, 32),
}


def scans(*shape: int, origin: tuple[int, int, int] = (5, 5, 5)) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(image, ("a",) * shape[0], (origin,) * shape[0])


SMALL = {
    "unetr": {"feature_size": 4, "hidden_size": 48, "mlp_dim": 48, "heads": 4},
    "swin_unetr": {"feature_size": 12},
}


def made(name: str, network: str, dims: int, **settings):
    patch = PATCHES[network, dims]
    spec = NetworkSpec(name=network, dims=dims, patch=patch, options=SMALL.get(network, {}))
    method = get_method(name, settings).on_network(spec)
    torch.manual_seed(0)
    return method, method.build(build_network(spec)), scans(3, 1, *patch), spec


@pytest.mark.parametrize("name", METHODS)
def test_who_cannot_tell_pays_the_logarithm_of_the_classes(name):
    method, model, batch, _ = made(name, "unet", 2)
    last = model.head[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    losses = method.loss(model, method.pretext(batch, generator_for(0, 0)))
    assert len(method.classes) == {"rotation": 4, "relative_location": 8}[name]
    assert losses.total.item() == pytest.approx(math.log(len(method.classes)), abs=1e-6)
    assert losses.parts["label"] is losses.total
    volume = get_method("relative_location", {"neighbours": "volume"})
    assert len(volume.classes) == 26


@pytest.mark.parametrize(
    ("name", "network", "dims"), [("relative_location", "unet", 3), *(("rotation", *network) for network in PATCHES)]
)
def test_the_encoder_of_every_network_is_handed_on_and_the_rest_stays_random(name, network, dims):
    method, model, batch, spec = made(name, network, dims)
    pretext = method.pretext(batch, generator_for(0, 0))
    losses = method.loss(model, pretext)
    losses.total.backward()
    trained = {key for key, weight in model.backbone.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
    handed_on = method.transfer(model)
    fresh = build_network(spec)
    assert trained <= handed_on.keys() == encoder_weights(fresh)
    assert handed_on.keys() < fresh.state_dict().keys()
    report = fresh.load_state_dict(handed_on, strict=False)
    assert not report.unexpected_keys
    batch_of = pretext.inputs
    assert torch.equal(fresh.eval().encode(batch_of)[-1], model.eval().backbone.encode(batch_of)[-1])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_turned_patch_turned_back_is_the_patch(dims):
    method, _, batch, _ = made("rotation", "unet", dims)
    pretext = method.pretext(batch, generator_for(1, 0))
    back = turned(pretext.inputs, -pretext.targets["label"])
    kept = pretext.targets["kept"].unsqueeze(1)
    assert torch.equal(back[kept], batch.image[kept])
    # The rest is the same whatever the turn.
    assert (pretext.inputs.masked_select(~kept).unique().numel()) <= len(batch.image)
    table = next(view.data for view in pretext.views if view.kind == "table")
    assert table == {"degrees": 90.0 * float(pretext.targets["label"][0])}


def test_all_turns_of_a_patch_show_the_same_voxels():
    # What tells them apart is in the picture and not in its frame: the multiset of values does not depend on the turn.
    method, batch = get_method("rotation", {"shape": "disc"}), scans(1, 1, 24, 32, origin=(3, -2, 0))
    seen = {}
    for seed in range(30):
        pretext = method.pretext(batch, generator_for(seed, 0))
        seen[int(pretext.targets["label"][0])] = pretext
    assert seen.keys() == {0, 1, 2, 3}
    values = [pretext.inputs.flatten().sort().values for pretext in seen.values()]
    assert all(torch.equal(values[0], other) for other in values[1:])
    assert all(torch.equal(pretext.targets["kept"], seen[0].targets["kept"]) for pretext in seen.values())


@pytest.mark.parametrize(("dims", "neighbours"), [(2, "slice"), (3, "slice"), (3, "volume")])
def test_both_patches_are_what_the_boxes_show(dims, neighbours):
    method, model, batch, _ = made("relative_location", "unet", dims, neighbours=neighbours, jitter=0.2)
    pretext = method.pretext(batch, generator_for(2, 0))
    boxes, places = pretext.targets["boxes"].long(), pretext.targets["places"]
    assert places.shape[1] == len(method.classes) == (26 if neighbours == "volume" else 8)
    gridded = 3 if neighbours == "volume" else 2
    for sample in range(3):
        for number, patch in enumerate((pretext.inputs, pretext.targets["neighbour"])):
            start, stop = boxes[sample, number, :dims].tolist(), boxes[sample, number, dims:].tolist()
            cut = batch.image[(sample, slice(None), *(slice(*ends) for ends in zip(start, stop, strict=True)))]
            mode = "bilinear" if dims == 2 else "trilinear"
            enlarged = torch.nn.functional.interpolate(cut[None], size=patch.shape[2:], mode=mode)
            assert torch.allclose(patch[sample], enlarged[0], atol=1e-6)
        step = offsets(gridded)[pretext.targets["label"][sample]]
        apart = (boxes[sample, 1] - boxes[sample, 0])[:dims][-gridded:]
        assert torch.equal(apart.sign() * torch.tensor(step).abs(), torch.tensor(step))
    views = {view.name: view for view in method.output_views(model.eval(), pretext)}
    matrix = views["answer_places"].data
    assert matrix.shape == (3 if gridded == 2 else 9, 3)
    assert matrix.isnan().sum() == 1
    assert matrix[len(matrix) // 2, 1].isnan()
    assert float(matrix.nan_to_num().sum()) == pytest.approx(1.0, abs=1e-5)
    assert sum(views["answer"].data.values()) == pytest.approx(1.0, abs=1e-5)
    likeliest = list(views["answer"].data.values()).index(max(views["answer"].data.values()))
    assert torch.equal(views["said"].data[0, 1], places[0, likeliest])


def test_the_grid_spans_the_scans_as_far_as_patches_of_the_network_would():
    study = FakeStudy({"a": np.zeros((1, 64, 100, 400), np.float32)})
    spec = NetworkSpec(dims=3, patch=(32, 32, 32))
    for neighbours, drawn in (("slice", (32, 100, 138)), ("volume", (64, 100, 138))):
        # (3 + 2 * 0.5 + 2 * 0.15) / 1 * 32 = 137.6
        method = get_method("relative_location", {"neighbours": neighbours, "jitter": 0.15, "extent": 1.0})
        assert method.on_network(spec).prepare_slice(study, "a", 0).method.sampled(spec).patch == drawn
    assert get_method("rotation").on_network(spec).prepare_slice(study, "a", 0).method.sampled(spec) == spec


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_one_and_a_constant_image(name):
    method, model, batch, _ = made(name, "unet", 2)
    flat = replace(batch, image=torch.full((1, 1, 32, 48), 0.3), case_ids=("a",), origins=((0, 0, 0),))
    pretext = method.pretext(flat, generator_for(0, 0))
    losses = method.loss(model, pretext)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.requires_grad)
    assert torch.allclose(pretext.inputs, torch.tensor(0.3))
    assert method.output_views(model, pretext)


def test_a_patch_too_small_for_a_grid_is_refused():
    with pytest.raises(UserError, match="larger patches"):
        get_method("relative_location").pretext(scans(1, 1, 6, 40), generator_for(0, 0))


def test_learning_from_samples_that_were_never_seen():
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    spec = NetworkSpec(name="unet", dims=2, patch=(32, 32))
    method = get_method("rotation").on_network(spec)
    torch.manual_seed(0)
    model = method.build(build_network(spec))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    right = []
    for step in range(25):
        image = (rows + columns.square() * (columns > 0)) + 0.05 * torch.randn(16, 1, 32, 32)
        pretext = method.pretext(Batch(image, ("a",) * 16, ((5, 5, 5),) * 16), generator_for(0, step))
        losses = method.loss(model, pretext)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        right.append(losses.parts["accuracy"].item())
    assert sum(right[-5:]) / 5 > 0.6
