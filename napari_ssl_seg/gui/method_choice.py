"""The choice of a method: families as headings, each method with its paper on hover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QStandardItem, QStandardItemModel

from napari_ssl_seg.gui.fields import ChoiceField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.methods.base import Method


class MethodChoice(ChoiceField):
    """One method of a few families; a heading cannot be chosen."""

    def set_methods(self, methods: Sequence[type[Method]]) -> None:
        """Offer these, under headings in the order of the first of each family; what was chosen stays chosen."""
        from napari_ssl_seg.methods.registry import family_of

        families: dict[str, list[type[Method]]] = {}
        for method in methods:
            families.setdefault(family_of(method.name), []).append(method)
        before = self.value()
        with QSignalBlocker(self):
            self.clear()
            for family, members in families.items():
                if family and len(families) > 1:
                    self._add_heading(family)
                for method in members:
                    self.addItem(method.title, method.name)
                    self.setItemData(self.count() - 1, method.paper, Qt.ItemDataRole.ToolTipRole)
            self.set_value(before)

    def set_value(self, value: Any) -> None:
        """Choose a method by name; the first one where there is none of that name."""
        places = [place for place in range(self.count()) if self.itemData(place) is not None]
        if places:
            self.setCurrentIndex(next((place for place in places if self.itemData(place) == value), places[0]))

    def _add_heading(self, text: str) -> None:
        model = self.model()
        assert isinstance(model, QStandardItemModel)
        item = QStandardItem(text)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        font = self.font()
        font.setBold(True)
        item.setFont(font)
        model.appendRow(item)
