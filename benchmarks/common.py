"""What every benchmark keeps beside its numbers: versions and hardware, without the machine's name."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "monai",
    "numpy",
    "scipy",
    "scikit-image",
    "napari",
    "MedPy",
    "lightning-fabric",
    "SimpleITK",
    "numba",
)


def circumstances() -> dict[str, Any]:
    """Versions, processor, load and date."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": _gpu(),
        "load_average": [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def keep(name: str, results: dict[str, Any]) -> Path:
    """Write results with their circumstances to ``results/NAME.json`` and print them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({**results, "circumstances": circumstances()}, indent=2)
    path.write_text(text + "\n")
    print(text)
    return path


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
