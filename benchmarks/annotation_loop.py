"""Label efficiency of the annotation loop: a simulated annotator labels what each strategy asks for.

    python benchmarks/annotation_loop.py [--data hippocampus|cardiac|FOLDER] [--out FOLDER] [--repeats 5]

For each strategy, start (scratch or a pretraining) and repeat: the slices of a pool of train scans are asked for in
batches, the annotator (`annotator.py`, where the costs are) reveals their reference, and at each number of slices a network
is fine-tuned and scored on all test scans. Fine-tunings start from the start's weights each time, not from the last
round's: so each point says what these labels are worth, whatever came before, and all have had the same steps. The last
weights are kept, as with so few labels there are none to validate with. The last fine-tuning is what the next
batch is asked of, and what the annotator corrects.

Each finished trajectory is kept in OUT/ledger.json; a call that was stopped goes on there. Results (also unfinished ones:
--draw) go to ``results/annotation_loop_NAME.json`` and ``.png``: means over the repeats with 95 % bands (bootstrap).
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from annotator import SECONDS_PER_REGION, SECONDS_PER_VOXEL, Annotator
from common import RESULTS, keep

from napari_ssl_seg import Study, finetune, pretrain, suggest
from napari_ssl_seg.evaluation import score
from napari_ssl_seg.files import read_json, write_json
from napari_ssl_seg.study.split import seeded_order
from napari_ssl_seg.training import drain, load_segmentation, segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.training import Run

HIPPOCAMPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "hippocampus"
COLOURS = {
    "random": "#000000",
    "diversity": "#009E73",
    "uncertainty": "#D55E00",
    "mixed": "#0072B2",
    "expected_error": "#CC79A7",
    "disagreement": "#E69F00",
}
BANDS = 2000
"""Bootstrap draws of the repeats."""


@dataclass(frozen=True)
class Plan:
    """What every trajectory has in common."""

    budgets: tuple[int, ...]
    iterations: int
    batch_size: int
    learning_rate: float
    pool: int
    variation: str
    pretrain_iterations: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="hippocampus", help="hippocampus, cardiac (phantoms), or images/ and labels/")
    parser.add_argument("--out", type=Path, default=Path("annotation_loop"), help="where the study and the ledger lie")
    parser.add_argument("--strategies", default="random,mixed,diversity,uncertainty")
    parser.add_argument("--starts", default="scratch,simmim", help="scratch, or names of pretext methods")
    parser.add_argument(
        "--pretrained", nargs="*", type=Path, default=[], help="folders of runs to take, on the same split"
    )
    parser.add_argument("--budgets", default="3,6,10,20,40")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument(
        "--pool", type=int, default=40, help="train scans whose slices may be asked for, drawn anew each repeat"
    )
    parser.add_argument("--variation", default="none", choices=("none", "tta", "dropout"))
    parser.add_argument("--pretrain-iterations", type=int, default=1500)
    parser.add_argument("--name", default=None, help="of the result files")
    parser.add_argument("--draw", action="store_true", help="only write the results of what is finished")
    options = parser.parse_args(arguments)
    plan = Plan(
        budgets=tuple(sorted(int(part) for part in options.budgets.split(","))),
        iterations=options.iterations,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        pool=options.pool,
        variation=options.variation,
        pretrain_iterations=options.pretrain_iterations,
    )
    study, data_name = open_study(options.data, options.out)
    name = options.name or f"annotation_loop_{data_name}"
    ledger = Ledger(options.out / "ledger.json", plan)
    if not options.draw:
        starts = {start: find_start(study, start, options.pretrained, plan) for start in options.starts.split(",")}
        annotator = Annotator(study)
        for repeat in range(options.repeats):  # by repeat, so that a stopped call has all curves, with wider bands
            for strategy in options.strategies.split(","):
                for start, run in starts.items():
                    key = f"{strategy}|{start}|{repeat}"
                    if key in ledger.done:
                        continue
                    began = time.monotonic()
                    rows = trajectory(study, annotator, strategy, run, repeat, plan)
                    ledger.note(key, rows)
                    line = " ".join(f"{row['slices']}:{row['dice']:.3f}" for row in rows)
                    print(f"{time.strftime('%H:%M:%S')} {key} {time.monotonic() - began:.0f} s  {line}", flush=True)
    if ledger.done:
        results = summarise(ledger.done, plan, data_name, study)
        keep(name, results)
        draw(results, RESULTS / f"{name}.png")


# -- one trajectory -------------------------------------------------------------------------------------------------
def trajectory(
    study: Study, annotator: Annotator, strategy: str, start: Run | None, repeat: int, plan: Plan
) -> list[dict[str, Any]]:
    """From no label to the last budget; one row a budget."""
    annotator.forget()
    train = [case.id for case in study.cases(split="train")]
    outside = [(case_id, None) for case_id in seeded_order(train, 100 + repeat)[plan.pool :]]
    last: Run | None = None
    slices = regions = voxels = 0
    seconds, rows = 0.0, []
    for budget in plan.budgets:
        asked = strategy if last is not None or strategy in ("random", "diversity", "mixed") else "random"
        chosen = drain(
            suggest(
                study,
                strategy=asked,
                runs=[run for run in (start, last) if run is not None],
                count=budget - slices,
                skip=outside,
                seed=1000 * repeat + budget,
                variation=plan.variation,
                device="cpu",
            )
        )
        for item in chosen:
            proposal = None if last is None else predict_slice(study, last, item.case_id, item.slice_index)
            work = annotator.label(item.case_id, item.slice_index, proposal)
            regions, voxels, seconds = regions + work.regions, voxels + work.voxels, seconds + work.seconds
        slices += len(chosen)
        before, last = last, tune(study, start, repeat, plan)
        if before is not None:
            forget_run(study, before)
        dice = score_test(study, last)
        rows.append(
            {
                "slices": slices,
                "dice": round(float(dice.mean()), 4),
                "dice_by_class": [round(float(value), 4) for value in dice],
                "regions": regions,
                "voxels": voxels,
                "seconds": round(seconds, 1),
                "empty": empty_share(study),
            }
        )
    if last is not None:
        forget_run(study, last)
    return rows


def tune(study: Study, start: Run | None, repeat: int, plan: Plan) -> Run:
    train = {
        "preview_seconds": 0,
        "checkpoint_seconds": 86400,
        "threads": 1,
        "learning_rate": plan.learning_rate,
        "validation_cases": 1,
    }
    network = {} if start is not None else {"dims": 2, "preset": "small"}
    return drain(
        finetune(
            study,
            start or "scratch",
            iterations=plan.iterations,
            batch_size=plan.batch_size,
            seed=repeat,
            device="cpu",
            train=train,
            **network,
        )
    )


def predict_slice(study: Study, run: Run, case_id: str, index: int) -> np.ndarray:
    """Label values (y, x)."""
    network, spec, classes = load_segmentation(run)
    array = study.patches_source(case_id, purpose="train").array
    numbers = segment(network, np.asarray(array[:, index : index + 1]), spec, overlap=0.25)
    return np.array([0, *classes])[numbers[0]]


def score_test(study: Study, run: Run) -> np.ndarray:
    """Mean Dice over the test scans of each class."""
    network, spec, classes = load_segmentation(run)
    values = np.array([0, *classes])
    table = []
    for case in study.cases(split="test", labelled=True):
        numbers = segment(network, study.patches_source(case.id, purpose="evaluate").array, spec, overlap=0.25)
        reference = study.label(case.id, purpose="evaluate")
        assert reference is not None
        scores = score(values[numbers], reference.array, case.spacing, labels=list(classes), metrics=("dice",))
        table.append([scores[value]["dice"] for value in classes])
    return np.nanmean(np.array(table, float), axis=0)


def empty_share(study: Study) -> float:
    """Share of the labelled slices that show no structure."""
    found = []
    for case in study.cases(split="train", labelled=True):
        volume = study.label(case.id, purpose="train")
        assert volume is not None
        found += [not volume.array[index].any() for index in case.labelled_slices or ()]
    return round(float(np.mean(found)), 3)


def forget_run(study: Study, run: Run) -> None:
    """Thousands of runs would fill the disk."""
    shutil.rmtree(run.folder)
    for folder in (study.cache_folder / "suggestion").glob(f"{run.id}-*"):
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


# -- what it works on -----------------------------------------------------------------------------------------------
def open_study(data: str, out: Path) -> tuple[Study, str]:
    """The study of an earlier call, or a new one; the split is that of ``label_efficiency.py``."""
    folder, name = out / "study", Path(data).name
    if (folder / "study.db").exists():
        return Study.open(folder), name
    if data == "cardiac":
        from napari_ssl_seg.sample import bundled_study_source

        return Study.create(folder, images=bundled_study_source("cardiac"), split=(60, 5, 35), seed=0), name
    source = HIPPOCAMPUS if data == "hippocampus" else Path(data)
    classes = {1: "anterior", 2: "posterior"} if data == "hippocampus" else None
    images, labels = source / "images", source / "labels"
    return Study.create(folder, images=images, labels=labels, split=(70, 8, 22), seed=0, classes=classes), name


def find_start(study: Study, start: str, offered: Sequence[Path], plan: Plan) -> Run | None:
    """The study's pretraining of that name: there already, taken from a folder, or trained now."""
    if start == "scratch":
        return None
    for folder in offered:
        record = read_json(folder / "run.json")
        if record["method"] == start and not (study.runs_folder / folder.name).exists():
            held_out = {case.id for case in study.cases() if case.split != "train"}
            if held_out & set(record["cases"]["train"]):
                raise SystemExit(f"{folder} was pretrained on scans that are not in the train split here")
            skipped = shutil.ignore_patterns("checkpoints", "previews")
            shutil.copytree(folder, study.runs_folder / folder.name, ignore=skipped)
    known = [run for run in study.runs() if run.record.method == start and run.weights_path.is_file()]
    if known:
        return known[-1]
    train = {"preview_seconds": 0, "threads": 1}
    return drain(
        pretrain(study, start, iterations=plan.pretrain_iterations, dims=2, preset="small", device="cpu", train=train)
    )


class Ledger:
    """Finished trajectories, kept on disk; those of another plan do not count."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, _plain(asdict(plan))
        stored = read_json(path) if path.exists() else {}
        if stored and stored["plan"] != self.plan:
            raise SystemExit(f"{path} holds trajectories of another plan ({stored['plan']}); choose another --out")
        self.done: dict[str, list[dict[str, Any]]] = stored.get("done", {})

    def note(self, key: str, rows: list[dict[str, Any]]) -> None:
        self.done[key] = rows
        write_json(self.path, {"plan": self.plan, "done": self.done})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


# -- what came out --------------------------------------------------------------------------------------------------
def summarise(done: dict[str, list[dict[str, Any]]], plan: Plan, data_name: str, study: Study) -> dict[str, Any]:
    """Means with bands, and whether the goal was reached."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for strategy, start in dict.fromkeys(tuple(key.split("|")[:2]) for key in done):
        repeats = [rows for key, rows in sorted(done.items()) if key.startswith(f"{strategy}|{start}|")]
        curve = []
        for place in range(len(plan.budgets)):
            dice = np.array([rows[place]["dice"] for rows in repeats])
            low, high = band(dice)
            curve.append(
                {
                    "slices": repeats[0][place]["slices"],
                    "dice": round(float(dice.mean()), 4),
                    "low": round(low, 4),
                    "high": round(high, 4),
                    "repeats": len(dice),
                    **{
                        what: round(float(np.mean([rows[place][what] for rows in repeats])), 3)
                        for what in ("regions", "voxels", "seconds", "empty")
                    },
                }
            )
        curves[f"{strategy}, {start}"] = curve
    return {
        "data": data_name,
        "cases": dict(study.counts()),
        "plan": asdict(plan),
        "cost": {"seconds_per_region": SECONDS_PER_REGION, "seconds_per_voxel": SECONDS_PER_VOXEL},
        "goal": goal(curves),
        "curves": curves,
        "trajectories": done,
    }


def goal(curves: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What random choice from scratch reaches with most slices, and how many each curve needs for it."""
    base = curves.get("random, scratch")
    if not base:
        return {}
    aim = base[-1]
    needed = {
        name: next(
            (
                {"slices": point["slices"], "seconds": point["seconds"]}
                for point in curve
                if point["dice"] >= aim["dice"]
            ),
            None,
        )
        for name, curve in curves.items()
    }
    return {"random from scratch": aim, "needed for its Dice": needed}


def band(values: np.ndarray) -> tuple[float, float]:
    """95 % of the means of bootstrap draws of the repeats."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(BANDS, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def draw(results: dict[str, Any], path: Path) -> None:
    """Dice against slices and against cost; a row of panels a start, with random from scratch in each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = results["curves"]
    starts = list(dict.fromkeys(name.split(", ")[1] for name in curves))
    figure, grid = pyplot.subplots(len(starts), 2, figsize=(9, 3.2 * len(starts)), layout="constrained", squeeze=False)
    base = curves.get("random, scratch")
    for row, start in zip(grid, starts, strict=True):
        shown = {name.split(", ")[0]: curve for name, curve in curves.items() if name.split(", ")[1] == start}
        for strategy, curve in shown.items():
            for axis, what in zip(row, ("slices", "seconds"), strict=True):
                at = [point[what] / (60 if what == "seconds" else 1) for point in curve]
                colour = COLOURS.get(strategy, "#888888")
                axis.plot(at, [point["dice"] for point in curve], "o-", color=colour, label=strategy, markersize=3)
                low, high = ([point[side] for point in curve] for side in ("low", "high"))
                axis.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        for axis, label in zip(row, ("labelled slices", "minutes of work (simulated)"), strict=True):
            if base:
                axis.axhline(base[-1]["dice"], color="#888888", linestyle=":", linewidth=1)
            axis.set(xlabel=label, ylabel="mean Dice, test scans", title=f"from {start}")
            axis.grid(alpha=0.3)
        row[0].legend(frameon=False, fontsize=8)
    repeats = max(point["repeats"] for curve in curves.values() for point in curve)
    figure.suptitle(
        f"{results['data']}: {repeats} repeat{'s' * (repeats != 1)}, 95 % bands; dotted: random from scratch, {base[-1]['slices'] if base else '-'} slices",
        fontsize=10,
    )
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
