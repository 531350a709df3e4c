"""Patches out of scans: the trainer's batches and the inspector's, by the same crop.

A batch is a function of (seed, step) alone. So a resumed run sees the very batches that it would have seen, and nothing
but the step has to be stored.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.methods.base import Batch, Surroundings
from napari_ssl_seg.pretext.crop import OUTSIDE, Contrast, Crop, centred_start, crop, random_start
from napari_ssl_seg.pretext.matched import (
    MATCH_REDRAWS,
    Partner,
    find_partner,
    middle_of,
    possible_starts,
    zoomed_out,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_ssl_seg.anatomy.matching import PointMatcher
    from napari_ssl_seg.methods.base import Needs, Prepared
    from napari_ssl_seg.networks.spec import NetworkSpec
    from napari_ssl_seg.pretext.crop import RegionCut

REDRAWS = 8
"""How often a patch of nearly nothing but air is drawn anew."""

# What a random stream is for; streams of different purposes never meet.
_ORDER, _PATCH, _PARTNER, _PRETEXT, _COMPANION = range(5)


class PatchSource(Protocol):
    """The part of a `Study` that sampling uses."""

    def patches_source(self, case_id: str, *, purpose: Any) -> Any:
        """A scan with ``array``: float32, (C, z, y, x), normalised."""


def generator_for(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers of one step of a run, the same whenever and wherever they are asked for.

    Methods draw on the generator's device and move what they drew to the batch's. With a generator on the CPU, the
    default, a run on a GPU therefore trains on the very masks that the inspector shows for that seed and step.
    """
    import torch

    state = np.random.SeedSequence((_nonnegative(seed), step, _PRETEXT)).generate_state(1, np.uint64)[0]
    generator = torch.Generator(device=device)
    generator.manual_seed(int(state) & (2**63 - 1))
    return generator


def sample_batch(
    study: PatchSource,
    case_ids: Sequence[str],
    spec: NetworkSpec,
    needs: Needs,
    batch_size: int,
    seed: int,
    step: int,
    *,
    purpose: str = "train",
    flip_axes: Sequence[int] = (),
    prepared: Prepared | None = None,
    share: tuple[int, int] = (0, 1),
) -> Batch:
    """The batch of one step, on the CPU.

    Cases come in an order drawn anew for each epoch, so each is seen once an epoch. In 2D a random axial slice is
    taken, in 3D a random place; patches with nearly no contrast (air) are drawn again up to `REDRAWS` times. Scans that
    are smaller than the patch are padded with their lowest value.

    Parameters
    ----------
    study
        Where the scans come from.
    case_ids
        Cases to draw from.
    spec
        Gives ``dims``, ``patch`` and ``in_channels``.
    needs
        What the method's samples must carry. A partner is a patch of another case; where there is only one case,
        another patch of it. A matched one shows the same part of the body (`pretext.matched`); with only one case, the
        very same patch.
    seed, step
        What the batch is a function of.
    purpose
        Passed on to the study, which refuses what that purpose may not see.
    flip_axes
        Axes (0 = z, 1 = y, 2 = x) that are mirrored in half of the patches. None by default: left and right differ.
    prepared
        For methods that need regions or matched crops: where those of each case are, who matches.
    share
        ``(rank, size)``: of a batch of ``size * batch_size`` patches this process's own.

    Raises
    ------
    StudyError
        When there is no case, or a scan does not fit the network or holds values that are not finite.
    """
    if not case_ids:
        raise StudyError("there is no scan to draw from; add scans to the train split")
    crops, partners, names, partner_names, pairs = [], [], [], [], []
    matcher = prepared.matcher if prepared is not None and needs.matched else None
    rank, size = share
    for index in range(rank * batch_size, (rank + 1) * batch_size):
        position = epoch_position(len(case_ids), seed, step * size * batch_size + index)
        rng = np.random.default_rng((_nonnegative(seed), step, index, _PATCH))
        names.append(case_ids[position])
        if needs.paired:
            other_rng = np.random.default_rng((_nonnegative(seed), step, index, _PARTNER))
            partner_names.append(case_ids[partner_position(len(case_ids), position, other_rng)])
        if matcher is not None:
            ids = (names[-1], partner_names[-1])
            pairs.append(_pair(study, ids, spec, rng, purpose, matcher))
            crops.append(_cut_at(study, ids[0], spec, pairs[-1].start, purpose, prepared))
            partners.append(_cut_at(study, ids[1], spec, pairs[-1].partner_start, purpose, None))
            continue
        crops.append(_draw(study, names[-1], spec, rng, purpose, flip_axes, prepared))
        if needs.paired:
            partners.append(_draw(study, partner_names[-1], spec, other_rng, purpose, flip_axes, None))
    return _collate(crops, names, partners, partner_names, needs, pairs=pairs)


def batch_at(
    study: PatchSource,
    case_id: str,
    spec: NetworkSpec,
    needs: Needs,
    *,
    slice_index: int | None = None,
    seed: int = 0,
    case_ids: Sequence[str] = (),
    purpose: str = "show",
    prepared: Prepared | None = None,
) -> Batch:
    """A batch of one for the inspector: the patch in the middle of that slice, by the trainer's own crop.

    Parameters
    ----------
    slice_index
        Axial slice; in 3D the patch is centred on it. None: the middle one.
    seed
        Decides the partner's and the companions' cases and patches.
    case_ids
        Cases that these may come from; without any, they are other patches of the same case.
    prepared
        For methods that need regions or matched crops: where those of the case are, who matches. Companions without any count as one whole.

    Raises
    ------
    StudyError
        When the slice is outside the scan, or the scan does not fit the network.
    """
    array = _scan_array(study, case_id, spec, purpose)
    depth = array.shape[1]
    index = depth // 2 if slice_index is None else slice_index
    if not 0 <= index < depth:
        raise StudyError(f"{case_id} has slices 0 to {depth - 1}, not {index}; choose one of those")
    start = centred_start(array.shape[1:], spec.patch_3d, index, keep_depth=spec.dims == 3)
    shown = crop(array, start, spec.patch_3d, fill=Contrast.of(array).floor, **_maps(prepared, case_id))
    others = [other for other in case_ids if other != case_id] or [case_id]
    crops, names = [_squeeze(shown, spec)], [case_id]
    for index in range(needs.companions):
        rng = np.random.default_rng((_nonnegative(seed), 0, index, _COMPANION))
        names.append(others[int(rng.integers(len(others)))])
        crops.append(_draw(study, names[-1], spec, rng, purpose, (), prepared))
    partners, partner_names, pairs = [], [], []
    around = None
    if needs.paired:
        rng = np.random.default_rng((_nonnegative(seed), 0, 0, _PARTNER))
        donor = others[int(rng.integers(len(others)))]
        partner_names.append(donor)
        if needs.matched and prepared is not None and prepared.matcher is not None:
            pairs.append(find_partner(prepared.matcher, case_id, donor, start, spec.patch_3d))
            partners.append(_cut_at(study, donor, spec, pairs[0].partner_start, purpose, None))
        else:
            partners.append(_draw(study, donor, spec, rng, purpose, (), None))
        if needs.matched:
            places = ((case_id, start), (donor, partners[0].start))
            around = tuple(_surroundings(study, name, spec, at, purpose) for name, at in places)
    return _collate(crops, names, partners, partner_names, needs, lenient=True, pairs=pairs, around=around)


def epoch_position(cases: int, seed: int, drawn: int) -> int:
    """Which case comes after ``drawn`` others: each epoch is a permutation of its own."""
    epoch, place = divmod(drawn, cases)
    return int(_epoch_order(cases, _nonnegative(seed), epoch)[place])


@lru_cache(maxsize=8)
def _epoch_order(cases: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, _ORDER)).permutation(cases)


def partner_position(cases: int, position: int, rng: np.random.Generator) -> int:
    """Another case than ``position``, each equally likely; the same where there is no other."""
    return position if cases == 1 else (position + 1 + int(rng.integers(cases - 1))) % cases


def _draw(
    study: PatchSource,
    case_id: str,
    spec: NetworkSpec,
    rng: np.random.Generator,
    purpose: str,
    flip_axes: Sequence[int],
    prepared: Prepared | None,
) -> Crop:
    array = _scan_array(study, case_id, spec, purpose)
    patch, contrast = spec.patch_3d, Contrast.of(array)
    start = _place(array, patch, contrast, rng)
    drawn = crop(array, start, patch, fill=contrast.floor, **_maps(prepared, case_id))
    return _squeeze(drawn.flipped([axis for axis in flip_axes if rng.random() < 0.5]), spec)


def _place(
    array: np.ndarray, patch: tuple[int, int, int], contrast: Contrast, rng: np.random.Generator
) -> tuple[int, int, int]:
    for _ in range(REDRAWS):
        start = random_start(array.shape[1:], patch, rng)
        if not contrast.is_empty(array, start, patch):
            break
    return start


def _pair(
    study: PatchSource,
    case_ids: tuple[str, str],
    spec: NetworkSpec,
    rng: np.random.Generator,
    purpose: str,
    matcher: PointMatcher,
) -> Partner:
    """A patch drawn as any other, and where its partner lies; drawn anew while the match is not accepted."""
    array = _scan_array(study, case_ids[0], spec, purpose)
    patch, contrast = spec.patch_3d, Contrast.of(array)
    return find_partner(
        matcher,
        *case_ids,
        _place(array, patch, contrast, rng),
        patch,
        redraw=lambda: _place(array, patch, contrast, rng),
        most=min(MATCH_REDRAWS, possible_starts(array.shape[1:], patch)),
    )


def _cut_at(
    study: PatchSource,
    case_id: str,
    spec: NetworkSpec,
    start: tuple[int, int, int],
    purpose: str,
    prepared: Prepared | None,
) -> Crop:
    array = _scan_array(study, case_id, spec, purpose)
    cut = crop(array, start, spec.patch_3d, fill=Contrast.of(array).floor, **_maps(prepared, case_id))
    return _squeeze(cut, spec)


def _surroundings(
    study: PatchSource, case_id: str, spec: NetworkSpec, start: tuple[int, int, int], purpose: str
) -> Surroundings:
    import torch

    array = _scan_array(study, case_id, spec, purpose)
    image, box = zoomed_out(array, start, spec.patch_3d, fill=Contrast.of(array).floor)
    if spec.dims == 2:
        image, box = image[:, 0], box[[1, 2, 4, 5]]
    return Surroundings(torch.from_numpy(image)[None], torch.from_numpy(box)[None, None])


def _maps(prepared: Prepared | None, case_id: str) -> dict[str, RegionCut | None]:
    if prepared is None:
        return {}
    return {
        "regions": prepared.regions_of(case_id) if prepared.regions_of else None,
        "submasks": prepared.submasks_of(case_id) if prepared.submasks_of else None,
    }


def _scan_array(study: PatchSource, case_id: str, spec: NetworkSpec, purpose: str) -> np.ndarray:
    array = study.patches_source(case_id, purpose=purpose).array
    if array.shape[0] != spec.in_channels:
        raise StudyError(
            f"{case_id} has {array.shape[0]} channels but the network takes {spec.in_channels};"
            " use scans with the same channels throughout"
        )
    return array


def _squeeze(cut: Crop, spec: NetworkSpec) -> Crop:
    return cut.slice() if spec.dims == 2 else cut


def _collate(
    crops: list[Crop],
    names: list[str],
    partners: list[Crop],
    partner_names: list[str],
    needs: Needs,
    *,
    lenient: bool = False,
    pairs: Sequence[Partner] = (),
    around: Any = None,
) -> Batch:
    """``lenient``: patches after the first may lack regions; they count as lying outside every one."""
    import torch

    def stack(cuts: list[Crop], of: list[str]) -> torch.Tensor:
        images = np.stack([cut.image for cut in cuts])
        for cut, name in zip(cuts, of, strict=True):
            if not np.isfinite(cut.image).all():
                raise StudyError(f"{name} holds values that are not finite; normalise it or leave it out")
        return torch.from_numpy(images)

    def stack_maps(maps: list[np.ndarray | None]) -> torch.Tensor | None:
        if maps[0] is None or not (lenient or all(map_ is not None for map_ in maps)):
            return None
        absent = np.full_like(maps[0], OUTSIDE)
        return torch.from_numpy(np.stack([absent if map_ is None else map_ for map_ in maps]))

    sides = crops[0].image.shape[1:]
    size = (1, *sides) if len(sides) == 2 else sides
    regions = stack_maps([cut.regions for cut in crops]) if needs.regions else None
    if needs.regions and regions is None:
        raise StudyError("this method needs regions and some scans have none; make them first")
    return Batch(
        image=stack(crops, names),
        case_ids=tuple(names),
        origins=tuple(cut.start for cut in crops),
        partner=stack(partners, partner_names) if partners else None,
        partner_ids=tuple(partner_names),
        regions=regions,
        submasks=stack_maps([cut.submasks for cut in crops]) if needs.regions else None,
        partner_origins=tuple(cut.start for cut in partners),
        points=tuple(middle_of(pair.start, size) for pair in pairs),
        partner_points=tuple(middle_of(pair.partner_start, size) for pair in pairs),
        matches=tuple(pair.match for pair in pairs),
        draws=tuple(pair.draws for pair in pairs),
        surroundings=around,
    )


def _nonnegative(seed: int) -> int:
    return seed % 2**63
