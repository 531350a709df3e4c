"""Functions that numba compiles when they are first called, and keeps compiled in a folder that can be written to."""

from __future__ import annotations

import hashlib
import os
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.places import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCK = threading.Lock()


def compiled(function: Callable[..., Any], *, finite: bool = False) -> Any:
    """``function`` for numba to compile, without Python's lock while it runs, and cached beside the user's other files.

    numba's own choice would be the package's folder, which in an installation for many users cannot be written to. A
    folder that the user has chosen (``NUMBA_CACHE_DIR``) is respected; where no folder can be written to, every process
    compiles anew. ``finite``: it meets no NaN, so that smallest values may be looked for many at a time.
    """
    import numba

    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    if finite:
        settings["fastmath"] = {"nnan", "nsz"}
    config: Any = numba.config
    with _LOCK:  # numba reads the folder from a global setting while it decorates
        chosen = config.CACHE_DIR
        if not os.environ.get("NUMBA_CACHE_DIR"):
            config.CACHE_DIR = str(cache_folder() / "compiled" / _digest())
        try:
            return numba.njit(cache=True, **settings)(function)
        except (RuntimeError, OSError):  # no folder can be written to
            return numba.njit(cache=False, **settings)(function)
        finally:
            config.CACHE_DIR = chosen


@cache
def _digest() -> str:
    """Of the files with compiled functions: numba looks only at the one that a function is in, not at what it calls."""
    files = sorted(Path(__file__).parent.glob("*kernels.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
