"""The quickest pretraining of every method: what tests and benchmarks of stopping and killing go through."""

from __future__ import annotations

from typing import Any

from napari_ssl_seg.methods import list_methods
from tests.training.conftest import TINY

SETTINGS: dict[str, dict[str, Any]] = {
    "mae": {"decoder_width": 48, "decoder_layers": 1},
    "lrc": {"projection": 16, "queue": 32},
    "alice": {"hidden": 32, "features": 16, "decoder_width": 48, "decoder_layers": 1},
    "mod": {"hidden": 16, "bottleneck": 8, "prototypes": 12},
    "moco": {"queue": 16},
    "densecl": {"queue": 16},
    "simclr": {"projection": 16},
    "byol": {"hidden": 16},
    "simsiam": {"projection": 16},
    "moco_v3": {"hidden": 16},
    "dino": {"hidden": 16, "prototypes": 16},
    "ibot": {"hidden": 16, "prototypes": 16},
    "voco": {"features": 16, "grid": 2},
}
NETWORKS = {"swin_unetr_pretext": "unet"}

EVERY = [method.name for method in list_methods()]


def quickest(name: str, **train: Any) -> dict[str, Any]:
    """Arguments of `training.pretrain` for a few small steps; ``train`` over the settings of the training."""
    dims = next(method.dims for method in list_methods() if method.name == name)
    # Gradients are not clipped: a norm that one side had summed otherwise would hide in it.
    settings = {**TINY["train"], "clip_norm": 0, **train}
    return {
        **TINY,
        "dims": min(dims),
        "network": NETWORKS.get(name),
        "settings": SETTINGS.get(name, {}),
        "train": settings,
    }
