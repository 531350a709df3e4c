"""What it costs to keep label maps of regions: time and bytes per slice, beside NumPy's compressed archives.

    python benchmarks/region_store.py DATA [--rounds 200]

DATA is the folder with the real scans (``torso``, ``hippocampus``). Regions are Felzenszwalb's. The alternatives:
``npz stack``: one array of all slices in ``np.savez_compressed`` (a slice costs the whole case); ``npz slices``: one array
a slice in the same file. Both hold the smallest type, as our files do, but no areas and no sharing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import keep

from napari_ssl_seg.regions import felzenszwalb_regions, packs
from napari_ssl_seg.regions.filling import fill
from napari_ssl_seg.regions.store import CaseFile
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.volumes import normalise, read_volume

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    scans = {
        "torso CT": options.data / "torso" / "example_ct.nii.gz",
        "torso CT, twice as fine": options.data / "torso" / "example_ct.nii.gz",
        "hippocampus MR": sorted((options.data / "hippocampus" / "images").glob("*.nii.gz"))[0],
    }
    results = []
    for title, path in scans.items():
        label_maps = regions_of(path, 2 if "twice" in title else 1)
        with tempfile.TemporaryDirectory() as folder:
            results.append({"scan": title, **measure(Path(folder), label_maps, options.rounds)})
    keep("region_store", {"rounds": options.rounds, "results": results})


def regions_of(path: Path, finer: int) -> list[np.ndarray]:
    image = (normalise(read_volume(path).array).array + 1) / 2
    image = image.repeat(finer, axis=1).repeat(finer, axis=2)
    return [felzenszwalb_regions(item, scale=100, sigma=0.5 * finer) for item in image]


def measure(folder: Path, label_maps: list[np.ndarray], rounds: int) -> dict[str, Any]:
    count, shape = len(label_maps), label_maps[0].shape
    file = CaseFile(folder / "ours", "scan", "scan", (count, *shape))
    start = time.perf_counter()
    drain(fill([file], lambda file, indices: [label_maps[z] for z in indices], what="regions"))
    filled = (time.perf_counter() - start) / count
    smallest = np.uint8 if max(int(item.max()) for item in label_maps) < 256 else np.uint16
    stack = np.stack(label_maps).astype(smallest)
    seconds = {"shared, one slice": filled}
    start = time.perf_counter()
    np.savez_compressed(folder / "stack.npz", regions=stack)
    seconds["npz stack"] = (time.perf_counter() - start) / count
    start = time.perf_counter()
    np.savez_compressed(folder / "slices.npz", **{str(z): item for z, item in enumerate(stack)})
    seconds["npz slices"] = (time.perf_counter() - start) / count
    start = time.perf_counter()
    packs.write_pack(folder / "one.regions", shape, [packs.pack_slice(item) for item in label_maps])
    seconds["one file, at once"] = (time.perf_counter() - start) / count

    def from_npz(name: str, z: int) -> np.ndarray:
        with np.load(folder / name, allow_pickle=False) as archive:
            return archive["regions"][z] if name == "stack.npz" else archive[str(z)]

    raw = stack.nbytes
    sizes = {name: (folder / name).stat().st_size for name in ("stack.npz", "slices.npz")}
    return {
        "slices": count,
        "shape": list(shape),
        "regions_per_slice": statistics.median(int(item.max()) for item in label_maps),
        "write_ms_per_slice": {name: round(value * 1e3, 3) for name, value in seconds.items()},
        "read_ms_per_slice": {
            "ours": read_ms(lambda z: file.read(z), count, rounds),
            "npz stack": read_ms(lambda z: from_npz("stack.npz", z), count, rounds),
            "npz slices": read_ms(lambda z: from_npz("slices.npz", z), count, rounds),
        },
        "areas_of_the_case_ms": read_ms(lambda _: packs.read_areas(file.pack), count, rounds),
        "bytes_per_slice": {
            "ours, with areas": round(file.pack.stat().st_size / count),
            "ours, maps alone": round(sum(len(packs.pack_slice(item).blob) for item in label_maps) / count),
            **{name: round(value / count) for name, value in sizes.items()},
            "not compressed": round(raw / count),
        },
    }


def read_ms(read: Callable[[int], Any], count: int, rounds: int) -> float:
    order = np.random.default_rng(0).integers(count, size=rounds)
    seconds = []
    for z in order:
        start = time.perf_counter()
        read(int(z))
        seconds.append(time.perf_counter() - start)
    return round(statistics.median(seconds) * 1e3, 3)


if __name__ == "__main__":
    main()
