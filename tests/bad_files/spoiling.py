"""What files of weights are spoiled with: code, flipped bits, packed gigabytes, other tensors."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACE: list[Path] = []
"""Where the payloads of this process leave their mark."""
PAYLOAD_MARK = "PWNED"
"""Appears in the folder above where code in a file was run."""


class Payload:
    """What an unsafe loader would run."""

    def __init__(self, folder: Path) -> None:
        self.mark = str(folder / PAYLOAD_MARK)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def first_tensor(state: dict[str, Any]) -> str:
    return next(name for name, tensor in state.items() if tensor.is_floating_point() and tensor.ndim > 1)


def rewrite(source: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Load what torch saved, change it, save it."""
    import torch

    state = torch.load(source, weights_only=True)
    changed = change(state)
    torch.save(state if changed is None else changed, target)


def flip_in_archive(path: Path) -> None:
    """Flip a bit in the middle of the largest thing in a zip archive that is not packed."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 64 + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def zip_bomb(path: Path, megabytes: int = 3000) -> None:
    """The same archive with its tensors packed, and one more that unpacks to gigabytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(members)).split("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        with archive.open(f"{folder}/data/999", "w", force_zip64=True) as stream:
            for _ in range(megabytes // 20):
                stream.write(bytes(2**20))


def spoil_weight(value: float) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        model = state.get("model", state)
        model[first_tensor(model)].view(-1)[3] = value

    return change


def reshape(state: dict[str, Any]) -> None:
    model = state.get("model", state)
    name = first_tensor(model)
    model[name] = model[name][..., :1].clone()


def rename(state: dict[str, Any]) -> None:
    model = state.get("model", state)
    for name in list(model):
        model[f"other.{name}"] = model.pop(name)


def huge(state: dict[str, Any]) -> None:
    import torch

    model = state.get("model", state)
    model[first_tensor(model)] = torch.zeros(1).expand(10**11)
