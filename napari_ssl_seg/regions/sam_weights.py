"""The public weights: where they lie, how large they are, under which licence, and how they come here.

Nothing is downloaded unless `fetch_weights` is called; show `WeightsInfo.notice` before that. Loads no torch.

Every SHA-256 below was found alike in several independent projects that pin these files. The six digits in the names of
the three files of Segment Anything are the beginning of their MD5; Zenodo publishes the MD5 of MedSAM's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.places import weights_folder

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_ssl_seg.training.events import Event

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_SAM_LICENCE = ("Apache-2.0", "https://github.com/facebookresearch/segment-anything/blob/main/LICENSE")
_ROOM = 64 * 2**20
_CHUNK = 4 * 2**20


@dataclass(frozen=True)
class WeightsInfo:
    """One public file of weights.

    Attributes
    ----------
    title, url, file, licence, licence_url : str
    bytes : int
        Exact size.
    sha256 : str
        Of the whole file.
    """

    title: str
    url: str
    bytes: int
    sha256: str
    licence: str
    licence_url: str
    file: str

    def notice(self) -> str:
        """What a user should read before the download starts."""
        size = f"{self.bytes / 1e9:.1f} GB" if self.bytes >= 10**9 else f"{self.bytes / 1e6:.0f} MB"
        return f"{self.title}: {size} from {self.url}\nLicence: {self.licence} ({self.licence_url})\nSHA-256: {self.sha256}"


_KNOWN = {
    "vit_b": WeightsInfo(
        title="Segment Anything vit_b",
        url=f"{_META}/sam_vit_b_01ec64.pth",
        bytes=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        licence=_SAM_LICENCE[0],
        licence_url=_SAM_LICENCE[1],
        file="sam_vit_b_01ec64.pth",
    ),
    "vit_l": WeightsInfo(
        title="Segment Anything vit_l",
        url=f"{_META}/sam_vit_l_0b3195.pth",
        bytes=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        licence=_SAM_LICENCE[0],
        licence_url=_SAM_LICENCE[1],
        file="sam_vit_l_0b3195.pth",
    ),
    "vit_h": WeightsInfo(
        title="Segment Anything vit_h",
        url=f"{_META}/sam_vit_h_4b8939.pth",
        bytes=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        licence=_SAM_LICENCE[0],
        licence_url=_SAM_LICENCE[1],
        file="sam_vit_h_4b8939.pth",
    ),
    "medsam_vit_b": WeightsInfo(
        title="MedSAM vit_b",
        url="https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        bytes=375_049_145,
        sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
        licence="Apache-2.0 (code), CC BY 4.0 (the file as deposited)",
        licence_url="https://zenodo.org/records/10689643",
        file="medsam_vit_b.pth",
    ),
}


def known_weights() -> dict[str, WeightsInfo]:
    """The public weights by model type: vit_b, vit_l, vit_h, medsam_vit_b."""
    return dict(_KNOWN)


def find_checkpoint(model_type: str) -> Path | None:
    """The file of this model's weights in `weights_folder`, if there is one.

    It is not read here; a damaged one is refused, with the reason, when it is loaded.
    """
    path = weights_folder() / get_weights(model_type).file
    return path if path.is_file() else None


def get_weights(model_type: str) -> WeightsInfo:
    """The one of that type; UserError for an unknown one."""
    try:
        return _KNOWN[model_type]
    except KeyError:
        raise UserError(f"there are no known weights {model_type!r}; choose one of {', '.join(_KNOWN)}") from None


def fetch_weights(
    model_type: str | WeightsInfo, folder: str | os.PathLike[str] | None = None, *, wait: float = 1.0
) -> Generator[Event, None, Path]:
    """Download weights and check them. Closing the generator keeps what has arrived; the next call goes on from there.

    Parameters
    ----------
    model_type : str or WeightsInfo
        One of `known_weights`.
    folder : path, optional
        Where to; by default `places.weights_folder`, where `find_checkpoint` looks.
    wait : float
        Seconds before the first new attempt after a broken connection.

    Yields
    ------
    Event
        ``progress`` with ``what``, ``done`` and ``total`` in bytes, ``seconds_left``.

    Returns
    -------
    Path
        The file, whole and checked; at once if it was there already.

    Raises
    ------
    UserError
        No network, wrong size or checksum, disk full, another process at it.
    """
    from filelock import FileLock, Timeout

    info = model_type if isinstance(model_type, WeightsInfo) else get_weights(model_type)
    target = Path(folder) if folder is not None else weights_folder()
    path = target / info.file
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target / f".{info.file}.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{info.file} is being downloaded into {target} by another process; wait for it") from error
    except OSError as error:
        raise UserError(f"{target} cannot be written to ({error.strerror or error}); choose another folder") from error
    try:
        if path.exists():
            yield from _accept(path, info)
            return path
        return (yield from _fetch(info, target, wait))
    except OSError as error:
        reason = "is full" if error.errno == errno.ENOSPC else f"cannot be written ({error.strerror or error})"
        raise UserError(f"{target} {reason}; free some space or choose another folder and start again") from error
    finally:
        lock.release()


def _accept(path: Path, info: WeightsInfo) -> Generator[Event, None, None]:
    """A file that is there already is used only if it is the published one; it is never overwritten."""
    digest = "" if path.stat().st_size != info.bytes else (yield from _digest(path, info))
    if digest != info.sha256:
        raise UserError(f"{path} is there already and is not {info.title} as published; move it away and start again")


def _fetch(info: WeightsInfo, target: Path, wait: float) -> Generator[Event, None, Path]:
    from napari_ssl_seg.files import atomic_path
    from napari_ssl_seg.sample._transfer import check_address, transfer
    from napari_ssl_seg.sample.download import forget

    check_address(info.url)
    part = target / f".{info.file}.part"
    have = part.stat().st_size if part.is_file() else 0
    free = shutil.disk_usage(target).free
    if free < info.bytes - have + _ROOM:
        raise UserError(
            f"{target} has {free / 1e9:.1f} GB free and {info.file} needs {(info.bytes - have) / 1e9:.1f} GB; free some"
            " space or choose another folder"
        )
    yield from transfer(info.url, part, limit=info.bytes, what=f"downloading {info.file}", wait=wait)
    size = part.stat().st_size
    digest = (yield from _digest(part, info)) if size == info.bytes else f"none, {size} bytes"
    if digest != info.sha256:
        forget(part)
        raise UserError(
            f"{info.url} did not arrive as published (checksum {digest} instead of {info.sha256}); it was deleted,"
            " start again"
        )
    with atomic_path(target / info.file) as temporary:
        os.replace(part, temporary)
    forget(part)
    return target / info.file


def _digest(path: Path, info: WeightsInfo) -> Generator[Event, None, str]:
    from napari_ssl_seg.sample._pace import Pace

    digest, done = hashlib.sha256(), 0
    pace = Pace(f"checking {info.file}", info.bytes)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            yield from pace.at(done)
    yield from pace.finish(done)
    return digest.hexdigest()
