"""A small real study, and the panel on it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.compat import isalive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_ssl_seg.gui.dock import SSLDock
    from napari_ssl_seg.study import Study

SPACING = (3.0, 1.5, 1.5)


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small scans with two classes, as NIfTI in images/ and labels/; the last is without a label."""
    import nibabel

    folder = tmp_path_factory.mktemp("scans") / "head"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    affine = np.diag([*reversed(SPACING), 1.0])
    for number in range(6):
        image = rng.normal(100, 20, (24, 32, 10)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[6:14, 8:20, 3:8] = 1
        label[14:20, 8:20, 3:8] = 2
        image[label > 0] += 60
        nibabel.save(nibabel.Nifti1Image(image, affine), folder / "images" / f"head_{number:03d}.nii.gz")
        if number < 5:
            nibabel.save(nibabel.Nifti1Image(label, affine), folder / "labels" / f"head_{number:03d}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def made_study(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of these scans; copy it before changing anything."""
    from napari_ssl_seg.study import Study

    folder = tmp_path_factory.mktemp("studies") / "head-study"
    Study.create(folder, images=scans / "images", labels=scans / "labels", split=(60, 20, 20)).close()
    return folder


@pytest.fixture
def study(made_study: Path, tmp_path: Path) -> Iterator[Study]:
    """A study of one's own."""
    from napari_ssl_seg.study import Study

    shutil.copytree(made_study, tmp_path / "head-study")
    opened = Study.open(tmp_path / "head-study")
    yield opened
    opened.close()


@pytest.fixture
def dock(qtbot: Any) -> Iterator[SSLDock]:
    """The panel by itself, on the model of a viewer: all of it but the canvas, in a tenth of the time."""
    from napari.components import ViewerModel

    from napari_ssl_seg.gui.dock import SSLDock

    widget = SSLDock(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    yield widget
    widget.close()
    _wait_for_workers()


@pytest.fixture
def docked(make_napari_viewer: Callable[..., Any]) -> Iterator[SSLDock]:
    """The panel in a real viewer's window, which is not shown."""
    from napari_ssl_seg.gui.dock import SSLDock

    viewer = make_napari_viewer(show=False)
    widget = SSLDock(viewer)
    viewer.window.add_dock_widget(widget, name="SSL segmentation")
    yield widget
    widget.close()
    _wait_for_workers()


def _wait_for_workers() -> None:
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(30_000)


@pytest.fixture
def settle(qtbot: Any) -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so, at most 60 s (torch may have to be imported first)."""

    def wait(condition: Callable[[], bool]) -> None:
        qtbot.waitUntil(condition, timeout=60_000)

    return wait


@pytest.fixture
def shown(make_napari_viewer: Callable[..., Any]) -> Iterator[SSLDock]:
    """The panel in a real viewer's window on the screen, where mouse and keys can be used."""
    from napari_ssl_seg.gui.dock import SSLDock

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 800)
    widget = SSLDock(viewer)
    viewer.window.add_dock_widget(widget, name="SSL segmentation")
    yield widget
    if isalive(widget):  # a test may have closed the window
        widget.close()
    _wait_for_workers()


@pytest.fixture
def labelling_tab(study: Study, settle: Any) -> Iterator[Callable[[SSLDock, str], Any]]:
    """Opens the study, a case of it, and the Label tab; gives the tab when its labels can be drawn on."""
    from napari_ssl_seg.gui.dock import LABEL

    opened = []

    def open_tab(panel: SSLDock, case_id: str) -> Any:
        panel.workbench.set_study(study)
        panel.workbench.open_case(case_id)
        tab = panel.show_tab(LABEL)
        opened.append(tab)
        settle(lambda: tab.labelling.case is not None and tab.layer.alive and not tab.busy)
        return tab

    yield open_tab
    for tab in opened:
        if isalive(tab):
            tab.finish()
        tab.labelling.close()
