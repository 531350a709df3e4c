"""The entries in napari's menus and command palette open the panel at their tab."""

from __future__ import annotations

from napari_ssl_seg.gui import commands
from napari_ssl_seg.gui.dock import COMPARE, PRETEXT, STUDY, TRAIN, SSLDock

TABS = {
    "napari-ssl-seg.studies": STUDY,
    "napari-ssl-seg.pretexts": PRETEXT,
    "napari-ssl-seg.training": TRAIN,
    "napari-ssl-seg.comparison": COMPARE,
}
MENUS = {
    "napari/file/io_utilities": "napari-ssl-seg.studies",
    "napari/layers/visualize": "napari-ssl-seg.pretexts",
    "napari/layers/segment": "napari-ssl-seg.training",
    "napari/layers/measure": "napari-ssl-seg.comparison",
}


def test_each_command_opens_its_tab_in_one_and_the_same_panel(make_napari_viewer):
    from app_model.types import MenuItem
    from napari._app_model import get_app_model

    viewer = make_napari_viewer()
    app = get_app_model()
    panels = set()
    for command, tab in TABS.items():
        app.commands.execute_command(command).result()
        _, panel = viewer.window.add_plugin_dock_widget(commands.PLUGIN, commands.WIDGET)
        assert isinstance(panel, SSLDock)
        assert panel.tabs.currentIndex() == tab
        panels.add(panel)
    assert len(panels) == 1
    for menu, command in MENUS.items():
        items = [item.command.id for item in app.menus.get_menu(menu) if isinstance(item, MenuItem)]
        assert command in items, menu
