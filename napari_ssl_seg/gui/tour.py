"""Walk through the window on a study and take a picture of every tab: for the documentation, and to look at."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.gui.dock import COMPARE, PRETEXT, STUDY, TRAIN, SSLDock

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

WINDOW = (1280, 800)
QUIET_SECONDS, QUIET_ROUNDS = 0.6, 40
LONGEST_WAIT = 120.0


def take_screenshots(
    study_folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    theme: str = "dark",
    size: tuple[int, int] = WINDOW,
    states: bool = False,
) -> list[Path]:
    """Open the real window on a study and write one PNG a tab.

    Parameters
    ----------
    study_folder
        Nothing in it is changed.
    out
        Folder for the pictures; made if missing.
    theme
        ``dark`` or ``light``.
    size
        Width and height of the window, in pixels.
    states
        Also the states before a study is open, while something goes on, and after something failed.

    Returns
    -------
    list of Path
        In the order of the work.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if theme == "dark" else f"-{theme}"
    shots: list[Path] = []
    with _window(size, theme) as tour:

        def shot(name: str) -> None:
            tour.settle()
            shots.append(folder / f"{name}{suffix}.png")
            tour.save(shots[-1])

        if states:
            shot("1-study-empty")
            _study_states(tour, shot)
        tour.dock.open_study(Path(study_folder))
        tour.settle()
        if tour.dock.workbench.study is None:
            raise RuntimeError(tour.dock.messages.text or f"{study_folder} did not open")
        case = min(tour.dock.workbench.cases, key=lambda case: (case.label is None, case.split != "train"))
        if states:
            tour.dock.show_tab(PRETEXT)
            shot("2-pretext-empty")
            tour.dock.show_tab(STUDY)
        tour.dock.workbench.open_case(case.id)
        shot("1-study")
        _pretexts(tour, shot, states)
        tour.dock.show_tab(TRAIN)
        shot("3-train")
        _open_predicted_case(tour)
        tour.dock.show_tab(COMPARE)
        shot("4-compare")
    return shots


def _study_states(tour: Tour, shot: Callable[[str], None]) -> None:
    tab = tour.dock.tab(STUDY)
    tab.show_samples()
    shot("1-study-sample")
    tab.pages.setCurrentWidget(tab.busy)
    tab.busy.start("Making the study hippocampus …", can_cancel=True)
    tab.busy.show_progress(57, 130, "read hippocampus_148.nii.gz")
    shot("1-study-busy")
    tab.pages.setCurrentWidget(tab.empty)
    tour.dock.workbench.say(
        "scans/brain_07.nii.gz cannot be read (the file ends early); copy it again from where it came", "error"
    )
    shot("1-study-error")
    tour.dock.messages.clear()


def _pretexts(tour: Tour, shot: Callable[[str], None], states: bool) -> None:
    tab = tour.dock.show_tab(PRETEXT)
    for method in ("volume_fusion", "simmim"):
        tab.choose_method(method)
        shot(f"2-pretext-{method.replace('_', '-')}")
    if states:
        tab.form.more_button.setChecked(True)
        tab.thumbnails.chosen.emit("mask")
        tab.dims_box.set_value(3)
        shot("2-pretext-3d")
        tab.form.more_button.setChecked(False)
        tab.dims_box.set_value(2)
    for method in ("fdas", "lrc"):
        tab.choose_method(method)
        tab.regions.form.field("source").set_value("felzenszwalb")  # the same picture on every machine
        tab.regions.show_row.switch("felzenszwalb")
        tour.settle()
        if method == "lrc":
            tab.thumbnails.chosen.emit("points")
        shot(f"2-pretext-{method}")
        tab.regions.show_row.switch("felzenszwalb", False)


def _open_predicted_case(tour: Tour) -> None:
    """Look at the labelled test scan that most runs have predicted."""
    bench = tour.dock.workbench
    runs = bench.runs
    tested = [case for case in bench.cases if case.split == "test" and case.label is not None]
    if tested:
        chosen = max(tested, key=lambda case: sum(run.prediction_path(case.id).is_file() for run in runs))
        bench.open_case(chosen.id)
        tour.settle()


class Tour:
    """The window, and patience."""

    def __init__(self, viewer: Any, dock: SSLDock) -> None:
        self.viewer, self.dock = viewer, dock

    def settle(self, longest: float = LONGEST_WAIT) -> None:
        """Let the window work until nothing has been at work in it for a while."""
        from qtpy.QtWidgets import QApplication

        from napari_ssl_seg.gui.workers import active_count

        app = QApplication.instance()
        assert app is not None
        end, quiet, rounds = time.monotonic() + longest, time.monotonic(), 0
        # Rounds too, and not seconds alone: on a busy machine one round can take longer than the quiet that is waited for.
        while time.monotonic() < end and (time.monotonic() - quiet < QUIET_SECONDS or rounds < QUIET_ROUNDS):
            begun = time.monotonic()
            app.processEvents()
            long_round = time.monotonic() - begun > QUIET_SECONDS / 2  # what it did may have asked for more
            time.sleep(0.005)
            rounds += 1
            if active_count() or long_round:
                quiet, rounds = time.monotonic(), 0

    def save(self, path: Path) -> None:
        """The whole window as a PNG."""
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)


@contextlib.contextmanager
def _window(size: tuple[int, int], theme: str) -> Iterator[Tour]:
    import napari

    viewer = napari.Viewer(title="SSL segmentation", show=True)
    try:
        viewer.theme = theme
        viewer.window.resize(*size)
        dock = SSLDock(viewer)
        viewer.window.add_dock_widget(dock, name="SSL segmentation", area="right")
        tour = Tour(viewer, dock)
        tour.settle()
        yield tour
    finally:
        viewer.close()
