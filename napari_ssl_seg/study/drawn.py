"""The bridge from what is drawn in a study's label store to the label files that training and scores read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.study.study import Study


def publish_labels(study: Study, case_ids: Sequence[str] | None = None) -> list[str]:
    """Write label files of what was drawn since the last time; the ids of those cases. A glance where there is no store."""
    if not (study.folder / "labels" / "labels.db").exists():
        return []
    from napari_ssl_seg.annotation.publishing import publish

    return publish(study, case_ids)
