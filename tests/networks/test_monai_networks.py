"""UNETR, Swin UNETR and DynUNet: MONAI's modules taken apart give what they give whole."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNETR, DynUNet, SwinUNETR

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks import NetworkSpec, build_network, plan_spec, total_stride

PATCH = {"unetr": 32, "swin_unetr": 64, "dynunet": 32}
TINY = {
    "unetr": {"feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "heads": 2},
    "swin_unetr": {"depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2)},
    "dynunet": {"channels": (4, 8, 8), "deep": 2},
}


def tiny(name: str, dims: int, **options) -> NetworkSpec:
    patch = (PATCH[name],) * (dims - 1) + (32,)
    return NetworkSpec(name=name, dims=dims, in_channels=2, patch=patch, options={**TINY[name], **options})


def stock(spec: NetworkSpec) -> torch.nn.Module:
    """MONAI's own module of that configuration."""
    options, common = spec.options, {"in_channels": 2, "out_channels": 3, "spatial_dims": spec.dims}
    if spec.name == "unetr":
        return UNETR(
            img_size=spec.patch,
            feature_size=options["feature_size"],
            hidden_size=options["hidden_size"],
            mlp_dim=options["mlp_dim"],
            num_heads=options["heads"],
            **common,
        )
    if spec.name == "swin_unetr":
        return SwinUNETR(
            depths=options["depths"],
            num_heads=options["heads"],
            window_size=4,
            feature_size=12,
            use_v2=options.get("v2", False),
            **common,
        )
    return DynUNet(
        kernel_size=(3,) * 3, strides=(1, 2, 2), upsample_kernel_size=(2, 2), filters=options["channels"], **common
    )


@pytest.mark.parametrize("name", PATCH)
@pytest.mark.parametrize("dims", [2, 3])
def test_encode_and_decode_give_what_the_whole_module_gives_bit_for_bit(name, dims):
    spec = tiny(name, dims)
    torch.manual_seed(0)
    net, whole = build_network(spec, 3).eval(), stock(spec).eval()
    ours = net.backbone.net.state_dict()
    theirs = {key: value for key, value in whole.state_dict().items() if key in ours}
    assert theirs.keys() == ours.keys()
    net.backbone.net.load_state_dict(theirs)
    head = whole.output_block if name == "dynunet" else whole.out
    net.head.load_state_dict({key.split(".")[-1]: value for key, value in head.state_dict().items()})
    x = torch.randn(1, 2, *spec.patch)
    with torch.no_grad():
        assert torch.equal(net(x), whole(x))
        features = net.backbone.encode(x)
        assert torch.equal(net.head(net.backbone.decode(features)), whole(x))
        assert torch.equal(net.forward_deep(x)[0], whole(x))


def test_swin_unetr_v2_has_its_residual_blocks():
    spec = tiny("swin_unetr", 2, v2=True)
    net, whole = build_network(spec), stock(spec)
    assert {key for key in whole.state_dict() if not key.startswith("out.")} == set(net.net.state_dict())


@pytest.mark.parametrize(
    ("name", "stride", "features", "map_strides"),
    [("unetr", 16, 24, (1, 2, 4, 8, 16)), ("swin_unetr", 16, 96, (1, 2, 4, 8, 16, 32)), ("dynunet", 4, 8, (1, 2, 4))],
)
@pytest.mark.parametrize("dims", [2, 3])
def test_tokens_have_the_declared_features_and_stride(name, stride, features, map_strides, dims):
    spec = tiny(name, dims)
    backbone = build_network(spec).eval()
    assert backbone.token_stride == (stride,) * dims and backbone.token_features == features
    with torch.no_grad():
        maps = backbone.encode(torch.randn(1, 2, *spec.patch))
    assert tuple(backbone.tokens(maps).shape) == (1, features, *(side // stride for side in spec.patch))
    assert [tuple(level.shape[2:]) for level in maps] == [
        tuple(side // by for side in spec.patch) for by in map_strides
    ]
    assert maps[-1].shape[1] == backbone.bottleneck_features
    assert backbone.stride == total_stride(spec) == (map_strides[-1],) * dims


def test_unetrs_tokens_are_the_transformers_output():
    spec = tiny("unetr", 3)
    backbone = build_network(spec).eval()
    x = torch.randn(1, 2, *spec.patch)
    with torch.no_grad():
        tokens = backbone.tokens(backbone.encode(x))
        assert torch.equal(tokens.flatten(2).transpose(1, 2), backbone.net.vit(x)[0])


@pytest.mark.parametrize("name", ["swin_unetr", "dynunet"])
def test_a_size_that_does_not_fit_is_refused_with_one_that_does(name):
    spec = tiny(name, 2)
    with pytest.raises(UserError, match="pad it to"):
        build_network(spec)(torch.randn(1, 2, 33, 64))


def test_unetr_takes_the_patch_it_was_built_for():
    backbone = build_network(tiny("unetr", 2))
    assert not backbone.any_size
    with pytest.raises(UserError, match="built for"):
        backbone(torch.randn(1, 2, 48, 32))


def test_dynunets_kernels_follow_thick_slices():
    spec = plan_spec(3, 1, (16, 128, 128), (5.0, 1.0, 1.0), name="dynunet")
    assert spec.options["kernels"] == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert spec.options["strides"] == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    with torch.device("meta"):
        net = build_network(spec, 2)
    assert tuple(net(torch.zeros(1, 1, *spec.patch, device="meta")).shape) == (1, 2, *spec.patch)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("unetr", {"hidden_size": 25}, "hidden_size"),
        ("swin_unetr", {"feature_size": 20}, "feature_size"),
        ("swin_unetr", {"heads": (5, 1, 1, 1)}, "heads"),
        ("dynunet", {"strides": ((2, 2, 2),)}, "strides"),
        ("dynunet", {"deep": 3}, "deep"),
    ],
)
def test_options_that_do_not_fit_are_named(name, options, words):
    with pytest.raises(UserError, match=words):
        build_network(tiny(name, 3, **options))
