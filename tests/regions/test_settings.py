"""The one model of all sources' parameters, what it resolves to, and the key of what changes a label map."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.places import FOLDER_VARIABLE, WEIGHTS_VARIABLE
from napari_ssl_seg.regions import RegionSettings, known_weights, region_key, resolve_settings, source_title
from napari_ssl_seg.regions.digests import file_sha256, folder_digest
from napari_ssl_seg.regions.settings import counting_fields


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """No weights but those that a test puts there."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()


def weights_file(tmp_path, content=b"weights", model_type="vit_b"):
    path = tmp_path / "weights" / known_weights()[model_type].file
    path.write_bytes(content)
    return path


# -- the model ----------------------------------------------------------------------------------------------------
def test_defaults_are_those_of_the_papers_and_of_the_stock_generator():
    settings = RegionSettings()
    assert (settings.scale, settings.sigma, settings.min_size, settings.background_out) == (100, 0.5, None, True)
    assert (settings.points_per_side, settings.points_per_batch, settings.box_nms_thresh) == (32, 64, 0.7)
    assert (settings.pred_iou_thresh, settings.stability_score_thresh, settings.stability_score_offset) == (
        0.88,
        0.95,
        1,
    )
    assert (settings.crop_n_layers, settings.crop_overlap_ratio, settings.min_mask_region_area) == (0, 512 / 1500, 0)
    assert (settings.crop_nms_thresh, settings.crop_n_points_downscale_factor, settings.fast) == (0.7, 1, False)


def test_every_field_explains_itself_and_says_when_it_counts():
    for name, field in RegionSettings.model_fields.items():
        assert field.title and field.description, name
        assert name == "source" or field.json_schema_extra["when"]["source"], name


def test_text_of_flags_is_understood():
    settings = RegionSettings.model_validate({"min_size": "50", "segments": "none", "scale": "30", "fast": "true"})
    assert (settings.min_size, settings.segments, settings.scale, settings.fast) == (50, None, 30.0, True)
    assert RegionSettings(min_size="auto").min_size is None


@pytest.mark.parametrize(
    "wrong", [{"scale": -1}, {"source": "sum"}, {"min_size": 0}, {"points": 3}, {"crop_n_layers": 9}]
)
def test_values_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValidationError):
        RegionSettings.model_validate(wrong)


# -- resolving ----------------------------------------------------------------------------------------------------
def test_auto_is_felzenszwalb_until_there_are_weights(tmp_path):
    assert resolve_settings(RegionSettings()).source == "felzenszwalb"
    path = weights_file(tmp_path)
    resolved = resolve_settings(RegionSettings())
    assert (resolved.source, resolved.checkpoint) == ("sam", str(path))
    assert resolve_settings(RegionSettings(model_type="vit_h")).source == "felzenszwalb"


def test_auto_takes_the_weights_that_the_user_names(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"x")
    resolved = resolve_settings(RegionSettings(checkpoint=str(path)))
    assert (resolved.source, resolved.checkpoint) == ("sam", str(path))


def test_resolving_twice_changes_nothing_and_keeps_the_class(tmp_path):
    class Config(RegionSettings):
        ratio: float = 0.7

    weights_file(tmp_path)
    once = resolve_settings(Config(ratio=0.5))
    assert type(once) is Config
    assert once.ratio == 0.5
    assert resolve_settings(once) == once


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "sam"}, "fetch them"),
        ({"checkpoint": "/nowhere/sam.pth"}, "sam.pth is no file"),
        ({"source": "masks"}, "need a folder"),
        ({"source": "masks", "masks": "/nowhere"}, "is no folder"),
    ],
)
def test_what_is_not_there_is_named(settings, words):
    with pytest.raises(UserError, match=words):
        resolve_settings(RegionSettings(**settings))


def test_empty_weights_are_refused(tmp_path):
    weights = tmp_path / "empty.pth"
    weights.touch()
    with pytest.raises(UserError, match=r"empty\.pth is empty"):
        resolve_settings(RegionSettings(checkpoint=str(weights)))


# -- the key ------------------------------------------------------------------------------------------------------
def test_only_what_counts_changes_the_key():
    base = RegionSettings(source="felzenszwalb")
    key = region_key(base)
    assert set(key) <= set("0123456789abcdef") and len(key) >= 16
    assert region_key(RegionSettings(source="felzenszwalb")) == key
    for other in ({"points_per_side": 8}, {"compactness": 9.0}, {"masks": "x"}, {"sam_device": "cpu"}):
        assert region_key(base.model_copy(update=other)) == key, other
    for other in ({"scale": 99.0}, {"sigma": 0.6}, {"min_size": 50}, {"background_out": False}, {"channel": 1}):
        assert region_key(base.model_copy(update=other)) != key, other
    assert region_key(RegionSettings(source="slic")) != key


def test_a_method_that_inherits_has_the_key_of_its_regions():
    class Config(RegionSettings):
        ratio: float = 0.7

    assert region_key(Config(source="slic", ratio=0.3)) == region_key(RegionSettings(source="slic"))


def test_auto_has_no_key():
    with pytest.raises(ValueError, match="resolve_settings"):
        region_key(RegionSettings())


def test_the_key_follows_the_bytes_of_the_weights(tmp_path):
    path = weights_file(tmp_path, b"one")
    resolved = resolve_settings(RegionSettings(source="sam"))
    key = region_key(resolved)
    elsewhere = tmp_path / "copy.pth"
    elsewhere.write_bytes(b"one")
    assert region_key(resolved.model_copy(update={"checkpoint": str(elsewhere)})) == key
    assert region_key(resolved.model_copy(update={"sam_device": "cpu", "points_per_batch": 8})) == key
    assert region_key(resolved.model_copy(update={"fast": True})) != key
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert region_key(resolved) != key


def test_the_key_follows_the_files_of_a_folder_of_masks(tmp_path):
    folder = tmp_path / "masks"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "0001.json").write_text("[]")
    settings = resolve_settings(RegionSettings(source="masks", masks=str(folder)))
    key = region_key(settings)
    assert region_key(settings) == key
    (folder / "a" / "0002.json").write_text("[]")
    assert region_key(settings) != key
    with pytest.raises(UserError, match="cannot be read"):
        folder_digest(tmp_path / "missing")


def test_sums_are_right_and_kept_for_the_next_session(tmp_path, monkeypatch):
    path = tmp_path / "big.pth"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == expected
    monkeypatch.setattr("napari_ssl_seg.regions.digests._known", {})
    monkeypatch.setattr("hashlib.file_digest", None)  # the file is not read again
    assert file_sha256(path) == expected


def test_a_damaged_memory_of_sums_costs_time_only(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "sha256.json").write_text("{broken")
    path = tmp_path / "big.pth"
    path.write_bytes(b"abcd")
    assert len(file_sha256(path)) == 64
    with pytest.raises(UserError, match=r"gone\.pth"):
        file_sha256(tmp_path / "gone.pth")


# -- titles -------------------------------------------------------------------------------------------------------
def test_titles_say_where_no_weights_are_used():
    for source in ("felzenszwalb", "slic"):
        assert "no SAM weights" in source_title(RegionSettings(source=source))
    assert source_title(RegionSettings(source="sam")) == "Segment Anything vit_b"
    assert "fast" in source_title(RegionSettings(source="sam", model_type="vit_h", fast=True))
    assert "MedSAM" in source_title(RegionSettings(source="sam", model_type="medsam_vit_b"))
    assert source_title(RegionSettings(source="masks", masks="/a/manual")) == "Masks from manual"


def test_fields_that_count_are_told_by_source():
    assert counting_fields("slic") == ["channel", "segments", "compactness", "background_out"]
    assert counting_fields("masks") == ["masks"]
    assert "scale" in counting_fields("auto") and "points_per_side" in counting_fields("auto")
