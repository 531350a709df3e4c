"""Corrupt a scan, restore it: what the methods of that kind have in common.

The network restores at full resolution through a 1x1 convolution; the loss looks at the whole image or, where the method
hides a part, at that part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_ssl_seg.methods.base import Losses, Method, Pretext, View

if TYPE_CHECKING:
    from torch import Tensor, nn


class Restoration(Method):
    """A method whose `pretext` leaves the targets

    - ``image`` (B, C, *spatial): what is to be restored;
    - ``mask``, bool (B, *spatial), only where the loss looks at a part: True there;
    - ``mean`` and ``deviation`` of the shape of ``image``, only where it was normalised by them: to undo that.

    Its config has the field ``loss``, l1 or mse.
    """

    def build(self, network: nn.Module) -> nn.Module:
        """The backbone with a head that gives back its input's channels."""
        from napari_ssl_seg.networks.heads import Restorer

        return Restorer(network)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Mean error over the hidden voxels, or over all."""
        restored = model(pretext.inputs).float()
        error = restoration_error(restored, pretext.targets["image"], pretext.targets.get("mask"), self.config.loss)
        return Losses(total=error, parts={"restoration": error})

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """The restored scan, the same with the visible voxels put back where some were hidden, and the absolute error, in
        the scan's own units."""
        import torch

        with torch.no_grad():
            restored = model(pretext.inputs).float()
        return restored_views(restored, pretext)


def restored_views(restored: Tensor, pretext: Pretext) -> tuple[View, ...]:
    """Views of what a network restored, (B, C, *spatial); for the targets see `Restoration`."""
    import torch

    targets = pretext.targets
    original = targets["image"]
    if "mean" in targets:
        restored = restored * targets["deviation"] + targets["mean"]
        original = original * targets["deviation"] + targets["mean"]
    error = (restored - original).abs()
    low, high = float(original.min()), float(original.max())
    views = [View("restored", "Restored", "image", restored, (low, high))]
    if "mask" in targets:
        pasted = torch.where(targets["mask"].unsqueeze(1), restored, original)
        views.append(View("pasted", "Restored, in its visible context", "image", pasted, (low, high)))
    views.append(View("error", "Absolute error", "image", error, (0.0, max(high - low, 1e-6) / 2)))
    return tuple(views)


def restoration_error(restored: Tensor, target: Tensor, mask: Tensor | None, kind: Literal["l1", "mse"]) -> Tensor:
    """Mean absolute or squared error, over the voxels of ``mask`` where there is one."""
    from torch.nn import functional as F

    from napari_ssl_seg.methods.losses import masked_error

    if mask is not None:
        return masked_error(restored, target, mask, kind)
    return F.l1_loss(restored, target) if kind == "l1" else F.mse_loss(restored, target)
