"""Training and predicting on a CT of 512x512x800: memory and patches a second, from blocks on disk and from the whole scan.

    python benchmarks/large_volume.py [--shape 800 512 512] [--patches 1000] [--whole-patches 3]

A synthetic scan (int16, noise over a body with organs, .nii.gz) with its label is made in a temporary folder. Every line of
the result is a process of its own:

- ``convert``: the first use, which writes the blocks;
- ``blocks 3D`` / ``blocks 2D``: batches of one patch through `sample_batch`, checked for damage as ever; resident memory
  after every hundred patches;
- ``blocks labelled``: patches with labels through `LabelledSampler`;
- ``whole``: the same patches where each one loads the scan (what happened before, once the scans of a study did not fit into
  memory);
- ``npy map``: the same windows copied out of a plain ``.npy`` memory map of the normalised float32 scan, without any check;
- ``predict``: `segment` with a network of one 1x1x1 convolution (2 classes, and 14), so that the memory is the sliding
  window's own, beside MONAI's ``sliding_window_inference`` on the whole scan (2 classes).

Memory is in MiB: ``peak`` of resident memory, ``start`` after the imports. Times are of one thread; ``cpu_ms`` is
processor time, which a busy machine does not change much.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import RESULTS, keep

if TYPE_CHECKING:
    from collections.abc import Callable

PATCH = (96, 96, 96)
SLICE = (256, 256)
HUGE = 2**62


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(800, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--whole-patches", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="measure these lines again, and keep the others")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sizes = make_scan(root, tuple(options.shape))
        results: dict[str, Any] = {"shape": list(options.shape), "patch": PATCH, "slice": SLICE, **sizes}
        if options.only and (RESULTS / "large_volume.json").exists():
            results = {**json.loads((RESULTS / "large_volume.json").read_text()), **results}
        for name in options.only or CHILDREN:
            command = [sys.executable, __file__, "--child", name, "--folder", folder]
            command += ["--patches", str(options.patches), "--whole-patches", str(options.whole_patches)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                results[name] = {"failed": done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}
            else:
                results[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, results[name], file=sys.stderr, flush=True)
        blocks = sum(path.stat().st_size for path in (root / "study" / "cache").rglob("*.blocks"))
        if blocks:
            results["blocks_mib"] = round(blocks / 2**20)
    keep("large_volume", results)


def make_scan(root: Path, shape: tuple[int, int, int]) -> dict[str, Any]:
    """A body with two organs, slice by slice into gzip streams; then a study of it."""
    from nibabel.nifti1 import Nifti1Header

    from napari_ssl_seg.study import Study

    depth, height, width = shape
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 40, (7, height, width))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    streams = []
    for name, dtype in (("images", np.int16), ("labels", np.uint8)):
        (root / name).mkdir()
        header = Nifti1Header()
        header.set_data_dtype(dtype)
        header.set_data_shape((width, height, depth))
        header.set_zooms((0.8, 0.8, 0.8))
        header.set_sform(np.diag([0.8, 0.8, 0.8, 1.0]), 1)
        header["magic"], header["vox_offset"] = b"n+1", 352
        stream = gzip.open(root / name / "ct.nii.gz", "wb", compresslevel=1)
        stream.write(header.binaryblock + bytes(4))
        streams.append(stream)
    for z in range(depth):
        body = (y / 0.7) ** 2 + (x / 0.9) ** 2 < 1
        organ = (y - 0.1) ** 2 + (x - 0.4) ** 2 < 0.08 * np.sin(np.pi * z / depth)
        other = (y + 0.2) ** 2 + (x + 0.3) ** 2 < 0.03
        scan = np.where(body, 40, -1000) + 120 * organ + 60 * other + noise[z % 7]
        streams[0].write(scan.astype(np.int16).tobytes())
        streams[1].write((organ + 2 * (other & ~organ)).astype(np.uint8).tobytes())
    for stream in streams:
        stream.close()
    start = time.perf_counter()
    Study.create(root / "study", images=root / "images", labels=root / "labels", split=(100, 0, 0)).close()
    return {
        "nii_gz_mib": round((root / "images" / "ct.nii.gz").stat().st_size / 2**20),
        "float32_mib": round(4 * depth * height * width / 2**20),
        "create_study_seconds": round(time.perf_counter() - start, 1),
    }


# -- one process each -------------------------------------------------------------------------------------------------
def convert(options: Any) -> dict[str, Any]:
    study = _study(options)
    start_mib, start = resident(), time.perf_counter()
    study.patches_source("ct", purpose="train")
    scan = time.perf_counter() - start
    study.label_source("ct", purpose="train")
    label = time.perf_counter() - start - scan
    cpu = round(time.process_time(), 1)
    return {"cpu_seconds": cpu, "scan_seconds": round(scan, 1), "label_seconds": round(label, 1), **memory(start_mib)}


def patches(options: Any, dims: int, count: int, **memory_options: int) -> dict[str, Any]:
    from napari_ssl_seg.methods.base import Needs
    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.pretext import sample_batch

    study = _study(options, **memory_options)
    spec = NetworkSpec(dims=dims, in_channels=1, patch=PATCH if dims == 3 else SLICE)
    return timed(lambda step: sample_batch(study, ["ct"], spec, Needs(), 1, 0, step), count)


def whole(options: Any) -> dict[str, Any]:
    from napari_ssl_seg.study import voxels

    voxels.MEDIUM_BYTES = HUGE
    return patches(options, 3, options.whole_patches, large_bytes=HUGE, cache_bytes=1)


def labelled(options: Any) -> dict[str, Any]:
    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.training.labelled import LabelledSampler

    spec = NetworkSpec(dims=3, in_channels=1, patch=PATCH)
    sampler = LabelledSampler(_study(options), ["ct"], spec, [1, 2], slices={}, foreground=0.5, batch_size=1, seed=0)
    return timed(sampler.batch, options.patches)


def npy_map(options: Any) -> dict[str, Any]:
    study = _study(options)
    source = study.patches_source("ct", purpose="train").array
    path = options.folder / "whole.npy"
    made = np.lib.format.open_memmap(path, "w+", np.float32, source.shape)
    for z in range(0, source.shape[1], 16):
        made[:, z : z + 16] = source[:, z : z + 16]
    del made
    stored = np.load(path, mmap_mode="r")

    def cut(step: int) -> np.ndarray:
        rng = np.random.default_rng((0, step))
        at = [int(rng.integers(length - side + 1)) for length, side in zip(stored.shape[1:], PATCH, strict=True)]
        return stored[(slice(None), *(slice(low, low + side) for low, side in zip(at, PATCH, strict=True)))].copy()

    found = timed(cut, options.patches)
    path.unlink()
    return found


def predict(options: Any, classes: int, monai: bool = False) -> dict[str, Any]:
    import torch

    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.training.sliding import segment

    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, classes, 1).eval()
    array = _study(options).patches_source("ct", purpose="predict").array
    if monai:
        from monai.inferers import sliding_window_inference
    start_mib, start, cpu = resident(), time.perf_counter(), time.process_time()
    torch.set_num_threads(1)
    if monai:
        with torch.inference_mode():
            whole = torch.from_numpy(np.asarray(array))[None]
            scores = sliding_window_inference(whole, PATCH, 2, network, overlap=0.25, mode="gaussian")
            numbers = scores[0].argmax(0).to(torch.uint8).numpy()
    else:
        numbers = segment(network, array, NetworkSpec(dims=3, patch=PATCH), overlap=0.25)
    seconds = time.perf_counter() - start
    spent = {"seconds": round(seconds, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    return {**spent, "checksum": int(numbers.sum(dtype=np.int64)), **memory(start_mib)}


CHILDREN: dict[str, Callable[[Any], dict[str, Any]]] = {
    "convert": convert,
    "blocks 3D": lambda options: patches(options, 3, options.patches),
    "blocks 2D": lambda options: patches(options, 2, options.patches),
    "blocks labelled": labelled,
    "whole": whole,
    "npy map": npy_map,
    "predict, 2 classes": lambda options: predict(options, 2),
    "predict, 14 classes": lambda options: predict(options, 14),
    "MONAI whole, 2 classes": lambda options: predict(options, 2, monai=True),
}


def _study(options: Any, **memory_options: int) -> Any:
    from napari_ssl_seg.study import Study

    return Study(options.folder / "study", **{"cache_bytes": 2**28, **memory_options})


def timed(make: Callable[[int], Any], count: int) -> dict[str, Any]:
    """Seconds a patch, and resident memory on the way."""
    import torch

    torch.set_num_threads(1)
    start_mib = resident()
    start = time.perf_counter()
    make(0)  # opens the scan
    first = time.perf_counter() - start
    seconds, course = [], []
    cpu = time.process_time()
    for step in range(1, count + 1):
        start = time.perf_counter()
        make(step)
        seconds.append(time.perf_counter() - start)
        if step % max(1, count // 10) == 0:
            course.append(resident())
    return {
        "patches": count,
        "first_seconds": round(first, 2),
        "patches_per_second": round(count / sum(seconds), 2),
        "median_ms": round(1000 * float(np.median(seconds)), 2),
        "cpu_ms": round(1000 * (time.process_time() - cpu) / count, 2),
        "resident_mib": course,
        **memory(start_mib),
    }


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def memory(start: int) -> dict[str, Any]:
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return {"start_mib": start, "peak_mib": round(peak / 1024)}


if __name__ == "__main__":
    main()
