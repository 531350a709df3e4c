"""The pieces that the loop and its tasks are made of, each against numbers by hand or an independent library."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.training.answers import Answer, dice_by_channel
from napari_ssl_seg.training.augment import augment
from napari_ssl_seg.training.budget import choose_cases, choose_slices
from napari_ssl_seg.training.checkpoints import load_checkpoint, save_checkpoint
from napari_ssl_seg.training.labelled import UNLABELLED
from napari_ssl_seg.training.optimisation import schedule_factor
from napari_ssl_seg.training.prefetch import Prefetcher
from napari_ssl_seg.training.segmentation_loss import IGNORE, dice_ce
from napari_ssl_seg.training.settings import FinetuneSettings, PretrainSettings, make_settings


# -- loss ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(3, 4, 9, 7), (2, 3, 5, 6, 4)])
def test_dice_ce_agrees_with_monai_where_everything_is_labelled(shape):
    from monai.losses import DiceCELoss

    torch.manual_seed(0)
    logits = torch.randn(shape)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    reference = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    assert dice_ce(logits, target).total.item() == pytest.approx(
        reference(logits, target.unsqueeze(1)).item(), abs=1e-6
    )


def test_unlabelled_voxels_change_neither_loss_nor_gradient():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    target = torch.randint(0, 3, (2, 8, 8))
    target[1] = IGNORE
    alone = dice_ce(logits[:1], target[:1]).total
    both = dice_ce(logits, target).total
    assert both.item() == pytest.approx(alone.item(), abs=1e-6)
    both.backward()
    assert logits.grad[1].abs().max() == 0 and logits.grad[0].abs().max() > 0


def test_a_batch_without_labels_costs_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    losses = dice_ce(logits, torch.full((1, 4, 4), IGNORE))
    losses.total.backward()
    assert losses.total.item() == 0 and logits.grad.abs().max() == 0


# -- augmentation -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spatial", [(24, 20), (8, 16, 12)])
def test_augmentation_keeps_shapes_and_labels_and_follows_its_generator(spatial):
    torch.manual_seed(0)
    image, label = torch.randn(6, 1, *spatial), torch.randint(-1, 3, (6, *spatial))
    before = image.clone(), label.clone()
    spacing = (2.0, 1.0, 1.0)[-len(spatial) :]

    def run(seed):
        return augment(image, label, torch.Generator().manual_seed(seed), spacing=spacing)

    first, again, other = run(1), run(1), run(2)
    assert first[0].shape == image.shape and first[1].dtype == label.dtype
    assert set(first[1].unique().tolist()) <= {-1, 0, 1, 2} and torch.isfinite(first[0]).all()
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]) and not torch.equal(first[0], other[0])
    assert torch.equal(image, before[0]) and torch.equal(label, before[1])


def test_image_and_label_are_moved_together():
    spatial = (48, 48)
    grid = torch.stack(torch.meshgrid(*(torch.arange(size) for size in spatial), indexing="ij"))
    inside = ((grid - 24.0).square().sum(0) < 12**2).long()
    inside[10:20, 24:40] = 1  # not symmetric
    image, label = inside.float()[None, None].repeat(32, 1, 1, 1), inside[None].repeat(32, 1, 1)
    moved, marks = augment(image, label, torch.Generator().manual_seed(0), spacing=(1.0, 1.0), flip=True)
    changed = 0
    for sample, mark in zip(moved[:, 0], marks, strict=True):
        middle = (sample[mark == 1].mean() + sample[mark == 0].mean()) / 2
        guess, known = sample > middle, mark != IGNORE
        agree = ((guess == (mark == 1)) & known).sum() / known.sum()
        assert agree > 0.97
        changed += not torch.equal(mark, inside)
    assert changed > 16, "some of the patches are turned"


def test_a_rotation_stays_one_where_voxels_are_long():
    """A disc of 10 mm stays a disc of 10 mm, whatever the pixel's shape, up to the scaling."""
    rows, columns = torch.meshgrid(torch.arange(40) * 1.0, torch.arange(80) * 0.5, indexing="ij")
    disc = (((rows - 19.5) ** 2 + (columns - 19.75) ** 2) < 100).long()
    _, marks = augment(
        disc[None, None].repeat(64, 1, 1, 1).float(),
        disc[None].repeat(64, 1, 1),
        torch.Generator().manual_seed(3),
        spacing=(1.0, 0.5),
    )
    for mark in marks:
        inside = mark == 1
        height, width = rows[inside].max() - rows[inside].min(), columns[inside].max() - columns[inside].min()
        assert abs(height - width) <= 2.5


# -- budgets ------------------------------------------------------------------------------------------------------
@given(total=st.integers(1, 60), first=st.integers(1, 60), second=st.integers(1, 60))
def test_budgets_are_nested(total, first, second):
    order = [f"case {number}" for number in range(total)]
    small, large = sorted((min(first, total), min(second, total)))
    assert choose_cases(order, small) == choose_cases(order, large)[:small]


def test_budgets_by_hand():
    order = [str(number) for number in range(91)]
    assert len(choose_cases(order, "10%")) == 10 and len(choose_cases(order, "100%")) == 91
    assert choose_cases(order, None) == order and choose_cases(order, "5") == order[:5]
    for wrong, words in ((0, "at least 1"), (92, "more than the 91"), ("many", "neither"), ("101%", "more than")):
        with pytest.raises(RunError, match=words):
            choose_cases(order, wrong)
    with pytest.raises(RunError, match="no labelled scan"):
        choose_cases([], 1)


@settings(deadline=None)
@given(st.data())
def test_slices_are_spread_nested_and_show_something_first(data):
    cases = data.draw(
        st.dictionaries(
            st.text("abc", min_size=1, max_size=3),
            st.tuples(st.integers(0, 4), st.integers(0, 4)),
            min_size=1,
            max_size=4,
        )
    )
    candidates = {name: (list(range(shows)), list(range(100, 100 + others))) for name, (shows, others) in cases.items()}
    available = sum(shows + others for shows, others in cases.values())
    if not available:
        return
    count = data.draw(st.integers(1, available))
    chosen = choose_slices(candidates, count, 3)
    assert sum(map(len, chosen.values())) == count
    for name, (shows, others) in cases.items():
        taken = chosen.get(name, [])
        assert len(taken) == len(set(taken)) and set(taken) <= set(candidates[name][0] + candidates[name][1])
        assert not any(index >= 100 for index in taken) or sum(index < 100 for index in taken) == shows
        most = max(map(len, chosen.values()))
        assert len(taken) >= min(most - 1, shows + others)
    if count < available:
        larger = choose_slices(candidates, count + 1, 3)
        assert all(set(indices) <= set(larger[name]) for name, indices in chosen.items())


# -- schedule, Dice -----------------------------------------------------------------------------------------------
def test_schedules_by_hand():
    cosine = [schedule_factor("cosine", step, 100, 0.1) for step in range(100)]
    assert cosine[0] == pytest.approx(1 / 11) and cosine[10] == 1 and cosine[55] == pytest.approx(0.5)
    assert cosine == [*sorted(cosine[:11]), *sorted(cosine[11:], reverse=True)]
    assert [schedule_factor("halving", step, 8, 0) for step in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert schedule_factor("poly", 50, 100, 0) == pytest.approx(0.5**0.9)
    assert schedule_factor("constant", 99, 100, 0) == 1


def test_validation_dice_by_hand():
    reference = np.array([[0, 1, 1, 2, UNLABELLED, UNLABELLED]], dtype=np.uint16)
    prediction = np.array([[0, 1, 0, 1, 2, 2]], dtype=np.uint8)
    answer = Answer({1: "a", 2: "b", 7: "c"})
    dice = dice_by_channel(prediction, iter([(0, reference)]), np.arange(4), answer.membership)
    assert dice[:2] == [pytest.approx(0.5), 0] and np.isnan(dice[2])


# -- batches ahead ------------------------------------------------------------------------------------------------
def test_batches_come_in_order_from_one_other_thread_and_only_a_few_ahead():
    made = []

    def make(step):
        made.append((step, threading.current_thread()))
        return step * step

    batches = Prefetcher(make, 3, 40, depth=2)
    assert next(batches) == (3, 9)
    time.sleep(0.2)
    assert len(made) <= 1 + 2 + 1
    assert [item for _, item in batches] == [step * step for step in range(4, 40)]
    assert {thread for _, thread in made} == {made[0][1]} and made[0][1] is not threading.current_thread()


def test_an_error_comes_at_its_step():
    def make(step):
        if step == 2:
            raise KeyError("scan")
        return step

    batches = Prefetcher(make, 0, 5)
    assert [next(batches), next(batches)] == [(0, 0), (1, 1)]
    with pytest.raises(KeyError, match="scan"):
        next(batches)


def test_a_dropped_prefetcher_ends_its_thread():
    batches = Prefetcher(lambda step: step, 0, 10**9)
    next(batches)
    thread = batches._thread
    del batches
    gc.collect()
    thread.join(timeout=5)
    assert not thread.is_alive()


# -- checkpoints --------------------------------------------------------------------------------------------------
def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1, "model": {"w": torch.ones(3)}})

    def full(state, target):
        target.write_bytes(b"PK")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"disk may be full"):
        save_checkpoint(path, {"step": 2}, previous=tmp_path / "previous.pt")
    monkeypatch.undo()
    assert load_checkpoint(path)[0]["step"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_checkpoint_is_never_loaded(tmp_path, damage):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1, "model": {"w": torch.arange(1000.0)}})
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[data.find(np.arange(1000, dtype=np.float32)[500:510].tobytes())] ^= 4
    else:
        data = bytearray(b"not a checkpoint")
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match=r"last\.pt"):
        load_checkpoint(path)
    assert load_checkpoint(tmp_path / "none.pt") is None


# -- settings -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [PretrainSettings, FinetuneSettings])
def test_every_setting_can_be_shown_in_a_form(kind):
    for name, info in kind.model_fields.items():
        assert info.title and info.description, name
    assert kind.model_validate_json(kind().model_dump_json()) == kind()
    with pytest.raises(UserError, match="'iterations' is 0"):
        make_settings(kind, {"iterations": 0})
    assert make_settings(kind, {"iterations": None, "seed": 3}).seed == 3
