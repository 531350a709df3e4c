"""What a user reads when torch, the disk or the data gave up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import TrainingFailed, UserError
from napari_ssl_seg.files import no_room

if TYPE_CHECKING:
    from napari_ssl_seg.training.settings import TrainSettings


def explain(error: BaseException, settings: TrainSettings, device: str, patch: tuple[int, ...] = ()) -> UserError:
    """The error in one sentence with advice. Never a RuntimeError, which a window's worker would swallow."""
    if isinstance(error, UserError):
        return error
    text = " ".join(str(error).split())
    if out_of_memory(error):
        found = re.search(r"Tried to allocate ([\d.]+ \w+)", text)
        free = re.search(r"([\d.]+ \w+) is free", text)
        numbers = f" ({found.group(1)} more needed, {free.group(1)} free)" if found and free else ""
        size = f", patch {'x'.join(map(str, patch))}" if patch else ""
        return TrainingFailed(
            f"{device} ran out of memory{numbers} with batch size {settings.batch_size}{size}; use a smaller batch or"
            " patch, a smaller preset, close other programs on that device, or choose another device"
        )
    if isinstance(error, OSError) and no_room(error):
        return TrainingFailed(f"the disk is full ({error.filename or text}); free some space and resume the run")
    if isinstance(error, OSError):
        return TrainingFailed(f"a file could not be read or written ({text}); mend that and resume the run")
    return TrainingFailed(
        f"training stopped on {device} with {type(error).__name__}: {text[:300] or 'no reason given'}; the last checkpoint"
        " can be resumed, on another device too"
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out; the CPU's allocator and older drivers say it in words only."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def free_memory(holder: object, *names: str) -> None:
    """Let go of what ``holder`` has under these names, and give a GPU's memory back."""
    import torch

    for name in names:
        if hasattr(holder, name):
            delattr(holder, name)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
