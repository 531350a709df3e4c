"""A study in memory, for tests of what only asks a study for its cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FakeCase:
    id: str
    shape: tuple[int, int, int] = (12, 20, 16)
    spacing: tuple[float, float, float] = (3.0, 1.0, 1.0)
    split: str = "train"
    label: Path | None = None
    group: str = ""
    warnings: tuple[str, ...] = ()
    labelled_slices: tuple[int, ...] | None = None


@dataclass
class FakeStudy:
    name: str = "fake"
    items: list[FakeCase] = field(
        default_factory=lambda: [FakeCase("a"), FakeCase("b", shape=(4, 8, 8)), FakeCase("c")]
    )
    classes: tuple[Any, ...] = ()
    folder: Path = Path("fake")
    problems: tuple[Any, ...] = ()

    @property
    def scored(self) -> list[Any]:
        return list(self.classes)

    def cases(self, split: str | None = None, labelled: bool | None = None) -> list[FakeCase]:
        return [
            case for case in self.items if split in (None, case.split) and labelled in (None, case.label is not None)
        ]

    def counts(self) -> dict[str, int]:
        return {split: len(self.cases(split)) for split in ("train", "validation", "test")}

    def runs(self) -> list[Any]:
        return []
