"""What every registered method must keep; a new method is tested here by being registered."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_ssl_seg.methods import View, describe_methods, list_methods
from napari_ssl_seg.networks import build_network
from napari_ssl_seg.pretext import generator_for, sample_batch
from tests.methods.fakes import fake_prepared, settled, small_spec, small_study

EVERY = [
    pytest.param(method.name, dims, channels, id=f"{method.name}-{dims}d-{channels}c")
    for method in list_methods()
    for dims in sorted(method.dims)
    for channels in (1, 2)
]


PARTIAL = {"mae", "mod", "alice", "rotation", "relative_location", "voco", "swin_unetr_pretext"} | {
    *("simclr", "moco", "byol", "simsiam", "dino", "densecl", "moco_v3", "ibot"),
}
"""Methods that pretrain a part of the network and leave the rest to the fine-tuning."""
WARM = {"densecl": 4}
"""Steps without training until the queue holds keys: to tell patches from random vectors is too easy at first."""


def prepared(name: str, dims: int, channels: int):
    method = settled(name)
    spec = small_spec(dims, channels, method)
    method = method.on_network(spec)
    study = small_study(channels=channels)
    made = fake_prepared(method, study)
    return method, spec, sample_batch(study, list(study.scans), spec, method.needs, 2, 0, 0, prepared=made)


def tensors_of(pretext) -> dict[str, torch.Tensor]:
    found = {"inputs": pretext.inputs} | {f"target {name}": tensor for name, tensor in pretext.targets.items()}
    return found | {f"view {view.name}": view.data for view in pretext.views if isinstance(view.data, torch.Tensor)}


@pytest.mark.parametrize(("name", "dims", "channels"), EVERY)
def test_pretext_is_pure(name, dims, channels):
    method, _, batch = prepared(name, dims, channels)
    kept = replace(batch, image=batch.image.clone(), partner=None if batch.partner is None else batch.partner.clone())
    first, again, other = (method.pretext(batch, generator_for(seed, 0)) for seed in (3, 3, 4))
    assert torch.equal(batch.image, kept.image)
    assert kept.partner is None or torch.equal(batch.partner, kept.partner)
    for tensor, repeated in zip(tensors_of(first).values(), tensors_of(again).values(), strict=True):
        assert torch.equal(tensor.nan_to_num(), repeated.nan_to_num())
    assert first.stats == again.stats
    others = tensors_of(other)
    assert any(
        tensor.shape != others[name].shape or not torch.equal(tensor, others[name])
        for name, tensor in tensors_of(first).items()
        if not name.startswith("view")
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize(("name", "dims", "channels"), EVERY)
def test_a_gpu_trains_on_what_the_inspector_shows(name, dims, channels):
    method, spec, batch = prepared(name, dims, channels)
    shown = method.pretext(batch, generator_for(0, 0))
    trained = method.pretext(batch.to("cuda"), generator_for(0, 0))
    for here, there in zip(tensors_of(shown).values(), tensors_of(trained).values(), strict=True):
        assert torch.allclose(here, there.cpu(), atol=1e-5, equal_nan=True)
    assert trained.inputs.device.type == "cuda"
    model = method.build(build_network(spec)).cuda()
    method.loss(model, trained).total.backward()
    assert method.output_views(model, trained)


@pytest.mark.parametrize(("name", "dims", "channels"), EVERY)
def test_views_are_named_once_and_shaped_as_they_say(name, dims, channels):
    method, spec, batch = prepared(name, dims, channels)
    model = method.build(build_network(spec)).eval()
    pretext = method.pretext(batch, generator_for(0, 0))
    views = pretext.views + method.output_views(model, pretext)
    assert pretext.views
    assert len(views) > len(pretext.views)
    assert len({view.name for view in views}) == len({view.title for view in views}) == len(views)
    for view in views:
        check_shape(view, spec.patch)
    assert all(isinstance(value, float) for value in pretext.stats.values())


def check_shape(view: View, patch: tuple[int, ...]) -> None:
    if view.kind == "image":
        assert view.data.shape[0] == 2
        assert view.data.shape[2:] == patch
        assert view.data.is_floating_point()
    elif view.kind in ("labels", "mask"):
        assert view.data.shape == (2, *patch)
        assert (view.data.dtype == torch.bool) == (view.kind == "mask")
    elif view.kind == "boxes":
        assert view.data.shape[0] == 2
        assert view.data.shape[2] == 2 * len(patch)
    elif view.kind == "points":
        assert view.data.shape[0] == 2
        assert view.data.shape[2] == len(patch)
        places = view.data[~view.data.isnan().any(dim=2)]
        assert ((places >= 0) & (places < torch.tensor(patch))).all()
    elif view.kind == "matrix":
        assert view.data.ndim == 2
    elif view.kind == "curve":
        assert view.data.ndim == 2
        assert view.data.shape[1] == 2
    else:
        assert all(isinstance(value, float) for value in view.data.values())


@pytest.mark.parametrize(("name", "dims", "channels"), EVERY)
def test_loss_trains_every_weight(name, dims, channels):
    torch.manual_seed(0)
    method, spec, batch = prepared(name, dims, channels)
    model = method.build(build_network(spec))
    losses = method.loss(model, method.pretext(batch, generator_for(0, 0)))
    assert losses.total.ndim == 0
    assert torch.isfinite(losses.total)
    assert losses.parts
    losses.total.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients.values())
    assert any(gradient.abs().max() > 0 for gradient in gradients.values())


@pytest.mark.parametrize(("name", "dims"), [(method.name, dims) for method in list_methods() for dims in method.dims])
def test_a_few_steps_lower_the_loss(name, dims):
    torch.manual_seed(0)
    method, spec, batch = prepared(name, dims, 1)
    model = method.build(build_network(spec))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    pretext = method.pretext(batch, generator_for(0, 0))
    for _ in range(WARM.get(name, 0)):
        method.loss(model, pretext)
        method.after_step(model, 0, 8)
    seen = []
    for step in range(8):
        losses = method.loss(model, pretext)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        method.after_step(model, step, 8)
        seen.append(float(losses.total.detach()))
    assert seen[-1] < 0.9 * seen[0]


@pytest.mark.parametrize(("name", "dims", "channels"), EVERY)
def test_transfer_has_the_names_of_the_network_to_fine_tune(name, dims, channels):
    method, spec, _ = prepared(name, dims, channels)
    model = method.build(build_network(spec))
    handed_on = method.transfer(model)
    target = build_network(method.finetuning_spec(spec)).state_dict()
    assert handed_on
    assert handed_on.keys() <= target.keys()
    assert all(tensor.shape == target[tensor_name].shape for tensor_name, tensor in handed_on.items())
    if method.finetuning_spec(spec) == spec and name not in PARTIAL:
        own = model.get_submodule("backbone").state_dict()
        assert handed_on.keys() == target.keys()
        assert all(torch.equal(tensor, own[tensor_name]) for tensor_name, tensor in handed_on.items())


def test_every_setting_is_described():
    described = {entry["name"]: entry for entry in describe_methods()}
    assert list(described) == [method.name for method in list_methods()]
    for method in list_methods():
        entry = described[method.name]
        assert entry["dims"] == sorted(method.dims)
        assert entry["title"] == method.title
        assert entry["paper"] and entry["description"]
        fields = {field["name"]: field for field in entry["fields"]}
        assert fields.keys() == method.Config.model_fields.keys()
        defaults = method.Config().model_dump(mode="json")
        for name, field in fields.items():
            assert field["default"] == defaults[name]
            assert field["title"] and field["description"]
            if field["default"] is None:
                assert field["optional"]
            elif field["type"] in ("integer", "number"):
                assert field["minimum"] <= field["default"] <= field["maximum"]
            elif field["type"] == "string":
                assert field["choices"] is None or field["default"] in field["choices"]
            else:
                assert field["type"] == "boolean"
        assert any(field["basic"] for field in fields.values())
