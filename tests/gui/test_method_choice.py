"""The choice of a method: grouped by family, and headings that cannot be chosen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt

from napari_ssl_seg.gui.method_choice import MethodChoice
from napari_ssl_seg.methods import describe_methods, list_methods


def test_every_method_stands_under_its_family_once_and_no_heading_can_be_chosen(qtbot: Any) -> None:
    choice = MethodChoice([])
    qtbot.addWidget(choice)
    choice.set_methods(list_methods())
    family_of = {method["name"]: method["family"] for method in describe_methods()}
    assert all(family_of.values())
    heading, found = "", {}
    for place in range(choice.count()):
        if choice.itemData(place) is None:
            heading = choice.itemText(place)
            assert not choice.model().item(place).flags() & Qt.ItemFlag.ItemIsSelectable
        else:
            found[choice.itemData(place)] = heading
    assert found == family_of
    assert choice.value() == list_methods()[0].name  # not the heading above it
    headings = sum(choice.itemData(place) is None for place in range(choice.count()))
    assert headings == len(set(family_of.values())) == 5


def test_arrow_keys_pass_over_headings_and_a_choice_outlives_a_new_list(qtbot: Any) -> None:
    choice = MethodChoice([])
    qtbot.addWidget(choice)
    choice.set_methods(list_methods())
    choice.set_value("mod")
    qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert choice.value() == "simmim"
    heard: list[str] = []
    choice.edited.connect(lambda: heard.append(choice.value()))
    choice.set_methods(list_methods())
    assert choice.value() == "simmim" and heard == []
    choice.set_value("no such method")
    assert choice.value() == "volume_fusion"
