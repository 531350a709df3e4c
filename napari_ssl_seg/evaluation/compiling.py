"""Functions that numba compiles when they are first called, and keeps compiled in a folder that can be written to."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from napari_ssl_seg import __version__
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
            # By version: numba looks at the age of the calling function's file only, not of what it calls.
            config.CACHE_DIR = str(cache_folder() / "compiled" / __version__)
        try:
            return numba.njit(cache=True, **settings)(function)
        except (RuntimeError, OSError):  # no folder can be written to
            return numba.njit(cache=False, **settings)(function)
        finally:
            config.CACHE_DIR = chosen
