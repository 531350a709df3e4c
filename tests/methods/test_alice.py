from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.alice_losses import across_scans, both_crops, cosine_distance
from napari_ssl_seg.methods.alice_net import AliceOutput, Alignment, attend
from napari_ssl_seg.methods.base import Pretext
from napari_ssl_seg.methods.mae_net import fold_patches
from napari_ssl_seg.methods.mod_losses import ema_momentum
from napari_ssl_seg.methods.variants import expand_ablations, get_variant
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import batch_at, generator_for
from napari_ssl_seg.training.optimisation import make_optimizer
from napari_ssl_seg.training.settings import PretrainSettings, make_settings
from tests.methods.fakes import small_study
from tests.methods.small_alice import QUICK, SHAPES, built, made

PARTNERED = ("whole", "visible", "mask", "image", "mean", "deviation")


def swapped(pretext: Pretext) -> Pretext:
    """With first and second crops changed over."""
    targets = dict(pretext.targets)
    for name in PARTNERED:
        targets[name], targets[f"partner_{name}"] = targets[f"partner_{name}"], targets[name]
    inputs = targets["partner_inputs"]
    targets["partner_inputs"] = pretext.inputs
    return Pretext(inputs, targets)


# -- worked numbers --------------------------------------------------------------------------------------------------
def test_the_cosine_distance_by_hand():
    assert float(cosine_distance(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]))) == pytest.approx(0.5857864)
    assert float(cosine_distance(torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 0.0]))) == pytest.approx(4.0)
    target = torch.ones(3, requires_grad=True)
    assert not cosine_distance(torch.ones(3), target).requires_grad


def test_attention_by_hand():
    eye = torch.eye(2)[None]
    found, attention = attend(torch.tensor([[[1.0, 0.0]]]), eye, eye)
    assert attention[0, 0].tolist() == pytest.approx([0.6697615, 0.3302385])
    assert torch.equal(found, attention)


def test_the_terms_are_sums_of_both_crops_means():
    assert float(both_crops(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))) == 7.0
    # Two pairs; the summary of each first crop is compared with the target's of its own partner.
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert float(across_scans(student, student)) == 0.0
    assert float(across_scans(student, student[[1, 0, 3, 2]])) == pytest.approx(4.0)
    # A distance of means, not a mean of distances: (1, 1) / 2 against (1, 0).
    model, tokens = built(*made(predictor=False)[:2]), torch.eye(2).expand(2, 2, 2)
    target = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
    found = AliceOutput(tokens, tokens, tokens, target)
    assert float(across_scans(*model.summaries(found))) == pytest.approx(2 * 0.5857864)


def test_the_momentum_rises_to_one():
    start = get_method("alice").config.momentum
    assert [ema_momentum(start, progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.996, 0.998, 1.0])


def test_64_patches_leave_16_visible():
    image = torch.rand(1, 1, 128, 128)
    batch = Batch(image, ("a",), ((0, 0, 0),), partner=image.flip(3), partner_ids=("b",))
    pretext = get_method("alice").pretext(batch, generator_for(0, 0))
    assert pretext.stats == {"share_hidden": 0.75, "patches": 64.0, "visible_patches": 16.0}
    assert pretext.targets["visible"].shape == pretext.targets["partner_visible"].shape == (1, 16)
    assert not torch.equal(pretext.targets["visible"], pretext.targets["partner_visible"])


# -- the alignment module ----------------------------------------------------------------------------------------------
def aligned(seed: int = 0):
    torch.manual_seed(seed)
    return Alignment(12, 8), torch.randn(2, 3, 12), torch.randn(2, 6, 8)


def test_the_same_tokens_on_both_sides_leave_nothing_to_align():
    module, visible, tokens = aligned()
    said, _ = module(visible, tokens)
    wanted, _ = module(visible, tokens.clone())
    assert torch.equal(said, wanted)
    assert float(cosine_distance(said, wanted).abs().max().detach()) < 1e-6


def test_the_order_of_tokens_does_not_matter():
    module, visible, tokens = aligned()
    said, attention = module(visible, tokens)
    assert attention.shape == (2, 3, 6) and torch.allclose(attention.sum(dim=2), torch.ones(2, 3))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.allclose(module(visible, tokens[:, order])[0], said, atol=1e-6)
    rows = torch.tensor([2, 0, 1])
    assert torch.allclose(module(visible[:, rows], tokens)[0], said[:, rows], atol=1e-6)


# -- losses ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "patch"), SHAPES)
def test_both_crops_play_the_same_part(name, patch):
    method, spec, _, pretext = made(name, patch)
    model = built(method, spec)
    first, second = (method.loss(model, shown).parts for shown in (pretext, swapped(pretext)))
    assert {"restoration", "volume", "alignment"} < first.keys()
    for part in ("restoration", "volume", "alignment"):
        assert float(first[part].detach()) == pytest.approx(float(second[part].detach()), rel=1e-4)


def test_the_total_is_the_weighted_sum():
    method, spec, _, pretext = made(volume_weight=0.5, alignment_weight=2.0, restoration_weight=10.0)
    losses = method.loss(built(method, spec), pretext)
    parts = {name: float(value.detach()) for name, value in losses.parts.items()}
    expected = 10 * parts["restoration"] + 0.5 * parts["volume"] + 2 * parts["alignment"]
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert parts.keys() == {"restoration", "volume", "alignment", "spread", "rank"}


def test_visible_patches_do_not_count_for_the_restoration():
    method, spec, _, pretext = made()
    model = built(method, spec)
    found = method.outputs(model, pretext)
    loss = float(method.terms(model, found, pretext)["restoration"].detach())
    visible = torch.cat((pretext.targets["visible"], pretext.targets["partner_visible"]))
    seen = torch.zeros(found.restored.shape[:2], dtype=torch.bool).scatter(1, visible, True)
    for where, same in ((seen, True), (~seen, False)):
        other = replace(found, restored=torch.where(where.unsqueeze(2), 9.0, found.restored))
        assert (float(method.terms(model, other, pretext)["restoration"].detach()) == loss) == same


def test_the_restoration_by_hand():
    method, spec, _, pretext = made()
    model = built(method, spec)
    found = method.outputs(model, pretext)
    first, second = fold_patches(found.restored, (48, 32), 16).chunk(2)
    expected = sum(
        (said - pretext.targets[f"{prefix}image"])[pretext.targets[f"{prefix}mask"].unsqueeze(1)].square().mean()
        for prefix, said in (("", first), ("partner_", second))
    )
    assert float(method.terms(model, found, pretext)["restoration"].detach()) == pytest.approx(float(expected.detach()))


@pytest.mark.parametrize(("name", "patch"), SHAPES)
def test_the_encoder_sees_visible_patches_alone(name, patch):
    method, spec, batch, pretext = made(name, patch, channels=2)
    model = built(method, spec)
    said = method.outputs(model, pretext)
    hidden = pretext.targets["mask"].unsqueeze(1)
    assert torch.equal(pretext.inputs.masked_select(~hidden), batch.image.masked_select(~hidden))
    other = Pretext(torch.where(hidden, 7.0, pretext.inputs), pretext.targets)
    again = method.outputs(model, other)
    assert torch.equal(said.restored, again.restored) and torch.equal(said.student, again.student)
    # Of what the target encoder sees nothing is hidden, and the student gets nothing of it.
    whole = {**pretext.targets, "whole": torch.where(hidden, 7.0, pretext.targets["whole"])}
    changed = method.outputs(model, Pretext(pretext.inputs, whole))
    assert torch.equal(said.student, changed.student) and not torch.equal(said.target, changed.target)


@pytest.mark.parametrize(("name", "patch"), SHAPES[:1] + SHAPES[2:3])
def test_the_target_is_never_trained_and_follows_exactly(name, patch):
    method, spec, _, pretext = made(name, patch)
    model = built(method, spec).train()
    assert not model.target.training and not any(weight.requires_grad for weight in model.target.parameters())
    online = {
        **{f"encoder.{key}": weight for key, weight in model.encoder.named_parameters()},
        **{f"embed.{key}": weight for key, weight in model.decoder.embed.named_parameters()},
        **{f"head.{key}": weight for key, weight in model.head.named_parameters()},
    }
    assert {key for key, _ in model.target.named_parameters()} == online.keys()
    assert all(torch.equal(weight, online[key]) for key, weight in model.target.named_parameters())
    method.loss(model, pretext).total.backward()
    assert all(weight.grad is None for weight in model.target.parameters())
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
    with torch.no_grad():
        for weight in online.values():
            weight.add_(1.0)
    before = {key: weight.clone() for key, weight in model.target.named_parameters()}
    method.after_step(model, 50, 100)
    for key, weight in model.target.named_parameters():
        assert torch.allclose(weight, 0.998 * before[key] + 0.002 * online[key], atol=1e-6)


def test_the_predictor_is_on_the_student_s_side_alone():
    method, spec, _, pretext = made()
    model = built(method, spec)
    found = method.outputs(model, pretext)
    same = replace(found, target=found.student.detach())
    for part, fresh in (("volume", model.summaries), ("alignment", model.aligned)):
        said, wanted = fresh(same)
        assert said.shape == wanted.shape and not wanted.requires_grad and not torch.allclose(said, wanted)
        assert float(method.terms(model, same, pretext)[part].detach()) > 0
    plain = built(get_method("alice", QUICK | {"predictor": False}), spec)
    said, wanted = plain.aligned(same)
    assert torch.equal(said, wanted)
    assert float(method.terms(plain, same, pretext)["alignment"].detach()) == pytest.approx(0.0, abs=1e-5)
    assert not any("predictor" in name for name in plain.state_dict())


def test_a_pretraining_takes_the_method_s_own_rate_unless_told_otherwise():
    chosen = make_settings(PretrainSettings, {**get_method("alice").training})
    assert (chosen.beta2, chosen.learning_rate, chosen.weight_decay, chosen.clip_norm) == (0.95, 5e-4, 0.05, 3.0)
    optimizer = make_optimizer(torch.nn.Linear(2, 2), chosen)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.95)}


# -- ablations -----------------------------------------------------------------------------------------------------------
def test_the_ablations_leave_out_what_they_say():
    assert expand_ablations(["alice:ablation"])[-1] == "alice"
    wanted = {
        "alice:mae": (False, False, False),
        "alice:no_alignment": (True, True, False),
        "alice:no_volume": (True, False, True),
        "alice:unmatched": (True, True, True),
        "alice:no_predictor": (True, True, True),
        "alice": (True, True, True),
    }
    assert set(expand_ablations(["alice:ablation"])) == set(wanted)
    for text, (target, volume, alignment) in wanted.items():
        method = get_variant(text, QUICK)
        pretext, spec = made()[3], NetworkSpec(name="unetr", dims=2, patch=(48, 32))
        model = built(method, spec).train()
        losses = method.loss(model, pretext)
        assert (model.target is not None, "volume" in losses.parts, "alignment" in losses.parts) == (
            target,
            volume,
            alignment,
        )
        losses.total.backward()
        assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
        method.after_step(model, 0, 10)
        assert method.remarks(model) == ()
        assert method.output_views(model, pretext)
    with pytest.raises(UserError, match="nothing to learn"):
        get_variant("alice:mae", {"restoration_weight": 0})


def test_without_its_terms_it_is_a_masked_autoencoder_of_both_crops():
    method, spec, _, pretext = made(volume_weight=0, alignment_weight=0)
    model = built(method, spec)
    mae = get_method("mae", {"decoder_width": 48, "decoder_layers": 1})
    twin = mae.build(build_network(spec)).eval()
    twin.vit.load_state_dict(model.encoder.vit.state_dict())
    twin.load_state_dict(model.decoder.state_dict(), strict=False)
    total = 0.0
    for prefix, inputs in (("", pretext.inputs), ("partner_", pretext.targets["partner_inputs"])):
        own = {name: pretext.targets[prefix + name] for name in ("visible", "mask", "image", "mean", "deviation")}
        total += float(mae.loss(twin, Pretext(inputs, own)).total.detach())
    assert float(method.loss(model, pretext).total.detach()) == pytest.approx(total, rel=1e-6)


def test_unmatched_pairs_are_any_patches():
    method = get_variant("alice:unmatched", QUICK)
    study, spec = small_study(), NetworkSpec(name="unetr", dims=2, patch=(48, 32))
    prepared = method.prepare_slice(study, "case0", 3)
    assert prepared.matcher is None
    batch = batch_at(study, "case0", spec, method.needs, case_ids=list(study.scans), prepared=prepared)
    pretext = method.pretext(batch, generator_for(0, 0))
    names = [view.name for view in pretext.views]
    assert batch.matches == () and "match" not in names and {"scan", "partner", "around", "partner_box"} <= set(names)
    assert pretext.stats.keys() == {"share_hidden", "patches", "visible_patches"}


# -- fine-tuning -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "patch"), SHAPES)
def test_a_fine_tuning_starts_from_the_encoder(name, patch):
    method, spec, _, _ = made(name, patch)
    model = built(method, spec)
    handed_on = method.transfer(model)
    torch.manual_seed(1)
    target = build_network(spec).eval()
    own = target.state_dict()
    assert handed_on.keys() <= own.keys()
    prefix = "net.vit." if name == "unetr" else "net.swinViT."
    left = {key for key in own if key.startswith(prefix)} - handed_on.keys()
    assert left == {key for key in own if key.startswith("net.swinViT.layers4")}
    target.load_state_dict(handed_on, strict=False)
    # The encoder of whole crops is the network's own, token for token.
    image = torch.rand(2, 1, *patch)
    with torch.no_grad():
        tokens = target.tokens(target.encode(image)).flatten(2).transpose(1, 2)
        assert torch.allclose(model.encoder(image), tokens, atol=1e-5)
        everything = torch.arange(tokens.shape[1]).expand(2, -1)
        assert torch.allclose(model.encoder.masked(image, everything)[0], tokens, atol=1e-5)


def test_other_networks_are_refused():
    spec = NetworkSpec(dims=2, patch=(32, 32))
    with pytest.raises(UserError, match="use network unetr or swin_unetr"):
        get_method("alice").on_network(spec).build(build_network(spec))
    swin = NetworkSpec(name="swin_unetr", dims=2, patch=(64, 32))
    with pytest.raises(ValueError, match="on_network"):
        get_method("alice").build(build_network(swin))


# -- edges -----------------------------------------------------------------------------------------------------------------
def test_an_encoder_that_does_not_divide_the_patch():
    with pytest.raises(UserError, match="do not divide the patch 40x32 of unetr; use 32x32"):
        get_method("alice").on_network(NetworkSpec(name="unetr", dims=2, patch=(40, 32)))
    with pytest.raises(UserError, match="single token"):
        get_method("alice").on_network(NetworkSpec(name="unetr", dims=3, patch=(16, 16, 16)))
    image = torch.zeros(1, 1, 40, 32)
    with pytest.raises(UserError, match="do not divide"):
        get_method("alice").pretext(
            Batch(image, ("a",), ((0, 0, 0),), partner=image, partner_ids=("b",)), generator_for(0, 0)
        )
    with pytest.raises(ValueError, match="partners"):
        get_method("alice").pretext(Batch(image, ("a",), ((0, 0, 0),)), generator_for(0, 0))


@pytest.mark.parametrize(("name", "patch"), SHAPES[1:3])
def test_a_batch_of_one_trains(name, patch):
    method, spec, batch, pretext = made(name, patch, size=1)
    model = built(method, spec).train()
    losses = method.loss(model, pretext)
    losses.total.backward()
    assert len(batch.image) == 1 and torch.isfinite(losses.total)
    assert all(torch.isfinite(w.grad).all() for w in model.parameters() if w.requires_grad)


def test_a_crop_of_nothing_but_padding_gives_finite_losses():
    method, spec, batch, _ = made()
    flat = replace(batch, partner=torch.full_like(batch.partner, -1.0))
    losses = method.loss(built(method, spec), method.pretext(flat, generator_for(0, 0)))
    assert torch.isfinite(losses.total)
