"""What a result depends on besides its data and settings: versions, and this very code."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("napari-ssl-seg", "torch", "monai", "lightning-fabric", "numpy", "nibabel", "SimpleITK")
CODE = "code"
"""The entry that says which code of ours it was: between two releases the version stays and the code does not."""


def versions() -> dict[str, str]:
    """Versions by name, and the first half of the SHA-256 over our own source files under ``code``."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, CODE: code_fingerprint()}


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Of every Python file of this package that a training may pass through: all but the window's."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        name = path.relative_to(root).as_posix()
        if not name.startswith(("gui/", "workbench/", "commands/")):
            content = path.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:32]
