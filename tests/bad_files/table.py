"""docs/trust.md, whose table is made from the corpus: ``python -m tests.bad_files.table`` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.bad_files.corpus import CORPUS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
KINDS = {
    "image": "Scans (NIfTI, NRRD, MetaImage, DICOM)",
    "label": "Label maps",
    "checkpoint": "Checkpoints of a run",
    "weights": "Weights of a run",
    "run": "What a run says of itself",
    "sam": "Weights of Segment Anything",
    "manifest": "dataset.json",
    "targets": "Files of targets",
    "masks": "Masks made elsewhere",
    "archive": "Downloaded archives",
}
HEAD = """# What is refused, and why

Scans, weights and lists of files come from other people, and some are damaged, odd or made to do harm. Each is either
opened with the right voxels, opened with a warning that stays with the case, or refused in one sentence that names the
file, the reason and what to do: in the reader, when a study is made (there the others are imported and these are listed),
on the command line (exit status 2) and in the window. A refusal takes less than 2 seconds and 200 MB.

- Headers and what they claim are judged before memory is taken. A packed file is read to its end, where its checksum is.
- NRRD and MetaImage are read without SimpleITK, which ends the program on some headers and fills cut files with zeros.
- Nothing in a file is ever run: weights are read as tensors alone (`weights_only`, safetensors), YAML without tags and aliases.
- A header that names another file, a dataset.json and a run lead to no file outside their own folder.
- Weights of a run carry a SHA-256 over their tensors; checkpoints are zip archives whose checksums are looked at; numbers
  that are not finite, and tensors of another network, are refused.
- Nothing listens on a network port. Downloads happen when they are asked for, by https and with a checksum.
- Names and identifiers in headers go into no log, record, report or prediction. A DICOM segmentation that is exported on
  request carries those of its scan, as the standard asks; and what a file is *called* is the name of its case.

The files below are made by `tests/bad_files`, and every one is tried in every way by which it can come in.
`benchmarks/damage_sweep.py` cuts and flips real files, `benchmarks/fuzz_readers.py` alters files at random; what they
found is in `benchmarks/results`.
"""


def trust_document() -> str:
    """The whole text."""
    lines = [HEAD]
    for kind, title in KINDS.items():
        entries = [entry for entry in CORPUS if entry.kind == kind]
        lines += [f"\n## {title}\n"]
        for verdict, word in (("refuse", "Refused"), ("warn", "Opened with a warning"), ("open", "Opened")):
            whys = [entry.why for entry in entries if entry.verdict == verdict]
            if whys:
                lines.append(f"| {word} ({len(whys)}) | as |\n| --- | --- |")
                for entry in entries:
                    if entry.verdict == verdict:
                        lines.append(f"| {entry.why} | `{entry.name}` |")
                lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(trust_document())
