"""The switch of the Fine-tune card, by itself."""

from __future__ import annotations

import pytest

from napari_ssl_seg.gui.train_cards import FinetuneCard, PretrainCard
from napari_ssl_seg.methods import get_method
from napari_ssl_seg.networks import list_networks
from tests.gui.fake_training import Sim

MOD = type(get_method("mod"))


@pytest.fixture
def card(qtbot):
    made = FinetuneCard()
    qtbot.addWidget(made)
    made.set_networks(list_networks())
    made.set_available(4, 40)
    made.joint.set_methods([Sim, MOD])
    return made


def test_only_methods_that_can_be_trained_beside_labels_are_offered(card):
    choice = card.joint.choice
    assert [choice.itemText(index) for index in range(choice.count())] == ["nothing", "MOD"]
    assert card.joint.method is None and not card.joint.form.isVisibleTo(card.folded)
    assert "joint" not in card.values() and "settings" not in card.values()


def test_a_method_is_asked_for_with_the_settings_that_were_changed(card, qtbot):
    with qtbot.waitSignal(card.edited):
        card.joint.choice.set_value("mod")
        card.joint.choice.edited.emit()
    assert card.joint.form.isVisibleTo(card.folded)
    assert (card.values()["joint"], card.values()["settings"]) == ("mod", {})
    card.joint.form.set_values({"mod_weight": 0.001, "unlabelled": True})
    assert card.values()["settings"] == {"mod_weight": 0.001, "unlabelled": True}
    card.joint.form.set_values({"alpha": 0.0, "beta": 0.0, "dense": 0.0})
    assert "nothing to learn" in card.problem()
    card.joint.choice.set_value("nothing")
    card.joint.choice.edited.emit()
    assert card.problem() is None and "joint" not in card.values()


def test_what_is_chosen_stays_when_the_methods_are_read_again(card):
    card.joint.choice.set_value("mod")
    card.joint.set_methods([MOD])
    assert card.joint.method == "mod"


def test_a_pretraining_is_not_asked_for_what_counts_beside_labels_only(qtbot):
    card = PretrainCard()
    qtbot.addWidget(card)
    card.set_methods([MOD])
    assert "mask_ratio" in card.method_form.field_names
    assert not {"mod_weight", "supervised", "unlabelled"} & set(card.method_form.field_names)
