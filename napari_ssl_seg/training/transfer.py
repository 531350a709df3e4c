"""What a fine-tuning takes over from an earlier run, and what it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.training.weights import describe_weights, load_weights

if TYPE_CHECKING:
    from napari_ssl_seg.networks import SegmentationNet
    from napari_ssl_seg.training.runs import Run


@dataclass(frozen=True)
class TransferReport:
    """Names of tensors: ``loaded`` and ``random`` are the new network's, ``skipped`` the source's that found no place."""

    source: str
    loaded: tuple[str, ...]
    random: tuple[str, ...]
    skipped: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """For an event of kind ``weights``."""
        return {
            "source": self.source,
            "loaded": list(self.loaded),
            "random": list(self.random),
            "skipped": list(self.skipped),
        }


def take_over(network: SegmentationNet, source: Run | None) -> TransferReport:
    """Copy into ``network`` every tensor of ``source`` that has its name and shape there.

    From a pretraining these are the backbone's; from a fine-tuning the head's too, where the classes are as many.
    None is scratch: everything stays as it was drawn.

    Raises
    ------
    RunError
        When nothing fits: a fine-tuning from random weights under another name would be worse than an error.
    """
    import torch

    own = network.state_dict()
    if source is None:
        return TransferReport("scratch", (), tuple(own), ())
    prefix = "backbone." if describe_weights(source)["kind"] == "pretrain" else ""
    offered = {prefix + name: tensor for name, tensor in load_weights(source).items()}
    fitting = {name: tensor for name, tensor in offered.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        example = next(iter(offered), "none")
        raise RunError(
            f"none of the {len(offered)} tensors of run {source.id} (such as {example}) fits this network; choose the same"
            " network and preset as in that run"
        )
    spoiled = [
        name for name, tensor in fitting.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if spoiled:
        raise RunError(f"the weights {spoiled[0]} of run {source.id} are not finite numbers; choose another run")
    network.load_state_dict({**own, **fitting})
    return TransferReport(
        source.id,
        tuple(name for name in own if name in fitting),
        tuple(name for name in own if name not in fitting),
        tuple(name for name in offered if name not in fitting),
    )
