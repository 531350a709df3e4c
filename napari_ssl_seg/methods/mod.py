"""MOD: an online tokenizer and a dense predictor, trained together with the segmentation.

Two intensity-augmented views of a patch are partly hidden. A slowly following teacher sees them whole; at each hidden token
the student has to say what the teacher says there (efm), for the whole patch what it says of the other view (cls), and to
restore the hidden voxels (dp). ``L_MOD = alpha L_efm + beta L_cls + L_DP`` is added to the supervised loss of each step; at
the end the student alone is kept.

The paper trains with labels only; pretraining by L_MOD alone, and scans without labels beside those with, are extensions.
Where it is silent, this follows iBOT (Zhou et al., ICLR 2022, arXiv 2111.07832), on which it builds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.base import Batch, Losses, Method, MethodConfig, Pretext, View
from napari_ssl_seg.methods.mod_config import MODConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

    from napari_ssl_seg.methods.mod_net import MODCompanion, TokenOutput
    from napari_ssl_seg.networks.spec import NetworkSpec

UNIT = 8
"""Side of a hidden unit where the network is not known: the token of the small U-Net."""
FEWEST_TOKENS = 2
"""Along each axis."""
SHAPING = ("hidden", "bottleneck", "prototypes")
"""Settings that decide which weights the model has."""


class MOD(Method):
    """Hides tokens of two views; a following teacher says what stands there, and the network restores it. With labels."""

    name = "mod"
    title = "MOD"
    paper = "MOD, online self-distillation and self-modelling for 3D brain tumour segmentation"
    dims = frozenset({2, 3})
    Config: ClassVar[type[MethodConfig]] = MODConfig
    networks = ("unet", "unetr", "swin_unetr")
    joint = True
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tokenizer": {"dense": 0.0},
        "predictor": {"alpha": 0.0, "beta": 0.0},
        "logs": {"mod_weight": 0.001},
    }

    def __init__(self, config: MethodConfig | None = None, *, unit: tuple[int, ...] | None = None) -> None:
        super().__init__(config)
        self.unit = unit
        """Sides of what is hidden at once, in voxels: those of a token of the network, where that is known."""

    # -- the sample -----------------------------------------------------------------------------------------------
    def on_network(self, spec: NetworkSpec) -> Method:
        """With units as large as that network's tokens.

        Raises
        ------
        UserError
            When its patch holds less than two tokens along an axis.
        """
        from napari_ssl_seg.networks import token_stride

        unit = token_stride(spec)
        grid = [side // step for side, step in zip(spec.patch, unit, strict=True)]
        if min(grid) < FEWEST_TOKENS:
            raise UserError(
                f"{spec.name} {spec.preset} makes {'x'.join(map(str, grid))} tokens of a patch of"
                f" {'x'.join(map(str, spec.patch))} voxels, and MOD needs at least {FEWEST_TOKENS} along each axis; choose a"
                " network with smaller tokens, such as unet"
            )
        return MOD(self.config, unit=unit)

    def fitted_to(self, trained: Method) -> Method:
        """With the head of the other's model."""
        shared = {name: getattr(trained.config, name) for name in SHAPING}
        return MOD(self.config.model_copy(update=shared), unit=self.unit)

    def pretext(self, batch: Batch, generator: torch.Generator) -> Pretext:
        """Two views of each patch, each with units of its own hidden.

        All draws are made for both views at once: intensities first, then masks. Targets: ``mu`` and ``nu``, the views;
        ``masked_nu``, as ``inputs`` is masked mu (all (B, C, *spatial)); ``hidden_mu`` and ``hidden_nu``, bool (B, *spatial).
        """
        import torch

        from napari_ssl_seg.pretext.masks import block_mask

        image, shape = batch.image, tuple(batch.image.shape[2:])
        unit = self._unit(shape)
        views = self._views(torch.cat((image, image)), generator)
        blocks = _product(side // step for side, step in zip(shape, unit, strict=True))
        count = hidden_count(blocks, self.config.mask_ratio)
        drawn = block_mask(len(views), shape, unit, count / blocks, generator)
        share = float(drawn.double().mean())
        hidden = drawn.to(image.device)
        masked = torch.where(hidden.unsqueeze(1), self._filling(views), views)
        (mu, nu), (hidden_mu, hidden_nu), (masked_mu, masked_nu) = views.chunk(2), hidden.chunk(2), masked.chunk(2)
        return Pretext(
            inputs=masked_mu,
            targets={"mu": mu, "nu": nu, "masked_nu": masked_nu, "hidden_mu": hidden_mu, "hidden_nu": hidden_nu},
            views=(
                View("scan", "Scan (x)", "image", image),
                View("mu", "First view (mu)", "image", mu),
                View("nu", "Second view (nu)", "image", nu),
                View("hidden_mu", "Hidden of mu", "mask", hidden_mu),
                View("hidden_nu", "Hidden of nu", "mask", hidden_nu),
                View("masked_mu", "Masked mu (network input)", "image", masked_mu),
                View("masked_nu", "Masked nu (network input)", "image", masked_nu),
            ),
            stats={
                "share_masked": share,
                "tokens": float(blocks),
                "hidden_tokens": float(count),
                **{f"token_{axis}": float(side) for axis, side in zip("zyx"[-len(unit) :], unit, strict=True)},
            },
        )

    def _unit(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        unit = self.unit or (UNIT,) * len(shape)
        if len(unit) != len(shape) or any(side % step for side, step in zip(shape, unit, strict=True)):
            raise ValueError(
                f"a patch of {shape} does not hold whole tokens of {unit}; call `on_network` with its spec"
            )
        return unit

    def _views(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Each patch blurred, stretched about its mean, scaled and shifted by numbers of its own."""
        import torch

        from napari_ssl_seg.pretext.views import blurred

        config, along = self.config, (-1, *(1,) * (image.ndim - 1))
        drawn = torch.rand(4, len(image), generator=generator, device=generator.device).to(image)
        share = (config.blur * drawn[0]).view(along)
        contrast, scale, shift = (
            ((2.0 * row - 1.0) * most).view(along)
            for row, most in zip(drawn[1:], (config.contrast, config.scale, config.shift), strict=True)
        )
        if config.blur:
            image = torch.lerp(image, blurred(image), share)
        mean = image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)
        return ((image - mean) * (1.0 + contrast) + mean) * (1.0 + scale) + shift

    def _filling(self, views: Tensor) -> Tensor:
        if self.config.fill == "zero":
            return views.new_zeros(())
        return views.mean(dim=tuple(range(2, views.ndim)), keepdim=True)

    # -- the model ------------------------------------------------------------------------------------------------
    def companion(self, network: nn.Module, *, joint: bool = True) -> MODCompanion:
        """Tokenizer, dense predictor and teacher for a backbone, whose weights now are the teacher's first."""
        from napari_ssl_seg.methods.mod_net import MODCompanion

        return MODCompanion(network, self.config, quiet=joint)  # type: ignore[arg-type]

    def build(self, network: nn.Module) -> nn.Module:
        """The backbone with MOD beside it. What its tokens do not depend on (the decoder) is not trained."""
        from napari_ssl_seg.methods.mod_net import MODNet
        from napari_ssl_seg.networks.tokens import token_weights

        companion = self.companion(network, joint=False)
        trained = token_weights(network)  # type: ignore[arg-type]
        for name, weight in network.named_parameters():
            weight.requires_grad_(name in trained)
        return MODNet(network, companion)  # type: ignore[arg-type]

    def transfer(self, model: nn.Module) -> dict[str, Tensor]:
        """The student's encoder; the decoder, which was not trained, stays random in a fine-tuning."""
        from napari_ssl_seg.networks.tokens import token_weights

        trained = token_weights(model.backbone)  # type: ignore[arg-type]
        return {name: tensor for name, tensor in super().transfer(model).items() if name in trained}

    def loss(self, model: nn.Module, pretext: Pretext) -> Losses:
        """Eq. 5: L_MOD; ``model`` has a ``backbone`` and a ``companion``.

        Parts: ``efm``, ``cls`` and ``dp`` before they are weighted; ``teacher_entropy``, no part of the sum, is the mean
        entropy of the teacher's tokens as a share of ln K (see `mod_gauge`).
        """
        import math

        from napari_ssl_seg.methods.mod_losses import distribution_stats, sharpened

        config = self.config
        companion: MODCompanion = model.companion  # type: ignore[assignment]
        found = self.outputs(model, pretext)
        parts = self.terms(companion, found, pretext)
        weights = {"efm": config.alpha, "cls": config.beta, "dp": config.dense}
        weighted = {name: weight * parts[name] for name, weight in weights.items() if weight}
        if companion.training:
            wanted = sharpened(found.teacher_scores, companion.token_centre, companion.token_temperature)
            stats = distribution_stats(wanted.flatten(0, 1))
            companion.note(found, stats["entropy"], stats["kl"], parts["efm"])
            companion.latest = {name: value.detach() for name, value in weighted.items()}
            parts["teacher_entropy"] = stats["entropy"] / math.log(config.prototypes)
        return Losses(total=sum(weighted.values()), parts=parts)  # type: ignore[arg-type]

    def outputs(self, model: nn.Module, pretext: Pretext) -> TokenOutput:
        """Student and teacher on both views."""
        import torch

        targets = pretext.targets
        masked = torch.cat((pretext.inputs, targets["masked_nu"]))
        whole = torch.cat((targets["mu"], targets["nu"]))
        return model.companion(model.backbone, masked, whole)  # type: ignore[operator]

    def terms(self, companion: MODCompanion, found: TokenOutput, pretext: Pretext) -> dict[str, Tensor]:
        """L_efm, L_cls and L_DP, each the mean over both views (Eq. 1, 2 and 4)."""
        import torch

        from napari_ssl_seg.methods.losses import masked_error
        from napari_ssl_seg.methods.mod_losses import distillation, mean_of_hidden

        config, targets = self.config, pretext.targets
        hidden = torch.cat((targets["hidden_mu"], targets["hidden_nu"]))
        whole = torch.cat((targets["mu"], targets["nu"]))
        tokens = tokens_of(hidden, companion.predictor.unit).flatten(1)
        other = found.teacher_whole.roll(len(hidden) // 2, dims=0)
        restored = companion.predictor(found.student).float()
        return {
            "efm": mean_of_hidden(self.token_errors(companion, found), tokens),
            "cls": distillation(
                other,
                found.student_whole,
                centre=companion.whole_centre,
                teacher_temperature=config.cls_temperature,
                student_temperature=config.student_temperature,
            ).mean(),
            "dp": masked_error(restored, whole, hidden, "l1"),
        }

    def token_errors(self, companion: MODCompanion, found: TokenOutput) -> Tensor:
        """Cross-entropy of each token of both views, (2B, N)."""
        from napari_ssl_seg.methods.mod_losses import distillation

        return distillation(
            found.teacher_scores,
            found.student_scores,
            centre=companion.token_centre,
            teacher_temperature=companion.token_temperature,
            student_temperature=self.config.student_temperature,
        )

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """The teacher and the centres follow."""
        model.companion.after_step(model.backbone, step, total)  # type: ignore[operator, union-attr]

    def remarks(self, model: nn.Module) -> tuple[str, ...]:
        """That it has collapsed, once."""
        companion: MODCompanion = model.companion  # type: ignore[assignment]
        said, companion.remarks = tuple(companion.remarks), []
        return said

    def output_views(self, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
        """Restored mu; tokens of student and teacher; cross-entropy of each token; the collapse gauge; shares of the loss."""
        import torch

        from napari_ssl_seg.methods.mod_views import output_views

        with torch.no_grad():
            return output_views(self, model, pretext)


def hidden_count(tokens: int, ratio: float) -> int:
    """How many of ``tokens`` are hidden: ``ratio`` rounded down, but at least one, and not all."""
    return min(max(int(ratio * tokens + 1e-9), 1), max(tokens - 1, 1))


def tokens_of(mask: Tensor, unit: tuple[int, ...]) -> Tensor:
    """A mask of whole units, (B, *spatial), as one of tokens, (B, *grid)."""
    return mask[(slice(None), *(slice(None, None, step) for step in unit))]


def _product(sides: Any) -> int:
    import math

    return math.prod(sides)
