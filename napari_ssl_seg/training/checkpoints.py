"""Checkpoints: written whole, checked before the older one is let go, and read only when they verify.

``last.pt`` is the newest, ``previous.pt`` the one before it, ``best.pt`` the best by validation. A file that a kill, a
full disk or a flipped bit has spoiled is passed over for the next older one.
"""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Any

from napari_ssl_seg import files
from napari_ssl_seg.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any], *, previous: Path | None = None) -> None:
    """Write ``state`` (tensors and plain values) to ``path``; what was there before becomes ``previous``.

    Raises
    ------
    UserError
        When the disk is full or the folder cannot be written; the older checkpoints are unharmed.
    """
    import torch

    with files.atomic_path(path) as temporary:
        try:
            torch.save({"format": FORMAT, **state}, temporary)
            verify(temporary)
        except RuntimeError as error:  # torch's zip writer says "unexpected pos ..." when the disk is full
            raise OSError(28, f"the disk may be full: {_first_line(error)}") from error
        if previous is not None and path.exists():
            files.flush(
                temporary
            )  # a disk may say only now that it is full, and then the older ones stay where they are
            os.replace(path, previous)


def load_checkpoint(*paths: Path) -> tuple[dict[str, Any], Path, list[str]] | None:
    """The first of ``paths`` that verifies, on the CPU.

    Returns
    -------
    (state, path, complaints) or None
        ``complaints`` holds one sentence for each file passed over; None when there is no file at all.

    Raises
    ------
    RunError
        When there are files and none of them verifies.
    """
    import torch

    complaints = []
    for path in paths:
        if not path.exists():
            continue
        try:
            verify(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
            check_tensors(state)
            check_finite(state.get("model") if isinstance(state, dict) else None)
        except (RunError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
            complaints.append(f"{path.name} is damaged ({_first_line(error)})")
            continue
        except Exception as error:  # pickle.UnpicklingError: its text advises an unsafe load, so it is not passed on
            complaints.append(f"{path.name} is damaged ({type(error).__name__})")
            continue
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            complaints.append(f"{path.name} was written by another version")
            continue
        return state, path, complaints
    if complaints:
        raise RunError(f"no checkpoint in {paths[0].parent} can be used: {'; '.join(complaints)}; start the run anew")
    return None


def verify(path: Path) -> None:
    """Check every checksum in a checkpoint, which ``torch.load`` does not.

    Raises
    ------
    RunError
        Naming the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > path.stat().st_size:  # torch stores tensors as they are: a packed archive is none of its own
                raise RunError(f"{path} would unpack to {unpacked} bytes")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise RunError(f"{path} is not a whole checkpoint ({_first_line(error)})") from error
    if damaged is not None:
        raise RunError(f"{path} is damaged at {damaged}")


def check_tensors(state: Any) -> None:
    """Raise ValueError for a tensor, anywhere in ``state``, that claims more numbers than it holds."""
    waiting = [state]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif hasattr(value, "untyped_storage"):
            claimed = value.numel() * value.element_size()
            if claimed > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor claims {claimed} bytes that are not there")


def check_finite(tensors: Any) -> None:
    """Raise ValueError, naming it, for a tensor with numbers that are not finite."""
    import torch

    for name, tensor in tensors.items() if isinstance(tensors, dict) else ():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
