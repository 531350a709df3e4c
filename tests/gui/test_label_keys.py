"""Keys of the Label tab."""

from __future__ import annotations

from napari_ssl_seg.gui.label_keys import CHOICES, free_keys, taken_keys


def test_no_key_is_one_of_napari_s() -> None:
    taken, keys = taken_keys(), free_keys()
    assert {"1", "E", "B"} <= taken
    assert set(keys) == set(CHOICES) and len(set(keys.values())) == len(keys)
    assert not taken & {key.upper() for key in keys.values() if "+" not in key}
    assert free_keys({"W"})["region"] == "Alt+W" and "region" not in free_keys({"W", "Alt+W"})
