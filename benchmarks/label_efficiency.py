"""Label efficiency: scratch against each pretrained start, by number of labelled cases.

    python benchmarks/label_efficiency.py [--data FOLDER] [--out FOLDER] [--device cpu]

On the real hippocampus scans where they lie beside the checkout (``../shared/data/hippocampus``), on the phantoms
otherwise. One split for all; the scans that lend no label are the unlabelled ones; a budget of 5 contains the budget of
2. The checkpoint is chosen on the validation split; every number is of the test split. It can be stopped and goes on
where it was.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import RESULTS, circumstances, keep

from napari_ssl_seg import Study
from napari_ssl_seg.commands.text import follow
from napari_ssl_seg.protocol import Outcome, Protocol, compare_methods

if TYPE_CHECKING:
    from collections.abc import Sequence

HIPPOCAMPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "hippocampus"
COLOURS = {
    "scratch": "#000000",
    "simmim": "#0072B2",
    "volume_fusion": "#D55E00",
    "fdas": "#009E73",
    "lrc": "#CC79A7",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HIPPOCAMPUS, help="a folder with images/ and labels/")
    parser.add_argument("--out", type=Path, default=Path("label_efficiency"), help="where the study and its runs lie")
    parser.add_argument("--methods", default="scratch,simmim,volume_fusion,fdas,lrc")
    parser.add_argument("--budgets", default="2,5,10")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pretrain-iterations", type=int, default=1500)
    parser.add_argument("--finetune-iterations", type=int, default=300)
    parser.add_argument("--dims", type=int, default=2)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--own-rates", action="store_true", help="pretrain each method at the learning rate it brings")
    parser.add_argument("--name", default=None, help="of the result files")
    options = parser.parse_args(arguments)

    study, data_name = open_study(options.data, options.out)
    # Nobody watches; and the rate at which the kept results were made, whatever the default becomes.
    common = {"preview_seconds": 0, "checkpoint_seconds": 600, "learning_rate": 2e-3}
    pretraining = {key: value for key, value in common.items() if not (options.own_rates and key == "learning_rate")}
    protocol = Protocol(
        methods=tuple(options.methods.split(",")),
        budgets=tuple(int(part) for part in options.budgets.split(",")),
        repeats=options.repeats,
        pretrain_iterations=options.pretrain_iterations,
        finetune_iterations=options.finetune_iterations,
        dims=options.dims,
        preset=options.preset,
        device=options.device,
        pretrain_settings=pretraining,
        finetune_settings={**common, "evaluate_every": max(1, options.finetune_iterations // 3)},
    )
    start = time.monotonic()
    outcome = follow(compare_methods(study, protocol))
    name = options.name or f"label_efficiency_{data_name}"
    keep(name, results(study, protocol, outcome, data_name, time.monotonic() - start))
    draw(outcome, RESULTS / f"{name}.png", data_name)


def open_study(data: Path, out: Path) -> tuple[Study, str]:
    """The study of an earlier call, or a new one."""
    name = "hippocampus"
    if not (data / "images").is_dir():
        from napari_ssl_seg.sample import bundled_study_source

        data, name = bundled_study_source("cardiac"), "cardiac_phantom"
    folder = out / "study"
    if (folder / "study.db").exists():
        return Study.open(folder), name
    split = (70, 8, 22)
    if name == "hippocampus":
        images, labels, classes = data / "images", data / "labels", {1: "anterior", 2: "posterior"}
        return Study.create(folder, images=images, labels=labels, split=split, seed=0, classes=classes), name
    return Study.create(folder, images=data, split=split, seed=0), name


def results(study: Study, protocol: Protocol, outcome: Outcome, data_name: str, seconds: float) -> dict[str, Any]:
    """Plain values: the table, every single run, and what was asked for."""
    return {
        "data": data_name,
        "cases": dict(study.counts()),
        "fingerprint": study.fingerprint([case.id for case in study.cases()]),
        "protocol": {
            "methods": protocol.methods,
            "budgets": protocol.budgets,
            "repeats": protocol.repeats,
            "pretrain_iterations": protocol.pretrain_iterations,
            "finetune_iterations": protocol.finetune_iterations,
            "dims": protocol.dims,
            "preset": protocol.preset,
            "learning_rate": protocol.finetune_settings["learning_rate"],
            "pretraining_rate": protocol.pretrain_settings.get("learning_rate", "the method's own"),
            "pretraining": "one per method and repeat" if protocol.pretrain_every_repeat else "one per method",
        },
        "seconds_of_this_call": round(seconds),
        "table": outcome.summary(),
        "runs": [
            {
                "method": e.method,
                "cases": e.budget,
                "repeat": e.repeat,
                "dice": e.dice,
                "assd_mm": e.assd,
                "missed": e.missed,
            }
            for e in outcome.entries
        ],
    }


def draw(outcome: Outcome, path: Path, data_name: str) -> None:
    """Dice and ASSD; every repeat is a dot. Of several budgets against labelled cases, of one side by side by method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    methods = list(dict.fromkeys(entry.method for entry in outcome.entries))
    budgets = sorted({entry.budget for entry in outcome.entries})
    measures = ((axes[0], "dice", "mean Dice on the test scans"), (axes[1], "assd", "ASSD on the test scans (mm)"))
    for place, method in enumerate(methods):
        colour = COLOURS.get(method, f"C{place}")
        for axis, measure, _ in measures:
            values = {
                budget: [getattr(e, measure) for e in outcome.entries if (e.method, e.budget) == (method, budget)]
                for budget in budgets
            }
            at = {budget: place if len(budgets) == 1 else budget for budget in budgets}
            dots = [(at[budget], value) for budget in budgets for value in values[budget]]
            axis.plot(*zip(*dots, strict=True), ".", color=colour, alpha=0.5)
            means = [sum(values[budget]) / len(values[budget]) for budget in budgets]
            axis.plot(list(at.values()), means, "_-"[len(budgets) > 1], color=colour, label=method, markersize=14)
    for axis, _, label in measures:
        axis.set(ylabel=label)
        axis.grid(alpha=0.3)
        if len(budgets) > 1:
            axis.set(xlabel="labelled scans", xticks=budgets)
        else:
            axis.set_xticks(range(len(methods)), methods, rotation=20)
    if len(budgets) > 1:
        axes[0].legend(frameon=False)
    where = circumstances()
    scans = "" if len(budgets) > 1 else f", {budgets[0]} labelled scans"
    figure.suptitle(
        f"{data_name.replace('_', ' ')}{scans}, {where['gpu'] or str(where['cores']) + ' CPU cores'}", fontsize=10
    )
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
