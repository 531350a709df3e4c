"""The switch of the Fine-tune card: nothing but the labels, or a method trained beside them at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.gui.field_kinds import extra
from napari_ssl_seg.gui.fields import ChoiceField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from napari_ssl_seg.methods.base import Method

NOTHING = "nothing"


class JointChoice(QObject):
    """Two widgets for a card: `choice`, a row of its form, and `form`, the chosen method's settings, for its folded part."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice = ChoiceField([NOTHING])
        self.choice.setToolTip(
            "A method that learns from the same patches, beside the labels; the network it leaves is a plain one"
        )
        self.form = ConfigForm()
        self.form.setVisible(False)
        self._methods: dict[str, type[Method]] = {}
        self.choice.edited.connect(self._chosen)

    def set_methods(self, methods: Sequence[type[Method]]) -> None:
        """Offer those of the methods that can be trained so."""
        kept = self.choice.value()
        self._methods = {method.name: method for method in methods if getattr(method, "joint", False)}
        refill(self.choice, [(NOTHING, NOTHING), *((method.title, name) for name, method in self._methods.items())])
        self.choice.set_value(kept if kept in self._methods else NOTHING)
        self._chosen()

    @property
    def method(self) -> str | None:
        """Its name; None: nothing."""
        value = self.choice.value()
        return value if value in self._methods else None

    def _chosen(self) -> None:
        name = self.method
        if name is not None:
            self.form.set_model(self._methods[name].Config)
        self.form.setVisible(name is not None)
        self.edited.emit()

    def values(self) -> dict[str, Any]:
        """Arguments of `training.finetune`."""
        return {} if self.method is None else {"joint": self.method, "settings": self.form.changed_values()}

    def problem(self) -> str | None:
        """What is wrong with the settings."""
        return None if self.method is None else self.form.problem()


def joint_only(config: type[BaseModel]) -> tuple[str, ...]:
    """Settings that count in joint training alone, which a pretraining's form leaves out."""
    return tuple(name for name, info in config.model_fields.items() if extra(info).get("joint"))
