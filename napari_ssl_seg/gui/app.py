"""Open napari with the panel docked, on a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import napari


def build(study_folder: Path | None = None, *, show: bool = True) -> napari.Viewer:
    """A viewer with the panel docked at the right, the study open in it."""
    import napari

    viewer = napari.Viewer(title="SSL segmentation", show=show)
    _, dock = viewer.window.add_plugin_dock_widget("napari-ssl-seg", "SSL segmentation")
    if study_folder is not None:
        dock.workbench.open_study(study_folder)
    return viewer


def show(study_folder: Path) -> None:
    """Open the window on a study and stay until it is closed."""
    import napari

    build(study_folder)
    napari.run()
