"""The one protocol by which methods are compared.

Every method sees the same split, the same labelled cases (nested: a budget of 5 contains the budget of 2), the same
network and the same number of fine-tuning steps; only what the weights start from differs. Pretraining sees the scans of
the train split without their labels, the checkpoint is chosen on the validation split, numbers are of the test split.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.contenders import SCRATCH, joint_options, parse_contenders
from napari_ssl_seg.errors import RunError, UserError
from napari_ssl_seg.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from pathlib import Path

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.evaluation.folders import PredictionFolder
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training import Event, Run


@dataclass(frozen=True)
class Protocol:
    """What is compared, and how much work each may do. ``None`` leaves a number to the training's own default."""

    methods: tuple[str, ...]
    """``scratch``, methods and variants of them, on a network of their own (``scratch@unetr``) or fine-tuned jointly with
    MOD (``simmim+mod``): see `napari_ssl_seg.contenders`."""
    budgets: tuple[int, ...]
    """Labelled cases to fine-tune on."""
    repeats: int = 3
    """Draws of labelled cases, each with its own seed."""
    pretrain_every_repeat: bool = False
    """Whether each repeat has a pretraining of its own; otherwise one per method serves all repeats."""
    pretrain_iterations: int | None = None
    finetune_iterations: int | None = None
    network: str | None = None
    preset: str | None = None
    dims: int | None = None
    device: str = "auto"
    method_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pretrain_settings: Mapping[str, Any] = field(default_factory=dict)
    finetune_settings: Mapping[str, Any] = field(default_factory=dict)
    predictions: Mapping[str, str] = field(default_factory=dict)
    """Name of a row -> folder with another framework's predictions of the test split (`evaluation.folders`)."""

    def __post_init__(self) -> None:
        if not self.methods or not self.budgets or self.repeats < 1:
            raise UserError("a comparison needs at least one method, one budget and one repeat")


@dataclass(frozen=True)
class Entry:
    """One fine-tuned run and its scores on the test split."""

    method: str
    budget: int
    repeat: int
    run: str
    parent: str | None
    dice: float
    """Mean over test cases of the mean over classes."""
    assd: float
    """mm; likewise, of the classes where it is defined."""
    missed: int
    """Case and class pairs that the prediction missed altogether."""
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """Everything that a comparison found."""

    entries: tuple[Entry, ...]
    table: ScoreTable
    folders: tuple[PredictionFolder, ...] = ()
    """Predictions of other frameworks, rows of the table by their ids."""

    def groups(self, budget: int) -> dict[str, list[str]]:
        """Method -> its runs with so many labelled cases, one a repeat; the rows of other frameworks at every number."""
        found: dict[str, list[str]] = {}
        for entry in self.entries:
            if entry.budget == budget:
                found.setdefault(entry.method, []).append(entry.run)
        return found | {folder.id: [folder.id] for folder in self.folders}

    @property
    def budgets(self) -> tuple[int, ...]:
        return tuple(sorted({entry.budget for entry in self.entries}))

    def summary(self) -> list[dict[str, Any]]:
        """Method x budget: mean and standard deviation over the repeats."""
        rows = []
        for method, budget in dict.fromkeys((entry.method, entry.budget) for entry in self.entries):
            group = [entry for entry in self.entries if (entry.method, entry.budget) == (method, budget)]
            rows.append(
                {
                    "method": method,
                    "labelled_cases": budget,
                    "repeats": len(group),
                    "dice": round(fmean(entry.dice for entry in group), 4),
                    "dice_sd": _spread([entry.dice for entry in group]),
                    "assd_mm": round(fmean(entry.assd for entry in group), 4),
                    "assd_sd": _spread([entry.assd for entry in group]),
                    "missed": sum(entry.missed for entry in group),
                    "seconds": round(fmean(entry.seconds for entry in group), 1),
                }
            )
        return rows


def compare_methods(
    study: Study, protocol: Protocol, *, progress_file: Path | None = None
) -> Generator[Event, None, Outcome]:
    """Pretrain, fine-tune, predict and score everything that the protocol names.

    What is finished is not done again: the runs of an earlier, interrupted call are found through ``progress_file``
    (default: one in the study's folder, named after the protocol).
    """
    from napari_ssl_seg.evaluation import ScoreTable, evaluate
    from napari_ssl_seg.evaluation.folders import open_prediction_folder
    from napari_ssl_seg.methods.variants import split_variant
    from napari_ssl_seg.training import finetune, predict, pretrain

    ledger = _Ledger(progress_file or study.folder / "cache" / "comparison.json", protocol)
    contenders = parse_contenders(protocol.methods)
    folders = tuple(open_prediction_folder(study, name, folder) for name, folder in protocol.predictions.items())
    beside = {contender: joint_options(contender, protocol.method_settings) for contender in contenders}
    entries, tables = [], []
    parts = _Parts(dict(zip(("pretrain", "fine-tune"), trainings(protocol), strict=True)))
    for repeat in range(protocol.repeats):
        for contender in contenders:
            common: dict[str, Any] = {
                "network": contender.network or protocol.network,
                "preset": protocol.preset,
                "dims": protocol.dims,
                "device": protocol.device,
            }
            method = contender.text
            parent: Run | None = None
            if contender.pretraining is not None:
                name, settings = split_variant(contender.start)
                seed = repeat if protocol.pretrain_every_repeat else 0
                if repeat == seed:
                    yield parts.next("pretrain", contender.pretraining)
                parent = yield from ledger.run(
                    study,
                    f"pretrain {contender.pretraining} {seed}",
                    lambda name=name, settings=settings, seed=seed, common=common: pretrain(
                        study,
                        method=name,
                        iterations=protocol.pretrain_iterations,
                        seed=seed,
                        settings={**protocol.method_settings.get(name, {}), **settings},
                        train=dict(protocol.pretrain_settings),
                        **common,
                    ),
                )
            for budget in protocol.budgets:
                start = time.monotonic()
                drawn = f", draw {repeat + 1} of {protocol.repeats}" if protocol.repeats > 1 else ""
                scans = f"{budget} labelled scan{'s' if budget > 1 else ''}"
                yield parts.next("fine-tune", f"{method} on {scans}{drawn}")
                inherited = beside[contender] | (common if parent is None else {"device": protocol.device})
                run = yield from ledger.run(
                    study,
                    f"finetune {method} {budget} {repeat}",
                    lambda parent=parent, budget=budget, repeat=repeat, inherited=inherited: finetune(
                        study,
                        init=parent or SCRATCH,
                        cases=budget,
                        iterations=protocol.finetune_iterations,
                        seed=repeat,
                        train=dict(protocol.finetune_settings),
                        **inherited,
                    ),
                )
                seconds = time.monotonic() - start
                if not run.scores_path.exists():
                    yield from predict(study, run, split="test", device=protocol.device)
                table = yield from evaluate(study, [run], split="test")
                entries.append(_entry(method, budget, repeat, run, parent, table, seconds))
                tables.append(table)
    if folders:
        tables.append((yield from evaluate(study, split="test", folders=folders)))
    return Outcome(tuple(entries), ScoreTable.merged(tables), folders)


class _Parts:
    """Counts the trainings of a protocol, and says which comes now."""

    def __init__(self, rest: dict[str, int]) -> None:
        self._rest, self._total, self._done = rest, sum(rest.values()), -1

    def next(self, kind: str, what: str) -> Event:
        """``progress``, with ``kind`` and ``rest`` (how many of each kind come after it) besides."""
        from napari_ssl_seg.training import Event

        self._done += 1
        self._rest[kind] -= 1
        data = {"what": f"{kind} {what}", "done": self._done, "total": self._total, "seconds_left": None}
        return Event("progress", data | {"kind": kind, "rest": dict(self._rest)})


def trainings(protocol: Protocol) -> tuple[int, int]:
    """How many pretrainings and fine-tunings the protocol is made of."""
    contenders = parse_contenders(protocol.methods)
    pretrained = sum(contender.pretraining is not None for contender in contenders)
    draws = protocol.repeats if protocol.pretrain_every_repeat else 1
    return pretrained * draws, len(contenders) * len(protocol.budgets) * protocol.repeats


def _entry(
    method: str, budget: int, repeat: int, run: Run, parent: Run | None, table: ScoreTable, seconds: float
) -> Entry:
    return Entry(
        method=method,
        budget=budget,
        repeat=repeat,
        run=run.id,
        parent=parent.id if parent else None,
        dice=table.spread_of("dice", run.id).mean,
        assd=table.spread_of("assd", run.id).mean,
        missed=sum(row.note.startswith("missed") for row in table.rows),
        seconds=seconds,
    )


class _Ledger:
    """Which run answers which part of the protocol, kept on disk, so that an interrupted comparison goes on."""

    def __init__(self, path: Path, protocol: Protocol) -> None:
        self.path, self.digest = path, _digest(protocol)
        stored = read_json(path) if path.exists() else {}
        self.runs: dict[str, str] = stored.get("runs", {}) if stored.get("protocol") == self.digest else {}

    def run(self, study: Study, key: str, start: Any) -> Generator[Event, None, Run]:
        from napari_ssl_seg.training import resume

        events = start()
        if key in self.runs:
            try:
                earlier = study.run(self.runs[key])
                if earlier.state == "finished":
                    return earlier
                events = resume(study, earlier)
            except RunError:
                pass  # its folder was deleted: it is made again
        noted = False
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                run = end.value
                break
            if event.run and not noted:
                self._note(key, event.run)
                noted = True
            yield event
        self._note(key, run.id)
        if run.state != "finished":
            raise RunError(f"run {run.id} was stopped before its end; start the comparison again and it goes on there")
        return run

    def _note(self, key: str, run_id: str) -> None:
        if self.runs.get(key) != run_id:
            self.runs[key] = run_id
            write_json(self.path, {"protocol": self.digest, "runs": self.runs})


def _digest(protocol: Protocol) -> str:
    """Everything that changes the runs themselves: budgets and repeats may grow without starting over."""
    return repr(
        (
            protocol.pretrain_every_repeat,
            protocol.pretrain_iterations,
            protocol.finetune_iterations,
            protocol.network,
            protocol.preset,
            protocol.dims,
            sorted((name, sorted(dict(values).items())) for name, values in protocol.method_settings.items()),
            sorted(protocol.pretrain_settings.items()),
            sorted(protocol.finetune_settings.items()),
        )
    )


def _spread(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(stdev(known), 4) if len(known) > 1 else None
