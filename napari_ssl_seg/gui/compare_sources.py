"""Where other predictions come from: a folder or files, chosen or dropped, and layers that are open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.compare_controls import quiet
from napari_ssl_seg.gui.layers import layer_tag
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.compared_entry import OpenLabels
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.compared_case import CaseComparison
    from napari_ssl_seg.workbench.comparison import Comparison

PATTERN = "Volumes (*.nii *.nii.gz *.nrrd *.mha *.mhd);;All files (*)"


class AddButton(QPushButton):
    """A button with a menu of where predictions may come from."""

    def __init__(
        self, workbench: Workbench, comparison: Comparison, viewer: ViewerModel, parent: QWidget | None = None
    ) -> None:
        super().__init__("Add predictions …", parent)
        self._workbench, self._comparison, self._viewer = workbench, comparison, viewer
        self.setToolTip("Label maps made elsewhere, named after the scans, or layers; files can be dropped here, too")
        mark(self, "quiet")
        menu = QMenu(self)
        menu.addAction("A folder …", self._ask_folder)
        menu.addAction("Files …", self._ask_files)
        menu.addSeparator()
        self._menu, self._layer_actions = menu, []  # type: ignore[var-annotated]
        menu.aboutToShow.connect(self.list_layers)
        self.setMenu(menu)

    def list_layers(self) -> list[str]:
        """Offer the labels that are open now; returns their names."""
        for action in self._layer_actions:
            self._menu.removeAction(action)
        self._layer_actions = []
        layers = open_labels(self._viewer)
        for layer in layers:
            action = self._menu.addAction(f"Layer {layer.name}")
            action.triggered.connect(lambda _checked=False, layer=layer: self.add_layer(layer))
            self._layer_actions.append(action)
        if not layers:
            action = self._menu.addAction("No other labels are open")
            action.setEnabled(False)
            self._layer_actions.append(action)
        return [layer.name for layer in layers]

    def add_folder(self, folder: str | Path) -> None:
        """Compare a folder of predictions."""
        self._try(lambda: self._comparison.add_folder(folder))

    def add_files(self, paths: Sequence[str | Path]) -> None:
        """Compare prediction files; one alone is of the open scan where its name says nothing else."""
        self._try(lambda: self._comparison.add_files(paths, self._workbench.case_id))

    def add_layer(self, layer: Labels) -> None:
        """Compare labels that are open with the reference of the open scan."""
        case_id = self._workbench.case_id
        if case_id is None:
            self._workbench.say("no scan is open; choose one above, then add the layer", "error")
            return
        labels = OpenLabels(layer.data, layer.metadata.get("geometry"), tuple(float(step) for step in layer.scale[-3:]))
        self._try(lambda: self._comparison.add_layer(layer.name, labels, case_id))

    def add_dropped(self, paths: Sequence[Path]) -> None:
        """Compare what was dropped: folders one by one, files together."""
        for path in paths:
            if path.is_dir():
                self.add_folder(path)
        files = [path for path in paths if not path.is_dir()]
        if files:
            self.add_files(files)

    def _try(self, work: Any) -> None:
        try:
            entry = work()
        except UserError as error:
            self._workbench.fail(error)
        else:
            if entry.files:
                self._workbench.say(f"{entry.title}: {count(len(entry.files), 'scan')} of this study")

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with predictions, named after the scans")
        if folder:
            self.add_folder(folder)

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Predictions", "", PATTERN)
        if paths:
            self.add_files(paths)


class RefusedBox(QWidget):
    """What does not lie on the grid of the scan, why, and a button that brings it there."""

    resample = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        from qtpy.QtWidgets import QLabel

        self._keys: list[str] = []
        self.text = QLabel()
        self.text.setWordWrap(True)
        mark(self.text, "problem")
        self.button = quiet("Bring to the scan's grid", "Each voxel of the scan gets the label of the nearest one")
        self.button.clicked.connect(lambda: self.resample.emit(self._keys))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self.button)
        self.show_case(None)

    def show_case(self, case: CaseComparison | None) -> None:
        """Say what was refused of this case."""
        refused = case.refused if case is not None else ()
        self._keys = [entry.key for entry, _ in refused]
        self.text.setText("\n".join(f"{entry.title}: {reason}" for entry, reason in refused))
        self.button.setVisible(any(not entry.layers for entry, _ in refused))
        self.setVisible(bool(refused))


def open_labels(viewer: ViewerModel) -> list[Labels]:
    """Labels layers with three axes that are not of the comparison."""
    from napari.layers import Labels

    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Labels) and layer.ndim == 3 and (layer_tag(layer) or {}).get("group") != "compare"
    ]


def dropped_paths(event: Any) -> list[Path]:
    """Files and folders on this computer that are being dropped; none for a study, which is to be opened."""
    mime = event.mimeData()
    urls = mime.urls() if mime is not None and mime.hasUrls() else []
    paths = [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]
    if any(path.name == "study.db" or (path / "study.db").is_file() for path in paths):
        return []
    return paths
