"""The pictures of the documentation can be taken again, in a real window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ssl_seg.study import Study


@pytest.mark.slow
def test_a_picture_of_every_tab_is_taken(study: Study, tmp_path: Path, qapp: object) -> None:
    from PIL import Image

    from napari_ssl_seg.gui.tour import take_screenshots

    shots = take_screenshots(study.folder, tmp_path / "shots", size=(1200, 760))
    names = [path.stem for path in shots]
    pretexts = [f"2-pretext-{method}" for method in ("volume-fusion", "simmim", "fdas", "lrc")]
    assert names == ["1-study", *pretexts, "3-train", "4-compare"]
    pictures = [Image.open(path).convert("RGB") for path in shots]
    assert all(picture.width >= 1000 and picture.height >= 600 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures), "each tab looks different"
