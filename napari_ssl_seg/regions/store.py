"""Label maps of slices on disk, by case: one file when a case is complete, one file a slice while it is in work.

Everything here may be deleted, cut short or overwritten at any time: what is missing or damaged is made anew.
"""

from __future__ import annotations

import re
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import TEMPORARY_MARK
from napari_ssl_seg.regions.packs import (
    Damaged,
    Packed,
    pack_slice,
    read_areas,
    read_map,
    read_packed,
    read_shape,
    write_pack,
)
from napari_ssl_seg.study.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_ssl_seg.regions.settings import RegionSettings

CACHED_BYTES = 128 * 2**20
"""Label maps kept in memory for each set of regions."""
_PART = re.compile(r"(\d+)\.slice")


class RegionCacheWarning(UserWarning):
    """Something in the cache was missing or damaged and is made anew."""


@dataclass(frozen=True)
class CaseFile:
    """Where the label maps of one case lie; ``shape`` is the scan's (z, y, x)."""

    folder: Path
    name: str
    case_id: str
    shape: tuple[int, int, int]

    @property
    def pack(self) -> Path:
        """The file of a complete case."""
        return self.folder / f"{self.name}.regions"

    @property
    def parts(self) -> Path:
        """The folder with the slices and claims of a case in work."""
        return self.folder / f"{self.name}.parts"

    def part(self, z: int) -> Path:
        """The file of one slice of a case in work."""
        return self.parts / f"{z:05d}.slice"

    def look(self) -> tuple[set[int], dict[str, list[str]]]:
        """Slices that are there, and names of claim files by what they are on; of a case in work."""
        try:
            names = [path.name for path in self.parts.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return set(), {}
        present = {int(match[1]) for name in names if (match := _PART.fullmatch(name))}
        claims: dict[str, list[str]] = {}
        for name in names:
            if ".claim" in name and not name.startswith(TEMPORARY_MARK):
                claims.setdefault(name.partition(".claim")[0], []).append(name)
        return {z for z in present if z < self.shape[0]}, claims

    def has(self, z: int) -> bool:
        """Whether a slice is there, in whichever file."""
        return self.pack.exists() or self.part(z).exists() or self.pack.exists()  # packed between the two looks

    def read(self, z: int) -> np.ndarray:
        """(H, W), smallest unsigned type; raises FileNotFoundError, Damaged or IndexError."""
        if not 0 <= z < self.shape[0]:
            raise IndexError(f"{self.case_id} has the slices 0 to {self.shape[0] - 1}, not {z}")
        for path, index in ((self.pack, z), (self.part(z), 0), (self.pack, z)):
            try:
                label_map = read_map(path, index)
            except FileNotFoundError:
                continue
            except IndexError as error:
                raise Damaged(f"{path.name} has fewer slices than the scan") from error
            if label_map.shape != self.shape[1:]:
                raise Damaged(f"{path.name} is of a scan with another shape")
            return label_map
        raise FileNotFoundError(self.pack)

    def areas(self) -> list[np.ndarray | None]:
        """Areas of the regions of each slice, None where it is not there; raises Damaged."""
        try:
            self._check_pack()
            return list(read_areas(self.pack))
        except FileNotFoundError:
            present, _ = self.look()
        found: list[np.ndarray | None] = [None] * self.shape[0]
        for z in present:
            with suppress(FileNotFoundError, Damaged):
                found[z] = read_areas(self.part(z))[0]
        return found

    def write(self, z: int, label_map: np.ndarray) -> None:
        """Keep one slice; where the case is complete already, in the place of what its file has there."""
        if label_map.shape != self.shape[1:]:
            raise ValueError(f"slice {z} of {self.case_id} is {self.shape[1:]}, its label map {label_map.shape}")
        packed = pack_slice(label_map)
        try:
            self._check_pack()
            slices = read_packed(self.pack)
        except FileNotFoundError:
            write_pack(self.part(z), self.shape[1:], [packed], durable=False)
            return
        except Damaged:  # none of it can be trusted
            write_pack(self.part(z), self.shape[1:], [packed], durable=False)
            self.discard()
            return
        slices[z] = packed
        whole = [item for item in slices if item is not None]
        if len(whole) == len(slices):
            write_pack(self.pack, self.shape[1:], whole)
        else:  # more of it is damaged: what is good is kept, the rest made when it is asked for
            self.scatter(slices)

    def scatter(self, slices: list[Packed | None]) -> None:
        """Make a damaged file one of a case in work again, with the slices that are good."""
        for z, item in enumerate(slices):
            if item is not None:
                write_pack(self.part(z), self.shape[1:], [item], durable=False)
        self.discard()

    def discard(self) -> None:
        """Remove the complete file, which is damaged."""
        with suppress(OSError):
            self.pack.unlink()

    def gather(self) -> bool:
        """Put all slices into one file; False where one is missing. Raises Damaged where one is, and removes that one."""
        slices = []
        for z in range(self.shape[0]):
            try:
                found = read_packed(self.part(z))
                if read_shape(self.part(z)) != (1, *self.shape[1:]) or found[0] is None:
                    raise Damaged("it does not match its checksum, or is of another scan")
                slices.append(found[0])
            except FileNotFoundError:
                return False
            except Damaged as error:
                with suppress(OSError):
                    self.part(z).unlink()
                raise Damaged(f"slice {z}: {error}") from error
        write_pack(self.pack, self.shape[1:], slices)
        self.sweep()
        return True

    def sweep(self) -> None:
        """Remove what is left of the work on a complete case."""
        if self.pack.exists():
            shutil.rmtree(self.parts, ignore_errors=True)

    def check(self) -> list[int] | None:
        """Slices of the complete file that are damaged; None where there is no such file. Raises Damaged if all are."""
        try:
            self._check_pack()
            return [z for z, item in enumerate(read_packed(self.pack)) if item is None]
        except FileNotFoundError:
            return None

    def _check_pack(self) -> None:
        if read_shape(self.pack) != self.shape:
            raise Damaged(f"{self.pack.name} is of a scan with another shape")


class Maps:
    """Reads label maps of cases; what is missing or damaged is made anew with ``remake(case_id, z)``.

    Safe to use from several threads. Maps are read-only and shared.
    """

    def __init__(self, files: Mapping[str, CaseFile], remake: Callable[[str, int], np.ndarray]) -> None:
        self.files = dict(files)
        self._remake = remake
        self._cache: ByteCache[np.ndarray] = ByteCache(CACHED_BYTES, lambda held: held.nbytes)
        self._warned: set[str] = set()

    def get(self, case_id: str, z: int, *, make: bool = True) -> np.ndarray | None:
        """(H, W); None where it is not there and is not to be made. Raises KeyError, IndexError."""
        file = self.files[case_id]
        try:
            return self._cache.get((file.name, z), lambda: file.read(z))
        except FileNotFoundError:
            if not make:
                return None
            self._warn(case_id, f"regions of {case_id} are gone from the cache and are made anew")
        except Damaged as error:
            self._warn(case_id, f"the regions of {case_id} in the cache are damaged ({error}) and are made anew")
        return self._cache.get((file.name, z), lambda: self._make(file, case_id, z))

    def _make(self, file: CaseFile, case_id: str, z: int) -> np.ndarray:
        label_map = self._remake(case_id, z)
        with suppress(UserError, OSError):  # a full disk must not stop who only wants to look at it
            file.write(z, label_map)
        label_map.flags.writeable = False
        return label_map

    def _warn(self, case_id: str, message: str) -> None:
        if case_id not in self._warned:
            self._warned.add(case_id)
            warnings.warn(message, RegionCacheWarning, stacklevel=4)

    def areas(self, case_id: str) -> list[np.ndarray | None]:
        """Of every slice of a case; a damaged file is as good as none."""
        try:
            return self.files[case_id].areas()
        except Damaged:
            return [None] * self.files[case_id].shape[0]


@dataclass(frozen=True, eq=False)
class RegionStack:
    """The label maps of one case; reads only the slices asked for."""

    case_id: str
    shape: tuple[int, int, int]
    maps: Maps

    def cut(self, z0: int, z1: int) -> np.ndarray:
        """Slices z0 to z1 - 1, (n, y, x) int32, a copy of the caller's own; raises IndexError outside the scan."""
        if not 0 <= z0 <= z1 <= self.shape[0]:
            raise IndexError(f"{self.case_id} has the slices 0 to {self.shape[0] - 1}, not {z0} to {z1 - 1}")
        found = np.empty((z1 - z0, *self.shape[1:]), np.int32)
        for place, z in enumerate(range(z0, z1)):
            label_map = self.maps.get(self.case_id, z)
            assert label_map is not None
            found[place] = label_map
        return found


class RegionSet:
    """The regions of some cases, as `prepare_regions` returns them.

    Parameters
    ----------
    settings, key, title
        Resolved settings, the name of exactly what they mean, and what people call it.
    files
        By case id.
    remake
        Makes one slice anew: ``remake(case_id, z) -> (H, W)``.
    """

    def __init__(
        self,
        settings: RegionSettings,
        key: str,
        title: str,
        files: Mapping[str, CaseFile],
        remake: Callable[[str, int], np.ndarray],
    ) -> None:
        self.settings, self.key, self.title = settings, key, title
        self.maps = Maps(files, remake)

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(self.maps.files)

    def shape(self, case_id: str) -> tuple[int, int, int]:
        """(z, y, x) of a case."""
        return self.maps.files[case_id].shape

    def slice(self, case_id: str, z: int) -> np.ndarray | None:
        """(H, W) int32: 0 = in no region, 1..M by descending area; None where it was not prepared."""
        if case_id not in self.maps.files:
            return None
        found = self.maps.get(case_id, z, make=False)
        return None if found is None else found.astype(np.int32)

    def areas(self, case_id: str, z: int) -> np.ndarray | None:
        """Areas in pixels of the labels 1..M, (M,) int64; None where the slice was not prepared."""
        if case_id not in self.maps.files:
            return None
        return self.maps.areas(case_id)[z]

    def case_areas(self, case_id: str) -> list[np.ndarray | None]:
        """`areas` of every slice of a case, in one reading."""
        return self.maps.areas(case_id)

    def stack(self, case_id: str) -> RegionStack:
        """All slices of a case, to cut from."""
        return RegionStack(case_id, self.shape(case_id), self.maps)
