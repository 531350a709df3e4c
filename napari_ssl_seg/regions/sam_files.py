"""The model code of ``segment-anything``, loaded without importing that package.

Its ``__init__`` imports torchvision, whose binaries do not load beside a CPU build of torch (a RuntimeError, not an
ImportError), and which nothing in the networks needs. So only the folder ``modeling`` is loaded, under a name of our own:
neither ``segment_anything`` nor ``torchvision`` enters ``sys.modules``.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

PRIVATE_NAME = "_napari_ssl_seg_sam_modeling"
_loading = threading.Lock()


def sam_modeling() -> ModuleType:
    """The package's ``modeling``: Sam, ImageEncoderViT, PromptEncoder, MaskDecoder, TwoWayTransformer. Loads torch.

    Raises
    ------
    UserError
        When segment-anything is not installed, or its files do not load.
    """
    with _loading:  # two threads must not see a half-executed module
        if PRIVATE_NAME in sys.modules:
            return sys.modules[PRIVATE_NAME]
        folder = _package_folder() / "modeling"
        spec = importlib.util.spec_from_file_location(
            PRIVATE_NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None or not (folder / "__init__.py").is_file():
            raise UserError(
                f"{folder} holds no model code; reinstall with `pip install --force-reinstall segment-anything`"
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[PRIVATE_NAME] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            _forget()
            raise UserError(
                f"the model code of segment-anything does not load ({error}); reinstall it with"
                " `pip install --force-reinstall segment-anything`"
            ) from error
        return module


def _package_folder() -> Path:
    spec: Any = importlib.util.find_spec("segment_anything")  # finds a top-level package without running it
    locations = list(spec.submodule_search_locations or []) if spec else []
    if not locations:
        raise UserError("segment-anything is not installed; `pip install segment-anything`, or choose other regions")
    return Path(locations[0])


def _forget() -> None:
    for name in [name for name in sys.modules if name == PRIVATE_NAME or name.startswith(f"{PRIVATE_NAME}.")]:
        del sys.modules[name]
