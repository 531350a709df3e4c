"""PCT-Net: the numbers of the paper's configuration, its resolution modes, and what follows from them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks import NetworkSpec, build_network, plan_spec, total_stride

PAPER = NetworkSpec(name="pctnet", dims=3, preset="paper", patch=(64, 128, 128))
TINY = {"channels": (4, 4, 8, 8, 16), "heads": (1, 2, 2)}


def small(patch=(32, 32, 32), **options):
    return NetworkSpec(name="pctnet", dims=3, patch=patch, options={**TINY, **options})


def parameters(*modules: torch.nn.Module) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters())


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):
        return build_network(PAPER, 5).eval()


def test_the_papers_configuration_has_the_papers_number_of_parameters(paper):
    backbone = paper.backbone
    embedding = parameters(backbone.project, backbone.encoder[:2], backbone.down[:2])
    coarse = (part[2:] for part in (backbone.encoder, backbone.down, backbone.up, backbone.decoder, backbone.finish))
    pyramid = parameters(*coarse, paper.deep_heads[1:])
    fine = (part[:2] for part in (backbone.up, backbone.decoder, backbone.finish))
    head = parameters(*fine, paper.head, paper.deep_heads[:1])
    assert (embedding, pyramid, head) == (332_774, 43_542_924, 325_068)
    assert parameters(paper) == 44_200_766


def test_an_attention_layer_at_128_channels_has_as_many_weights_as_the_authors(paper):
    assert parameters(paper.backbone.encoder[2].attention) == 407_192


def test_the_papers_outputs_have_the_papers_sizes(paper):
    x = torch.zeros(1, 1, 64, 128, 128, device="meta")
    sizes = [tuple(logits.shape) for logits in paper.forward_deep(x)]
    assert sizes == [(1, 5, 64, 128, 128), (1, 5, 64, 64, 64), (1, 5, 32, 32, 32), (1, 5, 16, 16, 16)]
    assert tuple(paper(x).shape) == (1, 5, 64, 128, 128)


@pytest.mark.parametrize(("mode", "stride"), [("3d-3d", (16, 16, 16)), ("2d-3d", (8, 16, 16)), ("2d-2d", (4, 16, 16))])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_strides_of_the_resolution_modes(mode, stride, axis):
    turned = [16, 16, 16]
    turned[axis] = stride[0]
    spec = small((64, 64, 64), resolution=mode, slice_axis=axis)
    with torch.device("meta"):
        backbone = build_network(spec)
    assert backbone.stride == total_stride(spec) == tuple(turned)
    bottleneck = backbone.encode(torch.zeros(1, 1, 64, 64, 64, device="meta"))[-1]
    assert tuple(bottleneck.shape[2:]) == tuple(64 // step for step in turned)


def test_a_flat_level_does_not_look_across_slices():
    torch.manual_seed(0)
    backbone = build_network(small(resolution="2d-2d")).eval()
    x = torch.randn(1, 1, 8, 32, 32)
    changed = x.clone()
    changed[:, :, 5] += 1.0
    with torch.no_grad():
        difference = [(a - b).abs() for a, b in zip(backbone.encode(x), backbone.encode(changed), strict=True)]
    for level in difference[:2]:
        slices = level.amax(dim=(0, 1, 3, 4))
        assert slices[5] > 0 and slices[[0, 1, 2, 3, 4, 6, 7]].max() == 0
    assert (difference[2].amax(dim=(0, 1, 3, 4)) > 0).sum() > 3  # attention, and convolutions of 3 slices


@pytest.mark.parametrize(
    ("shape", "spacing", "mode", "axis", "patch"),
    [
        ((36, 50, 36), (1, 1, 1), "3d-3d", 0, (32, 48, 32)),
        ((10, 256, 216), (8.0, 1.25, 1.25), "2d-2d", 0, None),  # cardiac MR in thick slices
        ((40, 256, 256), (2.5, 0.8, 0.8), "2d-3d", 0, None),
        ((40, 512, 512), (5.0, 0.8, 0.8), "2d-2d", 0, None),
        ((256, 256, 12), (1.0, 1.0, 6.0), "2d-2d", 2, None),  # sagittal slices
        ((16, 64, 64), (1, 1, 1), "2d-3d", 0, None),  # thin, but too few to be halved four times
    ],
)
def test_the_resolution_mode_suits_the_scans(shape, spacing, mode, axis, patch):
    spec = plan_spec(3, 1, shape, spacing, name="pctnet")
    assert (spec.options["resolution"], spec.options["slice_axis"]) == (mode, axis)
    assert patch is None or spec.patch == patch
    assert spec.patch[axis] < shape[axis] + total_stride(spec)[axis]


def test_what_was_asked_for_is_not_planned_anew():
    spec = plan_spec(3, 1, (10, 256, 256), (8, 1, 1), name="pctnet", options={"resolution": "3d-3d"})
    assert total_stride(spec) == (16, 16, 16) and spec.patch[0] == 32


@settings(deadline=None, max_examples=4)
@given(shape=st.tuples(*[st.integers(16, 41)] * 3), mode=st.sampled_from(["3d-3d", "2d-3d", "2d-2d"]))
def test_odd_sizes_keep_their_size(shape, mode):
    with torch.device("meta"):
        net = build_network(small(resolution=mode), 3).eval()
    outputs = net.forward_deep(torch.zeros(1, 1, *shape, device="meta"))
    assert tuple(outputs[0].shape) == (1, 3, *shape)


def test_odd_sizes_give_numbers():
    torch.manual_seed(0)
    net = build_network(small(), 2).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 1, 19, 35, 17)).isfinite().all()


def test_without_deep_supervision_there_is_one_output():
    net = build_network(small(deep=False), 2)
    assert net.backbone.deep_features == (4,) and len(net.deep_heads) == 0
    assert len(net.forward_deep(torch.randn(2, 1, 16, 32, 32))) == 1


def test_without_the_norm_the_block_is_the_sum_of_its_branches():
    torch.manual_seed(0)
    block = build_network(small(attention_norm=False)).encoder[2].eval()
    x = torch.randn(1, 8, 4, 4, 4)
    with torch.no_grad():
        assert torch.equal(block(x), block.convolution(x) + block.attention(x))
    assert parameters(build_network(small())) - parameters(build_network(small(attention_norm=False))) == 2 * (
        8 + 8 + 16 + 8 + 8
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": "1d-3d"}, "resolution"),
        ({"heads": (3, 2, 2)}, "multiples of the heads"),
        ({"channels": (4, 8)}, "channels"),
        ({"slice_axis": 3}, "slice_axis"),
        ({"windows": 4}, "windows"),
    ],
)
def test_options_that_do_not_fit_are_named(options, words):
    with pytest.raises(UserError, match=words):
        build_network(small(**options))


def test_2d_is_refused_with_what_works():
    with pytest.raises(UserError, match="3D only"):
        plan_spec(2, 1, (36, 50, 36), (1, 1, 1), name="pctnet")
