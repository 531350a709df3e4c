"""What a card of the Train tab would start, as a file for the command line or a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.gui.train_cards import FinetuneCard, PretrainCard
    from napari_ssl_seg.workbench import Workbench


def save_job(
    workbench: Workbench, card: PretrainCard | FinetuneCard, kind: str, device: Callable[[], str]
) -> Path | None:
    """Ask for a name and write the job; None where there is nothing to write or the user changed their mind."""
    from napari_ssl_seg.training.jobs import write_job

    study, problem = workbench.study, card.problem()
    if problem is not None or study is None:
        workbench.say(problem or "no study is open; open or create one in the tab 1 Study", "error")
        return None
    proposed = study.folder.parent / f"{study.name}-{kind}.json"
    chosen = ask_file(card, proposed)
    if chosen is None:
        return None
    try:
        write_job(chosen, kind, study.folder, {**card.values(), "device": device()})
    except UserError as error:
        workbench.fail(error)
        return None
    workbench.say(
        f"wrote {chosen}: `napari-ssl-seg job {chosen.name}` runs it, with --slurm it writes a script for a cluster"
    )
    return chosen


def ask_file(card: PretrainCard | FinetuneCard, proposed: Path) -> Path | None:
    """Where to write."""
    name = QFileDialog.getSaveFileName(card, "Save as a job", str(proposed), "Jobs (*.json)")[0]
    return Path(name) if name else None
