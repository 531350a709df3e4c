"""What File > Open Sample hands to napari."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")


@pytest.mark.parametrize(("name", "classes"), [("cardiac", 3), ("abdomen", 5)])
def test_samples_become_layers_in_mm(name, classes, monkeypatch):
    from napari.layers import Image, Labels, Layer

    from napari_ssl_seg import sample
    from napari_ssl_seg.gui import samples

    small = {"cardiac": (4, 40, 40), "abdomen": (6, 40, 48)}[name]
    make = getattr(sample, f"make_{name}")
    monkeypatch.setattr(sample, "make_phantom", lambda _, seed: make(seed, shape=small), raising=False)

    image, labels = (Layer.create(*data) for data in getattr(samples, name)())
    assert isinstance(image, Image)
    assert isinstance(labels, Labels)
    assert [str(unit) for unit in image.units] == ["millimeter"] * 3
    assert tuple(image.axis_labels) == tuple(labels.axis_labels) == ("z", "y", "x")
    np.testing.assert_allclose(image.scale, labels.scale)
    assert image.data.shape == labels.data.shape
    assert len(labels.metadata["classes"]) == classes
    assert image.contrast_limits[0] < image.contrast_limits[1]
