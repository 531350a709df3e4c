from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.networks.tokens import encoder_weights
from napari_ssl_seg.pretext import generator_for
from napari_ssl_seg.pretext.turning import turned

PATCHES = {("swin_unetr", 2): (64, 64), ("unet", 3): (16, 32, 32), ("unetr", 2): (32, 48)}


SMALL = {
    "unetr": {"feature_size": 4, "hidden_size": 48, "mlp_dim": 48, "heads": 4},
    "swin_unetr": {"feature_size": 12},
}


def scans(*shape: int) -> Batch:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(image, ("a",) * shape[0], ((5, 5, 5),) * shape[0])


def made(network: str = "unet", dims: int = 2, batch: int = 3, **settings):
    patch = PATCHES.get((network, dims), (32, 48))
    spec = NetworkSpec(name=network, dims=dims, patch=patch, options=SMALL.get(network, {}))
    method = get_method("swin_unetr_pretext", {"features": 32, **settings}).on_network(spec)
    torch.manual_seed(0)
    return method, method.build(build_network(spec)), scans(batch, 1, *patch), spec


def test_swin_unetr_is_what_it_is_for():
    assert get_method("swin_unetr_pretext").networks[0] == "swin_unetr"


@pytest.mark.parametrize(("network", "dims"), PATCHES)
@torch.no_grad()
def test_the_loss_is_the_sum_of_its_three_parts(network, dims):
    method, model, batch, _ = made(network, dims)
    pretext = method.pretext(batch, generator_for(0, 0))
    losses = method.loss(model, pretext)
    three = [losses.parts[name] for name in ("inpainting", "rotation", "contrast")]
    assert float(losses.total) == pytest.approx(sum(float(part) for part in three), rel=1e-6)
    # Each by hand.
    found, targets = method.outputs(model, pretext), pretext.targets
    error = torch.stack(
        [
            (targets[name] - mine).abs().mean()
            for name, mine in zip(("image", "second_image"), found.restored, strict=True)
        ]
    )
    assert float(three[0]) == pytest.approx(float(error.mean()), rel=1e-5)
    said = torch.cat(found.turns).softmax(dim=1)
    right = said[torch.arange(6), torch.cat((targets["turns"], targets["second_turns"]))]
    assert float(three[1]) == pytest.approx(float(-right.log().mean()), rel=1e-5)
    unit = torch.nn.functional.normalize(torch.cat(found.embeddings), dim=1)
    likes = (unit @ unit.T / 0.5).exp()
    terms = [-(likes[n, (n + 3) % 6] / (likes[n].sum() - likes[n, n])).log() for n in range(6)]
    assert float(three[2]) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-4)


@torch.no_grad()
def test_weights_switch_parts_off():
    method, model, batch, _ = made()
    pretext = method.pretext(batch, generator_for(0, 0))
    parts = method.loss(model, pretext).parts
    for name, settings in method.variants.items():
        alone = get_method("swin_unetr_pretext", {"features": 32, **settings})
        assert float(alone.loss(model, pretext).total) == pytest.approx(float(parts[name]), rel=1e-6)


@torch.no_grad()
def test_who_can_tell_nothing_pays_log_4_and_log_of_the_other_views():
    method, model, batch, _ = made()
    for head in (model.turn, model.embed):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.ones_(head.bias)
    parts = method.loss(model, method.pretext(batch, generator_for(0, 0))).parts
    assert float(parts["rotation"]) == pytest.approx(math.log(4), abs=1e-6)
    assert float(parts["contrast"]) == pytest.approx(math.log(5), abs=1e-5)


@pytest.mark.parametrize("foreign", [False, True])
def test_views_are_turned_and_cut_copies_of_the_patch(foreign):
    method, _, batch, _ = made(foreign=foreign)
    pretext = method.pretext(batch, generator_for(0, 0))
    targets = pretext.targets
    for whole, cut, mask, turns in (
        ("image", pretext.inputs, "mask", "turns"),
        ("second_image", targets["second"], "second_mask", "second_turns"),
    ):
        back = turned(targets[whole], -targets[turns])
        middle = (..., slice(0, 32), slice(8, 40))
        assert torch.equal(back[middle], batch.image[middle])
        visible = ~targets[mask].unsqueeze(1)
        assert torch.equal(cut[visible], targets[whole][visible])
        assert not torch.equal(cut[~visible], targets[whole][~visible])
    assert not torch.equal(targets["mask"], targets["second_mask"])
    assert pretext.stats["share_cut_out"] < (0.66 if foreign else 0.36)
    assert pretext.stats["negatives"] == 4.0


def test_another_patch_shows_through_where_that_is_asked_for():
    method, _, batch, _ = made(foreign=True, cutout=0.9)
    flat = replace(batch, image=torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 32, 48).clone())
    pretext = method.pretext(flat, generator_for(0, 0))
    # Noise within a constant patch's range is the patch: what differs is another one.
    for sample in range(3):
        assert set(pretext.inputs[sample].unique().tolist()) <= {0.0, 1.0, 2.0}
    assert len(pretext.inputs[0].unique()) > 1
    alone = replace(batch, image=batch.image[:1], case_ids=("a",), origins=batch.origins[:1])
    assert method.pretext(alone, generator_for(0, 0)).stats["negatives"] == 0.0


@pytest.mark.parametrize(("network", "dims"), PATCHES)
@pytest.mark.parametrize("restore", ["encoder", "network"])
def test_what_is_handed_on(network, dims, restore):
    method, model, batch, spec = made(network, dims, batch=2, restore=restore)
    method.loss(model, method.pretext(batch, generator_for(0, 0))).total.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
    fresh = build_network(spec)
    handed_on = method.transfer(model)
    expected = encoder_weights(fresh) if restore == "encoder" else fresh.state_dict().keys()
    assert handed_on.keys() == expected
    assert not fresh.load_state_dict(handed_on, strict=False).unexpected_keys


def test_a_batch_of_one_and_a_constant_image():
    method, model, batch, _ = made(batch=1)
    flat = replace(batch, image=torch.full_like(batch.image, 0.3))
    for one in (batch, flat):
        pretext = method.pretext(one, generator_for(0, 0))
        losses = method.loss(model, pretext)
        losses.total.backward()
        assert losses.parts["contrast"].item() == pytest.approx(0.0, abs=1e-6)  # nobody to tell it from
        assert losses.total.isfinite()
        assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.requires_grad)
        names = [view.name for view in method.output_views(model, pretext)]
        assert names == ["restored", "pasted", "error", "answer", "alike"]
    assert torch.equal(pretext.inputs, flat.image)


def test_the_settings_that_shape_the_model_are_the_runs():
    asked, trained = (
        get_method("swin_unetr_pretext", {"cutout": 0.1}),
        get_method("swin_unetr_pretext", {"features": 64}),
    )
    fitted = asked.fitted_to(trained)
    assert (fitted.config.cutout, fitted.config.features) == (0.1, 64)
