"""Alice: what two scans of the same body part have in common, learnt from their masked crops.

Jiang et al., "Anatomical Invariance Modeling and Semantic Alignment for Self-supervised Learning in 3D Medical Image
Segmentation", ICCV 2023 (arXiv 2302.05615). Two crops, Q and K, show the same anatomy of two scans; a point is found in the
other scan by a Self-supervised Anatomical eMbedding (`napari_ssl_seg.anatomy`; the paper's "SAM", which is not Segment
Anything). An encoder sees a quarter of the patches of each, a light decoder restores the others (l_r). A slowly following
encoder sees augmented copies of the whole crops. The mean of a crop's tokens should be that of the other crop's there (l_dv),
and what a visible token finds among its crop's tokens what it finds among those of the copy (l_st).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.alice_config import UNIT, AliceConfig
from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Needs, Prepared, Pretext, View

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.alice_net import AliceNet, AliceOutput
    from napari_ssl_seg.networks.spec import NetworkSpec
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.events import Event

SHAPING = ("decoder_width", "decoder_layers", "hidden", "features", "predictor")
"""Settings that decide which weights the model has, besides whether the weights of the two terms are 0."""


class Alice(Method):
    """Masked crops of the same body part of two scans: restored, alike as wholes, and aligned token by token."""

    name = "alice"
    title = "Alice"
    paper = "Jiang et al., Anatomical Invariance Modeling and Semantic Alignment, ICCV 2023, arXiv 2302.05615"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = AliceConfig
    networks = ("unetr", "swin_unetr")
    needs = Needs(matched=True)
    training: ClassVar[Mapping[str, Any]] = {
        "optimizer": "adamw",
        "beta2": 0.95,
        "learning_rate": 5e-4,
        "weight_decay": 0.05,
        "warmup": 0.1,
        "clip_norm": 3.0,
    }
    """The paper's AdamW with betas 0.9 and 0.95 and the decay and clipping of its code. Its rate of 5e-5 is for 100,000
    steps; with the general 5e-3 all tokens become alike within 20 steps."""
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mae": {"volume_weight": 0.0, "alignment_weight": 0.0},
        "no_alignment": {"alignment_weight": 0.0},
        "no_volume": {"volume_weight": 0.0},
        "unmatched": {"pairs": "random"},
        "no_predictor": {"predictor": False},
    }

    def __init__(self, config: MethodConfig | None = None, *, spec: NetworkSpec | None = None) -> None:
        super().__init__(config)
        self.spec = spec
        """The network, where that is known."""

    # -- before the first step ------------------------------------------------------------------------------------
    def prepare(self, study: Study, case_ids: Sequence[str]) -> Generator[Event, None, Prepared]:
        """Who matches points of these scans; an embedding is trained for it, once a study."""
        from napari_ssl_seg.methods.alice_preparation import prepare

        return (yield from prepare(self, study, case_ids))

    def prepare_slice(self, study: Study, case_id: str, index: int) -> Prepared:
        """The matcher of a run where there is one by now, otherwise the same field of view."""
        from napari_ssl_seg.methods.alice_preparation import prepare_slice

        return prepare_slice(self, study)

    def on_network(self, spec: NetworkSpec) -> Method:
        """With that network's patch, which its tokens must divide into two at least.

        Raises
        ------
        UserError
            Saying which patch would do.
        """
        check_patch(spec.patch, spec.name)
        return Alice(self.config, spec=spec)

    def fitted_to(self, trained: Method) -> Method:
        """With the width of the other's heads, and those terms alone for which its model is made."""
        update = {name: getattr(trained.config, name) for name in SHAPING}
        for name in ("volume_weight", "alignment_weight"):
            if bool(getattr(trained.config, name)) != bool(getattr(self.config, name)):
                update[name] = getattr(trained.config, name)
        return Alice(self.config.model_copy(update=update), spec=self.spec)

    # -- the sample -----------------------------------------------------------------------------------------------
    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Masks for both crops, then an augmented copy of each.

        ``inputs`` is the masked first crop, in whose hidden patches the crop's lowest value stands; the model takes the
        visible ones out of it. Targets, and with ``partner_`` before the name those of the second crop: ``inputs`` (of the
        partner alone); ``whole``, the target encoder's view; ``visible``, int64 (B, n), numbers of the visible patches, first
        axes slowest; ``mask``, bool (B, *spatial), True where hidden; ``image``, what is to be restored; with
        `normalise_target` also ``mean`` and ``deviation`` of each patch.
        """
        import torch

        from napari_ssl_seg.methods.alice_views import pretext_stats, pretext_views
        from napari_ssl_seg.pretext.augment import view_of
        from napari_ssl_seg.pretext.masks import block_statistics, choose_blocks, spread

        if batch.partner is None:
            raise ValueError("Alice needs a batch with partners; sample it with the method's `needs`")
        crops, shape = torch.cat((batch.image, batch.partner)), tuple(batch.image.shape[2:])
        check_patch(shape, "the encoder")
        unit = (UNIT,) * len(shape)
        hidden = choose_blocks(len(crops), [side // UNIT for side in shape], self.config.mask_ratio, generator)
        flat = hidden.flatten(1)
        seen = int((~flat[0]).sum())
        visible = flat.to(torch.uint8).argsort(dim=1, stable=True)[:, :seen].to(crops.device)
        mask = spread(hidden, unit, shape).to(crops.device)
        lowest = crops.flatten(1).amin(dim=1).view(-1, *(1,) * (crops.ndim - 1))
        both = {
            "inputs": torch.where(mask.unsqueeze(1), lowest, crops),
            "whole": view_of(crops, generator, self.config.augmentation).image,
            "visible": visible,
            "mask": mask,
            "image": crops,
        }
        if self.config.normalise_target:
            mean, deviation = block_statistics(crops, unit)
            both |= {"image": (crops - mean) / deviation, "mean": mean, "deviation": deviation}
        targets: dict[str, Tensor] = {}
        for name, tensor in both.items():
            targets[name], targets[f"partner_{name}"] = tensor.chunk(2)
        inputs = targets.pop("inputs")
        share = float(flat.double().mean())
        return Pretext(
            inputs=inputs,
            targets=targets,
            views=pretext_views(batch, inputs, targets, normalised=self.config.normalise_target),
            stats={
                "share_hidden": share,
                "patches": float(flat.shape[1]),
                "visible_patches": float(seen),
                **pretext_stats(batch),
            },
        )

    # -- the model ------------------------------------------------------------------------------------------------
    def build(self, network: nn.Module) -> nn.Module:
        """The network's transformer with decoder, heads and target encoder; its convolutions are left to the fine-tuning.

        Raises
        ------
        UserError
            For a network without a transformer that Alice knows.
        """
        from napari_ssl_seg.methods.alice_net import AliceNet

        patch = getattr(network, "patch", self.spec.patch if self.spec is not None else None)
        if patch is None:
            raise ValueError("the size of the patches is not known; call `on_network` with the network's spec")
        return AliceNet(network, tuple(side // UNIT for side in patch), self.config)  # type: ignore[arg-type]

    def outputs(self, model: nn.Module, pretext: Pretext) -> AliceOutput:
        """Both crops of each pair through the model."""
        import torch

        targets = pretext.targets
        crops = torch.cat((pretext.inputs, targets["partner_inputs"]))
        visible = torch.cat((targets["visible"], targets["partner_visible"]))
        return model(crops, visible, torch.cat((targets["whole"], targets["partner_whole"])))

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """``l_r + l_dv + l_st``, each the sum of the means of both crops.

        Parts, before they are weighted: ``restoration``, ``volume`` and ``alignment``; ``spread`` and ``rank`` of the crops'
        summaries, no part of the sum, are the collapse gauge.
        """
        net: AliceNet = model  # type: ignore[assignment]
        config, found = self.config, self.outputs(model, pretext)
        parts = self.terms(net, found, pretext)
        if "matches_rejected" in pretext.stats:
            net.count_pairs(int(pretext.stats["matches_accepted"]), int(pretext.stats["matches_rejected"]))
        weights = {
            "restoration": config.restoration_weight,
            "volume": config.volume_weight,
            "alignment": config.alignment_weight,
        }
        total = sum(weights[name] * value for name, value in parts.items() if weights[name])
        if net.gauge is not None and found.student is not None:
            parts |= net.gauge.observe(found.student.mean(dim=1))
        return Losses(total=total, parts=parts)  # type: ignore[arg-type]

    def terms(self, net: AliceNet, found: AliceOutput, pretext: Pretext) -> dict[str, Tensor]:
        """l_r, and l_dv and l_st where the model is made for them."""
        from napari_ssl_seg.methods.alice_losses import across_scans, both_crops, cosine_distance
        from napari_ssl_seg.methods.losses import masked_error
        from napari_ssl_seg.methods.mae_net import fold_patches

        targets, shape = pretext.targets, tuple(pretext.inputs.shape[2:])
        first, second = fold_patches(found.restored.float(), shape, UNIT).chunk(2)
        terms = {
            "restoration": masked_error(first, targets["image"], targets["mask"], "mse")
            + masked_error(second, targets["partner_image"], targets["partner_mask"], "mse")
        }
        if found.student is None or found.target is None:
            return terms
        if self.config.volume_weight:
            terms["volume"] = across_scans(*net.summaries(found))
        if net.alignment is not None:
            said, wanted = net.aligned(found)
            terms["alignment"] = both_crops(cosine_distance(said, wanted))
        return terms

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """The target encoder follows, the more slowly the later."""
        net: AliceNet = model  # type: ignore[assignment]
        from napari_ssl_seg.methods.mod_losses import ema_momentum

        net.follow(ema_momentum(self.config.momentum, step / total))

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """That it has collapsed; that most pairs found no match."""
        net: AliceNet = model  # type: ignore[assignment]
        said = net.gauge.remarks() if net.gauge is not None else ()
        unmatched = net.pairs_remark()
        return said if unmatched is None else (*said, unmatched)

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """Restorations and errors of both crops, attention of the alignment module, and the gauge."""
        import torch

        from napari_ssl_seg.methods.alice_views import output_views

        with torch.no_grad():
            return output_views(self, model, pretext)

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """The transformer, under the names that it has in the network; of a `swin_unetr` up to the map of stride 16."""
        net: AliceNet = model  # type: ignore[assignment]
        return net.encoder.transfer()


def check_patch(patch: Sequence[int], what: str) -> None:
    """Refuse a patch that does not hold whole tokens, or holds one alone.

    Raises
    ------
    UserError
        Naming one that does.
    """
    size = "x".join(map(str, patch))
    if any(side % UNIT for side in patch):
        fitting = "x".join(str(max(1, round(side / UNIT)) * UNIT) for side in patch)
        raise UserError(
            f"Alice hides cubes of {UNIT} voxels, which do not divide the patch {size} of {what}; use {fitting}"
        )
    if math.prod(side // UNIT for side in patch) < 2:
        raise UserError(f"a patch of {size} is a single token, of which nothing can be hidden; use a larger one")
