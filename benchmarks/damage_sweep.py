"""Real files cut at random places, or with a bit flipped: how many are opened with wrong voxels (none should be).

python benchmarks/damage_sweep.py [--count 800] [--data ../shared/data]

The other readers (nibabel, SimpleITK) are tried on the same damage for comparison. A flip that leaves every voxel, and the
place of every voxel, as it was (in gzip's own header, say) is no harm and counted as right.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import keep

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 3_000_000
"""Bytes of a file that is tried; larger ones would say the same more slowly."""


def ours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from napari_ssl_seg.volumes import read_volume

    volume = read_volume(path)
    return volume.geometry.to_source(volume.array), volume.geometry.source.affine


def nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel as nib

    image: Any = nib.load(path)
    return np.asanyarray(image.dataobj), image.affine


def simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    turn = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return sitk.GetArrayFromImage(image).T, np.column_stack([turn, image.GetOrigin()])


READERS: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
    "napari_ssl_seg": ours,
    "nibabel": nibabel,
    "SimpleITK": simpleitk,
}


def damage(content: bytes, number: int, rng: np.random.Generator) -> tuple[str, bytes]:
    """Every other one is cut, every other one has one bit flipped."""
    place = int(rng.integers(len(content)))
    if number % 2 == 0:
        return "cut", content[:place]
    flipped = bytearray(content)
    flipped[place] ^= 1 << int(rng.integers(8))
    return "flip", bytes(flipped)


def outcome(read: Callable[[Path], tuple[np.ndarray, np.ndarray]], path: Path, right: tuple[np.ndarray, ...]) -> str:
    """ "refused", "right" or "wrong"."""
    try:
        found = read(path)
    except Exception:
        return "refused"
    same = all(a.shape == b.shape and np.array_equal(a, b, equal_nan=True) for a, b in zip(found, right, strict=True))
    return "right" if same else "wrong"


def sweep(paths: list[Path], count: int, seed: int, readers: list[str], folder: Path) -> dict[str, Counter[str]]:
    """``count`` damages, over the files in turn; by reader, "cut refused", "flip wrong" ... and how often."""
    rng = np.random.default_rng(seed)
    contents = [path.read_bytes() for path in paths]
    right: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
    totals: dict[str, Counter[str]] = {name: Counter() for name in readers}
    for number in range(count):
        chosen = number // 2 % len(paths)
        kind, damaged = damage(contents[chosen], number, rng)
        path = folder / "damaged.nii.gz"
        path.write_bytes(damaged)
        for name in readers:
            if (name, chosen) not in right:
                right[name, chosen] = READERS[name](paths[chosen])
            totals[name][f"{kind} {outcome(READERS[name], path, right[name, chosen])}"] += 1
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    files = [path for path in sorted(options.data.rglob("*.nii.gz")) if path.stat().st_size < LARGEST]
    files = [path for path in files if "rgb" not in path.name]
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        totals = sweep(files, options.count, options.seed, list(READERS), Path(folder))
    result = {
        "files": len(files),
        "damages": options.count,
        "seed": options.seed,
        "by_reader": {name: dict(counts) for name, counts in totals.items()},
        "opened_wrong": {name: counts["cut wrong"] + counts["flip wrong"] for name, counts in totals.items()},
    }
    keep("damage_sweep", result)


if __name__ == "__main__":
    main()
