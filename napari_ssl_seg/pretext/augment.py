"""Two views of a patch, for methods that compare them: crops, small turns, and changes of intensity that a scanner makes.

What is common for photographs is not for scans: colours there are none, grey values mean something, left is not right.
So crops keep most of the patch, turns are small and in the axial plane, intensities change as from one scanner to another,
and nothing is mirrored unless asked for. All is drawn with the generator and computed for the whole batch at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, pi
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

_BASIC: dict[str, Any] = {"basic": True}


class AugmentationSettings(BaseModel):
    """How views are made; a method that compares views inherits its Config from this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: float = Field(
        default=0.6,
        ge=0.1,
        le=1.0,
        title="Smallest crop",
        description="Each view shows at least this share of the patch along each axis, enlarged to its size; 1: all of it.",
        json_schema_extra=_BASIC | {"unit": "share of a side"},
    )
    view_overlap: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Least overlap",
        description="Along each axis, the share of the smaller crop that lies in the other one at least.",
        json_schema_extra={"unit": "share of a side"},
    )
    turn: float = Field(
        default=10.0,
        ge=0.0,
        le=180.0,
        title="Turn",
        description="Views are turned in the axial plane by up to this, either way.",
        json_schema_extra={"unit": "degrees"},
    )
    mirror: bool = Field(
        default=False,
        title="Mirror",
        description="Mirror half of the views along x: only where left and right do not matter.",
    )
    gamma: float = Field(
        default=1.4,
        ge=1.0,
        le=5.0,
        title="Gamma",
        description="Grey values, from the lowest to the highest of the view, are raised to up to this power, or to its inverse.",
    )
    gain: float = Field(
        default=1.25,
        ge=1.0,
        le=5.0,
        title="Contrast",
        description="Grey values are stretched about their mean by up to this factor, or shrunk by it.",
    )
    shift: float = Field(
        default=0.2,
        ge=0.0,
        le=5.0,
        title="Brightness",
        description="Grey values are shifted by up to this.",
        json_schema_extra={"unit": "standard deviations"},
    )
    noise: float = Field(
        default=0.15,
        ge=0.0,
        le=5.0,
        title="Noise",
        description="Gaussian noise of up to this deviation is added.",
        json_schema_extra={"unit": "standard deviations"},
    )
    blur: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Blur",
        description="Largest share of a blurred copy (deviation of one voxel) in a view; 0: sharp.",
    )
    chance: float = Field(
        default=0.8,
        ge=0.0,
        le=1.0,
        title="Chance",
        description="Of each change of intensity, for each view; 0: intensities stay as they are.",
    )


@dataclass(frozen=True)
class AugmentedView:
    """A view of each patch of a batch, of the patch's own size.

    Attributes
    ----------
    image
        (B, C, *spatial).
    box
        (B, 2 * dims), start and stop of each axis of what it was cut from, in voxels of the patch, voxel i reaching from i to
        i + 1; before the turn about the box's middle.
    to_source
        (B, dims, dims + 1): index of a voxel of the view to the place in the patch that it was read at, as index; beyond
        the patch the border is read.
    changes
        What was drawn, by name: ``turn`` in degrees and ``mirrored``, (B,); ``gamma``, ``gain``, ``shift``, ``noise`` and
        ``blur``, (B, C), with the neutral value where nothing was changed.
    """

    image: Tensor
    box: Tensor
    to_source: Tensor
    changes: Mapping[str, Tensor] = field(default_factory=dict)


def two_views(
    image: Tensor, generator: torch.Generator, settings: AugmentationSettings
) -> tuple[AugmentedView, AugmentedView]:
    """Two views of each patch (B, C, *spatial), with crops that overlap."""
    first, second = sample_crops(
        len(image), image.shape[2:], generator, smallest=settings.crop, overlap=settings.view_overlap
    )
    return view_of(image, generator, settings, box=first), view_of(image, generator, settings, box=second)


def view_of(
    image: Tensor, generator: torch.Generator, settings: AugmentationSettings, *, box: Tensor | None = None
) -> AugmentedView:
    """One view of each patch.

    Parameters
    ----------
    box
        (B, 2 * dims), what to show, in voxels of the patch; None: drawn.
    """
    import torch

    batch, shape = len(image), tuple(image.shape[2:])
    if box is None:
        box = sample_crops(batch, shape, generator, smallest=settings.crop, overlap=0.0)[0]
    drawn = torch.rand(2, batch, generator=generator, device=generator.device)
    degrees = (2.0 * drawn[0] - 1.0) * settings.turn
    mirrored = (drawn[1] < 0.5) & settings.mirror
    to_source = crop_matrices(box.cpu(), shape, degrees.cpu(), mirrored.cpu())
    changed, changes = change_intensity(resample(image, to_source), generator, settings)
    return AugmentedView(
        image=changed,
        box=box.to(image),
        to_source=to_source.to(image),
        changes={"turn": degrees.to(image), "mirrored": mirrored.to(image.device), **changes},
    )


def sample_crops(
    batch: int, shape: Sequence[int], generator: torch.Generator, *, smallest: float, overlap: float
) -> tuple[Tensor, Tensor]:
    """Two boxes for each patch, (B, 2 * dims) each, with the patch's proportions and inside it.

    Their sides are ``smallest`` to 1 of the patch's, evenly drawn, the first lies anywhere, and the second anywhere where it
    shares along each axis at least ``overlap`` of the smaller one's side.
    """
    import torch

    sides = torch.tensor([float(side) for side in shape], device=generator.device)
    drawn = torch.rand(2, batch, 1 + len(shape), generator=generator, device=generator.device)
    size, other = ((smallest + (1.0 - smallest) * draw[:, :1]) * sides for draw in drawn)
    start = drawn[0, :, 1:] * (sides - size)
    shared = overlap * torch.minimum(size, other)
    low = (start - other + shared).clamp(min=0.0)
    high = torch.minimum(start + size - shared, sides - other)
    beside = low + drawn[1, :, 1:] * (high - low).clamp(min=0.0)
    return torch.cat((start, start + size), dim=1), torch.cat((beside, beside + other), dim=1)


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Share of the smaller box that lies in the other one, (B,), of boxes (B, 2 * dims)."""
    import torch

    dims = first.shape[1] // 2
    start = torch.maximum(first[:, :dims], second[:, :dims])
    stop = torch.minimum(first[:, dims:], second[:, dims:])
    volumes = [(box[:, dims:] - box[:, :dims]).prod(dim=1) for box in (first, second)]
    return (stop - start).clamp(min=0.0).prod(dim=1) / torch.minimum(*volumes)


def crop_matrices(box: Tensor, shape: Sequence[int], degrees: Tensor, mirrored: Tensor) -> Tensor:
    """`AugmentedView.to_source` of boxes enlarged to ``shape``, turned in the plane of the last two axes and mirrored along
    the last; float64."""
    import torch

    dims, sides = len(shape), torch.tensor([float(side) for side in shape], dtype=torch.float64)
    box, angle = box.double(), degrees.double() * (pi / 180.0)
    zoom = (box[:, dims:] - box[:, :dims]) / sides
    turn = torch.eye(dims, dtype=torch.float64).repeat(len(box), 1, 1)
    turn[:, -2, -2] = turn[:, -1, -1] = angle.cos()
    turn[:, -2, -1], turn[:, -1, -2] = -angle.sin(), angle.sin()
    zoom[:, -1] = torch.where(mirrored, -zoom[:, -1], zoom[:, -1])
    matrix = turn * zoom.unsqueeze(1)
    middle = (box[:, dims:] + box[:, :dims]) / 2 - 0.5
    offset = middle - (matrix @ ((sides - 1.0) / 2).view(dims, 1)).squeeze(2)
    return torch.cat((matrix, offset.unsqueeze(2)), dim=2)


def resample(image: Tensor, to_source: Tensor) -> Tensor:
    """Patches (B, C, *spatial) read linearly at ``to_source`` of each voxel, the border beyond it; of the same size."""
    import torch
    from torch.nn import functional

    dims = image.ndim - 2
    sides = torch.tensor([float(side) for side in image.shape[2:]], dtype=torch.float64)
    matrix = to_source.cpu().double()
    # affine_grid counts from -1 to 1 over a side, and x before y before z.
    middle = (matrix @ torch.cat(((sides - 1.0) / 2, torch.ones(1).double())).unsqueeze(1)).squeeze(2) + 0.5
    turn = matrix[:, :, :dims] * (sides.view(1, 1, dims) / sides.view(1, dims, 1))
    theta = torch.cat((turn.flip(1, 2), (2.0 * middle / sides - 1.0).flip(1).unsqueeze(2)), dim=2)
    grid = functional.affine_grid(theta.to(image), [len(image), 1, *image.shape[2:]], align_corners=False)
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


def change_intensity(
    image: Tensor, generator: torch.Generator, settings: AugmentationSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Blur, gamma, contrast, brightness and noise, each channel of each patch by numbers of its own.

    Returns
    -------
    image
        (B, C, *spatial); a constant channel stays as it is.
    changes
        As in `AugmentedView`.
    """
    import torch

    from napari_ssl_seg.pretext.views import blurred

    drawn = torch.rand(2, 5, *image.shape[:2], generator=generator, device=generator.device).to(image)
    chosen, amount = drawn[0] < settings.chance, drawn[1]
    either_way = 2.0 * amount - 1.0
    changes = {
        "blur": torch.where(chosen[0], settings.blur * amount[0], 0.0),
        "gamma": torch.where(chosen[1], torch.exp(log(settings.gamma) * either_way[1]), 1.0),
        "gain": torch.where(chosen[2], torch.exp(log(settings.gain) * either_way[2]), 1.0),
        "shift": torch.where(chosen[3], settings.shift * either_way[3], 0.0),
        "noise": torch.where(chosen[4], settings.noise * amount[4], 0.0),
    }
    each = {name: values.view(*values.shape, *(1,) * (image.ndim - 2)) for name, values in changes.items()}
    axes = tuple(range(2, image.ndim))
    if settings.blur and settings.chance:
        image = torch.lerp(image, blurred(image), each["blur"])
    low, high = image.amin(dim=axes, keepdim=True), image.amax(dim=axes, keepdim=True)
    extent = high - low
    unit = (image - low) / torch.where(extent > 0.0, extent, 1.0)
    image = torch.where(each["gamma"] == 1.0, image, unit.clamp(0.0, 1.0).pow(each["gamma"]) * extent + low)
    mean = image.mean(dim=axes, keepdim=True)
    deviation = (image - mean).square().mean(dim=axes, keepdim=True).sqrt()
    image = (image - mean) * each["gain"] + mean + each["shift"] * deviation
    if settings.noise and settings.chance:
        drawn = torch.randn(image.shape, generator=generator, device=generator.device)
        image = image + drawn.to(image) * (each["noise"] * deviation)
    return image, changes
