"""Keys of the Label tab: the first of a few that napari leaves free, as its settings have it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CLASS_KEYS = 9
MENUS = ("Ctrl+0", "Ctrl+=", "Ctrl+-", "Ctrl+U", "Ctrl+Z", "Ctrl+Shift+Z", "Shift+Up", "Shift+Down", "N", "Shift+N")
"""Of napari's menus and layers, which its settings do not list; and of the panel itself."""
CHOICES: dict[str, tuple[str, ...]] = {
    "region": ("W", "Alt+W"),
    "prompt": ("H", "Alt+H"),
    "finer": (".", "Alt+."),
    "coarser": (",", "Alt+,"),
    "between": ("Shift+W", "Alt+Shift+W"),
    "accept": ("U", "Alt+U"),
    "refuse": ("Shift+U", "Alt+Shift+U"),
    "accept_region": ("Alt+U", "Ctrl+Shift+U"),
    "checked": ("Shift+Return", "Alt+Return"),
    "flag": ("Q", "Alt+Q"),
    "go": ("J", "Alt+J"),
    "skip": ("Shift+J", "Alt+Shift+J"),
    "next": ("Ctrl+Return", "Ctrl+Shift+Return"),
    **{f"class {place}": (f"Ctrl+{place}", f"Alt+{place}") for place in range(1, CLASS_KEYS + 1)},
}


def taken_keys() -> set[str]:
    """Keys of napari's, as its settings have them."""
    from napari.settings import get_settings

    listed = get_settings().shortcuts.shortcuts
    keys = {_plain(str(key)) for bindings in listed.values() for key in bindings}
    return keys | {_plain(key) for key in MENUS}


def free_keys(taken: Iterable[str] | None = None) -> dict[str, str]:
    """Action -> key; an action whose keys are all taken has none."""
    busy = set(taken_keys() if taken is None else taken)
    chosen: dict[str, str] = {}
    for action, choices in CHOICES.items():
        key = next((key for key in choices if _plain(key) not in busy), None)
        if key is not None:
            chosen[action] = key
            busy.add(_plain(key))
    return chosen


def shown(key: str | None) -> str:
    """A key as it stands on a button: ``⇧⏎``, ``Ctrl+1``, ``“,”``."""
    text = (key or "").replace("Shift+", "⇧").replace("Return", "⏎")
    return f"“{text}”" if text in (",", ".") else text


class Keys:
    """Keys that work in the whole window while ``tab`` is in front."""

    def __init__(self, tab: QWidget, keys: dict[str, str]) -> None:
        self._tab = tab
        self.keys = keys
        self._shortcuts: dict[str, Any] = {}

    def bind(self, action: str, call: Callable[[], object]) -> None:
        """Let the key of an action call."""
        if action in self.keys and action not in self._shortcuts:
            shortcut = QShortcut(QKeySequence(self.keys[action]), self._tab)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(lambda: call())
            self._shortcuts[action] = shortcut


def _plain(key: str) -> str:
    """One way of writing a key."""
    parts = key.replace("Control", "Ctrl").replace("Enter", "Return").split("+") if key != "+" else [key]
    return "+".join([*sorted(part.title() for part in parts[:-1]), parts[-1].upper()])
