"""Alice small enough for tests."""

from __future__ import annotations

import torch

from napari_ssl_seg.anatomy.matching import SameFieldMatcher
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import generator_for, sample_batch
from tests.methods.fakes import small_study

QUICK = {"hidden": 32, "features": 16, "decoder_width": 48, "decoder_layers": 1}
SHAPES = [("unetr", (48, 32)), ("unetr", (16, 32, 32)), ("swin_unetr", (64, 32)), ("swin_unetr", (32, 32, 64))]


def made(name: str = "unetr", patch: tuple[int, ...] = (48, 32), size: int = 2, channels: int = 1, **settings):
    """Method, spec, batch and pretext."""
    spec = NetworkSpec(name=name, dims=len(patch), in_channels=channels, patch=patch)
    method = get_method("alice", QUICK | settings).on_network(spec)
    study = small_study(channels=channels)
    prepared = Prepared(method, matcher=SameFieldMatcher(study))
    batch = sample_batch(study, list(study.scans), spec, method.needs, size, 0, 0, prepared=prepared)
    return method, spec, batch, method.pretext(batch, generator_for(0, 0))


def built(method, spec, seed: int = 0):
    torch.manual_seed(seed)
    return method.build(build_network(spec)).eval()
