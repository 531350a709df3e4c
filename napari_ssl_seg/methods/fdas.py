"""FDAS: hide regions of a scan, put another scan in their place, restore, segment and recognise.

FDAS, MICCAI 2025: SAM-guided structure masking (S2MIM), fusion and reconstruction (IFR), distillation of the regions that
Segment Anything sees (SKD), and contrast of fused scans with their originals (FCL). 2D: the samples are axial slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Prepared, Pretext, View
from napari_ssl_seg.methods.fdas_config import FDASConfig
from napari_ssl_seg.regions.settings import RegionSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.fdas_net import FDASNet
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

SHOWN_BESIDE = 3
"""Other patches in the inspector's batch: donors, and what the contrast tells the shown one from."""
SHAPES_LABELS = (*RegionSettings.model_fields, "alpha", "channels", "max_channels", "assign", "uncovered")
"""Settings that decide what channel k of a slice is, and so what a trained model's outputs mean."""


class FDAS(Method):
    """Replaces regions of a slice by another scan; the network restores them, segments the regions and tells scans apart."""

    name = "fdas"
    title = "FDAS"
    paper = "FDAS, MICCAI 2025"
    dims = frozenset({2})
    Config: ClassVar[type[MethodConfig]] = FDASConfig
    needs = Needs(regions=True, companions=SHOWN_BESIDE)
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "s2mim": {"fuse": False, "use_skd": False, "use_fcl": False},
        "ifr": {"use_skd": False, "use_fcl": False},
        "skd": {"use_fcl": False},
    }

    def __init__(self, config: MethodConfig | None = None, *, histogram: Mapping[int, int] | None = None) -> None:
        super().__init__(config)
        self.histogram = histogram
        """How many slices of the study have k_n regions, by k_n, where that is known; only shown."""

    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """Regions of every slice, K, and the regions merged to K."""
        from napari_ssl_seg.methods.fdas_regions import prepare_study

        return (yield from prepare_study(self, study, case_ids))

    def prepare_slice(self, study: Study, case_id: str, index: int) -> Prepared:
        """Regions of one slice; K as it is known of the study, else that of the slice alone."""
        from napari_ssl_seg.methods.fdas_regions import prepare_one

        return prepare_one(self, study, case_id, index)

    def fitted_to(self, trained: Method) -> Method:
        """With the other's regions and heads; masking, fusion and losses stay this one's."""
        shared = {name: getattr(trained.config, name) for name in (*SHAPES_LABELS, "use_skd")}
        return FDAS(self.config.model_copy(update=shared), histogram=self.histogram)

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Eq. 2 to 4: hide regions and fuse.

        All draws are made for the whole batch at once: regions to hide first, then donors.

        Targets: ``image`` (B, C, *spatial), what is to be restored; ``regions`` int64 (B, *spatial), what is to be
        segmented, 1..K, 0 for what counts in no channel; ``kept`` and ``inside``, bool (B, *spatial), where the input is
        the scan's own and where it is of the scan at all; ``used``, bool (B,), False for a patch with fewer than two
        regions, which is left whole and which no loss looks at.
        """
        import torch

        from napari_ssl_seg.methods.fdas_views import pretext_stats, pretext_views
        from napari_ssl_seg.pretext import submasks

        if batch.regions is None:
            raise ValueError("FDAS needs a batch with regions; sample it with what `prepare` returned")
        config, image, regions = self.config, batch.image, batch.regions
        channels = config.channels or max(int(regions.max()), 1)
        inside = regions >= 0
        anchors = torch.where(regions > channels, 0, regions).clamp(min=0)
        areas = submasks.channel_areas(anchors, channels)
        used = (areas > 0).sum(dim=1) > 1
        hidden = submasks.choose_channels(areas, config.mask_ratio, generator)
        kept = submasks.kept_voxels(regions, hidden, used)
        donors = submasks.draw_donors(image.shape[0], generator) if config.fuse else None
        donor = None if donors is None else image[donors.to(image.device)]
        inputs = submasks.replace_hidden(image, kept, donor)
        kept_regions = torch.where(kept, anchors, 0)
        targets = {
            "image": image,
            "regions": kept_regions if config.skd_target == "kept" else anchors,
            "kept": kept,
            "inside": inside,
            "used": used,
        }
        made = {"anchors": anchors, "kept_regions": kept_regions, "hidden": hidden, "areas": areas}
        return Pretext(
            inputs=inputs,
            targets=targets,
            views=pretext_views(self, batch, inputs, kept, made, donors, donor),
            stats=pretext_stats(self, batch, targets, made, alone=config.fuse and donors is None),
        )

    def build(self, network: nn.Module) -> nn.Module:
        """The backbone with a head that restores and, for the distillation, one of K regions."""
        from napari_ssl_seg.methods.fdas_net import FDASNet

        if self.config.use_skd and self.config.channels is None:
            raise ValueError("FDAS does not know K before `prepare`; build what that returned, or set `channels`")
        return FDASNet(network, self.config.channels if self.config.use_skd else None)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Eq. 10: ``L_IFR + L_SKD + lambda L_FCL``.

        Parts: ``ifr``, ``skd``, ``fcl`` as far as they are on, and ``skd_dice``, the Dice on channels that are not
        empty, which is no part of the sum: the floor of ``skd`` is the share of empty channels.
        """
        from napari_ssl_seg.methods import fdas_losses as terms

        targets, config = pretext.targets, self.config
        used = targets["used"]
        found = model(pretext.inputs)
        ifr = terms.mean_over(terms.restoration_errors(found.restored.float(), targets["image"]), used)
        total, parts = ifr, {"ifr": ifr}
        if config.use_skd:
            dice = terms.region_dice(found.regions.float().softmax(dim=1), targets["regions"], targets["inside"])
            parts["skd"] = terms.mean_over(terms.distillation_losses(dice), used)
            total = total + parts["skd"]
            parts["skd_dice"] = terms.mean_over(terms.dice_of_present(dice.detach(), targets["regions"]), used)
        if config.use_fcl and config.lambda_fcl > 0:
            similarity = self.similarity(model, found.bottleneck, targets["image"])
            parts["fcl"] = terms.mean_over(terms.contrast_losses(similarity, config.temperature), used)
            total = total + config.lambda_fcl * parts["fcl"]
        return Losses(total=total, parts=parts)

    def similarity(self, model: nn.Module, bottleneck: Tensor, image: Tensor) -> Tensor:
        """S of Eq. 9: (B, B), or (B, B, places) where it is compared place by place."""
        from napari_ssl_seg.methods.fdas_losses import similarities

        own = model.embed(image)  # type: ignore[operator]
        if self.config.fcl == "pooled":
            bottleneck, own = bottleneck.float().flatten(2).mean(dim=2), own.float().flatten(2).mean(dim=2)
        return similarities(bottleneck, own)

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """Restored slice and its error; predicted regions and their Dice; the similarities of the batch."""
        import torch

        from napari_ssl_seg.methods.fdas_views import output_views

        fdas: FDASNet = model  # type: ignore[assignment]
        with torch.no_grad():
            found = fdas(pretext.inputs)
            similarity = self.similarity(fdas, found.bottleneck, pretext.targets["image"])
        return output_views(pretext, found, similarity)
