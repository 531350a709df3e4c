"""Files altered at random, from a seed each: opened or refused in our words, never another error, never a hang."""

from __future__ import annotations

import gzip
import json
import shutil
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.bad_files.dicom_files import dicom_bytes
from tests.bad_files.entry import RAW, labels, nifti_bytes, pack, save, tar_bytes, voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ODD_WORDS = (
    *(b"nan", b"-1", b"0", b"1e400", b"-inf", b"99999999999999999999", b"9" * 5000, b"null", b"true", b"[]", b"{}"),
    *(b'""', b"LIST", b"../../etc/passwd", b"/dev/zero", b"%n%s", b"\0", b"\xff\xfe", b"\n", b"\n\n", b'"x"', b"1.5"),
    *(b"[[[[[[[[", b"*a", b"&a", b"!!python/none", b"2001-99-99", b"none", b"vector", b"(nan,nan,nan)", b"0x10"),
)
SLOW = 5.0
"""Seconds."""


@dataclass(frozen=True)
class Target:
    """A good file, and what reads it."""

    name: str
    content: bytes
    read: Callable[[Path], object]
    packed: bool = False
    """Whether it is packed after it was altered."""


class Defect(AssertionError):
    """What was found: neither opened nor refused in one sentence of ours, or too slow."""


def volume_targets() -> list[Target]:
    """Images and label maps of every format."""
    from napari_ssl_seg.volumes import read_header, read_volume

    def image(path: Path) -> None:
        read_header(path, verify=True)
        read_volume(path)

    nrrd = b"NRRD0004\ntype: int16\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 6 7\n"
    nrrd += (
        b"space directions: (1,0,0) (0,2,0) (0,0,3.5)\nkinds: domain domain domain\nendian: little\nencoding: gzip\n"
    )
    nrrd += b"space origin: (10,-20,30)\n\n"
    meta = b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    meta += b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 10 -20 30\nElementSpacing = 1 2 3.5\nDimSize = 5 6 7\n"
    meta += b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    return [
        Target("image.nii", nifti_bytes(), image),
        Target("image.nii.gz", nifti_bytes(), image, packed=True),
        Target("floats.nii.gz", nifti_bytes(voxels("float32") / 3), image, packed=True),
        Target("packed.nii.gz", pack(nifti_bytes()), image),
        Target("label.nii.gz", nifti_bytes(labels()), lambda path: read_volume(path, role="label"), packed=True),
        Target("image.nrrd", nrrd + pack(RAW), image),
        Target("plain.nrrd", nrrd.replace(b"gzip", b"raw") + RAW, image),
        Target("image.mha", meta + RAW, image),
        Target("image.dcm", dicom_bytes(), image),
    ]


def manifest_targets(folder: Path) -> list[Target]:
    """What names files, labels, runs and networks; ``folder`` is for what they belong to."""
    from napari_ssl_seg.commands.studies import parse_targets
    from napari_ssl_seg.regions.foreign import read_records
    from napari_ssl_seg.sample._unpack import unpack
    from napari_ssl_seg.study.layouts import find_cases
    from napari_ssl_seg.training import drain

    save(folder / "good.nii.gz", nifti_bytes())
    save(folder / "good_label.nii.gz", nifti_bytes(labels()))
    entries = [{"image": "good.nii.gz", "label": "good_label.nii.gz"}, "good.nii.gz"]
    described = {
        "name": "x", "modality": {"0": "MRI"}, "numTraining": 1, "training": entries, "test": entries[1:],
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rest": 3}, "regions_class_order": [1, 2, 3],
    }  # fmt: skip
    mask = {"segmentation": {"size": [4, 5], "counts": [3, 4, 13]}, "area": 4, "bbox": [0, 0, 2, 2]}

    def unpacked(path: Path) -> None:
        into = folder / "into"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        drain(unpack(path, into, folder="Task99", limit=10**6, what="unpacking"))

    return [
        Target("dataset.json", json.dumps(described).encode(), lambda path: find_cases(path.parent)),
        Target("targets.yaml", b"whole tumour: [1, 2, 4]\ntumour core:\n  - 1\n  - 4\nenhancing: 4\n", lambda path: parse_targets([str(path)])),
        Target("masks.json", json.dumps([mask] * 3).encode(), read_records),
        Target("set.tar", tar_bytes(("Task99/a.txt", b"x" * 700), ("Task99/b/c.txt", b"y")), unpacked),
        Target("set.tar.gz", tar_bytes(("Task99/a.txt", b"x" * 700)), unpacked, packed=True),
    ]  # fmt: skip


def run_targets(folder: Path) -> list[Target]:
    """The files of a run with a small network, made in ``folder``."""
    import torch

    from napari_ssl_seg.networks import NetworkSpec, build_network
    from napari_ssl_seg.training.checkpoints import load_checkpoint, save_checkpoint
    from napari_ssl_seg.training.runs import Run, RunRecord
    from napari_ssl_seg.training.weights import load_segmentation, save_weights

    spec = NetworkSpec(dims=2, patch=(16, 16), options={"channels": (2, 3, 4, 4)})
    record = RunRecord(
        kind="finetune", network=spec.model_dump(mode="json"), settings={"iterations": 3}, classes={1: "liver"},
        cases={"train": ["a"], "validation": ["b"]}, versions={"torch": "2"}, fingerprint="x",
    )  # fmt: skip
    run = Run.create(folder, record)
    network = build_network(spec, 2)
    save_weights(run, network.state_dict(), step=3)
    save_checkpoint(run.checkpoint_path("last"), {"model": network.state_dict(), "optimizer": {"state": {}}, "step": 3})
    run.note_prepared({"k": 3}, {"areas": [1, 2]})
    (run.folder / "process.json").write_text(json.dumps({"pid": 1, "create_time": 1.0, "host": "x", "detached": True}))
    (run.folder / "heartbeat").touch()
    assert torch.is_tensor(next(network.parameters()))

    def looked_at(path: Path) -> None:
        assert run.record and run.state and (run.events(), run.config, run.facts, run.process, run.alive, True)[-1]
        for case in [case for used in run.record.cases.values() for case in used]:
            run.prediction_path(case)

    names = ("run.json", "events.jsonl", "process.json", "prepared.json")
    found = [Target(name, (run.folder / name).read_bytes(), looked_at) for name in names]
    found += [
        Target(name, (run.folder / name).read_bytes(), lambda path: load_segmentation(run))
        for name in ("model.json", "model.safetensors")
    ]
    checkpoint = run.checkpoint_path("last")
    found.append(Target("checkpoints/last.pt", checkpoint.read_bytes(), lambda path: load_checkpoint(path)))
    return [Target(str(run.folder / target.name), target.content, target.read) for target in found]


def alter(content: bytes, rng: np.random.Generator, header: int = 700) -> bytes:
    """``content`` with one to five changes, most of them near its beginning."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not changed:
            break
        reach = min(len(changed), header) if rng.random() < 0.8 else len(changed)
        place = int(rng.integers(reach))
        kind = int(rng.integers(8))
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place] = int(rng.integers(256))
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            del changed[place : place + int(rng.integers(1, 9))]
        elif kind == 4:
            changed[place:place] = changed[place : place + int(rng.integers(1, 60))]
        elif kind == 5:
            changed[place : place + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\xc0\x7f"])  # fmt: skip
        else:
            _change_word(changed, place, ODD_WORDS[int(rng.integers(len(ODD_WORDS)))])
    return bytes(changed)


def _change_word(changed: bytearray, place: int, word: bytes) -> None:
    """Put ``word`` in place of the number or word that lies at or after ``place``."""
    begin = place
    while begin < len(changed) and not chr(changed[begin]).isalnum():
        begin += 1
    end = begin
    while end < len(changed) and (chr(changed[end]).isalnum() or changed[end] in b".-"):
        end += 1
    changed[begin:end] = word


def attempt(target: Target, folder: Path, seed: int) -> str:
    """Alter, read, restore; "opened" or "refused".

    Raises
    ------
    Defect
        With the name, the seed and what happened.
    """
    from napari_ssl_seg.errors import UserError

    path = folder / target.name
    altered = alter(target.content, np.random.default_rng([seed, len(target.content)]))
    path.write_bytes(gzip.compress(altered, 1) if target.packed else altered)
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # one on standard error would be a second line beside ours
            target.read(path)
        said = None
    except UserError as error:
        said = str(error)
    except Exception as error:
        raise Defect(f"{path.name}, seed {seed}: {type(error).__name__}: {error}"[:500]) from error
    finally:
        path.write_bytes(target.content)
    seconds = time.process_time() - started
    if seconds > SLOW:
        raise Defect(f"{path.name}, seed {seed}: {seconds:.1f} s")
    if said is not None and ("\n" in said or len(said) < 20):
        raise Defect(f"{path.name}, seed {seed}: not one sentence: {said!r}")
    return "opened" if said is None else "refused"


def all_targets(folder: Path) -> list[Target]:
    """Everything; files lie in ``folder``."""
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    return [*volume_targets(), *manifest_targets(folder), *run_targets(folder / "runs")]
