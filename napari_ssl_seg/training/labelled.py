"""Patches with labels for fine-tuning: where they are cut, and which of their voxels count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.errors import RunError
from napari_ssl_seg.pretext.crop import Contrast, crop, random_start
from napari_ssl_seg.pretext.sampling import epoch_position
from napari_ssl_seg.training.segmentation_loss import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Study

UNLABELLED = 65535
"""In index maps, where -1 has no place."""
KEPT_CASES = 64
KEPT_PLACES = 20_000
"""Voxels of a class, of each case, from which the centres of patches are drawn."""
SLAB_VOXELS = 2**22
"""Of a label map that are looked at together."""


@dataclass(frozen=True)
class LabelledBatch:
    """``image`` (B, C, *spatial) and ``label`` (B, *spatial): channel numbers, or `IGNORE` where nothing is known."""

    image: torch.Tensor
    label: torch.Tensor
    case_ids: tuple[str, ...]

    def to(self, device: torch.device) -> LabelledBatch:
        """The same batch on another device."""
        return LabelledBatch(
            self.image.to(device, non_blocking=True), self.label.to(device, non_blocking=True), self.case_ids
        )


@dataclass(frozen=True)
class _Places:
    """Where patches may be centred in one case."""

    labels: LabelMap
    slices: np.ndarray
    """Labelled axial slices."""
    by_class: tuple[np.ndarray, ...]
    """For each class that the labelled slices show: voxels (n, 3)."""


class LabelledSampler:
    """Draws batches of labelled patches as a function of (seed, step).

    Parameters
    ----------
    case_ids
        Cases to draw from; each is seen once an epoch.
    slices
        Labelled slices that may be used, by case; cases that are not in it use all that the study counts as labelled.
    class_values
        Label values in the order of the channels 1, 2, ...
    foreground
        Share of the patches that are centred on a voxel of a class (every class that the case shows is equally likely).
    """

    def __init__(
        self,
        study: Study,
        case_ids: Sequence[str],
        spec: NetworkSpec,
        class_values: Sequence[int],
        *,
        slices: Mapping[str, Sequence[int]],
        foreground: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.study, self.case_ids, self.spec = study, list(case_ids), spec
        self.class_values = tuple(class_values)
        self.slices = {case_id: tuple(indices) for case_id, indices in slices.items()}
        self.foreground, self.batch_size, self.seed = foreground, batch_size, seed
        self._places = lru_cache(maxsize=KEPT_CASES)(self._find_places)

    def batch(self, step: int, share: tuple[int, int] = (0, 1)) -> LabelledBatch:
        """The batch of one step, on the CPU; ``share`` as in `pretext.sample_batch`.

        Raises
        ------
        UserError
            When a scan or its label cannot be read or used; LeakageError when it is not for training.
        """
        import torch

        images, labels, names = [], [], []
        rank, size = share
        for number in range(rank * self.batch_size, (rank + 1) * self.batch_size):
            drawn = step * size * self.batch_size + number
            case_id = self.case_ids[epoch_position(len(self.case_ids), self.seed, drawn)]
            image, label = self._draw(case_id, np.random.default_rng((self.seed, step, number, 7)))
            images.append(image)
            labels.append(label)
            names.append(case_id)
        label = np.stack(labels).astype(np.int64)
        label[label == UNLABELLED] = IGNORE
        return LabelledBatch(torch.from_numpy(np.stack(images)), torch.from_numpy(label), tuple(names))

    def _draw(self, case_id: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        array = self.study.patches_source(case_id, purpose="train").array
        places = self._places(case_id)
        flat = self.spec.dims == 2
        patch: Any = (1, *self.spec.patch) if flat else self.spec.patch
        start = list(random_start(array.shape[1:], patch, rng))
        if rng.random() < self.foreground and places.by_class:
            voxels = places.by_class[int(rng.integers(len(places.by_class)))]
            centre = voxels[int(rng.integers(len(voxels)))]
        else:
            z = int(places.slices[int(rng.integers(len(places.slices)))])
            centre = np.array([z, start[1] + patch[1] // 2, start[2] + patch[2] // 2])
        for axis in range(3):
            length, side = array.shape[axis + 1], patch[axis]
            if length > side:  # as near to the middle as the scan's border allows; centred where the scan is shorter
                jitter = 0 if side == 1 else int(rng.integers(-(side // 4), side // 4 + 1))
                start[axis] = min(max(int(centre[axis]) - side // 2 + jitter, 0), length - side)
            elif side == 1:
                start[axis] = int(centre[axis])
        at = (start[0], start[1], start[2])
        image = crop(array, at, patch, fill=Contrast.of(array).floor).image
        label = places.labels.cut(at, patch)
        return (image[:, 0], label[0]) if flat else (image, label)

    def _find_places(self, case_id: str) -> _Places:
        labels = LabelMap(self.study, case_id, self.class_values, purpose="train", slices=self.slices.get(case_id))
        slices = np.flatnonzero(labels.counted)
        if not len(slices):
            raise RunError(f"case {case_id} has no labelled slice; leave it out or label one")
        return _Places(labels, slices, labels.places(len(self.class_values), KEPT_PLACES))


class LabelMap:
    """A case's label map with class numbers for values, uint16; `UNLABELLED` in slices that do not count.

    Parts are cut from the study's label as they are asked for, so nothing of it is held here.

    Parameters
    ----------
    class_values
        Label values in the order of the numbers 1, 2, ...
    slices
        Axial slices that count; None: those that the study counts as labelled.

    Raises
    ------
    RunError
        When the case has no label.
    """

    def __init__(
        self,
        study: Study,
        case_id: str,
        class_values: Sequence[int],
        *,
        purpose: Any,
        slices: Sequence[int] | None = None,
    ) -> None:
        self.study, self.case_id, self.class_values, self.purpose = study, case_id, tuple(class_values), purpose
        self.shape = self._source().shape
        self._table = np.full(65536, UNLABELLED, dtype=np.uint16)
        self._table[[0, *class_values]] = np.arange(len(class_values) + 1)
        chosen = study.case(case_id).labelled_slices if slices is None else slices
        self.counted = np.ones(self.shape[0], bool)
        """Whether each axial slice counts."""
        if chosen is not None:
            self.counted[:] = False
            self.counted[np.asarray(chosen, int)] = True

    def cut(self, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """``size`` voxels from ``start`` (z, y, x) on; `UNLABELLED` outside the scan."""
        out = np.full(tuple(size), UNLABELLED, np.uint16)
        inside, place = [], []
        for length, at, side in zip(self.shape, start, size, strict=True):
            low, high = min(max(at, 0), length), max(min(at + side, length), 0)
            inside.append(slice(low, high))
            place.append(slice(low - at, high - at))
        out[tuple(place)] = self._mapped(self._source()[tuple(inside)])
        out[place[0]][~self.counted[inside[0]]] = UNLABELLED
        return out

    def slabs(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every slice, some at a time: the first one's index and the numbers (n, y, x).

        Raises
        ------
        RunError
            When there is a value that is none of the classes.
        """
        source = self._source()
        count = max(1, SLAB_VOXELS // (self.shape[1] * self.shape[2]))
        for first in range(0, self.shape[0], count):
            part = source[first : first + count]
            numbers = self._mapped(part)
            unknown = part[numbers == UNLABELLED]
            if len(unknown):
                raise RunError(
                    f"the label of case {self.case_id} holds the value {unknown.min()}, which is none of the classes"
                    f" {', '.join(map(str, self.class_values))}; add the class to the study or mend the label"
                )
            numbers[~self.counted[first : first + count]] = UNLABELLED
            yield first, numbers

    def places(self, classes: int, most: int) -> tuple[np.ndarray, ...]:
        """For each class number that is there, voxels (n, 3) of it: all, or an even share of about ``most``."""
        counts = np.zeros(classes + 1, np.int64)
        for _, numbers in self.slabs():
            counts += np.bincount(numbers[numbers != UNLABELLED], minlength=classes + 1)
        steps, seen = np.maximum(1, counts // most), np.zeros(classes + 1, np.int64)
        found: list[list[np.ndarray]] = [[] for _ in counts]
        for first, numbers in self.slabs():
            for number in range(1, classes + 1):
                flat = np.flatnonzero(numbers == number) if counts[number] else np.empty(0, int)
                chosen = flat[-seen[number] % steps[number] :: steps[number]]
                seen[number] += len(flat)
                voxels = np.stack(np.unravel_index(chosen, numbers.shape), axis=1)
                voxels[:, 0] += first
                found[number].append(voxels.astype(np.int32))
        return tuple(np.concatenate(parts) for parts, count in zip(found[1:], counts[1:], strict=True) if count)

    def _source(self) -> np.ndarray:
        source = self.study.label_source(self.case_id, purpose=self.purpose)
        if source is None:
            raise RunError(f"case {self.case_id} has no label; leave it out or label it")
        return source

    def _mapped(self, part: np.ndarray) -> np.ndarray:
        numbers: np.ndarray = self._table[part if part.dtype.itemsize <= 2 else np.minimum(part, 65535)]
        return numbers
