"""Making every label map of some cases once, however many processes and machines work on it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from napari_ssl_seg.regions.claims import Claims
from napari_ssl_seg.regions.packs import Damaged, read_packed
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.meter import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    import numpy as np

    from napari_ssl_seg.regions.store import CaseFile

    Compute = Callable[[CaseFile, Sequence[int]], Iterable[np.ndarray]]

WAIT_SECONDS = 0.25
"""Between two looks while others have the slices that are left."""
YIELD_SECONDS = 0.05
"""Progress is said, and a stop heard, after each slice that takes longer than this; for quicker ones, so often."""
_PACKING = "pack"


def fill(
    files: Sequence[CaseFile], compute: Compute, *, what: str, batch: Callable[[], int] = lambda: 1
) -> Generator[Event, None, None]:
    """Make the label maps that are missing, pack complete cases, and wait for what others have in work.

    Parameters
    ----------
    compute
        ``compute(file, indices)`` gives a label map (H, W) for each index of a case's slice, best one after the other.
    what
        Named in the progress.
    batch
        How many slices ``compute`` gets at once, at most; asked for when there is something to make.

    Yields
    ------
    Event
        ``progress``, with ``case``, ``text`` and ``waiting`` (whether others have all that is left), and
        ``warning`` where a damaged file is made anew. Closing the generator gives the claims back; what is done stays.
    """
    with Claims() as claims:
        yield from _Filling(files, compute, claims, what, batch).run()


def progress(
    what: str,
    done: int,
    total: int,
    seconds_left: float | None,
    text: str,
    *,
    case: str | None = None,
    waiting: bool = False,
) -> Event:
    """The event that `fill` describes; ``done`` and ``total`` in slices."""
    data = {"what": what, "done": done, "total": total, "seconds_left": seconds_left, "text": text}
    return Event("progress", {**data, "case": case, "waiting": waiting})


class _Filling:
    """One worker's way through the cases."""

    def __init__(
        self, files: Sequence[CaseFile], compute: Compute, claims: Claims, what: str, batch: Callable[[], int]
    ) -> None:
        unique = list({file.name: file for file in files}.values())  # copies of a scan share one file
        start = random.randrange(len(unique)) if unique else 0  # another worker is likely to start elsewhere
        self.left = unique[start:] + unique[:start]
        self.compute, self.claims, self.what, self.batch = compute, claims, what, batch
        self.done = {file.name: 0 for file in unique}
        self.total = sum(file.shape[0] for file in unique)
        self.clock = Clock(self.total)
        self.said = 0.0

    def run(self) -> Generator[Event, None, None]:
        for file in list(self.left):
            yield from self._check(file)
        self.clock.step(sum(self.done.values()))
        yield self._progress("", waiting=False)
        while self.left:
            self.warnings: list[Event] = []
            chosen = self._choose()
            yield from self.warnings
            if chosen is not None:
                yield from self._work(*chosen)
            elif self.left:
                yield self._progress("waiting for slices that others have in work", waiting=True)
                time.sleep(WAIT_SECONDS)
        yield self._progress("", waiting=False)

    def _check(self, file: CaseFile) -> Generator[Event, None, None]:
        """Take complete cases off the list, and make damaged ones incomplete."""
        try:
            damaged = file.check()
        except Damaged as error:
            yield _warning(file, str(error))
            file.discard()
            return
        if damaged == []:
            self._finish(file)
        elif damaged is None:
            self.done[file.name] = len(file.look()[0])
        elif self.claims.take(file.parts, _PACKING, file.look()[1].get(_PACKING, ())):
            try:
                slices = read_packed(file.pack)
                yield _warning(file, f"slices {', '.join(map(str, damaged))} do not match their checksums")
                file.scatter(slices)
            except (FileNotFoundError, Damaged):
                file.discard()
            finally:
                self.claims.release(file.parts, _PACKING)

    def _choose(self) -> tuple[CaseFile, list[int], dict[str, list[str]]] | None:
        """A case that has free slices, and these; rather one that nobody else is at. None: nothing is free."""
        second = None
        for file in list(self.left):
            if file.pack.exists():
                self._finish(file)
                continue
            present, claims = file.look()
            self.done[file.name] = len(present)
            if len(present) == file.shape[0]:
                if warning := self._pack(file, claims):
                    self.warnings.append(warning)
                continue
            free, held = [], False
            for z in range(file.shape[0]):
                if z not in present:
                    taken = not self._free(file, z, claims)
                    held |= taken
                    if not taken:
                        free.append(z)
            if free and not held:
                return file, free, claims
            if free and second is None:
                start = random.randrange(len(free))
                second = file, free[start:] + free[:start], claims
        return second

    def _free(self, file: CaseFile, z: int, claims: dict[str, list[str]]) -> bool:
        names = claims.get(_subject(z))
        return not names or self.claims.is_dead(file.parts / max(names, key=_number))

    def _work(self, file: CaseFile, indices: list[int], claims: dict[str, list[str]]) -> Generator[Event, None, None]:
        batch = max(1, self.batch())
        while indices:
            taken: list[int] = []
            while indices and len(taken) < batch:
                z = indices.pop(0)
                if not self.claims.take(file.parts, _subject(z), claims.get(_subject(z), ())):
                    continue
                if file.has(z):  # done since we looked
                    self.claims.release(file.parts, _subject(z), done=True)
                    file.sweep()
                    continue
                taken.append(z)
            if not taken:
                break
            for z, label_map in zip(taken, self.compute(file, taken), strict=True):
                file.write(z, label_map)
                self.claims.release(file.parts, _subject(z), done=True)
                self.done[file.name] += 1
                self.clock.step(sum(self.done.values()))
                if time.monotonic() - self.said > YIELD_SECONDS:
                    yield self._progress(f"{file.case_id}, slice {z + 1}", waiting=False, case=file.case_id)
        present, claims = file.look()
        if len(present) == file.shape[0] and (warning := self._pack(file, claims)):
            yield warning

    def _pack(self, file: CaseFile, claims: dict[str, list[str]]) -> Event | None:
        """Make one file of a case's slices, unless somebody else does; the warning where a slice is damaged."""
        if not self.claims.take(file.parts, _PACKING, claims.get(_PACKING, ())):
            return None
        try:
            if file.pack.exists() or file.gather():
                self._finish(file)
        except Damaged as error:
            return _warning(file, str(error))
        finally:
            self.claims.release(file.parts, _PACKING, done=True)
            file.sweep()
        return None

    def _finish(self, file: CaseFile) -> None:
        self.left.remove(file)
        self.done[file.name] = file.shape[0]

    def _progress(self, text: str, *, waiting: bool, case: str | None = None) -> Event:
        self.said = time.monotonic()
        done = sum(self.done.values())
        left = 0.0 if done == self.total else self.clock.seconds_left(done)
        return progress(self.what, done, self.total, left, text, case=case, waiting=waiting)


def _warning(file: CaseFile, reason: str) -> Event:
    return Event(
        "warning",
        {"message": f"the regions of {file.case_id} in the cache are damaged ({reason}) and are made anew"},
    )


def _subject(z: int) -> str:
    return f"{z:05d}"


def _number(name: str) -> int:
    return int(name.rpartition(".claim")[2])
