"""One of several processes that prepare the same study; run as ``python -m tests.regions.worker STUDY LOG SECONDS``.

Its source notes each slice that it makes, so that a test can count them. It begins when the file ``LOG.go`` is there, and
says by ``LOG.ready.PID`` that it waits for it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_ssl_seg.regions import RegionSettings, prepare
from napari_ssl_seg.study import Study
from napari_ssl_seg.training.events import drain

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTINGS = RegionSettings(source="felzenszwalb")


class NotingSource:
    """Two regions a slice: the brighter half, then the darker; writes ``CASE INDEX PID`` to ``log`` for each slice."""

    title = "halves"

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        self.log, self.seconds = log, seconds

    def segment(self, slices: Sequence[np.ndarray], *, places: Sequence[tuple[str, int]] = ()) -> list[np.ndarray]:
        found = []
        for image, (case_id, index) in zip(slices, places, strict=True):
            with self.log.open("a") as stream:
                stream.write(f"{case_id} {index} {os.getpid()}\n")
            time.sleep(self.seconds)
            found.append(halves(image))
        return found

    def noted(self) -> list[tuple[str, int]]:
        """Case and index of each slice made, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def workers(self) -> set[int]:
        """Process numbers of those who made one."""
        return {int(line.split()[2]) for line in self.log.read_text().splitlines()}


def halves(image: np.ndarray) -> np.ndarray:
    """(H, W) int32: 1 and 2 by descending area, of the pixels above and not above the mean."""
    above = image > image.mean()
    return np.where(above == (above.mean() >= 0.5), 1, 2).astype(np.int32)


if __name__ == "__main__":
    folder, log, seconds = sys.argv[1:]
    source = NotingSource(Path(log), float(seconds))
    prepare.open_source = lambda settings, geometry_of=None: source  # type: ignore[assignment]
    with Study.open(folder) as study:
        Path(f"{log}.ready.{os.getpid()}").touch()
        while not Path(f"{log}.go").exists():
            time.sleep(0.01)
        drain(prepare.prepare_regions(study, SETTINGS, [case.id for case in study.cases("train")]))
