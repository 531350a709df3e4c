"""What a training would use, leave out and take, in words and numbers, before it is started. No Qt, no torch."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench.run_progress import RunProgress

GUESSED_RATES = {
    ("cpu", 2): 4.0,
    ("cpu", 3): 3.0,
    ("cuda", 2): 40.0,
    ("cuda", 3): 15.0,
    ("mps", 2): 15.0,
    ("mps", 3): 5.0,
}
"""Steps a second of the small networks where nothing was measured yet."""
JOINT_COST = 3.0
"""How much longer a step takes with a method trained beside the labels: two more passes of the student, two of a teacher."""


def used_line(study: Study) -> str:
    """``28 unlabelled scans to pretrain on; 8 test scans never touched``."""
    counts = study.counts()
    train = study.cases(split="train")
    unlabelled = sum(case.label is None for case in train)
    parts = [
        f"{count(len(train), 'scan')} to pretrain on" + (f", {unlabelled} of them unlabelled" if unlabelled else "")
    ]
    if counts.get("validation"):
        parts.append(f"{counts['validation']} to choose the checkpoint")
    parts.append(f"{count(counts.get('test', 0), 'test scan')} never touched")
    return "; ".join(parts)


def labels_available(study: Study) -> tuple[int, int]:
    """Labelled cases of the train split, and labelled slices in them."""
    cases = study.cases(split="train", labelled=True)
    slices = sum(len(case.labelled_slices) if case.labelled_slices is not None else case.shape[0] for case in cases)
    return len(cases), slices


def expected_rate(
    runs: Iterable[RunProgress], *, kind: str, method: str | None, preset: str | None, dims: int | None, device: str
) -> tuple[float, bool]:
    """Steps a second to expect, and whether that was measured in an earlier run of this study like the one asked for.

    ``method`` is the one pretrained with, or trained jointly with; None for a plain fine-tuning.
    """
    rates = []
    for run in runs:
        record = run.record
        if record is None or not run.rate or (record.kind, record.device) != (kind, device):
            continue
        if (record.method or record.joint) != method:
            continue
        if preset not in (None, record.network.get("preset")) or dims not in (None, record.network.get("dims")):
            continue
        rates.append(float(run.rate))
    if rates:
        return median(rates[:5]), True
    guessed = GUESSED_RATES.get((device.split(":")[0], dims or 3), 3.0)
    return guessed / (JOINT_COST if kind == "finetune" and method else 1.0), False


def settings_lines(progress: RunProgress) -> list[tuple[str, str]]:
    """What a run was asked for, as pairs of words."""
    record = progress.record
    if record is None:
        return []
    network = record.network
    lines = [
        ("kind", record.kind),
        ("method", record.method or "-"),
        *([("trained jointly with", record.joint)] if record.joint else []),
        ("started from", record.parent or ("scratch" if record.kind == "finetune" else "random weights")),
        ("network", f"{network.get('name', 'unet')} {network.get('preset', '')}, {network.get('dims', '?')}D"),
        ("patch", "×".join(str(size) for size in network.get("patch") or ()) or "-"),
        ("device", record.device),
        ("seed", str(record.seed)),
    ]
    for use, cases in record.cases.items():
        names = ", ".join(cases[:6]) + (" …" if len(cases) > 6 else "")
        lines.append((f"{use} cases", f"{len(cases)}" + (f": {names}" if names else "")))
    if record.slices:
        lines.append(("labelled slices", str(sum(len(slices) for slices in record.slices.values()))))
    lines += [(name, _plain(value)) for name, value in {**record.config, **record.settings}.items()]
    return lines


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
