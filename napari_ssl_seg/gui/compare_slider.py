"""The slider of the viewer in terms of a case's slices, and what is noted about them in the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.workbench.slice_notes import SliceNote, SliceNotes

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.compared_case import CaseComparison


class CaseSlider:
    """Slices of a case <-> places of the viewer's slider."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._dims = viewer.dims

    @property
    def axis(self) -> int:
        """The axis of (z, y, x) that the slider moves along."""
        hidden = [axis - (self._dims.ndim - 3) for axis in self._dims.not_displayed if axis >= self._dims.ndim - 3]
        return hidden[-1] if hidden else 0

    def here(self, case: CaseComparison) -> int:
        """The slice of the case that is shown."""
        point = self._dims.point[self._dims.ndim - 3 + case.axis]
        index = round((point - _origin(case)) / case.geometry.spacing[case.axis])
        return min(max(int(index), 0), case.n_slices - 1)

    def go_to(self, case: CaseComparison, index: int) -> None:
        """Show a slice of the case."""
        place = _origin(case) + index * case.geometry.spacing[case.axis]
        self._dims.set_point(self._dims.ndim - 3 + case.axis, place)


class NoteKeeper:
    """Reads and writes the notes of the open study; what cannot be kept is said."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    def read(self, case: CaseComparison | None) -> dict[int, SliceNote]:
        """Slice -> note of a case."""
        study = self._workbench.study
        if case is None or study is None:
            return {}
        try:
            return SliceNotes(study.folder).of_case(case.case_id, case.axis)
        except UserError as error:
            self._workbench.fail(error)
            return {}

    def write(self, case: CaseComparison | None, index: int, note: SliceNote) -> None:
        """Keep a note."""
        study = self._workbench.study
        if case is None or study is None:
            return
        try:
            SliceNotes(study.folder).write(case.case_id, index, note, case.axis)
        except UserError as error:
            self._workbench.fail(error)


def _origin(case: CaseComparison) -> float:
    """World coordinate of slice 0, as the layers of the comparison have it."""
    from napari_ssl_seg.volumes import layer_kwargs

    return float(layer_kwargs(case.geometry)["translate"][case.axis])
