"""The study: cases, splits, classes and runs of one folder, and the one gate through which voxels are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_ssl_seg.errors import StudyError
from napari_ssl_seg.study.arrays import create_from_arrays
from napari_ssl_seg.study.changes import given_label, look_again, with_slices
from napari_ssl_seg.study.classes import change_class, new_classes
from napari_ssl_seg.study.creation import create_study
from napari_ssl_seg.study.database import Database
from napari_ssl_seg.study.drawn import publish_labels
from napari_ssl_seg.study.hashing import combined_fingerprint
from napari_ssl_seg.study.purposes import check_purpose, check_split
from napari_ssl_seg.study.records import SPLITS, Case, ClassInfo, Problem, Purpose, Scan, Split, StudySettings
from napari_ssl_seg.study.split import seeded_order
from napari_ssl_seg.study.targets import scored_classes
from napari_ssl_seg.study.voxels import Voxels

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from napari_ssl_seg.study.arrays import ArrayItem
    from napari_ssl_seg.study.importing import FourD, OnProblem, Progress
    from napari_ssl_seg.study.layouts import Images, Labels
    from napari_ssl_seg.study.split import Groups
    from napari_ssl_seg.study.targets import Targets
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.volumes import Volume


class Study:
    """A study folder. Safe to use from several threads; what is stored is read when asked for.

    Images and labels are referred to where they lie, and never changed or moved.

    Parameters
    ----------
    folder :
        One that `create` made.
    cache_bytes :
        How much memory normalised scans and labels may take; by default a quarter of what is free.
    large_bytes :
        Scans that take more (normalised, 4 bytes a voxel) are cut from blocks on disk, in the study's cache, and never in
        memory as a whole; by default 256 MiB, which is 512x512x256. Where all scans together do not fit into
        ``cache_bytes``, so are those above 16 MiB. What is read is the same to the bit (z-scores: to rounding).

    Raises
    ------
    StudyError
        When there is no study, or its database is damaged, of another program, or of another version.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, cache_bytes: int | None = None, large_bytes: int | None = None
    ) -> None:
        self.folder = Path(folder).absolute()
        self._database = Database(self.folder)
        self.settings: StudySettings = self._database.settings
        total = self._database.scan_bytes
        self._voxels = Voxels(self.settings, self.cache_folder, total, cache_bytes=cache_bytes, large_bytes=large_bytes)

    # -- making and opening -----------------------------------------------------------------------------------------
    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        *,
        images: Images,
        labels: Labels = None,
        split: Iterable[float] | str = (70, 10, 20),
        seed: int = 0,
        groups: Groups = None,
        normalisation: str = "percentile",
        classes: Mapping[int | str, str] | Iterable[str] | None = None,
        targets: Targets = None,
        four_d: FourD = "channels",
        sparse_labels: bool = False,
        on_problem: OnProblem = "skip",
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Study:
        """Make a study of scans on disk, whole or not at all.

        Parameters
        ----------
        folder :
            Where the study's own files go; there must be no study yet.
        images :
            A folder (with subfolders), a file, or a list of files, in which a tuple of files is the channels of one case.
            nnU-Net's ``_0000`` suffixes and the ``dataset.json`` of the Medical Segmentation Decathlon are understood.
        labels :
            A folder or list of files, paired with the images by name; a mapping of case id -> file; or None.
        split :
            Per cent of the cases for train, validation and test. Groups stay whole. Where some cases have labels and
            others do not, the percentages are of the labelled groups, and groups without labels go to train. Train gets
            at least one group, then test, then validation, where there are enough.
        seed :
            Of the draw; the same cases and seed give the same split on every machine.
        groups :
            Which cases belong together, usually scans of a patient: a mapping of case id -> group, or a regular
            expression for the file name such as ``r"(patient\\d+)"``. None: each case by itself. Copies of one scan are
            always kept together.
        normalisation :
            A name of `napari_ssl_seg.volumes.list_normalisations`.
        classes :
            Names by value, or in the order of the values 1, 2, ...
        targets :
            Unions of label values that may overlap, such as ``{"whole tumour": [1, 2, 4], "tumour core": [1, 4]}``: what is
            segmented and scored in place of the classes (`study.targets.read_targets`). None: the ``dataset.json``'s, if any.
        four_d :
            What the fourth axis of a file is; each time point becomes a case of its own (``..._t00``), in one group.
        sparse_labels :
            Whether axial slices without any label count as unlabelled, rather than as background.
        on_problem :
            "skip" leaves out files that cannot be used and lists them in `problems` (where only its label cannot be used
            a case stays in, unlabelled); "raise" refuses everything at the first.
        name :
            What windows call the study; the folder's name if None.
        progress :
            Called as ``progress(done, total, path)`` in this thread; what it raises ends the import, and nothing remains.

        Raises
        ------
        StudyError
            When there is a study already, no image can be used, or an argument is wrong.
        """
        return cls(
            create_study(
                Path(folder).absolute(),
                images=images,
                labels=labels,
                name=name,
                split=split,
                seed=seed,
                groups=groups,
                normalisation=normalisation,
                classes=classes,
                targets=targets,
                four_d=four_d,
                sparse_labels=sparse_labels,
                on_problem=on_problem,
                progress=progress,
            )
        )

    @classmethod
    def create_from_arrays(
        cls,
        folder: str | os.PathLike[str],
        items: Iterable[ArrayItem],
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> Study:
        """Make a study of arrays in memory, such as the layers open in the viewer, whole or not at all.

        They are written as NIfTI into ``imported/`` in the study's folder, where the study then refers to them.

        Parameters
        ----------
        items :
            ``(name, image, label or None, geometry)``: image (z, y, x) or (C, z, y, x), or (y, x) for a single slice; label
            (z, y, x) of whole numbers; geometry a `Geometry`, or the spacing (z, y, x) in mm, or None for 1 mm.
        options :
            As in `create`, but for ``images``, ``labels`` and ``four_d``. Anything that cannot be used is refused
            (``on_problem="raise"``) unless asked otherwise.

        Raises
        ------
        StudyError
            As in `create`, and for an array that is no scan, or a label of another shape than its image.
        """
        return cls(create_from_arrays(Path(folder).absolute(), items, progress=progress, **options))

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Study:
        """Open a study; takes milliseconds, however many cases there are."""
        return cls(folder)

    def close(self) -> None:
        """Give back memory and the database file; the study may be used again afterwards."""
        self._voxels.clear()
        self._database.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Study], tuple[Path]]:
        return type(self), (self.folder,)

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    # -- what it holds ----------------------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def runs_folder(self) -> Path:
        return self.folder / "runs"

    @property
    def cache_folder(self) -> Path:
        return self.folder / "cache"

    def cases(self, split: str | None = None, labelled: bool | None = None) -> list[Case]:
        """Cases in natural order of their ids, of one split and with (or without) labels where asked for."""
        return self._database.cases(check_split(split), labelled)

    def case(self, case_id: str) -> Case:
        """Raises StudyError when the study has no such case."""
        case = self._database.case(case_id)
        if case is None:
            known = ", ".join(self._database.ids()[:3])
            raise StudyError(
                f"{self.name} has no case {case_id!r}; it has {known} ... (`napari-ssl-seg info` lists all)"
            )
        return case

    def counts(self, labelled: bool | None = None) -> dict[Split, int]:
        """Number of cases by split; only those with (or without) labels where asked for."""
        found = self._database.counts(labelled)
        return {split: found.get(split, 0) for split in SPLITS}

    @property
    def problems(self) -> list[Problem]:
        """Files that were left out when the study was made."""
        return self._database.problems()

    @property
    def classes(self) -> list[ClassInfo]:
        """Classes by value, without the background 0."""
        return self._database.classes()

    @property
    def scored(self) -> list[ClassInfo]:
        """What is segmented and scored: the classes, or the targets by the values that they are painted with."""
        return scored_classes(self.classes, self.settings.targets)

    def train_labelled_order(self, seed: int = 0) -> list[str]:
        """Ids of the labelled train cases in a seeded order, of which every budget of labels is the beginning."""
        return seeded_order(self._database.ids("train", True), seed)

    def median_shape(self) -> tuple[int, int, int]:
        """Median of the train cases' shapes (z, y, x), each axis by itself; of all cases where none is in train."""
        z, y, x = (round(float(value)) for value in self._database.medians("nz, ny, nx"))
        return z, y, x

    def median_spacing(self) -> tuple[float, float, float]:
        """Median of the train cases' spacings (z, y, x) in mm, each axis by itself."""
        z, y, x = (float(value) for value in self._database.medians("dz, dy, dx"))
        return z, y, x

    def fingerprint(self, case_ids: Iterable[str] | None = None) -> str:
        """SHA-256 (hex) over the contents of images and labels of some cases (all if None), in any order.

        Of the files as they are now: see `refresh`.
        """
        chosen = None if case_ids is None else set(case_ids)
        self.refresh(chosen)
        rows = self._database.columns("id, fingerprint, label_fingerprint, frame")
        return combined_fingerprint(row[1:] for row in rows if chosen is None or row[0] in chosen)

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        from napari_ssl_seg.training.runs import list_runs

        return list_runs(self.runs_folder)

    def run(self, run_id: str) -> Run:
        """The run of that id, or the one whose id begins so; raises RunError where none or several do."""
        from napari_ssl_seg.training.runs import find_run

        return find_run(self.runs_folder, run_id)

    # -- voxels -----------------------------------------------------------------------------------------------------
    def allowed(self, case_id: str, purpose: Purpose) -> Case:
        """The case, if it may be used for ``purpose``: every reading of voxels passes here.

        "train" takes cases of the split train alone, "choose" (validation, choice of a checkpoint) none of the split test;
        "predict", "evaluate" and "show" take all.

        Raises
        ------
        LeakageError
            Naming the case and its split.
        """
        case = self.case(case_id)
        check_purpose(case, purpose)
        return case

    def image(self, case_id: str, *, purpose: Purpose) -> Volume:
        """The image as the file has it, (z, y, x) or (C, z, y, x); read anew each time, so it may be written to."""
        return self._voxels.image(self.allowed(case_id, purpose))

    def patches_source(self, case_id: str, *, purpose: Purpose) -> Scan:
        """The normalised image, float32 (C, z, y, x), kept in memory while it fits; its array is read-only.

        The array of a large one reads from blocks on disk what is cut out of it (`volumes.block_array.BlockArray`): slice
        it, and do no more with it.
        """
        return self._voxels.scan(self.allowed(case_id, purpose))

    def label(self, case_id: str, *, purpose: Purpose) -> Volume | None:
        """The label map (z, y, x), unsigned integers; None where there is none.

        Kept in memory and read-only, except for the purpose "show", which gets a copy of its own to draw on. Which slices
        count is in `Case.labelled_slices`.
        """
        found = self._voxels.label(self.allowed(case_id, purpose))
        return replace(found, array=found.array.copy()) if found is not None and purpose == "show" else found

    def label_source(self, case_id: str, *, purpose: Purpose) -> np.ndarray | None:
        """The label map (z, y, x) as parts are cut from it: like `patches_source`, for `label`. None where there is none."""
        return self._voxels.label_source(self.allowed(case_id, purpose))

    # -- what may change --------------------------------------------------------------------------------------------
    def set_class(
        self, value: int, *, name: str | None = None, color: str | None = None, lesion: bool | None = None
    ) -> ClassInfo:
        """Rename or recolour a class, mark it as one of lesions (or not), or add one that is yet to be drawn.

        Raises
        ------
        StudyError
            When the value, the name (empty, or another class's) or the colour (not #rrggbb) cannot be used.
        """
        return self._database.set_class(change_class(self.classes, value, name, color, lesion))

    def add_label(
        self, case_id: str, path: str | os.PathLike[str], *, slices: Iterable[int] | Literal["found"] | None = "found"
    ) -> Case:
        """Give a case a label map (or another one); the file is referred to where it lies.

        Axial ``slices`` count; None: all; "found": as the study was made, all or those with any label.

        Raises
        ------
        StudyError
            When it cannot be read, holds anything but classes, or does not share the image's grid; nothing is changed then.
        """
        new = given_label(self.case(case_id), Path(path).absolute(), sparse=self.settings.sparse_labels)
        new = new if slices == "found" else with_slices(new, slices)
        self._store([new])
        return new

    def refresh(self, case_ids: Iterable[str] | None = None) -> list[Case]:
        """Look again at files that were written to since the study knows them, such as labels mended in another program.

        What was drawn in the study's label store since (`annotation.publishing`) is brought into label files first.

        Fingerprints, classes and labelled slices follow; splits never change. Costs a glance at each file where nothing
        was written.

        Returns
        -------
        The cases (of ``case_ids``, or all) that have another content now.

        Raises
        ------
        StudyError
            When what was written cannot be used.
        """
        chosen = None if case_ids is None else list(dict.fromkeys(case_ids))
        published = publish_labels(self, chosen)
        cases = self.cases() if chosen is None else [self.case(case_id) for case_id in chosen]
        sparse = self.settings.sparse_labels
        changes = [change for case in cases if (change := look_again(case, sparse=sparse)) is not None]
        if changes:
            self._store([change.new for change in changes])
        other = {change.new.id for change in changes if change.other_content}.union(published)
        return [self.case(case.id) for case in cases if case.id in other]

    def _store(self, cases: list[Case]) -> None:
        values = {value for case in cases for value in case.label_values}
        self._database.update_cases(cases, new_classes(self.classes, values))

    def set_labelled_slices(self, case_id: str, indices: Sequence[int] | None) -> Case:
        """Say which axial slices of a case's label count; None: all.

        Raises
        ------
        StudyError
            When the case has no label, or an index is not one of its slices.
        """
        new = with_slices(self.case(case_id), indices)
        self._database.update_cases([new])
        return new
