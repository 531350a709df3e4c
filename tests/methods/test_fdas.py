"""FDAS's sample and its loss; the arithmetic of each is tested with the building blocks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_ssl_seg.methods import Batch, get_method
from napari_ssl_seg.methods.fdas import FDAS
from napari_ssl_seg.methods.fdas_views import area_curve, histogram_curve
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import generator_for
from tests.methods.fakes import small_spec

SHAPE = (32, 32)
NAMES = ("first", "second", "third", "fourth", "fifth", "sixth")


def stripes(count: int, shape=SHAPE) -> torch.Tensor:
    """Regions 1..count by descending area: columns that get narrower."""
    edges = np.cumsum(np.arange(count, 0, -1)) / (count * (count + 1) / 2) * shape[1]
    columns = torch.from_numpy(np.searchsorted(edges, np.arange(shape[1]), side="right").clip(max=count - 1) + 1)
    return columns.expand(shape).clone()


def batch_of(*regions: torch.Tensor, channels: int = 1, seed: int = 0) -> Batch:
    count = len(regions)
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, channels, *regions[0].shape, generator=generator) * 2 - 1
    return Batch(image, NAMES[:count], ((0, 0, 0),) * count, regions=torch.stack(regions))


def views_of(pretext) -> dict:
    return {view.name: view for view in pretext.views}


def fdas(**settings) -> FDAS:
    method = get_method("fdas", {"channels": 5, **settings})
    assert isinstance(method, FDAS)
    return method


def spread(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return mask.unsqueeze(1).expand_as(like)


@pytest.mark.parametrize("channels", [1, 3])
def test_kept_is_the_scan_and_the_rest_the_donor(channels):
    batch = batch_of(*(stripes(5) for _ in range(4)), channels=channels)
    pretext = fdas().pretext(batch, generator_for(0, 0))
    kept, views = pretext.targets["kept"], views_of(pretext)
    donor, everywhere = views["donor"].data, spread(kept, batch.image)
    assert torch.equal(pretext.inputs[everywhere], batch.image[everywhere])
    assert torch.equal(pretext.inputs[~everywhere], donor[~everywhere])
    for index in range(4):
        sources = [j for j in range(4) if torch.equal(donor[index], batch.image[j])]
        assert len(sources) == 1
        assert sources != [index]
    assert torch.equal(kept, views["kept_regions"].data > 0)
    masked = views["masked"].data
    assert torch.equal(masked[everywhere], batch.image[everywhere])
    assert not masked[~everywhere].any()
    assert views["donor"].title in {f"Donor: {name}" for name in NAMES[1:4]}


def test_each_image_has_its_own_draw_of_the_exact_number():
    batch = batch_of(*(stripes(5) for _ in range(6)))
    pretext = fdas().pretext(batch, generator_for(0, 0))
    sets = [frozenset(labels.unique().tolist()) - {0} for labels in pretext.targets["regions"]]
    assert [len(kept) for kept in sets] == [1] * 6  # 5 * 0.7 = 3.5 rounds to 4 hidden
    assert len(set(sets)) > 1
    assert pretext.stats["masked_regions"] == 4.0
    assert pretext.stats["share_empty_channels"] == pytest.approx(0.8)
    assert pretext.stats["share_masked"] == pytest.approx(float((~pretext.targets["kept"][0]).double().mean()))


def test_a_ratio_of_nothing_changes_nothing():
    batch = batch_of(*(stripes(5) for _ in range(3)))
    pretext = fdas(mask_ratio=0.0).pretext(batch, generator_for(0, 0))
    assert torch.equal(pretext.inputs, batch.image)
    assert torch.equal(pretext.targets["regions"], batch.regions)
    assert pretext.stats["share_masked"] == 0.0


def test_what_is_hidden_in_the_first_does_not_depend_on_the_other_scans():
    alone = batch_of(*(stripes(5) for _ in range(4)))
    other = replace(alone, regions=torch.stack([stripes(5), stripes(3), stripes(1), torch.zeros_like(stripes(1))]))
    first, second = (fdas().pretext(batch, generator_for(7, 3)) for batch in (alone, other))
    assert torch.equal(first.inputs[0], second.inputs[0])
    assert torch.equal(first.targets["regions"][0], second.targets["regions"][0])


def test_padding_is_kept_and_in_no_channel():
    regions = stripes(5)
    regions[:, :6] = -1
    regions[-3:] = -1
    pretext = fdas().pretext(batch_of(*[regions] * 3), generator_for(0, 0))
    outside = (regions == -1).expand(3, -1, -1)
    assert pretext.targets["kept"][outside].all()
    assert not pretext.targets["regions"][outside].any()
    assert torch.equal(pretext.targets["inside"], ~outside)
    assert pretext.stats["share_masked"] == pytest.approx(
        float((~pretext.targets["kept"][0]).sum() / (regions >= 0).sum())
    )


def test_more_regions_than_channels_count_as_uncovered():
    pretext = fdas(channels=3).pretext(batch_of(*(stripes(6) for _ in range(3))), generator_for(0, 0))
    beyond = stripes(6).expand(3, -1, -1) > 3
    assert not pretext.targets["kept"][beyond].any()
    assert not pretext.targets["regions"][beyond].any()
    assert pretext.targets["regions"].max() <= 3


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(torch.zeros(SHAPE, dtype=torch.long), id="no region"),
        pytest.param(torch.full(SHAPE, -1), id="outside"),
        pytest.param(stripes(1), id="one region"),
    ],
)
def test_fewer_than_two_regions_leave_a_slice_whole_and_no_loss_looks_at_it(odd):
    batch = batch_of(stripes(5), odd, stripes(4))
    method = fdas()
    pretext = method.pretext(batch, generator_for(0, 0))
    assert torch.equal(pretext.inputs[1], batch.image[1])
    assert pretext.targets["used"].tolist() == [True, False, True]
    assert pretext.stats["patches_left_whole"] == (0.0 if (odd == -1).all() else 1.0)
    torch.manual_seed(0)
    model = method.build(build_network(small_spec(2)))
    losses = method.loss(model, pretext)
    changed = replace(pretext, targets={**pretext.targets, "regions": pretext.targets["regions"].clone()})
    changed.targets["regions"][1] = 2
    assert torch.equal(method.loss(model, changed).total, losses.total)


def test_a_batch_without_any_region_has_no_loss_and_training_goes_on():
    batch = batch_of(torch.zeros(SHAPE, dtype=torch.long), stripes(1))
    method = fdas()
    model = method.build(build_network(small_spec(2)))
    losses = method.loss(model, method.pretext(batch, generator_for(0, 0)))
    assert float(losses.total.detach()) == 0.0
    losses.total.backward()
    assert all(not weight.grad.any() for weight in model.parameters())


def test_one_alone_is_masked_without_a_donor_and_has_no_contrast():
    batch = batch_of(stripes(5))
    method = fdas()
    pretext = method.pretext(batch, generator_for(0, 0))
    everywhere = spread(pretext.targets["kept"], batch.image)
    assert torch.equal(pretext.inputs[everywhere], batch.image[everywhere])
    assert not pretext.inputs[~everywhere].any()
    assert pretext.stats["without_donor"] == 1.0
    assert "donor" not in views_of(pretext)
    model = method.build(build_network(small_spec(2)))
    losses = method.loss(model, pretext)
    assert float(losses.parts["fcl"].detach()) == 0.0
    losses.total.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@pytest.mark.parametrize("value", [0.0, -1.0, 0.7])
def test_constant_images_train(value):
    batch = batch_of(*(stripes(5) for _ in range(3)))
    batch = replace(batch, image=torch.full_like(batch.image, value))
    method = fdas()
    model = method.build(build_network(small_spec(2)))
    losses = method.loss(model, method.pretext(batch, generator_for(0, 0)))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())
    assert float(losses.parts["fcl"].detach()) == pytest.approx(math.log(3), abs=1e-3)


@pytest.mark.parametrize("shape", [(35, 50), (17, 33)])
@pytest.mark.parametrize("preset", ["small", "fdas"])
def test_sizes_that_the_network_does_not_halve_evenly_train(shape, preset):
    spec = small_spec(2).model_copy(update={"preset": preset, "options": {"channels": (4, 4, 8, 8, 8), "dropout": ()}})
    method = fdas()
    model = method.build(build_network(spec))
    batch = batch_of(*(stripes(5, shape) for _ in range(3)))
    pretext = method.pretext(batch, generator_for(0, 0))
    method.loss(model, pretext).total.backward()
    assert views_of(replace(pretext, views=method.output_views(model, pretext)))["restored"].data.shape[2:] == shape


def test_the_total_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    batch = batch_of(*(stripes(5) for _ in range(4)))
    for weight in (0.5, 2.0):
        method = fdas(lambda_fcl=weight)
        model = method.build(build_network(small_spec(2)))
        losses = method.loss(model, method.pretext(batch, generator_for(0, 0)))
        assert set(losses.parts) == {"ifr", "skd", "skd_dice", "fcl"}
        expected = losses.parts["ifr"] + losses.parts["skd"] + weight * losses.parts["fcl"]
        assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
        assert float(losses.parts["skd"].detach()) >= 0.8 - 1e-6  # four of five channels are empty


def test_without_the_contrast_other_originals_do_not_matter():
    torch.manual_seed(0)
    batch = batch_of(*(stripes(5) for _ in range(4)))
    for settings, matters in (({"lambda_fcl": 0.0}, False), ({"use_fcl": False}, False), ({}, True)):
        method = fdas(**settings)
        model = method.build(build_network(small_spec(2)))
        pretext = method.pretext(batch, generator_for(0, 0))
        asked = pretext.targets["image"].clone().requires_grad_(True)
        parts = method.loss(model, replace(pretext, targets={**pretext.targets, "image": asked}))
        first_only = torch.zeros(4, dtype=torch.bool)
        first_only[0] = True
        moved = replace(pretext, targets={**pretext.targets, "image": asked, "used": first_only})
        method.loss(model, moved).total.backward()
        assert bool(asked.grad[1:].any()) is matters
        assert torch.isfinite(parts.total)


def test_each_row_of_the_ablation_has_its_parts():
    batch = batch_of(*(stripes(5) for _ in range(3)))
    expected = {"s2mim": {"ifr"}, "ifr": {"ifr"}, "skd": {"ifr", "skd", "skd_dice"}}
    assert FDAS.variants.keys() == expected.keys()
    inputs = {}
    for name, parts in expected.items():
        method = fdas(**FDAS.variants[name])
        pretext = method.pretext(batch, generator_for(0, 0))
        model = method.build(build_network(small_spec(2)))
        losses = method.loss(model, pretext)
        assert set(losses.parts) == parts
        losses.total.backward()
        assert all(weight.grad is not None for weight in model.parameters())
        views = method.output_views(model, pretext)
        assert ("predicted" in {view.name for view in views}) == ("skd" in parts)
        inputs[name] = pretext
    kept = [pretext.targets["kept"] for pretext in inputs.values()]
    assert all(torch.equal(kept[0], other) for other in kept)  # the rows differ by what they say, not by the draw
    hidden = ~spread(kept[0], batch.image)
    assert not inputs["s2mim"].inputs[hidden].any()
    assert inputs["ifr"].inputs[hidden].any()
    assert views_of(inputs["s2mim"])["masked"].data is inputs["s2mim"].inputs


def test_the_released_codes_targets_are_all_regions():
    batch = batch_of(*(stripes(5) for _ in range(3)))
    pretext = fdas(skd_target="all").pretext(batch, generator_for(0, 0))
    assert torch.equal(pretext.targets["regions"], batch.regions)
    assert pretext.stats["share_empty_channels"] == 0.0


def test_place_by_place_is_another_contrast():
    torch.manual_seed(0)
    batch = batch_of(*(stripes(5) for _ in range(3)))
    model = fdas().build(build_network(small_spec(2)))
    pretext = fdas().pretext(batch, generator_for(0, 0))
    pooled, dense = (float(fdas(fcl=kind).loss(model, pretext).parts["fcl"].detach()) for kind in ("pooled", "dense"))
    assert pooled != dense
    table = views_of(replace(pretext, views=fdas(fcl="dense").output_views(model, pretext)))
    assert table["similarity"].data.shape == (3, 3)


def test_views_in_the_order_of_the_paper():
    submasks = stripes(6)
    submasks[0] = 0
    batch = replace(batch_of(*(stripes(5) for _ in range(3))), submasks=torch.stack([submasks] * 3))
    method = FDAS(fdas().config, histogram={3: 10, 5: 2})
    pretext = method.pretext(batch, generator_for(0, 0))
    assert list(views_of(pretext)) == [
        *("scan", "submasks", "anchors", "curve", "histogram"),
        *("kept_regions", "masked", "donor", "fused", "target"),
    ]
    assert views_of(pretext)["fused"].data is pretext.inputs
    assert pretext.stats["submasks"] == 6.0
    assert pretext.stats["coverage"] == pytest.approx(31 / 32)
    assert pretext.stats["K"] == 5.0


def test_output_views_show_the_answer_beside_the_truth():
    torch.manual_seed(0)
    batch = batch_of(*(stripes(5) for _ in range(3)))
    method = fdas()
    model = method.build(build_network(small_spec(2)))
    pretext = method.pretext(batch, generator_for(0, 0))
    views = views_of(replace(pretext, views=method.output_views(model, pretext)))
    assert list(views) == ["restored", "error", "predicted", "target_regions", "dice", "similarity"]
    assert torch.allclose(views["error"].data, (views["restored"].data - batch.image).abs())
    assert views["restored"].data.abs().max() <= 1.0
    assert set(views["predicted"].data.unique().tolist()) <= {1, 2, 3, 4, 5}
    (kept,) = set(pretext.targets["regions"][0].unique().tolist()) - {0}
    assert set(views["dice"].data) == {f"region {kept}", "mean"}
    assert views["similarity"].data.shape == (3, 3)


def test_a_trained_model_is_looked_at_with_its_own_regions_and_another_masking():
    trained = fdas(channels=7, alpha=0.8, source="slic", use_skd=False)
    asked = fdas(mask_ratio=0.3, source="felzenszwalb", lambda_fcl=1.0)
    fitted = asked.fitted_to(trained)
    assert (fitted.config.channels, fitted.config.alpha, fitted.config.source) == (7, 0.8, "slic")
    assert fitted.config.use_skd is False
    assert (fitted.config.mask_ratio, fitted.config.lambda_fcl) == (0.3, 1.0)


def test_what_cannot_be_is_said():
    method = get_method("fdas")
    batch = batch_of(stripes(5), stripes(5))
    with pytest.raises(ValueError, match="regions"):
        method.pretext(replace(batch, regions=None), generator_for(0, 0))
    with pytest.raises(ValueError, match="does not know K"):
        method.build(build_network(small_spec(2)))


def test_the_curve_of_eq_1_by_hand():
    curve = area_curve(np.array([50, 30, 15, 4, 1]), 0.95)
    parts = np.split(curve, np.flatnonzero(np.isnan(curve[:, 0])))
    assert parts[0].tolist() == [[0, 0], [1, 0.5], [2, 0.8], [3, 0.95], [4, 0.99], [5, 1.0]]
    assert parts[1][1:].tolist() == [[0, 0.95], [5, 0.95]]
    assert parts[2][1:].tolist() == [[3, 0], [3, 0.95]]
    assert np.isnan(area_curve(np.array([], dtype=np.int64), 0.95)).any(axis=1).sum() == 1


def test_the_histogram_has_a_line_at_k():
    steps = histogram_curve({2: 3, 4: 1}, 3)
    assert steps[np.isfinite(steps[:, 0])].tolist() == [
        *([1.5, 0], [1.5, 3], [2.5, 3], [2.5, 0], [3.5, 0], [3.5, 1], [4.5, 1], [4.5, 0]),
        *([3, 0], [3, 3]),
    ]
