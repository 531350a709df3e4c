"""The engine of siamese methods, and the methods that are made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.contrast import batch_loss, negative_cosine, nt_xent, queue_loss
from napari_ssl_seg.methods.moco import room_for
from napari_ssl_seg.methods.projection import Embedder, Head
from napari_ssl_seg.methods.siamese_net import Design, SiameseNet, found_again
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import generator_for, sample_batch
from tests.methods.fakes import FakeStudy, blobs, small_spec, small_study

METHODS = ("simclr", "moco", "byol", "simsiam")
SMALL = {
    "simclr": {},
    "moco": {"queue": 8},
    "byol": {"hidden": 32, "projection": 16},
    "simsiam": {"projection": 32, "bottleneck": 8},
}


def method(name: str, **settings):
    return get_method(name, SMALL[name] | settings)


def batch(dims: int = 2, size: int = 3, **options) -> Batch:
    study = small_study(**options)
    return sample_batch(study, list(study.scans), small_spec(dims), get_method("simclr").needs, size, 0, 0)


def of(image: torch.Tensor) -> Batch:
    return Batch(image, ("a",) * len(image), ((0, 0, 0),) * len(image))


def model_of(made, dims: int = 2, **spec) -> SiameseNet:
    torch.manual_seed(0)
    return made.build(build_network(small_spec(dims).model_copy(update=spec)))


def views(size: int = 3, dims: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (32, 32) if dims == 2 else (16, 16, 16)
    drawn = torch.randn(2, size, 1, *shape, generator=torch.Generator().manual_seed(seed))
    return drawn[0], drawn[1]


def pretext_of(made, patches: Batch | None = None, seed: int = 0):
    return made.pretext(batch() if patches is None else patches, generator_for(seed, 0))


# -- the embedder -----------------------------------------------------------------------------------------------------
def test_heads():
    backbone = build_network(small_spec(2))
    plain = Head((0,), 16).build(7, backbone)
    assert [type(layer).__name__ for layer in plain] == ["Linear", "ReLU", "Linear"]
    assert plain[0].out_features == backbone.bottleneck_features
    kinds = {}
    for dims in (2, 3):
        built = Head((8, 8), 4, "auto", last_norm=True).build(7, build_network(small_spec(dims)))
        kinds[dims] = [type(layer).__name__ for layer in built]
        assert not list(built[-1].parameters())
    assert kinds[2].count("VectorBatchNorm") == 3 and kinds[2][-1] == "VectorBatchNorm"
    assert kinds[3].count("LayerNorm") == 3


def test_instance_norm_gets_a_mean_for_each_quarter():
    for norm, width in (("instance", 4 * 128), ("batch", 128)):
        backbone = build_network(small_spec(2).model_copy(update={"options": {"norm": norm}}))
        encoder = Embedder(backbone, Head((), 16)).eval()
        assert encoder.head[0].in_features == width
    x = torch.randn(1, 1, 32, 32)
    means = encoder.backbone.encode(x)[-1].mean(dim=(2, 3))
    assert torch.allclose(encoder(x), encoder.head(means), atol=1e-6)


def test_batch_norm_takes_a_batch_of_one():
    head = Head((8,), 4, "batch").build(3, build_network(small_spec(2)))
    many = torch.randn(64, 3)
    for _ in range(200):
        head(many)
    assert torch.allclose(head(many[:1]), head.eval()(many[:1]), atol=1e-6)


# -- the designs against their losses ---------------------------------------------------------------------------------
def vectors(net: SiameseNet, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
    keys = net.key_encoder or net.encoder
    return [net.encoder(first), net.encoder(second), keys(first), keys(second)]


def test_simclr_is_nt_xent_of_both_projections():
    net = model_of(method("simclr"))
    first, second = views()
    ahead, behind, _, _ = vectors(net, first, second)
    assert torch.allclose(net(first, second)["loss"], nt_xent(ahead, behind, 0.5))
    assert net.key_encoder is None and net.queue is None


@pytest.mark.parametrize(("version", "temperature", "layers"), [("v1", 0.07, 1), ("v2", 0.2, 2)])
def test_moco_compares_with_the_queue(version, temperature, layers):
    net = model_of(method("moco", version=version))
    first, second = views()
    ahead, _, _, keys = vectors(net, first, second)
    wanted = queue_loss(F.normalize(ahead, dim=1), F.normalize(keys, dim=1), net.queue.keys, temperature)
    assert torch.allclose(net(first, second)["loss"], wanted)
    assert sum(isinstance(part, torch.nn.Linear) for part in net.encoder.head) == layers


def test_moco_without_a_queue_trains_one_encoder_by_both_views():
    net = model_of(method("moco", queue=0))
    first, second = views()
    ahead, behind, _, _ = vectors(net, first, second)
    wanted = batch_loss(F.normalize(ahead, dim=1), F.normalize(behind, dim=1), 0.2)
    assert torch.allclose(net(first, second)["loss"], wanted)
    assert net.key_encoder is None and net.queue is None


def test_byol_predicts_the_follower_both_ways():
    net = model_of(method("byol", head_norm="layer"))
    first, second = views()
    with torch.no_grad():
        for weight in net.key_encoder.parameters():
            weight.mul_(1.1)
    ahead, behind, key_of_first, key_of_second = vectors(net, first, second)
    there = 2 + 2 * negative_cosine(net.predictor(ahead), key_of_second)
    back = 2 + 2 * negative_cosine(net.predictor(behind), key_of_first)
    assert torch.allclose(net(first, second)["loss"], there + back)
    assert torch.allclose(net(first, second)["loss"], net(second, first)["loss"])


def test_simsiam_gives_the_target_no_gradient():
    """The gradient is that of a target which is a constant, and not that of the paper's ablation without the stop."""
    found = {}
    first, second = views()
    for stop in (True, False, "constant"):
        net = model_of(method("simsiam", head_norm="layer", stop_gradient=bool(stop)))
        ahead, behind = net.encoder(first), net.encoder(second)
        if stop == "constant":
            fixed = [torch.tensor(vector.tolist()) for vector in (ahead, behind)]
            loss = (
                negative_cosine(net.predictor(ahead), fixed[1]) + negative_cosine(net.predictor(behind), fixed[0])
            ) / 2
        else:
            loss = net(first, second)["loss"]
        loss.backward()
        found[stop] = loss.item(), torch.cat([w.grad.flatten() for w in net.encoder.parameters() if w.grad is not None])
    assert found[True][0] == pytest.approx(found["constant"][0], abs=1e-6)
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-6)
    assert torch.allclose(found[True][1], found["constant"][1], atol=1e-6)
    assert not torch.allclose(found[True][1], found[False][1], atol=1e-4)


def test_the_target_itself_gets_no_gradient():
    net = model_of(method("simsiam", head_norm="layer"))
    target = torch.randn(3, 32, requires_grad=True)
    keys = net._keys(views()[0], target)
    assert not keys.requires_grad
    net.compare(torch.randn(3, 32, requires_grad=True), keys).backward()
    assert target.grad is None


def test_found_again_by_hand():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    keys = torch.tensor([[2.0, 0.1], [3.0, 0.0], [1.0, 0.9]])
    assert float(found_again(queries, keys)) == pytest.approx(1 / 3)


# -- what follows -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "momenta"), [("moco", (0.9, 0.9, 0.9)), ("byol", (0.9, 0.95, 1.0))])
def test_the_key_encoder_follows_with_its_momentum(name, momenta):
    for step, momentum in zip((0, 5, 10), momenta, strict=True):
        net = model_of(method(name, momentum=0.9))
        before = {key: value.clone() for key, value in net.key_encoder.named_parameters()}
        with torch.no_grad():
            for weight in net.encoder.parameters():
                weight.add_(1.0)
        net.after_step(step, 10)
        leading = dict(net.encoder.named_parameters())
        for key, weight in net.key_encoder.named_parameters():
            assert torch.allclose(weight, momentum * before[key] + (1 - momentum) * leading[key], atol=1e-6)


def test_keys_are_made_without_gradients_and_enter_the_queue_after_the_step():
    net = model_of(method("moco", momentum=0.9))
    first, second = views(2)
    before = net.queue.keys.clone()
    net(first, second)["loss"].backward()
    assert not any(weight.requires_grad or weight.grad is not None for weight in net.key_encoder.parameters())
    assert all(weight.grad is not None for weight in net.encoder.parameters() if weight.requires_grad)
    assert torch.equal(net.queue.keys, before)
    with torch.no_grad():
        keys = F.normalize(net.key_encoder(second), dim=1)
        for weight in net.encoder.parameters():
            weight.add_(1.0)
    net.after_step(0, 10)
    assert torch.allclose(net.queue.keys[:2], keys, atol=1e-6)
    assert torch.equal(net.queue.keys[2:], before[2:])
    net.after_step(1, 10)
    assert int(net.queue.place) == 2


def test_looking_changes_nothing():
    net = model_of(method("moco")).eval()
    kept = {key: value.clone() for key, value in net.state_dict().items() if isinstance(value, torch.Tensor)}
    made = method("moco")
    pretext = pretext_of(made)
    made.loss(net, pretext)
    made.output_views(net, pretext)
    made.after_step(net, 0, 10)
    for key, value in net.state_dict().items():
        if isinstance(value, torch.Tensor) and not key.startswith("key_encoder"):
            assert torch.equal(value, kept[key])


@pytest.mark.parametrize("name", METHODS)
def test_all_of_it_travels_with_the_weights(name):
    net, other = (model_of(method(name)) for _ in range(2))
    for _ in range(2):
        net(*views())
        net.after_step(0, 10)
    other.load_state_dict(net.state_dict())
    for module in (net, other):
        module.eval()
    assert torch.equal(net(*views())["loss"], other(*views())["loss"])
    assert other.gauge.get_extra_state() == net.gauge.get_extra_state()


# -- the sample -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dims", [2, 3])
def test_crops_are_drawn_on_the_scan(dims):
    patches = batch(dims)
    pretext = pretext_of(method("simclr"), patches)
    shown = {view.name: view for view in pretext.views}
    assert shown["scan"].data is patches.image
    assert shown["first"].data is pretext.inputs and shown["second"].data is pretext.targets["second"]
    assert shown["crops"].over == "scan"
    boxes, sides = shown["crops"].data, torch.tensor(patches.image.shape[2:])
    assert boxes.shape == (3, 2, 2 * dims)
    assert (boxes[..., :dims] >= 0).all() and (boxes[..., dims:] <= sides + 1e-4).all()
    assert 0.5**dims <= pretext.stats["overlap"] <= 1.0
    assert pretext.stats["negatives"] == 4.0


def test_negatives_are_counted():
    counted = {name: pretext_of(method(name)).stats.get("negatives") for name in METHODS}
    assert counted == {"simclr": 4.0, "moco": 8.0, "byol": None, "simsiam": None}
    assert pretext_of(method("moco", queue=0)).stats["negatives"] == 2.0


def test_defaults_are_the_papers():
    assert method("simclr").config.temperature == 0.5
    byol, simsiam = get_method("byol").design(), get_method("simsiam").design()
    assert (byol.projector.hidden, byol.projector.out, byol.momentum, byol.rising) == ((4096,), 256, 0.996, True)
    assert (simsiam.projector.hidden, simsiam.projector.out, simsiam.predictor.hidden) == ((2048, 2048), 2048, (512,))
    moco = get_method("moco").config
    assert (moco.momentum, moco.projection, moco.version) == (0.999, 128, "v2")


# -- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_one(name, dims):
    made = method(name)
    net, pretext = model_of(made, dims), pretext_of(made, batch(dims, 1))
    for step in range(2):
        losses = made.loss(net, pretext)
        losses.total.backward()
        made.after_step(net, step, 2)
        assert torch.isfinite(losses.total.detach())
    assert all(weight.grad.isfinite().all() for weight in net.parameters() if weight.requires_grad)
    assert any("batch of one" in remark for remark in made.remarks(net)) == (name == "simclr")
    assert made.output_views(net.eval(), pretext)


def test_a_batch_of_one_without_a_queue_is_said_and_learns_nothing():
    made = method("moco", queue=0)
    net = model_of(made)
    assert made.loss(net, pretext_of(made, batch(2, 1))).total.item() == 0.0
    assert "larger batch" in made.remarks(net)[0]
    made.loss(net, pretext_of(made, batch(2, 2)))
    assert made.remarks(net) == ()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_constant_patches(name, dims):
    made = method(name, **({"head_norm": "layer"} if "head_norm" in get_method(name).config.model_dump() else {}))
    shape = (32, 32) if dims == 2 else (16, 16, 16)
    net, pretext = model_of(made, dims), pretext_of(made, of(torch.full((2, 1, *shape), -1.0)))
    losses = made.loss(net, pretext)
    losses.total.backward()
    assert torch.isfinite(losses.total.detach())
    assert all(weight.grad.isfinite().all() for weight in net.parameters() if weight.requires_grad)
    assert float(losses.parts["spread"]) == pytest.approx(0.0, abs=1e-3)
    assert all(
        torch.isfinite(view.data).all() for view in made.output_views(net.eval(), pretext) if view.kind == "matrix"
    )


@pytest.mark.parametrize("shape", [(40, 24), (17, 33)])
@pytest.mark.parametrize("name", METHODS)
def test_sizes_that_the_stride_does_not_divide(name, shape):
    made = method(name)
    losses = made.loss(model_of(made), pretext_of(made, of(torch.randn(2, 1, *shape))))
    assert torch.isfinite(losses.total.detach())


def test_a_network_that_takes_multiples_alone_says_so():
    made = method("simclr")
    spec = NetworkSpec(name="dynunet", dims=2, patch=(32, 32), preset="small")
    net = made.build(build_network(spec))
    with pytest.raises(UserError, match="multiples"):
        made.loss(net, pretext_of(made, of(torch.randn(2, 1, 30, 30))))


def test_a_patch_that_sticks_out_of_its_scan():
    """A scan smaller than the patch is padded; crops of the padding are views as any other."""
    study = FakeStudy({"small": blobs(0, (3, 12, 10))})
    patches = sample_batch(study, ["small"], small_spec(3), get_method("byol").needs, 2, 0, 0)
    assert min(patches.origins[0]) < 0
    made = method("byol")
    losses = made.loss(model_of(made, 3), pretext_of(made, patches))
    assert torch.isfinite(losses.total.detach())


# -- other networks ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("network", ["dynunet", "unetr", "swin_unetr"])
def test_other_networks_hand_on_their_encoder(network):
    side = 64 if network == "swin_unetr" else 32
    spec = NetworkSpec(name=network, dims=2, patch=(side, side), preset="small")
    made = method("simsiam").on_network(spec)
    torch.manual_seed(0)
    net = made.build(build_network(spec))
    losses = made.loss(net, made.pretext(of(torch.randn(2, 1, side, side)), generator_for(0, 0)))
    losses.total.backward()
    assert all(weight.grad is not None for weight in net.parameters() if weight.requires_grad)
    handed, target = made.transfer(net), build_network(spec).state_dict()
    assert handed and handed.keys() < target.keys()
    trained = {name for name, weight in net.backbone.named_parameters() if weight.requires_grad}
    assert trained <= handed.keys()


# -- MoCo's queue -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("shape", "patch", "room"),
    [
        ((20, 40, 36), (32, 32), 20),
        ((20, 64, 70), (32, 32), 80),
        ((20, 40, 36), (16, 32, 32), 1),
        ((4, 8, 8), (16, 16, 16), 1),
    ],
)
def test_room_for_patches(shape, patch, room):
    assert room_for(shape, patch) == room


def test_the_queue_holds_at_most_half_of_the_patches():
    study = small_study()
    for dims, length in ((2, 40), (3, 2)):
        made = get_method("moco").on_network(small_spec(dims))
        events = made.prepare(study, list(study.scans))
        with pytest.raises(StopIteration) as end:
            next(events)
        prepared = end.value.value
        assert prepared.method.config.queue == prepared.facts["queue"] == length
        assert prepared.warnings == ()
        assert made.prepare_slice(study, "case0", 0).method.config.queue == length
    one = get_method("moco").on_network(small_spec(3))
    with pytest.raises(StopIteration) as end:
        next(one.prepare(study, ["case0"]))
    assert end.value.value.method.config.queue == 0
    assert "batch alone" in end.value.value.warnings[0]


# -- it learns --------------------------------------------------------------------------------------------------------
def test_without_the_stop_gradient_simsiam_collapses_and_says_so():
    """The paper's section 4.1: spread falls to 0, and the remark comes; the loss reaches its minimum at once."""
    torch.manual_seed(0)
    made = method("simsiam", stop_gradient=False, head_norm="none", chance=0.0)
    net = SiameseNet(build_network(small_spec(2)), replace(made.design(), predictor=None))
    optimizer = torch.optim.Adam([weight for weight in net.parameters() if weight.requires_grad], lr=3e-3)
    first, second = (view[..., :16, :16] for view in views(8))
    for step in range(130):
        parts = net(first, second)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        net.after_step(step, 130)
    assert float(parts["spread"]) < 0.1
    assert any("collapsed" in remark for remark in net.remarks())


def test_an_inspected_sample_keeps_its_settings_but_for_the_shape_of_the_model():
    asked = method("byol", crop=0.9).fitted_to(method("byol", hidden=64, momentum=0.5))
    assert (asked.config.hidden, asked.config.crop, asked.config.momentum) == (64, 0.9, 0.996)


def test_designs_say_what_needs_a_batch():
    head = Head((), 4)
    assert Design("x", head, "nt_xent").needs_batch
    assert Design("x", head, "info_nce").needs_batch
    assert not Design("x", head, "info_nce", queue=4).needs_batch
    assert not Design("x", head, "cosine").needs_batch
