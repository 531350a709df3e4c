"""Making the predictions that a comparison lacks: for a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_ssl_seg.study import Study


@dataclass(frozen=True)
class PredictionProgress:
    """How far it is: of all scans of all runs."""

    title: str
    done: int
    total: int
    seconds_left: float | None = None

    @property
    def fraction(self) -> float:
        return self.done / self.total if self.total else 1.0


def predict_missing(study: Study, missing: Mapping[str, Sequence[str]]) -> Generator[PredictionProgress, None, None]:
    """Predict the cases (by run id) that a comparison lacks; what is made stays when it is stopped half-way."""
    from napari_ssl_seg.training import predict

    total = sum(len(cases) for cases in missing.values())
    done = 0
    for run_id, cases in missing.items():
        run = study.run(run_id)
        title = run.record.title or run.id
        yield PredictionProgress(title, done, total)
        for event in predict(study, run, cases=list(cases)):
            if event.kind == "prediction":
                done += 1
            left = event.data.get("seconds_left")
            yield PredictionProgress(title, done, total, left if len(missing) == 1 else None)
