from __future__ import annotations

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks import NetworkSpec, UNetPair, build_network, list_networks, plan_spec, total_stride


def spec_of(**changes) -> NetworkSpec:
    return NetworkSpec.model_validate({"name": "unet_pair", "patch": (32, 32)} | changes)


@pytest.mark.parametrize(
    ("preset", "dims"), [(name, dims) for name, entry in list_networks()["unet_pair"].items() for dims in entry["dims"]]
)
def test_every_preset_is_two_u_nets_of_that_preset(preset, dims):
    torch.manual_seed(0)
    spec = spec_of(preset=preset, dims=dims, patch=(32,) * dims, in_channels=2)
    net = build_network(spec, 3).eval()
    one = build_network(spec.model_copy(update={"name": "unet"}))
    assert isinstance(net.backbone, UNetPair)
    assert net.backbone.stride == one.stride == total_stride(spec)
    assert net.backbone.out_features == 128
    assert net.head.weight.shape[:2] == (3, 128)
    x = torch.randn(1, 2, *spec.patch)
    with torch.no_grad():
        features = net.backbone.encode(x)
        logits = net(x)
    assert len(features) == 2 * len(one.encode(x))
    assert features[-1].shape[1] == net.backbone.bottleneck_features
    assert logits.shape == (1, 3, *spec.patch)
    count = sum(weight.numel() for weight in one.parameters())
    pair = sum(weight.numel() for weight in net.backbone.parameters())
    assert pair == 2 * (count + 64 * (one.out_features + 1))


def test_presets_are_those_of_unet():
    known = list_networks()
    assert known["unet_pair"].keys() == known["unet"].keys()


def test_without_the_global_half_of_the_head_only_the_local_branch_is_left():
    torch.manual_seed(0)
    net = build_network(spec_of(), 4)
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        net.head.weight[:, :64] = 0
        local = net.backbone.local(x)
        alone = torch.nn.functional.conv2d(local, net.head.weight[:, 64:], net.head.bias)
        assert torch.allclose(net(x), alone, atol=1e-5)
        before = net(x)
        for weight in net.backbone.global_.parameters():
            weight.add_(torch.randn_like(weight))
        assert torch.allclose(net(x), before, atol=1e-5)


def test_each_decoder_gets_the_skips_of_its_own_encoder():
    torch.manual_seed(0)
    backbone = build_network(spec_of())
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        together = backbone(x)
        assert torch.allclose(together[:, :64], backbone.global_(x), atol=1e-6)
        assert torch.allclose(together[:, 64:], backbone.local(x), atol=1e-6)


def test_features_and_the_u_nets_options_can_be_chosen():
    backbone = build_network(spec_of(options={"features": 8, "channels": (4, 8)}))
    assert backbone.out_features == 16
    assert backbone.bottleneck_features == 8
    assert backbone.stride == (2, 2)
    assert plan_spec(2, 1, (36, 50, 36), (1, 1, 1), name="unet_pair").patch == (56, 40)


@pytest.mark.parametrize("features", [0, -1, 2000, "many", True, 1.5])
def test_features_that_do_not_fit_are_said(features):
    with pytest.raises(UserError, match="features"):
        build_network(spec_of(options={"features": features}))
    with pytest.raises(UserError, match="features"):
        build_network(NetworkSpec(patch=(32, 32), options={"features": 8}))


def test_the_papers_size_pads_to_32_and_cuts_back():
    """34.1 million weights with the paper's local network (MONAI's BasicUNet, 2.03 million), for which ours stands."""
    torch.manual_seed(0)
    spec = spec_of(patch=(40, 56), options={"global_encoder": "resnet50"})
    net = build_network(spec, 3)
    assert sum(weight.numel() for weight in net.backbone.global_.parameters()) == 32_112_544
    assert net.backbone.bottleneck_features == 2048
    for size in ((40, 56), (64, 96), (33, 20)):
        assert net(torch.randn(2, 1, *size)).shape == (2, 3, *size)
    net.eval()
    with torch.no_grad():
        x = torch.randn(1, 1, 64, 64)
        whole = net.backbone.global_.unet.net(x)
        assert torch.allclose(net.backbone(x)[:, :64], whole, atol=1e-5)
        edge = torch.nn.functional.pad(x[..., :50, :40], (0, 24, 0, 14), mode="replicate")
        cut = net.backbone.global_.unet.net(edge)[..., :50, :40]
        assert torch.allclose(net.backbone.global_(x[..., :50, :40]), cut, atol=1e-5)
    with pytest.raises(UserError, match="global_encoder"):
        build_network(spec_of(dims=3, patch=(32,) * 3, options={"global_encoder": "resnet50"}))
    with pytest.raises(UserError, match="unet, resnet50"):
        build_network(spec_of(options={"global_encoder": "vgg"}))


def test_a_u_net_without_its_decoder_encodes_as_before():
    torch.manual_seed(0)
    net = build_network(NetworkSpec(patch=(32, 32)))
    x = torch.randn(1, 1, 32, 32)
    whole = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        before = net.encode(x)
        after = net.drop_decoder().encode(x)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    left = net.state_dict()
    assert set(left) == {name for name in whole if name.startswith("encoder.")}
