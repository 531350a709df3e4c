"""Localized Region Contrast: superpixels of a slice, found again in its warped copy.

Yan et al., "Localized Region Contrast for Enhancing Self-Supervised Learning in Medical Image Segmentation", MICCAI 2023.
A U-Net learns pixel features whose means over the same region agree between a slice and its elastically warped copy, and
differ between regions. A second encoder learns from a contrast of whole slices (MoCo). Fine-tuning joins both: the local
U-Net, the global encoder and a new decoder for it (`napari_ssl_seg.networks.pair`).

The paper pretrains the two by themselves, with optimisers of their own. Here one run trains both on the same batches:
they have no weight in common and their losses are added, so each gets the gradients that it would get alone, and with Adam
takes the same steps. Only the shortening of long gradients (``clip_norm``) looks at both; 0 makes it exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Prepared, Pretext, View
from napari_ssl_seg.methods.lrc_config import LRCConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.lrc_net import LRCNet
    from napari_ssl_seg.networks.spec import NetworkSpec
    from napari_ssl_seg.pretext.region_sampling import SharedRegions
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

SHAPING = ("features", "global_contrast", "moco", "queue", "projection")
"""Settings that decide which weights the model has."""


class LRC(Method):
    """Tells each superpixel of a slice from the others, in the slice and in a warped copy; contrasts whole slices besides."""

    name = "lrc"
    title = "LRC"
    paper = "Yan et al., Localized Region Contrast, MICCAI 2023"
    dims = frozenset({2})
    Config: ClassVar[type[MethodConfig]] = LRCConfig
    needs = Needs(regions=True)
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "local": {"global_contrast": "none"},
        "in_batch": {"queue": 0},
        "moco_v2": {"moco": "v2"},
    }

    # -- before the first step ------------------------------------------------------------------------------------
    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """Regions of every slice, into the study's cache; and the length of the queue, at most half as many as slices."""
        from napari_ssl_seg.methods.lrc_preparation import prepare

        return (yield from prepare(self, study, case_ids))

    def prepare_slice(self, study: Study, case_id: str, index: int) -> Prepared:
        """Regions of one slice, from the cache or made at once."""
        from napari_ssl_seg.methods.lrc_preparation import prepare_slice

        return prepare_slice(self, study, case_id, index)

    def fitted_to(self, trained: Method) -> Method:
        """With the width, the kind of global contrast and the queue of ``trained``."""
        return LRC(self.config.model_copy(update={name: getattr(trained.config, name) for name in SHAPING}))

    def finetuning_spec(self, spec: NetworkSpec) -> NetworkSpec:
        """A pair of the U-Net pretrained on."""
        options = dict(spec.options)
        if self.config.features != 64 or "features" in options:
            options["features"] = self.config.features
        return spec.model_copy(update={"name": "unet_pair", "options": options})

    # -- the sample -----------------------------------------------------------------------------------------------
    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """The slice, its warped copy, and points in the regions that both show.

        Targets: ``warped`` (B, C, H, W); ``regions`` and ``warped_regions``, int64 (B, H, W); ``ids``, int64 (B, K), the
        regions that are compared, 0 behind an image's last; ``points`` and ``warped_points``, int64 (B, K, N), flat indices
        y * W + x, -1 where there is no region.
        """
        import torch

        from napari_ssl_seg.pretext.region_sampling import sample_points, shared_regions
        from napari_ssl_seg.pretext.warp import elastic_field, warp_image, warp_labels

        if batch.regions is None:
            raise ValueError(
                "LRC needs a batch with regions; sample it with the method's `needs`, from what it prepared"
            )
        config, device = self.config, batch.image.device
        shape = tuple(batch.image.shape[2:])
        side = min(shape)
        field = elastic_field(
            len(batch.image),
            shape,
            largest=config.displacement * side,
            sigma=config.smoothness * side,
            generator=generator,
        ).to(device)
        warped = self._jittered(warp_image(batch.image, field), generator)
        warped_regions = warp_labels(batch.regions, field)
        shared = shared_regions(batch.regions, warped_regions, most=config.max_regions, generator=generator)
        draws = torch.rand(2, *shared.ids.shape, config.points, generator=generator, device=generator.device).to(device)
        points = sample_points(batch.regions, shared.ids, draws[0])
        warped_points = sample_points(warped_regions, shared.ids, draws[1])
        return Pretext(
            inputs=batch.image,
            targets={
                "warped": warped,
                "regions": batch.regions,
                "warped_regions": warped_regions,
                "ids": shared.ids,
                "points": points,
                "warped_points": warped_points,
            },
            views=self._views(batch, warped, warped_regions, field, shared, points, warped_points),
            stats=self._stats(batch, shared, field),
        )

    def _jittered(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Contrast about each image's mean, and brightness, each changed by up to `jitter`; as it is where that is 0."""
        import torch

        if not self.config.jitter:
            return image
        drawn = torch.rand(2, len(image), 1, 1, 1, generator=generator, device=generator.device).to(image.device)
        contrast, brightness = (2.0 * drawn - 1.0) * self.config.jitter
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        return (image - mean) * (1.0 + contrast) + mean + brightness

    def _views(
        self,
        batch: Batch,
        warped: Tensor,
        warped_regions: Tensor,
        field: Tensor,
        shared: SharedRegions,
        points: Tensor,
        warped_points: Tensor,
    ) -> tuple[View, ...]:
        from napari_ssl_seg.pretext.warp import displaced_grid

        assert batch.regions is not None
        width = batch.image.shape[3]
        length = field.square().sum(dim=1, keepdim=True).sqrt()
        longest = max(float(length.max()), 1e-6)
        return (
            View("scan", "Scan", "image", batch.image),
            View("superpixels", "Superpixels", "labels", batch.regions.clamp(min=0)),
            View("warped", "Warped scan", "image", warped),
            View("warped_superpixels", "Warped superpixels, same colours", "labels", warped_regions.clamp(min=0)),
            View("displacement", "Displacement in pixels", "image", length, (0.0, longest)),
            View("grid", "Warped grid", "image", displaced_grid(field), (0.0, 1.0)),
            View("points", "Points in the scan", "points", _places(points, width)),
            View("warped_points", "Points in the warped scan", "points", _places(warped_points, width)),
            View("dropped", "Regions left out", "mask", _left_out(batch.regions, shared.ids)),
        )

    def _stats(self, batch: Batch, shared: SharedRegions, field: Tensor) -> dict[str, float]:
        from napari_ssl_seg.pretext.region_sampling import region_sizes

        assert batch.regions is not None
        counts = shared.counts
        sizes = region_sizes(batch.regions, max(int(batch.regions.max()), 1))
        used = sizes.gather(1, (shared.ids - 1).clamp(min=0))[shared.ids > 0]
        stats = {
            "regions": float(counts.double().mean()),
            "regions_lost": float(shared.lost.double().mean()),
            "regions_beyond_limit": float(shared.surplus.double().mean()),
            "points_a_region": float(self.config.points),
            "median_region_size": float(used.double().median()) if used.numel() else 0.0,
            "largest_displacement": float(field.square().sum(dim=1).max().sqrt()),
            "images_without_contrast": float((counts < 2).sum()),
        }
        if self.config.global_contrast == "moco":
            # A batch of one has nothing to tell its slice from where there is no queue: that loss is then 0.
            stats["global_negatives"] = float(self.config.queue or len(batch.image) - 1)
        return stats

    # -- the model ------------------------------------------------------------------------------------------------
    def build(self, network: nn.Module) -> nn.Module:
        """Both branches from a U-Net or a pair; see `lrc_net.LRCNet`."""
        from napari_ssl_seg.methods.lrc_net import LRCNet

        return LRCNet(network, self.config)

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """The local contrast plus the global one; ``top1`` tells how many regions would be found again."""
        import torch

        from napari_ssl_seg.methods.lrc_loss import local_contrast, retrieval, similarity

        net: LRCNet = model  # type: ignore[assignment]
        config = self.config
        queries, keys = self._means(net, pretext)
        valid = pretext.targets["ids"] > 0
        total = local_contrast(
            queries,
            keys,
            valid,
            temperature=config.local_temperature,
            include_self=config.include_self,
            normalise=config.normalise,
            reduction=config.reduction,
        )
        parts = {"local": total}
        if net.global_contrast is not None:
            parts["global"] = net.global_contrast(pretext.inputs, pretext.targets["warped"])
            total = total + parts["global"]
        with torch.no_grad():
            parts["top1"] = retrieval(similarity(queries, keys, normalise=config.normalise), valid)
        return Losses(total=total, parts=parts)

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """The key encoder follows, and the queue takes the last keys."""
        net: LRCNet = model  # type: ignore[assignment]
        if net.global_contrast is not None:
            net.global_contrast.after_step()

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """Similarities of the first slice's regions, clusters of the pixel features, and how well regions are found again."""
        import torch

        from napari_ssl_seg.methods.lrc_clusters import cluster_pixels
        from napari_ssl_seg.methods.lrc_loss import retrieval, similarity

        net: LRCNet = model  # type: ignore[assignment]
        targets, normalise = pretext.targets, self.config.normalise
        valid = targets["ids"] > 0
        with torch.no_grad():
            features = net.local(torch.cat((pretext.inputs, targets["warped"]))).float()
            here, there = features.chunk(2)
            queries, keys = (
                self._means_of(here, "regions", "points", pretext),
                self._means_of(there, "warped_regions", "warped_points", pretext),
            )
            alike = similarity(queries, keys, normalise=normalise)
            vectors = torch.nn.functional.normalize(here, dim=1) if normalise else here
        clusters = torch.stack(
            [
                cluster_pixels(image, regions > 0, int(count))
                for image, regions, count in zip(vectors, targets["regions"], valid.sum(dim=1), strict=True)
            ]
        ).to(here.device)
        count = int(valid[0].sum())
        table = {"regions": float(count), "found again (top-1)": float(retrieval(alike[:1], valid[:1]))}
        limits = (-1.0, 1.0) if normalise else None
        return (
            View(
                "similarity", "Similarity of regions, scan by warped scan", "matrix", alike[0, :count, :count], limits
            ),
            View("clusters", "Clusters of the learnt features", "labels", clusters),
            View("retrieval", "Regions found again", "table", table),
        )

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """Names of a `UNetPair`: the local branch, and the encoder of the global one. Its decoder stays random."""
        net: LRCNet = model  # type: ignore[assignment]
        return net.transfer()

    def _means(self, net: LRCNet, pretext: Pretext) -> tuple[Tensor, Tensor]:
        """Means of the regions in the scan and in its warped view, (B, K, D) each."""
        import torch

        here, there = net.local(torch.cat((pretext.inputs, pretext.targets["warped"]))).float().chunk(2)
        return (
            self._means_of(here, "regions", "points", pretext),
            self._means_of(there, "warped_regions", "warped_points", pretext),
        )

    def _means_of(self, features: Tensor, regions: str, points: str, pretext: Pretext) -> Tensor:
        from napari_ssl_seg.pretext.region_sampling import point_means, whole_means

        if self.config.points:
            return point_means(features, pretext.targets[points])
        return whole_means(features, pretext.targets[regions], pretext.targets["ids"])


def _places(points: Tensor, width: int) -> Tensor:
    """Flat indices (B, K, N) as (y, x) of all points of a slice, region by region: float32 (B, K * N, 2), NaN for none."""
    import torch

    flat = points.flatten(1)
    places = torch.stack((flat // width, flat % width), dim=-1).float()
    return places.masked_fill((flat < 0).unsqueeze(-1), float("nan"))


def _left_out(regions: Tensor, ids: Tensor) -> Tensor:
    """Pixels of the regions that are not compared, bool (B, H, W)."""
    import torch

    top = max(int(regions.max()), 0)
    used = torch.zeros(len(regions), top + 1, dtype=torch.bool, device=regions.device).scatter_(1, ids, True)
    return (regions > 0) & ~used.gather(1, regions.clamp(min=0).flatten(1)).view(regions.shape)
