"""What the plugin adds to napari's menus and command palette, beside its panel: each opens the panel at its tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari.viewer  # noqa: TC002  napari reads the annotations when it hands the viewer to a command

from napari_ssl_seg.gui.dock import COMPARE, PRETEXT, STUDY, TRAIN

if TYPE_CHECKING:
    from napari_ssl_seg.gui.dock import SSLDock

PLUGIN, WIDGET = "napari-ssl-seg", "SSL segmentation"


def open_studies(viewer: napari.viewer.Viewer) -> None:
    """The scans of the study, or the ways to make one."""
    _panel(viewer).show_tab(STUDY)


def open_pretexts(viewer: napari.viewer.Viewer) -> None:
    """What a method would train on."""
    _panel(viewer).show_tab(PRETEXT)


def open_training(viewer: napari.viewer.Viewer) -> None:
    """Pretrain and fine-tune."""
    _panel(viewer).show_tab(TRAIN)


def open_comparison(viewer: napari.viewer.Viewer) -> None:
    """Predictions side by side, slice by slice."""
    _panel(viewer).show_tab(COMPARE)


def _panel(viewer: napari.viewer.Viewer) -> SSLDock:
    """The panel of this viewer; the one that is open where there is one."""
    dock, panel = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    dock.show()
    dock.raise_()
    return panel
