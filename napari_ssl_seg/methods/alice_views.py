"""What Alice shows: where both crops come from, how they were matched, what each encoder gets; and what a model makes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_ssl_seg.methods.alice_config import UNIT
from napari_ssl_seg.methods.base import Pretext, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from napari_ssl_seg.methods.alice import Alice
    from napari_ssl_seg.methods.alice_net import AliceNet, AliceOutput
    from napari_ssl_seg.methods.base import Batch

NORMAL_RANGE = (-3.0, 3.0)


def pretext_views(batch: Batch, inputs: Tensor, targets: Mapping[str, Tensor], *, normalised: bool) -> tuple[View, ...]:
    """Both crops with the matched points, both scans with the crops' boxes, the four views, masks and targets."""
    assert batch.partner is not None
    views = [
        View("scan", "First crop (Q)", "image", batch.image),
        View("partner", "Second crop (K)", "image", batch.partner),
    ]
    if batch.matches:
        views += [
            View("point", "Point in the first crop", "points", _middles(batch.image), over="scan"),
            View("partner_point", "Its match in the second crop", "points", _middles(batch.partner), over="partner"),
            View("match", "Match", "table", match_table(batch)),
        ]
    if batch.surroundings is not None:
        first, second = batch.surroundings
        views += [
            View("around", "First scan", "image", first.image),
            View("box", "First crop in its scan", "boxes", first.box, over="around"),
            View("partner_around", "Second scan", "image", second.image),
            View("partner_box", "Second crop in its scan", "boxes", second.box, over="partner_around"),
        ]
    span = NORMAL_RANGE if normalised else None
    suffix = ", each patch normalised" if normalised else ""
    return (
        *views,
        View("mask", "Hidden patches of the first", "mask", targets["mask"]),
        View("partner_mask", "Hidden patches of the second", "mask", targets["partner_mask"]),
        View("visible", "Visible patches of the first (network input)", "image", inputs),
        View("partner_visible", "Visible patches of the second (network input)", "image", targets["partner_inputs"]),
        View("whole", "First crop, augmented (target encoder)", "image", targets["whole"]),
        View("partner_whole", "Second crop, augmented (target encoder)", "image", targets["partner_whole"]),
        View("target", f"Target of the first{suffix}", "image", targets["image"], span),
        View("partner_target", f"Target of the second{suffix}", "image", targets["partner_image"], span),
    )


def pretext_stats(batch: Batch) -> dict[str, float]:
    """How many pairs were matched, and by how many points; mean score and cycle error of those that have one."""
    if not batch.matches:
        return {}
    accepted = sum(match.accepted for match in batch.matches)
    stats = {
        "matches_accepted": float(accepted),
        "matches_rejected": float(len(batch.matches) - accepted),
        "points_tried": float(sum(batch.draws)),
    }
    for name, values in (
        ("match_score", [match.score for match in batch.matches]),
        ("cycle_error_mm", [match.cycle_error for match in batch.matches]),
    ):
        known = [value for value in values if math.isfinite(value)]
        if known:
            stats[name] = math.fsum(known) / len(known)
    return stats


def match_table(batch: Batch) -> dict[str, float]:
    """The first pair's match; the row that says how it was found has a 1, and so has a rejection's reason."""
    match, point, found = batch.matches[0], batch.points[0], batch.partner_points[0]
    table = {f"by {match.how}": 1.0, "accepted": float(match.accepted)}
    if match.reason:
        table[f"rejected: {match.reason}"] = 1.0
    for name, value in (("score", match.score), ("cycle error (mm)", match.cycle_error)):
        if math.isfinite(value):
            table[name] = float(value)
    table["points tried"] = float(batch.draws[0])
    for axis, here, there in zip("zyx", point, found, strict=True):
        table[f"{axis} of the point"], table[f"{axis} of the match"] = float(here), float(there)
    return table


def output_views(method: Alice, model: nn.Module, pretext: Pretext) -> tuple[View, ...]:
    """Restorations of both crops; attention of one visible token of the first, of student and target; the gauge."""
    from napari_ssl_seg.methods.mae_net import fold_patches
    from napari_ssl_seg.methods.restoration import restored_views

    net: AliceNet = model  # type: ignore[assignment]
    found = method.outputs(model, pretext)
    shape = tuple(pretext.inputs.shape[2:])
    views: list[View] = []
    for prefix, title, patches in zip(
        ("", "partner_"), ("first crop", "second crop"), found.restored.float().chunk(2), strict=True
    ):
        own = {
            name: pretext.targets[f"{prefix}{name}"]
            for name in ("image", "mask", "mean", "deviation")
            if f"{prefix}{name}" in pretext.targets
        }
        made = restored_views(fold_patches(patches, shape, UNIT), Pretext(pretext.inputs, own))
        views += [
            View(f"{prefix}{view.name}", f"{view.title}: {title}", view.kind, view.data, view.range) for view in made
        ]
    if found.student is None or found.target is None:
        return tuple(views)
    if net.alignment is not None:
        views += _attention_views(method, net, found, pretext)
    from napari_ssl_seg.methods.embedding_gauge import effective_rank, spread

    table = {}
    for name, vectors in (("student", found.student), ("target", found.target)):
        tokens = vectors.flatten(0, 1)
        table[f"spread of the {name}'s tokens"] = float(spread(tokens))
        table[f"rank of the {name}'s tokens"] = float(effective_rank(tokens))
        table[f"spread of the {name}'s means"] = float(spread(vectors.mean(dim=1)))
    return (*views, View("gauge", "Collapse gauge", "table", table))


def _attention_views(method: Alice, net: AliceNet, found: AliceOutput, pretext: Pretext) -> list[View]:
    """What one visible patch of the first crop attends to."""
    assert net.alignment is not None and found.student is not None and found.target is not None
    from napari_ssl_seg.pretext.masks import spread

    visible, shape = pretext.targets["visible"], tuple(pretext.inputs.shape[2:])
    batch, grid = len(visible), [side // UNIT for side in shape]
    places = torch.stack(torch.unravel_index(visible, grid), dim=2)  # (B, n, dims)
    chosen = chosen_token(places, grid, method.config.shown_token)
    place = places[torch.arange(batch), chosen].to(found.visible.device)
    rows = []
    for tokens in (found.student, found.target):
        _, attention = net.alignment(found.visible[:batch], tokens[:batch])
        row = attention[torch.arange(batch), chosen].float().view(batch, 1, *grid)
        rows.append(spread(row, (UNIT,) * len(shape), shape))
    most = max(float(row.max()) for row in rows)
    box = torch.cat((place, place + 1), dim=1).float().unsqueeze(1) * UNIT
    return [
        View("asked", "Visible patch whose attention is shown", "boxes", box, over="visible"),
        View("attention", "Its attention to the student's tokens", "image", rows[0], (0.0, most)),
        View("target_attention", "Its attention to the target's tokens", "image", rows[1], (0.0, most)),
    ]


def chosen_token(places: Tensor, grid: list[int], number: int) -> Tensor:
    """Which of the visible tokens (B, n, dims) is shown: that of this number, or for -1 the one nearest the crop's middle voxel,
    which lies in the slice that the inspector shows."""
    if number >= 0:
        return torch.full((len(places),), min(number, places.shape[1] - 1), dtype=torch.int64, device=places.device)
    middle = torch.tensor([(parts * UNIT // 2 + 0.5) / UNIT - 0.5 for parts in grid], device=places.device)
    return (places - middle).square().sum(dim=2).argmin(dim=1)


def _middles(image: Tensor) -> Tensor:
    """(B, 1, dims), the voxel around which each crop was cut."""
    middle = torch.tensor([side // 2 for side in image.shape[2:]], dtype=torch.float32, device=image.device)
    return middle.expand(len(image), 1, -1)
