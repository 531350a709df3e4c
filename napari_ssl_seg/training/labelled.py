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
    from collections.abc import Mapping, Sequence

    import torch

    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Study

UNLABELLED = 65535
"""In index maps, where -1 has no place."""
KEPT_CASES = 64
KEPT_PLACES = 20_000
"""Voxels of a class, of each case, from which the centres of patches are drawn."""


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

    index_map: np.ndarray
    """uint16 (z, y, x)."""
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

    def batch(self, step: int) -> LabelledBatch:
        """The batch of one step, on the CPU.

        Raises
        ------
        UserError
            When a scan or its label cannot be read or used; LeakageError when it is not for training.
        """
        import torch

        images, labels, names = [], [], []
        for number in range(self.batch_size):
            case_id = self.case_ids[epoch_position(len(self.case_ids), self.seed, step * self.batch_size + number)]
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
        label = crop(places.index_map[None], at, patch, fill=UNLABELLED).image[0]
        return (image[:, 0], label[0]) if flat else (image, label)

    def _find_places(self, case_id: str) -> _Places:
        index_map = index_labels(
            self.study, case_id, self.class_values, purpose="train", slices=self.slices.get(case_id)
        )
        slices = np.flatnonzero((index_map != UNLABELLED).any(axis=(1, 2)))
        if not len(slices):
            raise RunError(f"case {case_id} has no labelled slice; leave it out or label one")
        by_class = []
        for channel in range(1, len(self.class_values) + 1):
            voxels = np.argwhere(index_map == channel)
            if len(voxels):
                by_class.append(voxels[:: max(1, len(voxels) // KEPT_PLACES)].astype(np.int32))
        return _Places(index_map, slices, tuple(by_class))


def index_labels(
    study: Study, case_id: str, class_values: Sequence[int], *, purpose: Any, slices: Sequence[int] | None = None
) -> np.ndarray:
    """A case's label map with channel numbers for values, uint16 (z, y, x); `UNLABELLED` in slices that do not count.

    Raises
    ------
    RunError
        When the case has no label, or a value that is none of ``class_values``.
    """
    label = study.label(case_id, purpose=purpose)
    if label is None:
        raise RunError(f"case {case_id} has no label; leave it out or label it")
    table = np.full(65536, UNLABELLED, dtype=np.uint16)
    table[[0, *class_values]] = np.arange(len(class_values) + 1)
    mapped = table[label.array.astype(np.uint16)]
    unknown = np.unique(label.array[mapped == UNLABELLED])
    if len(unknown):
        raise RunError(
            f"the label of case {case_id} holds the value {unknown[0]}, which is none of the classes"
            f" {', '.join(map(str, class_values))}; add the class to the study or mend the label"
        )
    counted = study.case(case_id).labelled_slices if slices is None else slices
    if counted is not None:
        mapped[np.setdiff1d(np.arange(mapped.shape[0]), np.asarray(counted, int))] = UNLABELLED
    return mapped
