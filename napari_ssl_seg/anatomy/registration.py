"""Matching by affine registration with SimpleITK: pair by pair, or every scan to one template and two scans through it."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.anatomy.embedding import outside
from napari_ssl_seg.anatomy.matching import Match, check_point, fraction_of, inside_of
from napari_ssl_seg.anatomy.robust import AffineMap
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import read_json, write_json
from napari_ssl_seg.study.cache import ByteCache
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.hardware import default_threads
from napari_ssl_seg.training.meter import Clock

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_ssl_seg.anatomy.grid import Grid, Grids

BINS = 32
SAMPLED = 0.2
"""Share of the voxels that each step of a registration looks at, in scans with more than `ALL_VOXELS`."""
ALL_VOXELS = 100_000
STEPS = 100
WHAT = "affine registration"


class AffineMatcher:
    """Follows affine registrations; accepts every point that ends inside the other scan.

    Parameters
    ----------
    folder
        Where registrations are kept.
    template
        The case that all are registered to; None: each pair by itself.
    """

    name = "affine registration"

    def __init__(self, grids: Grids, folder: Path, template: str | None) -> None:
        self.grids, self.folder, self.template = grids, folder, template
        self._maps: ByteCache[AffineMap | None] = ByteCache(100_000, lambda held: 1)

    def match(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        own, other = self.grids.get(case_id), self.grids.get(other_id)
        inside = check_point(point, own.scan_shape, case_id)
        nan = math.nan
        found = self.affine_map(case_id, other_id)
        if found is None:
            guess = fraction_of(inside, own.scan_shape, other.scan_shape)
            reason = f"{case_id} and {other_id} could not be registered; this is the same fraction of the field of view"
            return Match(guess, nan, nan, "fraction", accepted=False, reason=reason)
        raw = other.to_scan(found(own.from_scan(np.array(inside)) * own.spacing) / other.spacing)
        gone = outside(raw, other.scan_shape)
        reason = f"the registration puts it outside {other_id}" if gone else ""
        return Match(inside_of(raw, other.scan_shape), nan, nan, "affine", accepted=not gone, reason=reason)

    def fallback(self, case_id: str, point: Sequence[float], other_id: str) -> Match:
        return self.match(case_id, point, other_id)

    def affine_map(self, case_id: str, other_id: str) -> AffineMap | None:
        """From one scan to another, in mm of their grids; None where a registration failed."""
        if self.template is None:
            return self._maps.get((case_id, other_id), lambda: self._kept(case_id, other_id))
        own, other = self.from_template(case_id), self.from_template(other_id)
        return None if own is None or other is None else other.after(own.inverse())

    def from_template(self, case_id: str) -> AffineMap | None:
        """From the template to a scan."""
        assert self.template is not None
        template = self.template
        if case_id == template:
            return AffineMap(np.eye(3), np.zeros(3), 0, 0)
        return self._maps.get(case_id, lambda: self._kept(template, case_id))

    def _kept(self, fixed_id: str, moving_id: str) -> AffineMap | None:
        path = self.folder / f"{self._pair_name(fixed_id, moving_id)}.json"
        stored = _read(path)
        if stored is not None:
            return stored if stored.inliers >= 0 else None
        found = register(self.grids.get(fixed_id), self.grids.get(moving_id))
        record: dict[str, Any] = {"fixed": fixed_id, "moving": moving_id, "matrix": None, "offset": None}
        if found is not None:
            record |= {"matrix": found.matrix.tolist(), "offset": found.offset.tolist()}
        write_json(path, record)
        return found

    def _pair_name(self, fixed_id: str, moving_id: str) -> str:
        cases = [self.grids.study.case(case_id) for case_id in (fixed_id, moving_id)]
        text = " ".join(f"{case.fingerprint} {case.frame}" for case in cases)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def prepare_registrations(matcher: AffineMatcher, case_ids: Sequence[str]) -> Generator[Event, None, None]:
    """Register every scan to the template, those that are kept already aside."""
    clock = Clock(len(case_ids))
    for done, case_id in enumerate(case_ids, start=1):
        found = matcher.from_template(case_id)
        clock.step(done)
        left = clock.seconds_left(done)
        data = {"what": WHAT, "done": done, "total": len(case_ids), "seconds_left": left, "text": case_id}
        yield Event("progress", data)
        if found is None:
            yield Event("warning", {"message": f"{case_id} could not be registered to {matcher.template}"})


def register(fixed: Grid, moving: Grid, *, levels: Sequence[int] = (2, 1)) -> AffineMap | None:
    """The affine map from ``fixed`` to ``moving`` (voxels of the grid times spacing, in mm) of most mutual information.

    The middles of both are put on each other first. None where the registration fails, as it does on constant images.
    """
    import SimpleITK as sitk

    images = [_itk_image(grid) for grid in (fixed, moving)]
    start = sitk.CenteredTransformInitializer(
        *images, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=BINS)
    if fixed.image.size > ALL_VOXELS:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(SAMPLED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=STEPS, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([min(level, max(1, min(fixed.image.shape) // 8)) for level in levels])
    method.SetSmoothingSigmasPerLevel([float(level - 1) for level in levels])
    method.SetInitialTransform(start, inPlace=True)
    method.SetNumberOfThreads(default_threads())
    try:
        method.Execute(*images)
    except RuntimeError:
        return None
    # The optimiser's result is in a composite where SimpleITK made one; asked point by point it does not matter.
    corners = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], float) * 100.0
    there = np.array([start.TransformPoint(tuple(corner[::-1]))[::-1] for corner in corners])
    matrix = (there[1:] - there[0]).T / 100.0
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-3:
        return None
    return AffineMap(matrix, there[0], 0, 0)


def _itk_image(grid: Grid) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.asarray(grid.image))
    image.SetSpacing([grid.spacing] * 3)
    return image


def _read(path: Path) -> AffineMap | None:
    """A registration that was kept; one that failed has -1 inliers; None where there is none or it is damaged."""
    try:
        stored = read_json(path)
        if stored["matrix"] is None:
            return AffineMap(np.eye(3), np.zeros(3), -1, 0)
        matrix, offset = np.array(stored["matrix"], float), np.array(stored["offset"], float)
    except (UserError, KeyError, TypeError, ValueError):
        return None
    if matrix.shape != (3, 3) or offset.shape != (3,):
        return None
    return AffineMap(matrix, offset, 0, 0)
