"""A file of weights to a network in memory: sizes first, tensors only, every name and shape accounted for."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.regions.sam_files import sam_modeling
from napari_ssl_seg.regions.sam_layout import SamLayout, build_sam, infer_layout

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import torch

LIMIT = 6 * 2**30
"""Bytes; vit_h, the largest, has 2.6 GB."""
_WRAPPERS = ("model", "state_dict")
_PREFIX = "module."


def load_sam(path: str | os.PathLike[str], model_type: str | None = None) -> Any:
    """The network in a checkpoint, float32, on the CPU, in evaluation mode.

    Parameters
    ----------
    path : path
        As published (a dictionary of tensors), or as training scripts save it (``{"model": ..., "optimizer": ...}``,
        names that begin with ``module.``).
    model_type : str, optional
        ``vit_b``, ``vit_l``, ``vit_h`` or ``medsam_vit_b``: refused when the file holds another of these.

    Raises
    ------
    UserError
        When the file is missing, too large, damaged, holds more than tensors, or is not such a network. Nothing in it
        is ever executed.
    """
    path = Path(path)
    sam_modeling()  # whether the package is there is no fault of the file
    state = read_tensors(path)
    try:
        layout = infer_layout({name: tuple(tensor.shape) for name, tensor in state.items()})
        _check_type(layout, model_type)
        return _fill(layout, state)
    except UserError as error:
        raise UserError(f"{path} {error}; choose another file or download the weights again") from error


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Names and tensors of a checkpoint file; see `load_sam` for what is refused."""
    import torch

    _check_file(path)
    try:
        with warnings.catch_warnings():  # of pickles that torch did not write, which are refused anyway
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, or is damaged, and was not opened; only weights are read from such files"
        ) from error
    except (RuntimeError, OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} is damaged ({_first_line(error)}); download it again") from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory; choose a smaller model") from error
    return _checked(path, loaded)


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); choose the file of weights") from error
    if not path.is_file():
        raise UserError(f"{path} is not a file; choose the file of weights")
    if size > LIMIT:
        raise UserError(f"{path} has {size / 1e9:.1f} GB, more than any known model's weights; choose another file")
    if not zipfile.is_zipfile(path):  # the format before torch 1.6 is no archive; torch.load knows it
        with path.open("rb") as file:
            start = file.read(256)
        if not start.startswith(b"\x80"):
            reason = "a web page" if b"<html" in start.lower() or b"<!doctype" in start.lower() else "no checkpoint"
            raise UserError(f"{path} is {reason if size else 'empty'}, or cut short; download it again")
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > size:  # torch stores its tensors as they are: a compressed archive is none of its own
                raise UserError(f"{path} claims {unpacked} bytes in a file of {size}; it was not opened")
            if (bad := archive.testzip()) is not None:
                raise UserError(f"{path} is damaged (wrong checksum in {bad}); download it again")
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is damaged ({_first_line(error)}); download it again") from error


def _checked(path: Path, loaded: Any) -> dict[str, torch.Tensor]:
    import torch

    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not loaded:
        raise UserError(f"{path} holds no table of named tensors; choose a file of weights")
    state: dict[str, torch.Tensor] = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UserError(f"{path} holds something that is no tensor at {str(name)[:80]!r}; choose a file of weights")
        if value.layout != torch.strided or value.device.type != "cpu" or not value.is_floating_point():
            raise UserError(f"{path} holds {name[:80]!r} in a form that weights do not have; choose another file")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(f"{path} claims a size for {name[:80]!r} that the file does not hold; it was not used")
        value = value.detach().to(torch.float32).contiguous()
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"{path} holds numbers that are not finite in {name[:80]!r}; download it again")
        state[name.removeprefix(_PREFIX)] = value
    return state


def _check_type(layout: SamLayout, model_type: str | None) -> None:
    wanted = model_type.removeprefix("medsam_") if model_type else None
    if wanted and layout.backbone and layout.backbone != wanted:
        raise UserError(f"holds a {layout.backbone} where {model_type} is set")


def _fill(layout: SamLayout, state: Mapping[str, torch.Tensor]) -> Any:
    sam = build_sam(layout, empty=True)
    wanted = sam.state_dict()
    missing = sorted(set(wanted) - set(state))
    extra = sorted(set(state) - set(wanted))
    differing = sorted(name for name in set(wanted) & set(state) if wanted[name].shape != state[name].shape)
    if missing or extra or differing:
        matching = len(wanted) - len(missing) - len(differing)
        example = (missing or differing or extra)[0]
        what = "is missing" if missing else ("has another shape" if differing else "does not belong there")
        raise UserError(
            f"does not fit a Segment Anything network ({matching} of {len(wanted)} tensors match; {example} {what})"
        )
    sam.load_state_dict(dict(state), strict=True, assign=True)
    return sam.eval().requires_grad_(False)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]
