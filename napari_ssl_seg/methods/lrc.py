"""Localized Region Contrast: superpixels of a slice, found again in its warped copy.

Yan et al., "Localized Region Contrast for Enhancing Self-Supervised Learning in Medical Image Segmentation", MICCAI 2023.
A U-Net learns pixel features whose means over the same region agree between a slice and its elastically warped copy, and
differ between regions. A second encoder learns from a contrast of whole slices (MoCo, or another siamese method). Fine-tuning
joins both: the local U-Net, the global encoder and a new decoder for it (`napari_ssl_seg.networks.pair`).

That network has about twice the weights of one U-Net. The control of the paper's Table 2, `moco_twice`, has as many: there
both encoders learn from the contrast of whole slices, each by itself, and both decoders start at random.

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
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

SHAPING = ("features", "local_contrast", "global_contrast", "global_encoder", "moco", "queue", "projection")
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
        "simclr": {"global_contrast": "simclr"},
        "byol": {"global_contrast": "byol"},
        "simsiam": {"global_contrast": "simsiam"},
        "moco_twice": {"local_contrast": "global"},
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
        for name, usual in (("features", 64), ("global_encoder", "unet")):
            if (chosen := getattr(self.config, name)) != usual or name in options:
                options[name] = chosen
        return spec.model_copy(update={"name": "unet_pair", "options": options})

    # -- the sample -----------------------------------------------------------------------------------------------
    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """The slice, its warped copy, and points in the regions that both show.

        Targets: ``warped`` (B, C, H, W); ``regions`` and ``warped_regions``, int64 (B, H, W); ``ids``, int64 (B, K), the
        regions that are compared, 0 behind an image's last; ``points`` and ``warped_points``, int64 (B, K, N), flat indices
        y * W + x, -1 where there is no region.
        """
        import torch

        from napari_ssl_seg.methods.lrc_views import pretext_stats, pretext_views
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
        warped_regions = warp_labels(batch.regions, field)
        shared = shared_regions(batch.regions, warped_regions, most=config.max_regions, generator=generator)
        draws = torch.rand(2, *shared.ids.shape, config.points, generator=generator, device=generator.device).to(device)
        targets = {
            "warped": self._jittered(warp_image(batch.image, field), generator),
            "regions": batch.regions,
            "warped_regions": warped_regions,
            "ids": shared.ids,
            "points": sample_points(batch.regions, shared.ids, draws[0]),
            "warped_points": sample_points(warped_regions, shared.ids, draws[1]),
        }
        return Pretext(
            inputs=batch.image,
            targets=targets,
            views=pretext_views(batch, targets, field),
            stats=pretext_stats(config, batch, shared, field),
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

    # -- the model ------------------------------------------------------------------------------------------------
    def build(self, network: nn.Module) -> nn.Module:
        """Both branches from a U-Net or a pair; see `lrc_net.LRCNet`."""
        from napari_ssl_seg.methods.lrc_net import LRCNet

        return LRCNet(network, self.config)

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """The local contrast plus the global one; ``top1`` tells how many regions would be found again.

        ``global_spread`` and ``global_rank`` tell whether the slices' vectors still differ (`embedding_gauge`); in the control
        both branches have all of these.
        """
        net: LRCNet = model  # type: ignore[assignment]
        total, parts = self._local(net, pretext) if net.local is not None else (None, {})
        for branch, contrast in net.contrasts.items():
            found = contrast(pretext.inputs, pretext.targets["warped"])
            parts[branch] = found["loss"]
            parts |= {f"{branch}_{name}": found[name] for name in ("spread", "rank")}
            total = found["loss"] if total is None else total + found["loss"]
        assert total is not None
        return Losses(total=total, parts=parts)

    def _local(self, net: LRCNet, pretext: Pretext) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrast of regions, and its parts."""
        import torch

        from napari_ssl_seg.methods.lrc_loss import local_contrast, retrieval, similarity

        config = self.config
        queries, keys = self._means(*self._features(net, pretext), pretext)
        valid = pretext.targets["ids"] > 0
        loss = local_contrast(
            queries,
            keys,
            valid,
            temperature=config.local_temperature,
            include_self=config.include_self,
            normalise=config.normalise,
            reduction=config.reduction,
        )
        with torch.no_grad():
            found = retrieval(similarity(queries, keys, normalise=config.normalise), valid)
        return loss, {"local": loss, "top1": found}

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """Key encoders follow, and queues take the last keys."""
        net: LRCNet = model  # type: ignore[assignment]
        for contrast in net.contrasts.values():
            contrast.after_step(step, total)

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """That a contrast of whole slices has collapsed, or has nothing to tell a slice from."""
        net: LRCNet = model  # type: ignore[assignment]
        return tuple(
            f"{branch} branch: {remark}" for branch, contrast in net.contrasts.items() for remark in contrast.remarks()
        )

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """Similarities of the first slice's regions, clusters of the pixel features, and how well regions are found again;
        in the control, which has no pixel features, the similarities of whole slices to the local branch."""
        import torch

        from napari_ssl_seg.methods.lrc_views import output_views
        from napari_ssl_seg.methods.siamese_views import output_views as whole_views

        net: LRCNet = model  # type: ignore[assignment]
        with torch.no_grad():
            if net.local_contrast is not None:
                return whole_views(*net.local_contrast.embed(pretext.inputs, pretext.targets["warped"]))
            here, there = self._features(net, pretext)
            return output_views(self.config, pretext, here, *self._means(here, there, pretext))

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """Names of a `UNetPair`: the local branch, and the encoder of the global one. Its decoder stays random; in the control
        both do."""
        net: LRCNet = model  # type: ignore[assignment]
        return net.transfer()

    def _features(self, net: LRCNet, pretext: Pretext) -> tuple[Tensor, Tensor]:
        """Pixel features of the scan and of its warped view, (B, D, H, W) each."""
        import torch

        assert net.local is not None
        here, there = net.local(torch.cat((pretext.inputs, pretext.targets["warped"]))).float().chunk(2)
        return here, there

    def _means(self, here: Tensor, there: Tensor, pretext: Pretext) -> tuple[Tensor, Tensor]:
        """Means of the regions in both, (B, K, D) each."""
        return (
            self._means_of(here, "regions", "points", pretext),
            self._means_of(there, "warped_regions", "warped_points", pretext),
        )

    def _means_of(self, features: Tensor, regions: str, points: str, pretext: Pretext) -> Tensor:
        from napari_ssl_seg.pretext.region_sampling import point_means, whole_means

        if self.config.points:
            return point_means(features, pretext.targets[points])
        return whole_means(features, pretext.targets[regions], pretext.targets["ids"])
