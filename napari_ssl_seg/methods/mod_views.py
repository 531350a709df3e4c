"""What MOD shows of a trained model's answer: restoration, tokens, the collapse gauge, shares of the loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_ssl_seg.methods.base import View
from napari_ssl_seg.methods.mod import tokens_of
from napari_ssl_seg.methods.mod_losses import distribution_stats, sharpened

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_ssl_seg.methods.base import Pretext
    from napari_ssl_seg.methods.mod import MOD
    from napari_ssl_seg.methods.mod_net import MODCompanion, TokenOutput


def output_views(method: MOD, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
    """Of the first view, mu; tables of both.

    ``model`` is an `MODNet`, or a joint fine-tuning's model, whose segmentation of mu is then shown, too.
    """
    companion: MODCompanion = model.companion  # type: ignore[assignment]
    found = method.outputs(model, pretext)
    mu, hidden, unit = pretext.targets["mu"], pretext.targets["hidden_mu"], companion.predictor.unit
    size, batch = mu.shape[2:], len(mu)
    restored = companion.predictor(found.student).float()[:batch]
    low, high = float(mu.min()), float(mu.max())
    error = torch.where(hidden.unsqueeze(1), (restored - mu).abs(), torch.zeros_like(mu))
    student, teacher = principal_maps(found.student[:batch].float(), found.teacher[:batch].float())
    errors = method.token_errors(companion, found)[:batch].view(batch, 1, *found.student.shape[2:])
    errors = torch.where(tokens_of(hidden, unit).unsqueeze(1), errors, torch.zeros_like(errors))
    most = math.log(method.config.prototypes)
    views = [
        View("pasted", "Restored, in its visible context", "image", _pasted(restored, mu, hidden), (low, high)),
        View("error", "Absolute error where hidden", "image", error, (0.0, max(high - low, 1e-6) / 2)),
        View("student", "Student's tokens of masked mu (first component)", "image", _spread(student, unit), (0.0, 1.0)),
        View("teacher", "Teacher's tokens of mu (first component)", "image", _spread(teacher, unit), (0.0, 1.0)),
        View("token_error", "Cross-entropy of hidden tokens", "image", _spread(errors, unit), (0.0, most)),
        View("gauge", "Collapse gauge", "table", gauge_table(companion, found)),
        View("shares", "Shares of the loss, weighted", "table", share_table(method, companion, found, pretext)),
    ]
    if hasattr(model, "segment"):
        views.insert(0, View("segmentation", "Segmentation of mu", "labels", model.segment(mu)))  # type: ignore[operator]
    assert all(tuple(view.data.shape[-len(size) :]) == tuple(size) for view in views if view.kind == "image")
    return tuple(views)


def gauge_table(companion: MODCompanion, found: TokenOutput) -> dict[str, float]:
    """Entropy of the teacher's tokens, their divergence from their mean, prototypes in use, and where the schedules are."""
    wanted = sharpened(found.teacher_scores, companion.token_centre, companion.token_temperature).flatten(0, 1)
    stats = {name: float(value) for name, value in distribution_stats(wanted).items()}
    tokens, prototypes = wanted.shape
    return {
        "teacher entropy": stats["entropy"],
        "entropy at most": math.log(prototypes),
        "divergence from the mean": stats["kl"],
        "prototypes used": stats["used"],
        "prototypes usable": float(min(tokens, prototypes)),
        "teacher momentum": companion.momentum,
        "teacher temperature": companion.token_temperature,
    }


def share_table(method: MOD, companion: MODCompanion, found: TokenOutput, pretext: Pretext) -> dict[str, float]:
    """What each term is of the whole: at the last step that was saved, or of this sample before there was one."""
    config = method.config
    values = {name: float(value) for name, value in companion.latest.items()}
    if not values:
        parts = method.terms(companion, found, pretext)
        weights = {"efm": config.alpha, "cls": config.beta, "dp": config.dense}
        values = {name: weight * float(parts[name]) for name, weight in weights.items()}
    whole = sum(values.values())
    return {f"share of {name}": value / whole if whole else float("nan") for name, value in values.items()}


def principal_maps(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The first principal component of the teacher's tokens, in both, from 0 to 1.

    Parameters
    ----------
    student, teacher
        (B, features, *grid).

    Returns
    -------
    tuple of Tensor
        Two of (B, 1, *grid). The sign is such that the component's largest weight is positive.
    """
    flat = teacher.movedim(1, -1).reshape(-1, teacher.shape[1]).double().cpu()
    mean = flat.mean(dim=0)
    _, _, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    axis = directions[0] * directions[0][directions[0].abs().argmax()].sign()
    maps = [((part.movedim(1, -1).double().cpu() - mean) @ axis).unsqueeze(1) for part in (student, teacher)]
    low, high = maps[1].min(), maps[1].max()
    first, second = (((part - low) / (high - low).clamp(min=1e-12)).clamp(0.0, 1.0).to(teacher) for part in maps)
    return first, second


def _pasted(restored: Tensor, mu: Tensor, hidden: Tensor) -> Tensor:
    return torch.where(hidden.unsqueeze(1), restored, mu)


def _spread(values: Tensor, unit: tuple[int, ...]) -> Tensor:
    """(B, C, *grid) to (B, C, *(grid * unit)), each entry repeated."""
    for axis, step in enumerate(unit, start=2):
        values = values.repeat_interleave(step, dim=axis)
    return values
