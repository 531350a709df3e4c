from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.lrc_net import global_method
from napari_ssl_seg.methods.lrc_preparation import queue_length
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import generator_for, sample_batch
from napari_ssl_seg.pretext.crop import OUTSIDE
from tests.methods.fakes import fake_prepared, grid_regions, small_spec, small_study


def method(**settings):
    return get_method("lrc", {"queue": 16} | settings)


def batch(size: int = 3, **options) -> Batch:
    study, lrc = small_study(**options), method()
    prepared = fake_prepared(lrc, study)
    return sample_batch(study, list(study.scans), small_spec(2), lrc.needs, size, 0, 0, prepared=prepared)


def pretext_of(lrc, patches: Batch | None = None, seed: int = 0):
    return lrc.pretext(batch() if patches is None else patches, generator_for(seed, 0))


def model_of(lrc, seed: int = 0, **spec):
    torch.manual_seed(seed)
    return lrc.build(build_network(small_spec(2).model_copy(update=spec)))


def with_regions(regions: torch.Tensor) -> Batch:
    image = torch.randn(len(regions), 1, *regions.shape[1:], generator=torch.Generator().manual_seed(0))
    return Batch(image, ("a",) * len(regions), ((0, 0, 0),) * len(regions), regions=regions)


# -- the sample -------------------------------------------------------------------------------------------------------
def test_the_network_sees_the_scan_as_it_is():
    patches = batch()
    pretext = pretext_of(method(), patches)
    assert pretext.inputs is patches.image
    assert not torch.equal(pretext.targets["warped"], patches.image)


def test_points_lie_in_their_region_in_both_views():
    pretext = pretext_of(method(points=7))
    targets = pretext.targets
    for regions, points in (("regions", "points"), ("warped_regions", "warped_points")):
        assert targets[points].shape == (*targets["ids"].shape, 7)
        for image, ids, places in zip(targets[regions], targets["ids"], targets[points], strict=True):
            for number, of_region in zip(ids.tolist(), places, strict=True):
                if number:
                    assert (image.flatten()[of_region] == number).all()
    shown = {view.name: view.data for view in pretext.views}
    assert shown["points"].shape == (3, targets["ids"].shape[1] * 7, 2)
    y, x = shown["points"][0, 0].long().tolist()
    assert targets["regions"][0, y, x] == targets["ids"][0, 0]


def test_image_and_regions_are_warped_by_one_field():
    regions = torch.from_numpy(grid_regions((2, 32, 32)).astype("int64"))
    patches = replace(with_regions(regions), image=regions.unsqueeze(1).float())
    targets = pretext_of(method(), patches).targets
    nearest = targets["warped"][:, 0].round().long()
    assert (nearest != targets["regions"]).float().mean() > 0.02
    off_borders = (targets["warped"][:, 0] - nearest).abs() < 1e-3
    assert off_borders.float().mean() > 0.5
    # Between regions 1 and 3 a mixture may be 2.
    assert (nearest == targets["warped_regions"])[off_borders].float().mean() > 0.99


def test_padding_and_background_are_in_no_region():
    regions = torch.from_numpy(grid_regions((1, 32, 32)).astype("int64")).clone()
    regions[:, :, :8] = OUTSIDE
    pretext = pretext_of(method(), with_regions(regions))
    for name in ("points", "warped_points"):
        at = pretext.targets["regions" if name == "points" else "warped_regions"].flatten(1)
        places = pretext.targets[name].flatten(1)
        assert (at.gather(1, places.clamp(min=0))[places >= 0] > 0).all()
    assert all(view.data.min() >= 0 for view in pretext.views if view.kind == "labels")


def test_regions_lost_in_the_warp_are_dropped_and_counted():
    regions = torch.ones(1, 32, 32, dtype=torch.int64)
    regions[:, :, 16:] = 2
    regions[0, 5, 5] = 3
    lrc = method(displacement=0.1)
    for seed in range(50):
        pretext = pretext_of(lrc, with_regions(regions), seed)
        if not (pretext.targets["warped_regions"] == 3).any():
            break
    else:
        pytest.fail("one pixel survived 50 warps")
    assert pretext.targets["ids"].tolist() == [[1, 2]]
    assert (pretext.stats["regions"], pretext.stats["regions_lost"]) == (2.0, 1.0)
    dropped = next(view.data for view in pretext.views if view.name == "dropped")
    assert dropped.nonzero().tolist() == [[0, 5, 5]]


def test_more_regions_than_allowed_are_cut():
    pretext = pretext_of(method(max_regions=5))
    assert pretext.targets["ids"].shape == (3, 5)
    assert pretext.stats["regions"] == 5
    assert pretext.stats["regions_beyond_limit"] > 0


def test_displacement_is_what_was_asked_for():
    for share, pixels in ((0.0, 0.0), (0.1, 3.2)):
        pretext = pretext_of(method(displacement=share))
        assert pretext.stats["largest_displacement"] == pytest.approx(pixels, rel=1e-4)
    still = pretext_of(method(displacement=0.0))
    assert torch.allclose(still.targets["warped"], still.inputs, atol=1e-4)
    assert torch.equal(still.targets["warped_regions"], still.targets["regions"])


def test_jitter_changes_contrast_and_brightness_alone():
    patches = batch()
    plain, changed = (pretext_of(method(jitter=amount), patches).targets["warped"] for amount in (0.0, 0.3))
    for one, other in zip(plain, changed, strict=True):
        both = torch.stack((one.flatten(), other.flatten()))
        assert torch.corrcoef(both)[0, 1] > 0.9999
        assert 0.7 <= float(other.std() / one.std()) <= 1.3
        assert (other.mean() - one.mean()).abs() <= 0.3


def test_a_batch_without_regions_is_refused():
    patches = replace(batch(), regions=None)
    with pytest.raises(ValueError, match="regions"):
        pretext_of(method(), patches)


# -- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("regions", "counts"),
    [
        (torch.zeros(2, 32, 32, dtype=torch.int64), [0, 0]),
        (torch.full((2, 32, 32), OUTSIDE), [0, 0]),
        (torch.ones(2, 32, 32, dtype=torch.int64), [1, 1]),
        (torch.stack((torch.ones(32, 32), torch.arange(1024).view(32, 32) // 256 + 1)).long(), [1, 4]),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"global_contrast": "none"}, {"points": 0}])
def test_training_goes_on_whatever_the_regions_are(regions, counts, settings):
    lrc = method(**settings)
    net, pretext = model_of(lrc), pretext_of(lrc, with_regions(regions))
    assert (pretext.targets["ids"] > 0).sum(dim=1).tolist() == counts
    assert pretext.stats["images_without_contrast"] == sum(count < 2 for count in counts)
    losses = lrc.loss(net, pretext)
    losses.total.backward()
    lrc.after_step(net, 0, 1)
    assert torch.isfinite(losses.total.detach())
    assert (losses.parts["local"].item() == 0.0) == (max(counts) < 2)
    assert all(w.grad is not None and w.grad.isfinite().all() for w in net.parameters() if w.requires_grad)
    assert lrc.output_views(net.eval(), pretext)


def test_a_constant_scan():
    regions = torch.from_numpy(grid_regions((2, 32, 32)).astype("int64"))
    patches = replace(with_regions(regions), image=torch.zeros(2, 1, 32, 32))
    lrc = method()
    losses = lrc.loss(model_of(lrc), pretext_of(lrc, patches))
    losses.total.backward()
    assert torch.isfinite(losses.total.detach())


def test_a_batch_of_one_says_that_it_has_no_negatives():
    patches = batch(1)
    for queue, negatives in ((0, 0.0), (16, 16.0)):
        lrc = method(queue=queue)
        pretext = pretext_of(lrc, patches)
        assert pretext.stats["global_negatives"] == negatives
        loss = lrc.loss(model_of(lrc), pretext).parts["global"].item()
        assert (loss == 0.0) == (queue == 0)


def test_sizes_that_are_no_multiple_of_16():
    lrc = method()
    regions = torch.from_numpy(grid_regions((2, 40, 24)).astype("int64"))
    assert torch.isfinite(lrc.loss(model_of(lrc), pretext_of(lrc, with_regions(regions))).total.detach())


# -- the model --------------------------------------------------------------------------------------------------------
def test_the_branches_share_nothing_and_train_as_if_alone():
    """With Adam and no shortening of gradients, one run of both gives the weights of two runs."""
    patches, after = batch(), {}
    for name, settings in {"both": {}, "local": {"global_contrast": "none"}}.items():
        lrc = method(**settings)
        net = model_of(lrc)
        optimizer = torch.optim.Adam([weight for weight in net.parameters() if weight.requires_grad], lr=1e-3)
        for step in range(3):
            losses = lrc.loss(net, lrc.pretext(patches, generator_for(0, step)))
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
            lrc.after_step(net, step, 3)
        after[name] = net.local.state_dict()
    assert after["both"].keys() == after["local"].keys()
    for name, weight in after["both"].items():
        assert torch.allclose(weight, after["local"][name], atol=1e-5), name


def test_the_total_is_the_sum_of_the_two():
    lrc = method()
    losses = lrc.loss(model_of(lrc), pretext_of(lrc))
    assert torch.allclose(losses.total, losses.parts["local"] + losses.parts["global"])
    assert 0 <= losses.parts["top1"].item() <= 1


def test_all_pixels_instead_of_points():
    patches, lrc = batch(), method(points=0)
    whole = lrc.loss(model_of(lrc), pretext_of(lrc, patches)).parts["local"].item()
    many = method(points=2000)
    sampled = many.loss(model_of(many), pretext_of(many, patches)).parts["local"].item()
    assert sampled == pytest.approx(whole, rel=0.02)
    assert next(view for view in pretext_of(lrc, patches).views if view.name == "points").data.shape == (3, 0, 2)


def test_outputs_are_shown():
    lrc = method()
    pretext = pretext_of(lrc)
    views = {view.name: view for view in lrc.output_views(model_of(lrc).eval(), pretext)}
    count = int((pretext.targets["ids"][0] > 0).sum())
    assert views["similarity"].data.shape == (count, count)
    assert views["similarity"].data.abs().max() <= 1 + 1e-5
    clusters, inside = views["clusters"].data, pretext.targets["regions"] > 0
    assert torch.equal(clusters > 0, inside)
    assert int(clusters[0].max()) <= count
    best = views["similarity"].data.argmax(dim=1)
    found = (best == torch.arange(count)).float().mean()
    assert views["retrieval"].data["found again (top-1)"] == pytest.approx(found.item())


# -- what is handed on ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["unet", "unet_pair"])
@pytest.mark.parametrize("settings", [{}, {"features": 16}, {"global_contrast": "none"}])
def test_fine_tuning_starts_from_the_pretrained_parts_bit_for_bit(name, settings):
    lrc = method(**settings)
    spec = NetworkSpec(name=name, patch=(32, 32))
    torch.manual_seed(0)
    net = lrc.build(build_network(spec))
    handed = lrc.transfer(net)
    torch.manual_seed(1)
    segmentation = build_network(lrc.finetuning_spec(spec), 3)
    fresh = {tensor: value.clone() for tensor, value in segmentation.backbone.state_dict().items()}
    segmentation.backbone.load_state_dict({**fresh, **handed})
    local = segmentation.backbone.local.state_dict()
    assert all(torch.equal(value, local[tensor]) for tensor, value in net.local.state_dict().items())
    parts = {tensor.split(".")[0] + "." + tensor.split(".")[2] for tensor in handed if "project" not in tensor}
    trained = {"local.encoder", "local.decoder", "local.narrow"}
    if "global_contrast" not in settings:
        trained.add("global_.encoder")
        encoder = net.global_contrast.encoder.backbone.state_dict()
        assert all(torch.equal(v, segmentation.backbone.global_.unet.state_dict()[k]) for k, v in encoder.items())
    assert parts == trained
    assert not any(tensor.startswith(("global_.project", "global_.unet.decoder")) for tensor in handed)
    x = torch.randn(2, 1, 32, 32)
    torch.nn.functional.cross_entropy(segmentation(x), torch.randint(0, 3, (2, 32, 32))).backward()
    for part in ("local.unet.encoder", "local.unet.decoder", "global_.unet.encoder", "global_.unet.decoder"):
        weights = list(segmentation.backbone.get_submodule(part).parameters())
        assert all(weight.grad is not None for weight in weights)
        assert any(weight.grad.abs().max() > 0 for weight in weights)


def test_a_resnet_is_handed_on_without_its_decoder():
    lrc = method(global_encoder="resnet50")
    net, pretext = model_of(lrc), pretext_of(lrc, batch(2))
    lrc.loss(net, pretext).total.backward()
    assert all(weight.grad is not None for weight in net.parameters() if weight.requires_grad)
    handed = lrc.transfer(net)
    spec = lrc.finetuning_spec(small_spec(2))
    assert spec.options == {"global_encoder": "resnet50"}
    target = build_network(spec).state_dict()
    encoder = {name for name in target if name.startswith("global_.unet.net.encoder.")}
    assert encoder and {name for name in handed if name.startswith("global_")} == encoder
    assert all(tensor.shape == target[name].shape for name, tensor in handed.items())
    back = method(global_encoder="unet").finetuning_spec(spec)
    assert back.options["global_encoder"] == "unet"


def test_the_pair_keeps_preset_patch_and_options():
    spec = NetworkSpec(patch=(32, 48), preset="standard", in_channels=2, options={"channels": (8, 16)})
    paired = method().finetuning_spec(spec)
    assert paired == spec.model_copy(update={"name": "unet_pair"})
    assert method().finetuning_spec(paired) == paired
    assert method(features=32).finetuning_spec(paired).options["features"] == 32


def test_other_networks_are_refused():
    with pytest.raises(UserError, match="unet_pair"):
        method().build(torch.nn.Conv2d(1, 1, 1))


def test_an_inspected_sample_keeps_its_settings_but_for_the_shape_of_the_model():
    asked = method(queue=0, points=3, features=8).fitted_to(method(features=32, moco="v2", points=9))
    assert (asked.config.points, asked.config.features, asked.config.queue, asked.config.moco) == (3, 32, 16, "v2")


def test_temperatures_belong_to_the_version():
    designs = [
        global_method(method(**settings).config).design()
        for settings in ({}, {"moco": "v2"}, {"global_contrast": "simclr"})
    ]
    assert [design.temperature for design in designs] == [0.07, 0.2, 0.5]
    assert global_method(method(moco="v2", global_temperature=0.5).config).design().temperature == 0.5


@pytest.mark.parametrize(
    ("wanted", "slices", "length"),
    [(4096, 100_000, 4096), (4096, 1000, 496), (4096, 31, 0), (4096, 32, 16), (64, 1000, 64), (0, 1000, 0)],
)
def test_the_queue_holds_at_most_half_of_the_slices(wanted, slices, length):
    assert queue_length(wanted, slices) == length
    assert queue_length(length, slices) == length


def test_the_paper_s_source_is_the_default():
    assert method().config.source == "felzenszwalb"


# -- other global branches, and the control ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["simclr", "byol", "simsiam", "moco_v3", "densecl", "dino"])
def test_the_global_branch_takes_other_methods(name):
    lrc = method(global_contrast=name)
    net, pretext = model_of(lrc), pretext_of(lrc)
    before = {key: value.clone() for key, value in net.global_contrast.state_dict().items() if key.startswith("key_")}
    losses = lrc.loss(net, pretext)
    assert torch.allclose(losses.total, losses.parts["local"] + losses.parts["global"])
    assert {"global_spread", "global_rank"} <= losses.parts.keys()
    losses.total.backward()
    held = {"global_contrast.encoder.head.prototypes"} if name == "dino" else set()
    assert {key for key, weight in net.named_parameters() if weight.requires_grad and weight.grad is None} == held
    with torch.no_grad():
        for weight in net.global_contrast.encoder.parameters():
            weight.add_(1.0)
    lrc.after_step(net, 0, 10)
    after = net.global_contrast.state_dict()
    assert bool(before) == (name not in ("simclr", "simsiam"))
    assert all(
        not torch.equal(value, after[key]) for key, value in before.items() if "weight" in key and "dense" not in key
    )
    own = get_method(name).design()
    design = net.global_contrast.design
    assert (design.objective, design.predictor, design.momentum) == (own.objective, own.predictor, own.momentum)


def test_the_control_has_as_many_weights_and_two_encoders_that_learn_alone():
    control = method(local_contrast="global")
    net, pretext = model_of(control), pretext_of(control)
    losses = control.loss(net, pretext)
    assert torch.allclose(losses.total, losses.parts["local"] + losses.parts["global"])
    losses.total.backward()
    assert all(weight.grad is not None for weight in net.parameters() if weight.requires_grad)
    first, second = (contrast.backbone.encoder[0][0].weight for contrast in net.contrasts.values())
    assert not torch.equal(first, second)
    control.after_step(net, 0, 2)
    assert all(int(contrast.queue.place) == len(pretext.inputs) for contrast in net.contrasts.values())
    handed, spec = control.transfer(net), control.finetuning_spec(small_spec(2))
    assert spec == method().finetuning_spec(small_spec(2))
    target = build_network(spec).state_dict()
    encoders = {name for name in target if name.startswith(("local.unet.encoder", "global_.unet.encoder"))}
    assert handed.keys() == encoders
    assert all(tensor.shape == target[name].shape for name, tensor in handed.items())
    views = control.output_views(net.eval(), pretext)
    assert views[0].data.shape == (len(pretext.inputs),) * 2


def test_the_control_of_nothing_is_refused():
    with pytest.raises(UserError, match="learns nothing"):
        method(local_contrast="global", global_contrast="none")
