"""The one interface of all sources."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions import RegionSettings, felzenszwalb_regions, open_source, slic_regions


@pytest.fixture
def image():
    return np.random.default_rng(0).random((40, 60)).astype(np.float32)


def test_settings_reach_the_superpixels(image):
    source = open_source(RegionSettings(source="felzenszwalb", scale=20, sigma=1, min_size=7, background_out=False))
    first, second = source.segment([image, image[:, ::-1]])
    expected = felzenszwalb_regions(image, scale=20, sigma=1, min_size=7, background_out=False)
    np.testing.assert_array_equal(first, expected)
    assert second.shape == image.shape
    assert "no SAM weights" in source.title

    source = open_source(RegionSettings(source="slic", segments=9, compactness=2.0, background_out=False))
    expected = slic_regions(image, segments=9, compactness=2.0, background_out=False)
    np.testing.assert_array_equal(source.segment([image])[0], expected)
    assert source.segment([]) == []


@pytest.mark.parametrize("name", ["felzenszwalb", "slic"])
def test_a_slice_that_cannot_be_used_is_named(name, image):
    image[0, 0] = np.nan
    source = open_source(RegionSettings(source=name))
    with pytest.raises(UserError, match="slice 7 of case_3: 1 of 2400 pixels"):
        source.segment([image], places=[("case_3", 7)])
    with pytest.raises(UserError, match=r"^1 of 2400 pixels"):
        source.segment([image])


def test_auto_has_to_be_resolved_first():
    with pytest.raises(ValueError, match="resolve_settings"):
        open_source(RegionSettings())


def test_masks_made_elsewhere_are_a_source_like_the_others(tmp_path):
    (tmp_path / "a_0003.json").write_text('[{"segmentation": {"size": [2, 3], "counts": [1, 3, 2]}}]')
    source = open_source(RegionSettings(source="masks", masks=str(tmp_path)))
    np.testing.assert_array_equal(source.segment([np.zeros((2, 3))], places=[("a", 3)])[0], [[0, 1, 0], [1, 1, 0]])
    assert tmp_path.name in source.title
