"""Which files Python opens while something goes on; run in a process of its own, because the hook stays.

``python -m tests.trust.opened_files FOLDER`` makes studies with different splits below FOLDER, does everything that may not
know the test scans, and writes, for each of these, which scans were opened to FOLDER/opened.json,
and what was done on the network to FOLDER/network.json.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ssl_seg.study import Study

TINY: dict[str, Any] = {
    "batch_size": 2,
    "device": "cpu",
    "train": {"threads": 1, "checkpoint_seconds": 3600, "preview_seconds": 0},
}
SMALL: dict[str, dict[str, Any]] = {
    "alice": {"hidden": 32, "features": 16, "decoder_width": 48, "decoder_layers": 1},
    "lrc": {"points": 8, "projection": 16, "queue": 32},
}
"""Settings that make a method small."""

_opened: set[str] = set()
_sockets: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        _sockets.append(f"{event} {arguments[1:]}")
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        name = os.fsdecode(arguments[0])
        if "scan_" in name and "/scans/" in name:
            _opened.add(os.path.abspath(name))


class Watch:
    """Says, stage by stage, the splits of the scans that were opened."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, list[str]]] = {}

    @contextmanager
    def stage(self, name: str, study: Study) -> Iterator[None]:
        study.close()  # nothing is left in memory from before
        _opened.clear()
        yield
        split_of = {str(file): case.split for case in study.cases() for file in (*case.images, case.label) if file}
        found: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
        for path in sorted(_opened):
            found[split_of[path]].append(Path(path).name)
        self.stages[name] = found


def main(folder: Path) -> None:
    """See the module."""
    from napari_ssl_seg import training
    from napari_ssl_seg.anatomy import prepare_matcher
    from napari_ssl_seg.anatomy.settings import MatcherSettings
    from napari_ssl_seg.methods import list_methods
    from napari_ssl_seg.regions import prepare_regions
    from napari_ssl_seg.regions.anchors import count_anchors
    from napari_ssl_seg.regions.settings import RegionSettings
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training import drain
    from tests.training.conftest import write_scans

    write_scans(folder / "scans", 8, flip=False)
    sys.addaudithook(_note)
    watch = Watch()

    def study(seed: int, normalisation: str = "percentile") -> Study:
        images, labels = folder / "scans" / "images", folder / "scans" / "labels"
        name = folder / f"study-{seed}-{normalisation}"
        if name.exists():
            return Study.open(name)
        return Study.create(
            name, images=images, labels=labels, split=(50, 25, 25), seed=seed, normalisation=normalisation
        )

    runs = {}
    for seed, method in enumerate(list_methods()):
        opened = study(seed % 5)
        with watch.stage(f"pretrain {method.name}", opened):
            runs[method.name] = drain(
                training.pretrain(opened, method.name, iterations=1, settings=SMALL.get(method.name, {}), **TINY)
            )
        if method.name in ("simmim", "volume_fusion"):
            with watch.stage(f"finetune {method.name}", opened):
                drain(training.finetune(opened, runs[method.name], iterations=2, **TINY))
    for seed, normalisation in enumerate(("zscore", "percentile", "none")):
        opened = study(seed, normalisation)
        with watch.stage(f"finetune scratch, {normalisation}", opened):
            run = drain(training.finetune(opened, iterations=2, **TINY))
        with watch.stage(f"resume, {normalisation}", opened):
            drain(training.resume(opened, run, iterations=3))
        with watch.stage(f"median shape and spacing, {normalisation}", opened):
            (
                opened.median_shape(),
                opened.median_spacing(),
                opened.fingerprint([case.id for case in opened.cases("train")]),
            )
    opened = study(3)
    with watch.stage("finetune with mod beside", opened):
        drain(training.finetune(opened, iterations=2, joint="mod", **TINY))
    train = [case.id for case in opened.cases("train")]
    for source in ("felzenszwalb", "slic"):
        with watch.stage(f"regions by {source}, and K", opened):
            regions = drain(prepare_regions(opened, RegionSettings(source=source), train, purpose="train"))
            count_anchors(opened, regions, train, alpha=0.95)
    with watch.stage("anatomical matching", opened):
        drain(prepare_matcher(opened, train, MatcherSettings(matcher="affine"), purpose="train"))
    with watch.stage("prediction of the test scans", opened):
        drain(training.predict(opened, drain(training.finetune(opened, iterations=1, **TINY)), split="test"))
    (folder / "opened.json").write_text(json.dumps(watch.stages, indent=1))
    connections = [str(item) for item in psutil.Process().net_connections(kind="inet")]
    (folder / "network.json").write_text(json.dumps({"calls": _sockets, "connections": connections}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
