from __future__ import annotations

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks import NetworkSpec, SegmentationNet, build_network, list_networks, total_stride


def parameters(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_fdas_preset_has_the_published_number_of_parameters():
    backbone = build_network(NetworkSpec(dims=2, preset="fdas", patch=(256, 256)))
    heads = torch.nn.ModuleList([torch.nn.Conv2d(32, 1, 1), torch.nn.Conv2d(32, 10, 1)])
    assert parameters(backbone.encoder) == 4_715_616
    assert parameters(backbone) + parameters(heads) == 7_243_499
    assert parameters(build_network(NetworkSpec(dims=2, preset="fdas", patch=(256, 256)), 4)) == 7_243_268


def test_fdas_bottleneck_is_512_by_16_by_16_at_256():
    backbone = build_network(NetworkSpec(dims=2, preset="fdas", patch=(256, 256))).eval()
    with torch.no_grad():
        features = backbone.encode(torch.zeros(1, 1, 256, 256))
    assert [tuple(level.shape[1:]) for level in features][-1] == (512, 16, 16)
    assert backbone.bottleneck_features == 512


@pytest.mark.parametrize(
    ("preset", "dims"), [(name, dims) for name, entry in list_networks()["unet"].items() for dims in entry["dims"]]
)
def test_every_preset_keeps_the_size_and_decodes_what_it_encodes(preset, dims):
    torch.manual_seed(0)
    spec = NetworkSpec(dims=dims, in_channels=2, preset=preset, patch=(32,) * dims)
    net = build_network(spec, 3).eval()
    x = torch.randn(1, 2, *spec.patch)
    with torch.no_grad():
        features = net.backbone.encode(x)
        decoded = net.backbone.decode(features)
        logits = net(x)
    assert decoded.shape == (1, net.backbone.out_features, *spec.patch)
    assert features[-1].shape[1] == net.backbone.bottleneck_features
    for axis, stride in enumerate(net.backbone.stride):
        assert features[-1].shape[2 + axis] * stride == spec.patch[axis]
    assert logits.shape == (1, 3, *spec.patch)
    assert torch.allclose(logits, net.head(decoded), atol=1e-6)
    assert total_stride(spec) == net.backbone.stride


def test_weights_are_named_backbone_and_head():
    net = build_network(NetworkSpec(patch=(32, 32)), 4)
    assert isinstance(net, SegmentationNet)
    assert {name.split(".")[0] for name in net.state_dict()} == {"backbone", "head"}
    inside = {name.removeprefix("backbone.") for name in net.state_dict() if name.startswith("backbone.")}
    assert inside == set(net.backbone.state_dict())


def test_strides_of_thick_slices_are_kept_along_z():
    strides = ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    spec = NetworkSpec(dims=3, patch=(8, 32, 32), options={"strides": strides})
    backbone = build_network(spec)
    assert backbone.stride == total_stride(spec) == (2, 8, 8)
    assert [tuple(level.shape[2:]) for level in backbone.encode(torch.randn(2, 1, 8, 32, 32))] == [
        (8, 32, 32),
        (8, 16, 16),
        (8, 8, 8),
        (4, 4, 4),
    ]


def test_sizes_between_multiples_work_too():
    net = build_network(NetworkSpec(dims=3, patch=(16, 16, 16)), 2)
    assert net(torch.randn(1, 1, 19, 21, 17)).shape == (1, 2, 19, 21, 17)


def test_every_weight_receives_a_gradient():
    net = build_network(NetworkSpec(dims=2, patch=(32, 32)), 3)
    torch.nn.functional.cross_entropy(net(torch.randn(2, 1, 32, 32)), torch.randint(0, 3, (2, 32, 32))).backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in net.parameters())


def test_the_same_seed_builds_the_same_weights():
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(build_network(NetworkSpec(patch=(32, 32)), 2).state_dict())
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])


def test_a_spec_survives_json():
    spec = NetworkSpec(dims=3, patch=(8, 32, 32), options={"strides": ((1, 2, 2), (2, 2, 2), (2, 2, 2))})
    again = NetworkSpec.model_validate_json(spec.model_dump_json())
    assert build_network(again).stride == build_network(spec).stride == (4, 8, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "resnet"}, "unet"),
        ({"preset": "huge"}, "small"),
        ({"preset": "unet3d"}, "fdas"),
        ({"patch": (30, 32)}, "(32, 32)"),
        ({"patch": (8, 8)}, "larger"),
        ({"options": {"chanels": (8, 16)}}, "chanels"),
        ({"options": {"strides": ((2, 2),)}}, "3 entries"),
        ({"options": {"strides": ((2, 2, 2),) * 3}}, "2 numbers"),
        ({"options": {"norm": "layer"}}, "norm"),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    spec = NetworkSpec.model_validate({"dims": 2, "patch": (32, 32)} | change)
    with pytest.raises(UserError) as caught:
        build_network(spec)
    assert words in str(caught.value)
