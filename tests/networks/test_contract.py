"""What holds for every network by name."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.losses import deep_supervision
from napari_ssl_seg.networks import build_network, list_networks, network_dims, parse_network, plan_spec, total_stride
from napari_ssl_seg.training.segmentation_loss import dice_ce

SHAPE, SPACING = (36, 50, 36), (1.0, 1.0, 1.0)
"""A hippocampus scan."""
SMALL = [(name, dims) for name in list_networks() for dims in sorted(network_dims(name, "small"))]
EVERY = [
    (name, preset, dims)
    for name, presets in list_networks().items()
    for preset, entry in presets.items()
    for dims in entry["dims"]
]


def skeleton(spec, classes):
    """The network without memory; MONAI's Swin needs numbers while it is built."""
    if spec.name == "swin_unetr":
        return build_network(spec, classes).to("meta")
    with torch.device("meta"):
        return build_network(spec, classes)


@pytest.mark.parametrize(("name", "preset", "dims"), EVERY)
@pytest.mark.parametrize(("shape", "spacing"), [(SHAPE, SPACING), ((9, 200, 180), (8.0, 1.4, 1.4))])
def test_every_preset_is_planned_and_built_as_declared(name, preset, dims, shape, spacing):
    spec = plan_spec(dims, 2, shape, spacing, name=name, preset=preset)
    assert all(side % step == 0 for side, step in zip(spec.patch, total_stride(spec), strict=True))
    if shape != SHAPE and not spec.options:
        return  # the same network as for a hippocampus
    net, x = skeleton(spec, 4), torch.zeros(1, 2, *spec.patch, device="meta")
    backbone = net.backbone
    maps = backbone.encode(x)
    deep = backbone.decode_deep(maps)
    assert backbone.stride == total_stride(spec)
    assert (backbone.dims, backbone.in_channels) == (dims, 2)
    grid = tuple(side // step for side, step in zip(spec.patch, backbone.token_stride, strict=True))
    assert tuple(backbone.tokens(maps).shape) == (1, backbone.token_features, *grid)
    assert tuple(deep[0].shape) == (1, backbone.out_features, *spec.patch)
    assert tuple(level.shape[1] for level in deep) == backbone.deep_features
    assert list_networks()[name][preset]["channels"][dims][-1] == backbone.bottleneck_features
    assert list_networks()[name][preset]["description"]


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_small_networks_learn_everywhere_and_keep_their_weights(name, dims):
    torch.manual_seed(0)
    spec = plan_spec(dims, 1, (18, 34, 18), SPACING, name=name)
    net = build_network(spec, 3)
    x, label = torch.randn(2, 1, *spec.patch), torch.randint(0, 3, (2, *spec.patch))
    deep_supervision(dice_ce, net.forward_deep(x), label).total.backward()
    missing = [key for key, weight in net.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()]
    assert missing == []

    names = {key.split(".")[0] for key in net.state_dict()}
    assert names == {"backbone", "head"} | ({"deep_heads"} if len(net.backbone.deep_features) > 1 else set())
    tensors = list(net.state_dict().values())
    assert len({tensor.data_ptr() for tensor in tensors if tensor.numel()}) == sum(t.numel() > 0 for t in tensors)
    again = build_network(spec.model_validate_json(spec.model_dump_json()), 3)
    again.load_state_dict(net.state_dict())
    net.eval()
    again.eval()
    with torch.no_grad():
        logits = net(x)
        assert torch.equal(again(x), logits)
        assert logits.shape == (2, 3, *spec.patch)
        assert torch.allclose(net.forward_deep(x)[0], logits, atol=1e-6)


@pytest.mark.parametrize("name", ["pctnet", "unetr", "swin_unetr", "dynunet"])
def test_forms_and_help_need_no_torch(name):
    code = (
        "import sys; from napari_ssl_seg.networks import list_networks, plan_spec, total_stride;"
        f"total_stride(plan_spec(3, 1, (36, 50, 36), (1, 1, 1), name={name!r}));"
        "print(sorted({'torch', 'monai'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_options_follow_a_networks_name():
    text = "pctnet:resolution=2d-2d,channels=[4, 4, 8, 8, 16],window=4"
    assert parse_network(text) == ("pctnet", {"resolution": "2d-2d", "channels": [4, 4, 8, 8, 16], "window": 4})
    assert parse_network("unet") == ("unet", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vnet", "there is no network"),
        ("unet:", "no option"),
        ("unet:channels", "no option"),
        ("unet:norm=[", "no option"),
    ],
)
def test_what_is_no_option_is_said(text, words):
    with pytest.raises(UserError, match=words):
        parse_network(text)
