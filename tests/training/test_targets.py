"""Overlapping targets: loss, answer and painting by hand; four sequences and three targets through the command line."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch

from napari_ssl_seg import cli
from napari_ssl_seg.errors import RunError
from napari_ssl_seg.study.records import Target
from napari_ssl_seg.study.targets import read_targets
from napari_ssl_seg.training.answers import Answer
from napari_ssl_seg.training.segmentation_loss import IGNORE, dice_bce
from napari_ssl_seg.training.sliding import paint

CLASSES = {1: "necrosis", 2: "oedema", 4: "enhancing"}
TARGETS = read_targets({"whole": [1, 2, 4], "core": [1, 4], "enhancing": [4]})
ANSWER = Answer(CLASSES, TARGETS)


def test_what_the_channels_mean():
    assert ANSWER.channels == 3 and ANSWER.overlapping
    assert ANSWER.named == {2: "whole", 1: "core", 4: "enhancing"}
    assert ANSWER.written.tolist() == [0, 2, 1, 4]
    assert ANSWER.membership.astype(int).tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
    plain = Answer(CLASSES)
    assert plain.channels == 4 and plain.written.tolist() == [0, 1, 2, 4]
    assert plain.membership.astype(int).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(RunError, match="value 9"):
        Answer(CLASSES, (Target(name="odd", values=(9,), written=9),)).check()


def test_loss_by_hand():
    logits = torch.zeros(1, 3, 1, 4)
    target = torch.tensor([[[0, 1, 3, IGNORE]]])
    losses = dice_bce(logits, target, torch.from_numpy(ANSWER.membership))
    # every probability is a half over 3 known voxels; the targets have 2, 2 and 1 of them
    dice = [1 - 2 * 0.5 * n / (1.5 + n) for n in (2, 2, 1)]
    assert losses.parts["dice"].item() == pytest.approx(sum(dice) / 3, abs=1e-5)
    assert losses.parts["bce"].item() == pytest.approx(math.log(2))
    assert losses.total.item() == pytest.approx(sum(dice) / 3 + math.log(2), abs=1e-5)


def test_unlabelled_voxels_give_no_gradient():
    logits = torch.randn(2, 3, 2, 5, requires_grad=True)
    target = torch.randint(0, 4, (2, 2, 5))
    target[0] = IGNORE
    dice_bce(logits, target, torch.from_numpy(ANSWER.membership)).total.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0 and logits.grad[1].abs().min() > 0
    nothing = dice_bce(torch.randn(1, 3, 4, requires_grad=True), torch.full((1, 4), IGNORE), torch.ones(4, 3).bool())
    assert nothing.total.item() == pytest.approx(0, abs=1e-6) or nothing.parts["bce"].item() == 0


def test_later_targets_are_painted_over_earlier_ones():
    inside = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0]]).bool()
    numbers = paint(inside.reshape(3, 1, 1, 5))
    assert ANSWER.written[numbers.numpy()].ravel().tolist() == [2, 1, 4, 0, 1]
    probabilities = inside.float().mul(0.8).reshape(3, 1, 1, 5).numpy()
    assert np.array_equal(ANSWER.numbers(probabilities), numbers.numpy())


def test_validation_dice_by_hand():
    class Labels:
        def slabs(self):
            yield 0, np.array([[[2, 1, 3, 0, 65535]]], np.uint16)  # oedema, necrosis, enhancing, background, unknown

    painted = np.array([[[1, 3, 3, 1, 2]]])  # whole, enhancing, enhancing, whole, (not counted)
    assert ANSWER.dice(painted, Labels()) == pytest.approx([2 * 3 / (3 + 4), 1, 2 * 1 / (1 + 2)])  # type: ignore[arg-type]


# -- the command line -------------------------------------------------------------------------------------------------
SIZE = (12, 20, 18)


def tumour_scan(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Four sequences in which oedema, necrosis and enhancement are bright in turn."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[tuple(slice(0, side) for side in SIZE)]
    centre = np.array(SIZE) / 2 + rng.uniform(-1.5, 1.5, 3)
    distance = np.sqrt(((z - centre[0]) * 1.5) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    label = np.select([distance < 2.5, distance < 4.5, distance < 7], [1, 4, 2], 0).astype(np.uint8)
    bright = ((2,), (1,), (4,), (1, 2, 4))
    images = [np.isin(label, values) * 100 + rng.normal(0, 5, SIZE) for values in bright]
    return [image.astype(np.float32) for image in images], label


@pytest.fixture(scope="module")
def tumours(tmp_path_factory):
    import nibabel as nib

    folder = tmp_path_factory.mktemp("tumours")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(5):
        images, label = tumour_scan(number)
        for channel, image in enumerate(images):
            nib.save(nib.Nifti1Image(image.T, np.eye(4)), folder / "images" / f"case{number}_{channel:04d}.nii.gz")
        nib.save(nib.Nifti1Image(label.T, np.eye(4)), folder / "labels" / f"case{number}.nii.gz")
    return folder


@pytest.fixture
def call(capsys):
    def run(*arguments: object) -> dict:
        status = cli.main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return json.loads(printed.out)

    return run


def test_four_sequences_and_three_targets_from_scans_to_scores(tumours, tmp_path, call):
    from napari_ssl_seg.volumes import read_volume

    study = tmp_path / "study"
    targets = ["whole=1,2,4", "core=1,4", "enhancing=4"]
    images, labels = tumours / "images", tumours / "labels"
    made = call("create", study, "--images", images, "--labels", labels, "--split", "60,20,20", "--targets", *targets)
    assert made["cases"] == made["labelled"] == 5
    assert made["targets"] == {"whole": [1, 2, 4], "core": [1, 4], "enhancing": [4]}
    tiny = ("--dims", 2, "--batch-size", 4, "--device", "cpu", "--train", "threads=1")
    starts = ["scratch"]
    for method in ("simmim", "volume_fusion"):
        starts.append(call("pretrain", study, "--method", method, "--iterations", 2, *tiny)["run"])
    runs = []
    for start, steps in zip(starts, (60, 2, 2), strict=True):
        options = ("--iterations", steps, *tiny, "learning_rate=0.003", "augment=false", f"evaluate_every={steps}")
        tuned = call("finetune", study, "--init", start, *options)
        assert tuned["state"] == "finished" and set(tuned["losses"]) >= {"dice", "bce"}
        runs.append(tuned["run"])
        written = call("predict", study, "--run", tuned["run"], "--probabilities")["predictions"]
    prediction = read_volume(written[0], role="label")
    assert prediction.array.shape == SIZE and set(np.unique(prediction.array)) <= {0, 1, 2, 4}
    name = made["splits"]["test"][0]
    scores = read_volume(study / "runs" / runs[0] / "probabilities" / f"{name}.nii.gz")
    assert scores.array.shape == (3, *SIZE)  # one a target, each by itself
    call("evaluate", study, "--csv", tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [(row["class"], row["label"]) for row in rows[:3]] == [("whole", "2"), ("core", "1"), ("enhancing", "4")]
    dice = {row["class"]: float(row["dice"]) for row in rows if row["run"] == runs[0]}
    assert dice["whole"] > 0.6, dice
    outside = [images / f"{name}_{channel:04d}.nii.gz" for channel in range(4)]
    (tmp_path / "alone").mkdir()
    for path in outside:
        (tmp_path / "alone" / path.name).write_bytes(path.read_bytes())
    call("predict", study, "--run", runs[0], "--images", tmp_path / "alone", "--out", tmp_path / "out")


def test_views_show_the_first_of_four_sequences(tumours, tmp_path, call):
    study = tmp_path / "study"
    call("create", study, "--images", tumours / "images", "--labels", tumours / "labels", "--split", "60,20,20")
    for method, dims in (("simmim", 2), ("simmim", 3), ("volume_fusion", 2), ("volume_fusion", 3)):
        out = tmp_path / f"{method}{dims}"
        call("inspect", study, "--method", method, "--case", "case1", "--dims", dims, "--out", out)
        assert list(out.glob("*.png"))
        with np.load(out / "tensors.npz") as tensors:
            assert any(tensors[name].ndim >= 3 and 4 in tensors[name].shape[:2] for name in tensors.files)
