"""What somebody without scans can start with: phantoms that come along, and public sets by name."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_ssl_seg.workbench.importing import ImportJob, free_place, is_study
from napari_ssl_seg.workbench.words import file_size

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study

Kind = Literal["cardiac", "abdomen"]
_PHANTOMS: dict[Kind, tuple[str, str, str]] = {
    "cardiac": (
        "Cardiac MR phantom",
        "cardiac-phantom",
        "Computed short-axis stacks of the heart: left ventricle, myocardium and right ventricle, from several"
        " scanners, 8-10 mm slices. Comes along, nothing is downloaded. Public domain (CC0).",
    ),
    "abdomen": (
        "Abdominal CT phantom",
        "abdomen-phantom",
        "Computed CT scans of the abdomen with five organs. Comes along, nothing is downloaded. Public domain (CC0).",
    ),
}


@dataclass(frozen=True)
class Sample:
    """One thing to try."""

    key: str
    title: str
    about: str
    """HTML: what it is, from where, under which licence."""
    folder: str
    """Name of the study's folder."""
    download: bool = False
    size: str = ""

    def job(self, home: Path | None = None) -> SampleJob:
        """The work of fetching it and making a study of it, to be run in a worker."""
        return SampleJob(self, home if home is not None else studies_home())


class SampleJob(ImportJob):
    """Fetch or make the files, then the study; a study of an earlier try is opened as it stands."""

    def __init__(self, sample: Sample, home: Path) -> None:
        self.sample = sample
        there = home / f"{sample.folder}-study"
        super().__init__(there if is_study(there) else free_place(home, sample.folder))

    def run(self) -> Study | None:
        """Make the study; None when it was cancelled."""
        from napari_ssl_seg.workbench.importing import Cancelled
        from napari_ssl_seg.workbench.state import load_study

        if is_study(self.where):
            return load_study(self.where).study
        try:
            source = self._fetch() if self.sample.download else self._make()
        except Cancelled:
            return None
        self._options = {"images": source, "name": self.sample.folder}
        return super().run()

    def _make(self) -> Path:
        from napari_ssl_seg.sample import bundled_study_source

        self.report(0, 0, "making the phantoms")
        return bundled_study_source(self.sample.key)  # type: ignore[arg-type]

    def _fetch(self) -> Path:
        from napari_ssl_seg.places import cache_folder
        from napari_ssl_seg.sample import fetch

        events = fetch(self.sample.key, cache_folder() / "datasets" / self.sample.key)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return Path(end.value)
            data: Any = event.data
            try:
                self.report(
                    int(data.get("done", 0)), int(data.get("total", 0) or 0), str(data.get("what", "downloading"))
                )
            except BaseException:
                events.close()
                raise


def studies_home() -> Path:
    """Where studies go that belong to no folder of scans."""
    return Path.home() / "ssl-studies"


def list_samples() -> list[Sample]:
    """Phantoms first, then public sets."""
    from napari_ssl_seg.sample import list_datasets

    samples = [Sample(key, title, html.escape(about), folder) for key, (title, folder, about) in _PHANTOMS.items()]
    for name, info in list_datasets().items():
        about = (
            f"{html.escape(info.description)}<br>Download {file_size(info.size)} from"
            f' <a href="{html.escape(info.url)}">{html.escape(_host(info.url))}</a>.'
            f" Licence: {html.escape(info.licence)}."
        )
        samples.append(Sample(name, info.title, about, name, download=True, size=file_size(info.size)))
    return samples


def _host(url: str) -> str:
    return url.split("/")[2] if url.count("/") >= 2 else url
