"""What the colours of a map mean, and the verb that draws one."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from napari_ssl_seg.cli import main
from napari_ssl_seg.embedding import Place
from napari_ssl_seg.embedding.colours import CIVIDIS, SPLITS, colours
from napari_ssl_seg.errors import UserError
from napari_ssl_seg.study import ClassInfo
from tests.embedding.test_vectors import run as run  # fixtures
from tests.embedding.test_vectors import study as study


def place(case="a", split="train", height=0.0):
    return Place(case, split, (0, 0, 0), (0, 0, 0), height)


def test_positions_run_along_the_colour_map():
    found = colours("slice", [place(height=0.0), place(height=1.0), place(height=0.2)], np.zeros(3))
    assert found.of_points == (CIVIDIS[0], CIVIDIS[-1], CIVIDIS[1])


def test_labels_have_the_colours_of_their_classes():
    classes = [ClassInfo(value=2, name="liver", color="#123456")]
    found = colours("label", [place()] * 4, np.array([2, 0, -1, 2]), classes)
    assert found.of_points[0] == found.of_points[3] == "#123456"
    assert [words for words, _ in found.legend] == ["no label", "background", "liver"]


def test_scans_and_splits_are_told_apart():
    places = [place(str(number), ("train", "test")[number % 2]) for number in range(40)]
    by_case = colours("case", places, np.zeros(40))
    assert len(set(by_case.of_points)) == 40
    assert by_case.legend[-1][0] == "and 28 more"
    by_split = colours("split", places, np.zeros(40))
    assert by_split.legend == (("train", SPLITS["train"]), ("test", SPLITS["test"]))
    with pytest.raises(UserError, match="not by 'age'"):
        colours("age", places, np.zeros(40))


def test_the_verb_writes_vectors_table_and_picture(study, run, tmp_path, capsys):
    arguments = ["embed", study.folder, "--run", run.id, "--out", tmp_path, "--device", "cpu", "--json"]
    assert main([str(argument) for argument in arguments]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["vectors"][0] == 24
    rows = list(csv.DictReader((tmp_path / "map.csv").open()))
    assert len(rows) == 24
    assert {row["case"] for row in rows if row["label"] == ""} == {"scan_3"}
    with Image.open(tmp_path / "map.png") as picture:
        assert len(picture.getcolors(1_000_000)) > 5
