"""Where this program keeps files that belong to no study: downloads, weights, generated phantoms."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER_VARIABLE = "NAPARI_SSL_SEG_CACHE"
STATE_VARIABLE = "NAPARI_SSL_SEG_STATE"
WEIGHTS_VARIABLE = "NAPARI_SSL_SEG_WEIGHTS"


def cache_folder() -> Path:
    """The user's cache folder for this program, as the system has it; ``NAPARI_SSL_SEG_CACHE`` overrules it."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "napari-ssl-seg"


def state_folder() -> Path:
    """Where this program keeps what must outlast a cleaning of caches; ``NAPARI_SSL_SEG_STATE`` overrules it."""
    if chosen := os.environ.get(STATE_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "napari-ssl-seg"


def weights_folder() -> Path:
    """Where weights of public models are looked for; ``NAPARI_SSL_SEG_WEIGHTS`` overrules it."""
    if chosen := os.environ.get(WEIGHTS_VARIABLE):
        return Path(chosen).expanduser()
    return cache_folder() / "weights"
