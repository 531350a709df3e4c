"""What might make a pretraining beat scratch, tried one by one on two labelled hippocampus scans.

    python benchmarks/pretraining_remedies.py [--out FOLDER] [--only "NAME;NAME"]

Each remedy differs from its neighbours in what its name says and in nothing else. Draws of labels, networks, steps of
fine-tuning and the choice of the checkpoint are those of ``label_efficiency.py``; the learning rate is 0.005 throughout,
today's default, unless a remedy says otherwise. It can be stopped and goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import keep
from label_efficiency import HIPPOCAMPUS, open_study

from napari_ssl_seg.commands.text import follow
from napari_ssl_seg.protocol import SCRATCH, Protocol, compare_methods

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = 1500
REMEDIES: dict[str, dict[str, Any]] = {
    "scratch": {"method": SCRATCH},
    "simmim": {"method": "simmim"},
    "simmim, small blocks": {"method": "simmim", "settings": {"block_size": 4, "mask_ratio": 0.6}},
    "volume_fusion": {"method": "volume_fusion"},
    "simmim, three times as long": {"method": "simmim", "iterations": 3 * STEPS},
    "volume_fusion, three times as long": {"method": "volume_fusion", "iterations": 3 * STEPS},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HIPPOCAMPUS, help="a folder with images/ and labels/")
    parser.add_argument("--out", type=Path, default=Path("pretraining_remedies"))
    parser.add_argument("--only", default="", help="names of remedies, with semicolons between; all where empty")
    parser.add_argument("--budget", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    study, data_name = open_study(options.data, options.out)
    chosen = [name for name in REMEDIES if not options.only or name in options.only.split(";")]
    rows = []
    for name in chosen:
        outcome = follow(
            compare_methods(
                study,
                protocol_of(REMEDIES[name], options.budget, options.device),
                progress_file=study.folder / "cache" / f"remedy {name}.json",
            )
        )
        rows.append({"remedy": name, **outcome.summary()[0], "each": [round(e.dice, 4) for e in outcome.entries]})
        keep(
            f"pretraining_remedies_{data_name}",
            {"data": data_name, "labelled_cases": options.budget, "finetune_iterations": 300, "table": rows},
        )


def protocol_of(remedy: dict[str, Any], budget: int, device: str) -> Protocol:
    method = remedy["method"]
    common = {"preview_seconds": 0, "checkpoint_seconds": 600, "learning_rate": 5e-3}
    return Protocol(
        methods=(method,),
        budgets=(budget,),
        repeats=3,
        pretrain_iterations=remedy.get("iterations", STEPS),
        finetune_iterations=300,
        dims=2,
        preset="small",
        device=device,
        method_settings={method: remedy.get("settings", {})},
        pretrain_settings=common,
        finetune_settings={**common, "evaluate_every": 100},
    )


if __name__ == "__main__":
    main()
