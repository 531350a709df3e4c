"""Take the pictures of the tutorial again: ``python docs/tutorial_pictures.py IMAGES LABELS [OUT]``.

IMAGES is a folder of scans, LABELS one with their references, which stand in for the person who draws: at each suggested slice
the script clicks and draws what the reference has there, in the real window. Nothing else reads them, but for the Dice that is
printed at the end. OUT is ``docs/tutorial`` by default. Without a screen, run it under
``xvfb-run -a -s "-screen 0 1600x1000x24"``. It takes some minutes: two short trainings on the CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.gui.dock import LABEL, STUDY
from napari_ssl_seg.gui.tour import Tour, _window
from napari_ssl_seg.study import Study
from napari_ssl_seg.volumes import read_volume
from napari_ssl_seg.workbench import labelling_states as states

if TYPE_CHECKING:
    from collections.abc import Callable

SCANS, DRAWN, ITERATIONS = 12, 5, 200
LONGEST = 900.0


class Person:
    """Draws what the reference has, by mouse and brush, as far as the window is concerned."""

    def __init__(self, tour: Tour, labels: Path) -> None:
        self.tour, self.labels = tour, labels
        self.bench, self.tab = tour.dock.workbench, tour.dock.tab(LABEL)

    def reference(self, case_id: str) -> np.ndarray:
        return read_volume(self.labels / f"{case_id}.nii.gz", role="label").array

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let the window work until something is so."""
        end = time.monotonic() + LONGEST
        while not condition() and time.monotonic() < end:
            self.tour.settle(1.0)
        self.tour.settle(3.0)

    def open(self, case_id: str, index: int) -> None:
        self.bench.open_case(case_id)
        self.wait(lambda: self.tab.labelling.case is not None and self.tab.labelling.case.case_id == case_id)
        self.bench.set_slice(index)
        self.tour.settle(2.0)

    def click_regions(self) -> None:
        """Click the regions that are mostly inside a structure; the finest level."""
        tab, z = self.tab, self.bench.slice_index
        reference = self.reference(self.bench.case_id)[z]
        tab.region.take()
        self.wait(lambda: tab.region.ladder is not None)
        for _ in tab.region.ladder.levels:
            tab.region.step(1)
        finest = tab.region.ladder.levels[-1]
        for number in np.unique(finest[reference > 0]):
            inside = finest == number
            values, counts = np.unique(reference[inside], return_counts=True)
            value = int(values[counts.argmax()])
            if value and number:
                tab.labelling.take(value)
                y, x = np.argwhere(inside)[len(np.argwhere(inside)) // 2]
                self.press(z, y, x)

    def hover(self, y: float, x: float) -> None:
        self._mouse("mouseMove", (self.bench.slice_index, y, x))
        self.tour.settle(2.0)

    def press(self, z: int, y: float, x: float) -> None:
        self._mouse("mouseMove", (z, y, x))
        self._mouse("mouseClick", (z, y, x))

    def _mouse(self, kind: str, place: tuple[float, float, float]) -> None:
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        viewer, layer = self.tour.viewer, self.tab.layer.layer
        canvas = _canvas(viewer)
        camera = viewer.scene.camera
        offset = (np.array(layer.data_to_world(place))[-2:] - np.array(camera.center)[-2:]) * camera.zoom
        row, column = offset + np.array([canvas.height(), canvas.width()]) / 2
        pixel = QPoint(round(column), round(row))
        if kind == "mouseMove":
            QTest.mouseMove(canvas, pixel)
        else:
            QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, pixel)

    def correct(self) -> None:
        """Make the slice what the reference has, as brush and eraser would, and say that it is checked."""
        tab, z = self.tab, self.bench.slice_index
        tab.region.take(False)
        with tab.layer.stroke("paint"):
            tab.layer.write([((z, 0, 0), self.reference(self.bench.case_id)[z : z + 1])])
        if tab.labelling.states[z] != states.CHECKED:
            tab.actions.check()
        self.tour.settle(1.0)


def _canvas(viewer: Any) -> Any:
    from napari.qt import QtViewer

    return viewer.window._qt_window.findChild(QtViewer).canvas.native


def main() -> None:
    """One full round and the next, from a folder of scans to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).parent / "tutorial")
    chosen = parser.parse_args()
    chosen.images, chosen.labels, chosen.out = (p.absolute() for p in (chosen.images, chosen.labels, chosen.out))
    chosen.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, _window((1280, 800), "dark") as tour:
        files = sorted(chosen.images.glob("*.nii.gz"))[:SCANS]
        Study.create(Path(folder) / "hippocampus", images=files, split=(60, 20, 20)).close()

        def shot(name: str, words: str) -> None:
            tour.settle(4.0)
            tour.save(chosen.out / f"{name}.png")
            print(f"{time.monotonic() - begun:5.0f} s  {name}: {words}", flush=True)

        tour.dock.open_study(Path(folder) / "hippocampus")
        tour.settle()
        tour.dock.show_tab(STUDY)
        shot("01-study", "a study of unlabelled scans")
        tab = tour.dock.show_tab(LABEL)
        person, bench = Person(tour, chosen.labels), tour.dock.workbench
        person.wait(lambda: tab.labelling.opened is not None)
        bench.open_case(bench.cases[0].id)
        person.wait(lambda: tab.labelling.case is not None)
        for name in ("anterior", "posterior"):
            tab.actions.change_class(None, name=name)
        shot("02-classes", "two classes")
        tab.rounds.suggest()
        person.wait(lambda: not tab.rounds.going and tab.following.first is not None)
        person.wait(lambda: tab.labelling.case is not None)
        shot("03-suggested", tab.page.next.reason.text())
        _first_slices(person, shot)
        _validation(person)
        _round(person, shot, "05-training", "06-proposal")
        _accept_some(person, shot)
        _round(person, shot, None, "08-second-round")
        _export(person, shot)


def _first_slices(person: Person, shot: Callable[[str, str], None]) -> None:
    """Slices through the middle of the first train scans, one of them by regions for the picture."""
    train = [case for case in person.bench.cases if case.split == "train"]
    for number, case in enumerate(train[:DRAWN]):
        reference = person.reference(case.id)
        index = int(np.count_nonzero(reference, axis=(1, 2)).argmax())
        person.open(case.id, index)
        person.tab.labelling.take(1)
        if number == 0:
            person.click_regions()
            y, x = np.argwhere(reference[index] > 0).mean(axis=0)
            person.hover(y - 6, x)
            shot("04-region", "regions were clicked, the next one lights up")
        person.correct()
        if number == 0:
            for step in (-6, 6):
                person.bench.set_slice(index + step)
                person.correct()
            person.bench.set_slice(index + 3)
            person.tab.actions.fill_between()
            person.wait(lambda: person.tab.actions.proposing.proposal is not None)
            shot("04b-between", person.tab.page.proposal.words.text())
            person.tab.actions.accept("all")


def _round(person: Person, shot: Callable[[str, str], None], busy: str | None, done: str) -> None:
    """The filled button, and what it brings."""
    tab = person.tab
    tab.page.next.round.click()
    person.wait(lambda: bool(person.tour.dock.tab(2).queue.in_thread))
    if busy:
        shot(busy, tab.page.next.status.text())
    person.wait(lambda: not tab.rounds.going)
    person.wait(lambda: tab.labelling.case is not None and not tab.busy)
    person.wait(lambda: tab.actions.proposing.proposal is not None or tab.following.first is None)
    shot(done, tab.page.next.reason.text())


def _validation(person: Person) -> None:
    """A few slices of the validation scans are checked, so that there is a curve."""
    for case in [case for case in person.bench.cases if case.split == "validation"]:
        reference = person.reference(case.id)
        middle = int(np.count_nonzero(reference, axis=(1, 2)).argmax())
        person.open(case.id, middle)
        for index in (middle - 4, middle, middle + 4):
            person.bench.set_slice(index)
            person.correct()


def _accept_some(person: Person, shot: Callable[[str, str], None]) -> None:
    """The next suggestions: accept what is proposed, correct it, check it."""
    for number in range(DRAWN):
        if person.tab.following.first is None:
            return
        person.tab.actions.go()
        person.wait(lambda: person.tab.labelling.case is not None and not person.tab.busy)
        person.wait(lambda: not person.tab.page.tools.note.text().startswith("Reading"))
        person.tab.actions.accept("slice")
        if number == 0:
            shot("07-accepted", "a proposal was accepted; then it is corrected and checked")
        person.correct()


def _export(person: Person, shot: Callable[[str, str], None]) -> None:
    """A scan that nobody has drawn on: its proposal, accepted, in a file."""
    from napari_ssl_seg.evaluation import score

    tab, bench = person.tab, person.bench
    case = next(case for case in bench.cases if case.split == "test")
    run = bench.runs[-1].id
    person.open(case.id, case.shape[0] // 2)
    tab.actions._wanted = (case.id, case.shape[0] // 2, run)
    tab.actions.case_opened(case.id)
    person.wait(lambda: tab.actions.proposing.proposal is not None)
    tab.actions.accept("all")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = Path(f"{case.id}_labels.nii.gz")
        tab.page.files.ask_path = lambda _case: path
        tab.page.files.export_button.click()
        person.wait(path.is_file)
        shot("09-exported", person.tour.dock.messages.text)
        found = score(
            read_volume(path, role="label").array,
            person.reference(case.id),
            case.spacing,
            labels=[1, 2],
            metrics=("dice",),
        )
    print({label: round(values["dice"], 3) for label, values in found.items()}, flush=True)


if __name__ == "__main__":
    from napari_ssl_seg.workbench import labelling_next

    labelling_next.ITERATIONS = ITERATIONS
    main()
