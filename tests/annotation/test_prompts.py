"""Points and boxes: the numbers of the stock predictor, kept slices, encoding ahead, threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_ssl_seg.annotation import PromptSession
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.sam_engine import SamEngine
from tests.regions.stock_sam import stock
from tests.regions.tiny_sam import slice_of, tiny_sam

POINT = [(20.0, 30.0, True)]
POINTS = [(20.0, 30.0, True), (50.0, 60.5, False), (33.0, 70.0, True)]
MANY = [(float(3 * n), float(2 * n + 5), n % 3 > 0) for n in range(24)]
BOX = (10.0, 20.0, 60.0, 80.0)
SLICE_BYTES = 16 * 16 * 32 * 4 + 256
"""Of the tiny network's embedding."""


@pytest.fixture(scope="module")
def sam():
    return tiny_sam(3)


@pytest.fixture
def session(sam):
    return PromptSession(SamEngine(sam), image_of=lambda key: slice_of(key).astype(float))


def predictor_answer(sam, image, points, box, several, previous=None):
    with stock() as package:
        predictor = package.SamPredictor(sam)
        predictor.set_image(np.repeat(image[..., None], 3, axis=2))
        return predictor.predict(
            point_coords=np.array([(x, y) for y, x, _ in points]) if points else None,
            point_labels=np.array([int(inside) for *_, inside in points]) if points else None,
            box=None if box is None else np.array([box[1], box[0], box[3], box[2]]),
            mask_input=None if previous is None else previous[None],
            multimask_output=several,
        )


def stretched(image):
    return np.rint((image - image.min()) * (255 / np.ptp(image))).astype(np.uint8)


@pytest.mark.parametrize(
    ("points", "box", "several"),
    [(POINT, None, True), (POINTS, None, False), ([], BOX, False), (POINTS, BOX, False), (MANY, None, False)],
    ids=["point", "points", "box", "both", "many"],
)
def test_the_numbers_are_those_of_the_stock_predictor(sam, session, points, box, several):
    image = slice_of(1).astype(float)
    answer = session.ask(1, points, box)
    masks, scores, logits = predictor_answer(sam, stretched(image), points, box, several)
    np.testing.assert_allclose(answer.scores, scores, atol=1e-4)
    np.testing.assert_allclose(answer.logits, logits, atol=0.05)  # their deviation is 60
    assert (answer.masks != masks).mean() < 1e-3
    refined = session.ask(1, points, box, previous=answer.logits[answer.chosen])
    _, _, logits = predictor_answer(sam, stretched(image), points, box, several, answer.logits[answer.chosen])
    np.testing.assert_allclose(refined.logits, logits, atol=0.05)


def test_a_single_point_gives_the_best_of_three_masks(session):
    answer = session.ask(1, POINT)
    assert len(answer.masks) == 3 and answer.chosen == answer.scores.argmax()
    mask, scores = session.mask(1, POINT)
    np.testing.assert_array_equal(mask, answer.masks[answer.chosen])
    np.testing.assert_array_equal(scores, answer.scores)
    assert mask.dtype == bool and mask.shape == slice_of(1).shape
    assert len(session.ask(1, POINT, several=False).masks) == 1


def test_a_box_may_be_drawn_from_any_corner(session):
    y0, x0, y1, x1 = BOX
    np.testing.assert_array_equal(session.mask(1, box=BOX)[0], session.mask(1, box=(y1, x1, y0, x0))[0])


def test_the_fast_setting_answers_on_a_smaller_grid(sam):
    fast = PromptSession(SamEngine(sam, fast=True), image_of=lambda key: slice_of(key))
    mask, scores = fast.mask(0, POINTS)
    assert mask.shape == slice_of(0).shape and np.isfinite(scores).all()


def test_nothing_asked_nothing_given_nothing_there(session):
    with pytest.raises(ValueError, match="at least one point or a box"):
        session.mask(1)
    with pytest.raises(UserError, match="encode it with its image first"):
        PromptSession(session.engine).encode(("scan", 4))
    with pytest.raises(UserError, match="finite"):
        session.encode("bad", np.full((8, 8), np.nan))


def test_a_constant_slice_has_no_mask(session):
    session.encode("flat", np.full((20, 30), 7.0))
    mask, scores = session.mask("flat", POINT)
    assert mask.shape == (20, 30) and not mask.any() and scores.tolist() == [0.0]
    assert session.ready("flat")


# -- what is kept -----------------------------------------------------------------------------------------------------
def test_slices_are_kept_up_to_a_number_of_bytes(sam):
    asked = []

    def image_of(key):
        asked.append(key)
        return slice_of(key)

    session = PromptSession(SamEngine(sam), image_of=image_of, limit=2 * SLICE_BYTES)
    session.encode(0)
    session.encode(1)
    session.mask(0, POINT)  # used last: 1 goes first
    session.encode(2)
    assert session.nbytes == 2 * SLICE_BYTES
    assert (session.ready(0), session.ready(1), session.ready(2)) == (True, False, True)
    session.mask(2, POINT)
    assert asked == [0, 1, 2]
    session.clear()
    assert session.nbytes == 0 and not session.ready(0)


def test_a_slice_larger_than_the_limit_is_answered_and_not_kept(sam):
    session = PromptSession(SamEngine(sam), image_of=slice_of, limit=10)
    assert session.mask(0, POINT)[0].shape == slice_of(0).shape
    assert session.nbytes == 0 and not session.ready(0)


# -- ahead ------------------------------------------------------------------------------------------------------------
def test_neighbours_are_encoded_ahead(session):
    session.encode(5)
    assert list(session.encode_ahead([5, 4, 6])) == [5, 4, 6]
    assert session.ready(4) and session.ready(6)


def test_closing_ends_it_between_two_slices(session):
    ahead = session.encode_ahead([1, 2, 3])
    assert next(ahead) == 1
    ahead.close()
    assert not session.ready(2)


class SlowBlock:
    """Holds the encoder's first block until it may go on, and notes which slices begin."""

    def __init__(self, engine):
        self.begun, self.go = threading.Event(), threading.Event()
        self.handle = engine.model.image_encoder.patch_embed.register_forward_hook(self._hold)
        self.calls = 0

    def _hold(self, module, inputs, output):
        self.calls += 1
        if self.calls == 1:
            self.begun.set()
            assert self.go.wait(10)


def test_stop_ends_it_inside_a_slice(sam):
    session = PromptSession(SamEngine(sam), image_of=slice_of)
    slow, stop, made = SlowBlock(session.engine), threading.Event(), []
    worker = threading.Thread(target=lambda: made.extend(session.encode_ahead([1, 2], stop=stop)))
    worker.start()
    assert slow.begun.wait(10)
    stop.set()
    slow.go.set()
    worker.join(10)
    slow.handle.remove()
    assert made == [] and not session.ready(1) and slow.calls == 1
    session.encode(1)  # and nothing is left locked
    assert list(session.encode_ahead([2], stop=stop)) == []


def test_who_waits_goes_first_and_what_was_begun_goes_on(sam):
    session = PromptSession(SamEngine(sam), image_of=slice_of)
    slow, order = SlowBlock(session.engine), []
    worker = threading.Thread(target=lambda: order.extend(session.encode_ahead([1])))
    worker.start()
    assert slow.begun.wait(10)
    urgent = threading.Thread(target=lambda: (session.encode(2), order.append(2)))
    urgent.start()
    while not session._slices._waiting:
        time.sleep(0.001)
    assert not session.ready(1) and not session.ready(2)  # asked by the window: never waits
    slow.go.set()
    urgent.join(10)
    worker.join(10)
    slow.handle.remove()
    assert order == [2, 1] and slow.calls == 2  # the one begun was not begun again


def test_the_same_slice_is_encoded_once_for_two_threads(sam):
    session = PromptSession(SamEngine(sam), image_of=slice_of)
    slow = SlowBlock(session.engine)
    threads = [threading.Thread(target=session.encode, args=(1,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert slow.begun.wait(10)
    slow.go.set()
    for thread in threads:
        thread.join(10)
    slow.handle.remove()
    assert slow.calls == 1 and session.ready(1)


def test_the_slices_of_a_study(sam, tmp_path):
    import nibabel
    import torch

    from napari_ssl_seg.annotation import open_prompts
    from napari_ssl_seg.regions import RegionSettings, slice_image
    from napari_ssl_seg.study import Study

    (tmp_path / "images").mkdir()
    array = np.stack([slice_of(seed) for seed in range(3)]).astype(np.int16)
    for number in range(3):
        image = nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([-1.0, -1, 2, 1]))
        nibabel.save(image, tmp_path / "images" / f"scan_{number}.nii.gz")
    study = Study.create(tmp_path / "study", images=tmp_path / "images")
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    session = open_prompts(study, RegionSettings(checkpoint=str(tmp_path / "tiny.pth"), sam_device="cpu"))
    assert list(session.encode_ahead([("scan_0", 1), ("scan_0", 2)])) == [("scan_0", 1), ("scan_0", 2)]
    mask, _ = session.mask(("scan_0", 1), POINT)
    direct = PromptSession(str(tmp_path / "tiny.pth"), device="cpu")
    direct.encode("same", slice_image(study, "scan_0", 1))
    np.testing.assert_array_equal(mask, direct.mask("same", POINT)[0])
    with pytest.raises(UserError, match="slices 0 to 2, not 7"):
        session.encode(("scan_0", 7))
    with pytest.raises(UserError, match="is no file"):
        open_prompts(study, RegionSettings(checkpoint=str(tmp_path / "gone.pth")))
