"""Verb: doctor. One line for each thing that will not work here, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.places import cache_folder, weights_folder

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = ("torch", "monai", "lightning-fabric", "nibabel", "SimpleITK", "scikit-image", "scipy", "numpy")
FOR_THE_WINDOW = ("napari", "qtpy", "magicgui", "superqt", "vispy")
SAM_FILES = {"vit_b": "sam_vit_b_01ec64.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_h": "sam_vit_h_4b8939.pth"}
OPENGL_SECONDS = 60


@dataclass(frozen=True)
class Problem:
    """What will not work, and how to mend it."""

    what: str
    mend: str


def doctor() -> dict[str, Any]:
    """Look at versions, devices, OpenGL, SAM weights and write access; never raises for what it finds."""
    problems: list[Problem] = []
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for name in (*NEEDED, *FOR_THE_WINDOW):
        versions[name] = _version(name, problems)
    return {
        "versions": versions,
        "devices": _devices(problems),
        "opengl": _opengl(problems),
        "sam_weights": _sam_weights(),
        "folders": _folders(problems),
        "problems": [{"what": problem.what, "how to mend it": problem.mend} for problem in problems],
        "verdict": "everything works here" if not problems else f"{len(problems)} things will not work, see problems",
    }


def _version(name: str, problems: list[Problem]) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name in FOR_THE_WINDOW:
            if name == "napari":
                problems.append(
                    Problem(
                        "the window: napari is not installed",
                        "`pip install napari-ssl-seg[all]`; the command line works without",
                    )
                )
        else:
            problems.append(Problem(f"{name} is not installed", f"`pip install {name}`"))
        return "not installed"


def _devices(problems: list[Problem]) -> list[dict[str, Any]]:
    try:
        from napari_ssl_seg.training import devices

        found = devices()
    except Exception as error:  # a broken torch raises anything, RuntimeError and OSError among them
        problems.append(Problem(f"training: torch does not load ({error})", "reinstall torch for this system"))
        return []
    if all(device.name == "cpu" for device in found):
        problems.append(
            Problem(
                "no GPU that torch can use was found, training runs on the CPU",
                "nothing is broken; for a GPU install its driver and the matching torch build",
            )
        )
    return [
        {
            "device": device.name,
            "title": device.title,
            "free_gib": _gib(device.free_bytes),
            "total_gib": _gib(device.total_bytes),
        }
        for device in found
    ]


def _gib(size: int | None) -> float | None:
    return None if size is None else round(size / 2**30, 1)


def _opengl(problems: list[Problem]) -> dict[str, Any]:
    """Ask a process of its own: a broken driver may take the process down with it."""
    if importlib.util.find_spec("qtpy") is None or importlib.util.find_spec("vispy") is None:
        return {"renderer": "not looked at, napari is not installed"}
    headless = sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if headless:
        problems.append(
            Problem(
                "the window: there is no screen here", "run under `xvfb-run`, or use the command line, which needs none"
            )
        )
        return {"renderer": "not looked at, there is no screen"}
    probe = [sys.executable, "-m", "napari_ssl_seg.gui.opengl"]
    try:
        answer = subprocess.run(probe, capture_output=True, text=True, timeout=OPENGL_SECONDS, check=True)
        return json.loads(answer.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError, OSError) as error:
        text = getattr(error, "stderr", None) or str(error)
        problems.append(
            Problem(
                f"the window: OpenGL does not start ({str(text).strip().splitlines()[-1:] or error})",
                "install the graphics driver; on Debian also libegl1 and libxcb-cursor0; check that a Qt binding is installed",
            )
        )
        return {"renderer": "does not start"}


def _sam_weights() -> list[dict[str, Any]]:
    """Missing weights are no problem: the classical regions need none."""
    folder = weights_folder()
    return [
        {"model": model, "file": str(folder / file), "there": (folder / file).is_file()}
        for model, file in SAM_FILES.items()
    ]


def _folders(problems: list[Problem]) -> list[dict[str, Any]]:
    rows = []
    for use, folder in (("cache", cache_folder()), ("here", _here())):
        writable = _can_write(folder)
        rows.append({"use": use, "folder": str(folder), "writable": writable})
        if not writable:
            problems.append(Problem(f"{folder} cannot be written", "change its permissions, or work in another folder"))
    return rows


def _here() -> Path:
    from pathlib import Path

    return Path.cwd()


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
