"""Headers with random bytes: opened or refused by name, never another error, never a hang."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from napari_ssl_seg.errors import VolumeError
from napari_ssl_seg.volumes import Geometry, Volume, read_volume, write_volume
from tests.volumes.making import voxels
from tests.volumes.test_dicom import series

if TYPE_CHECKING:
    from pathlib import Path

TRIALS = 200


@pytest.mark.parametrize("extension", [".nii", ".nrrd", ".mha", ".dcm"])
def test_random_bytes_in_headers(tmp_path: Path, extension: str) -> None:
    volume = Volume(voxels(shape=(7, 6, 5)), Geometry.from_spacing((7, 6, 5), (3, 2, 1)))
    if extension == ".dcm":
        series(tmp_path / "ct")
        path = tmp_path / "ct" / "slice0.dcm"
        for other in set((tmp_path / "ct").iterdir()) - {path}:
            other.unlink()
    else:
        path = write_volume(tmp_path / f"case{extension}", volume)
    good = path.read_bytes()
    begin, end = {
        ".nii": (0, 352),
        ".nrrd": (0, good.find(b"\n\n")),
        ".mha": (0, good.find(b"LOCAL")),
        ".dcm": (128, len(good)),
    }[extension]
    rng = np.random.default_rng(0)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for trial in range(TRIALS // 4 if extension == ".dcm" else TRIALS):
        content = bytearray(good)
        for _ in range(int(rng.integers(1, 5))):
            content[int(rng.integers(begin, end))] = int(rng.integers(256))
        path.write_bytes(content)
        started = time.monotonic()
        try:
            read_volume(path, role=("image", "label")[trial % 2])  # type: ignore[arg-type]
        except VolumeError as error:
            assert path.name in str(error) and "\n" not in str(error)
        assert time.monotonic() - started < 5, trial
