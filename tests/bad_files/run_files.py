"""Files of a run and weights from elsewhere: with code in them, cut, altered, of another network, of another shape.

Those of kind "checkpoint", "weights" and "run" spoil a whole run, which lies in the file's folder before they are made;
a file's name stands for the run.
"""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bad_files.entry import entry
from tests.bad_files.spoiling import (
    PLACE,
    Payload,
    flip_in_archive,
    huge,
    rename,
    reshape,
    rewrite,
    spoil_weight,
    zip_bomb,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Kind, Verdict

FILES: list[BadFile] = []


def _add(name: str, kind: Kind, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(entry(name, kind, verdict, words, why, make))


# -- checkpoints of a run -----------------------------------------------------------------------------------------------
def _checkpoint(name: str, words: str, why: str, make: Callable[[Path], object], verdict: Verdict = "refuse") -> None:
    def spoil(path: Path) -> None:
        folder = path.parent / "checkpoints"
        (folder / "previous.pt").unlink(missing_ok=True)
        make(folder / "last.pt")

    _add(f"{name}.pt", "checkpoint", verdict, words, why, spoil)


def _in_checkpoint(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda path: rewrite(path, path, change)


def _keep_older(path: Path) -> None:
    path.with_name("previous.pt").write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-500])


_checkpoint(
    "checkpoint_code",
    "damaged",
    "code that would run when it is opened",
    _in_checkpoint(lambda state: state.update(extra=Payload(PLACE[0]))),
)
_checkpoint(
    "checkpoint_old_pickle",
    "damaged",
    "the same as a plain pickle",
    lambda path: path.write_bytes(pickle.dumps(Payload(PLACE[0]))),
)
_checkpoint("checkpoint_cut", "damaged", "cut short", lambda path: path.write_bytes(path.read_bytes()[:-700]))
_checkpoint("checkpoint_empty", "damaged", "no bytes at all", lambda path: path.write_bytes(b""))
_checkpoint("checkpoint_text", "damaged", "a text, renamed", lambda path: path.write_text("dear reader, " * 99))
_checkpoint("checkpoint_flipped", "damaged", "one bit of a weight is flipped", flip_in_archive)
_checkpoint("checkpoint_bomb", "damaged|unpack", "packed, so that it unpacks to gigabytes", zip_bomb)
_checkpoint("checkpoint_nan", "not finite", "a weight that is NaN", _in_checkpoint(spoil_weight(np.nan)))
_checkpoint("checkpoint_infinite", "not finite", "an infinite weight", _in_checkpoint(spoil_weight(np.inf)))
_checkpoint(
    "checkpoint_other_version",
    "another version",
    "another version's format",
    _in_checkpoint(lambda state: state.update(format=99)),
)
_checkpoint("checkpoint_list", "another version", "a list instead of a state", _in_checkpoint(lambda state: [1, 2, 3]))
_checkpoint("checkpoint_other_names", "do not fit", "tensors with other names", _in_checkpoint(rename))
_checkpoint("checkpoint_other_shape", "do not fit", "a tensor of another shape", _in_checkpoint(reshape))
_checkpoint("checkpoint_huge_tensor", "claims", "four bytes that claim a tensor of 400 GB", _in_checkpoint(huge))
_checkpoint("checkpoint_older_is_whole", "", "the newest is cut short, the one before is whole", _keep_older, "open")


# -- weights of a run ---------------------------------------------------------------------------------------------------
def _weights(name: str, words: str, why: str, make: Callable[[Path], object]) -> None:
    _add(f"{name}.safetensors", "weights", "refuse", words, why, lambda path: make(path.parent / "model.safetensors"))


def _tensors(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the tensors and save them as another program would: without the digest that ours has."""
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    change(state)
    save_file(state, path)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 1 << 2
    path.write_bytes(content)


def _model(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        description = json.loads(path.with_name("model.json").read_text())
        changed = change(description)
        path.with_name("model.json").write_text(json.dumps(description if changed is None else changed))

    return make


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.with_name("model.json").write_text(text)


_weights("weights_cut", "cannot be read", "cut short", lambda path: path.write_bytes(path.read_bytes()[:-99]))
_weights("weights_empty", "cannot be read", "no bytes at all", lambda path: path.write_bytes(b""))
_weights(
    "weights_long_header",
    "cannot be read",
    "a header that claims 2^60 bytes",
    lambda path: path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:]),
)
_weights(
    "weights_pickle",
    "cannot be read",
    "a pickle, renamed",
    lambda path: path.write_bytes(pickle.dumps(Payload(PLACE[0]))),
)
_weights("weights_flipped", "damaged", "one bit of a weight is flipped", _flip)
_weights("weights_nan", "not finite", "a weight that is NaN", lambda path: _tensors(path, spoil_weight(np.nan)))
_weights("weights_other_names", "do not fit", "tensors with other names", lambda path: _tensors(path, rename))
_weights("weights_other_shape", "do not fit", "a tensor of another shape", lambda path: _tensors(path, reshape))
_weights("model_no_json", "cannot be read as JSON", "a description that is no JSON", _text("{"))
_weights("model_deep", "cannot be read as JSON", "lists in lists, a hundred thousand deep", _text("[" * 100_000))
_weights(
    "model_long_number", "cannot be read as JSON", "a number of 5000 digits", _text('{"format": ' + "9" * 5000 + "}")
)
_weights("model_list", "not written by", "a list", _text("[]"))
_weights(
    "model_other_version", "not written by", "another version's format", _model(lambda found: found.update(format=99))
)
_weights("model_no_kind", "does not describe", "no kind", _model(lambda found: found.pop("kind") and None))
_weights("model_no_network", "does not describe", "no network", _model(lambda found: found.pop("network") and None))
_weights(
    "model_classes",
    "does not describe",
    "classes that are none",
    _model(lambda found: found.update(classes={"liver": 1})),
)
_weights(
    "model_classes_list",
    "does not describe",
    "classes that are a list",
    _model(lambda found: found.update(classes=[1, 2])),
)
_weights(
    "model_targets",
    "does not describe",
    "targets that are none",
    _model(lambda found: found.update(targets=[{"name": 1}])),
)
_weights(
    "model_unknown_network",
    "network",
    "a network that does not exist",
    _model(lambda found: found["network"].update(name="os.system")),
)
_weights(
    "model_bomb",
    "do not fit",
    "a network of terabytes",
    _model(lambda found: found["network"].update(options={"channels": [60000, 60000, 60000, 60000]})),
)
_weights(
    "model_million_classes",
    "do not fit",
    "a million classes",
    _model(lambda found: found.update(classes={str(n): "x" for n in range(1, 60000)})),
)


# -- what a run says of itself ------------------------------------------------------------------------------------------
def _run(name: str, words: str, why: str, change: Callable[[dict[str, Any]], Any] | str) -> None:
    def make(path: Path) -> None:
        place = path.parent / "run.json"
        if isinstance(change, str):
            place.write_text(change)
            return
        record = json.loads(place.read_text())
        change(record)
        place.write_text(json.dumps(record))

    _add(f"{name}.json", "run", "refuse", words, why, make)


_run("run_no_json", "cannot be read as JSON", "a record that is no JSON", '{"kind": ')
_run(
    "run_binary",
    "cannot be read as JSON",
    "a record that is no text",
    "\ud800".encode("utf-16", "surrogatepass").decode("latin-1"),
)
_run("run_list", "not a run record", "a list", "[1, 2]")
_run("run_deep", "cannot be read as JSON", "objects in objects, a hundred thousand deep", '{"kind":' * 100_000)
_run("run_other_kind", "not a run record", "a kind that there is not", lambda record: record.update(kind="delete"))
_run("run_more_fields", "not a run record", "fields that there are not", lambda record: record.update(command="rm"))
_run(
    "run_leads_out",
    "leads out",
    "cases whose names lead out of the folder",
    lambda record: record["cases"].update(train=["../../../x"], validation=["../../x"]),
)
