"""What names files or labels: a dataset.json, a file of targets, masks made elsewhere, a downloaded archive."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

from tests.bad_files.entry import bomb, entry, labels, nifti_bytes, pack, save, tar_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bad_files.entry import BadFile, Kind, Verdict

FILES: list[BadFile] = []


def _add(name: str, kind: Kind, verdict: Verdict, words: str, why: str, make: Callable[[Path], object]) -> None:
    FILES.append(entry(name, kind, verdict, words, why, make))


# -- dataset.json -------------------------------------------------------------------------------------------------------
def _manifest(
    name: str,
    words: str,
    why: str,
    content: Any,
    verdict: Verdict = "refuse",
    beside: Callable[[Path], object] | None = None,
) -> None:
    """The file is called so for the table; on the disk it is a ``dataset.json``."""

    def make(path: Path) -> None:
        save(path.parent / "good.nii.gz", nifti_bytes())
        save(path.parent / "good_label.nii.gz", nifti_bytes(labels()))
        (path.parent.parent / "secret.nii.gz").write_bytes(pack(nifti_bytes()))
        if beside is not None:
            beside(path.parent)
        text = content if isinstance(content, str) else json.dumps(content)
        (path.parent / "dataset.json").write_text(text, encoding="utf-8", errors="surrogatepass")

    _add(f"{name}.dataset.json", "manifest", verdict, words, why, make)


def _entries(*images: Any) -> dict[str, Any]:
    return {"name": "x", "labels": {"0": "background", "1": "liver"}, "training": list(images), "test": []}


def _link(folder: Path) -> None:
    (folder / "linked.nii.gz").symlink_to(folder.parent / "secret.nii.gz")


_manifest(
    "leads_out",
    "leads out",
    "an image outside its folder",
    _entries({"image": "../secret.nii.gz", "label": "good_label.nii.gz"}),
)
_manifest(
    "label_leads_out",
    "leads out",
    "a label outside its folder",
    _entries({"image": "good.nii.gz", "label": "../../../../etc/passwd"}),
)
_manifest("leads_to_root", "leads out", "a file of the system", _entries({"image": "/etc/passwd"}))
_manifest("link_out", "leads out", "a link out of its folder", _entries({"image": "linked.nii.gz"}), beside=_link)
_manifest("zero_byte", "null", "a zero byte in a name", _entries({"image": "good.nii.gz\0.png"}))
_manifest("names_a_number", "names no image", "a number instead of a name", _entries({"image": 7}))
_manifest("names_nothing", "names no image", "nothing instead of a name", _entries(None))
_manifest("names_a_folder", "no DICOM", "a folder without scans", _entries({"image": "."}))
_manifest("image_is_gone", "does not exist", "an image that is not there", _entries({"image": "gone.nii.gz"}))
_manifest("long_name", "", "a name of 100,000 letters", _entries({"image": "x" * 100_000 + ".nii.gz"}))
_manifest("lone_surrogate", "", "a name that is no text", _entries({"image": "\ud800.nii.gz"}))
_manifest("no_json", "cannot be read as JSON", "no JSON", "{'training': []}")
_manifest("deep", "cannot be read as JSON", "lists in lists, a hundred thousand deep", "[" * 100_000)
_manifest("long_number", "cannot be read as JSON", "a number of 5000 digits", '{"training": ' + "9" * 5000 + "}")
_manifest("list", "describes no data set", "a list", "[]")
_manifest(
    "regions_wrong",
    "regions",
    "regions that cannot be painted",
    {**_entries({"image": "good.nii.gz"}), "labels": {"a": [1, 2], "b": [1, 2]}, "regions_class_order": [1, 2]},
)
_manifest(
    "regions_infinite",
    "regions",
    "an infinite label value",
    {**_entries({"image": "good.nii.gz"}), "labels": {"a": [1, float("inf")], "b": [3]}, "regions_class_order": [1, 3]},
)
_manifest(
    "odd_labels",
    "",
    "labels that are none",
    {
        **_entries({"image": "good.nii.gz", "label": "good_label.nii.gz"}),
        "labels": {"1": None, "x": {}, "2": "  ", "99999999": "far", "liver": 1.5},
    },
    "open",
)
_manifest(
    "named_twice",
    "",
    "the same image in training and test",
    {**_entries({"image": "good.nii.gz", "label": "good_label.nii.gz"}), "test": ["./good.nii.gz"]},
    "open",
)
_manifest(
    "relative_dots",
    "",
    "a name that leads out and in again",
    _entries({"image": "x/../good.nii.gz", "label": "./good_label.nii.gz"}),
    "open",
    lambda folder: (folder / "x").mkdir(),
)


# -- targets ------------------------------------------------------------------------------------------------------------
def _targets(name: str, words: str, why: str, content: str | bytes, verdict: Verdict = "refuse") -> None:
    data = content.encode() if isinstance(content, str) else content
    _add(f"{name}.yaml", "targets", verdict, words, why, lambda path: path.write_bytes(data))


_laughs = "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
_targets("alias_bomb", "alias", "a few aliases that stand for 10^29 values", _laughs)
_targets("alias_loop", "alias", "a list that contains itself", "tumour: &a [1, *a]")
_targets(
    "python_code",
    "tag",
    "a call of a function of Python's",
    "tumour: !!python/object/apply:os.mkdir [PWNED]",
)
_targets("deep_lists", "deep", "lists in lists, ten thousand deep", "tumour: " + "[" * 10_000)
_targets("deep_objects", "deep", "mappings in mappings", "".join(" " * n + "a:\n" for n in range(300)))
_targets("no_yaml", "cannot be read", "no YAML", "tumour: [1, 2\nother: }")
_targets("binary", "cannot be read", "no text", bytes(range(128, 256)))
_targets("odd_key", "name should be", "a list as a name", "? [1, 2]\n: 3")
_targets("only_a_list", "names no targets", "a list", "- 1\n- 2\n")
_targets("only_a_word", "names no targets", "a word", "tumour")
_targets("nothing", "names no targets", "nothing", "")
_targets("impossible_date", "label values", "a date that does not exist", "tumour: 2001-99-99")
_targets("endless_number", "label values", "a number of 5000 digits", "tumour: [" + "9" * 5000 + "]")
_targets("infinite_value", "label values", "an infinite value", "tumour: [.inf]")
_targets("negative_value", "-1", "a negative value", "tumour: [-1]")
_targets("half_value", "label values", "a fraction", "tumour: [1.5]")
_targets("word_value", "label values", "a word as a value", "tumour: [liver]")
_targets("beyond_classes", "99999999", "a value beyond 65535", "tumour: [99999999]")
_targets("twice", "twice", "a name twice", "tumour: [1]\ntumour: [2]")
_targets("zeros_in_front", "", "012 means twelve, and no is a name", "no: [012]\ncore: [1]\n", "open")


# -- masks made elsewhere -----------------------------------------------------------------------------------------------
def _masks(name: str, words: str, why: str, content: Any, verdict: Verdict = "refuse") -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    _add(f"{name}.json", "masks", verdict, words, why, lambda path: path.write_text(text))


def _mask(size: Any, counts: Any) -> list[Any]:
    return [{"segmentation": {"size": size, "counts": counts}}]


_masks("masks_no_list", "no list", "no list", {"a": 1})
_masks("masks_no_json", "cannot be read as JSON", "no JSON", "[{]")
_masks("masks_bomb", "size", "a mask of 10^12 pixels", _mask([10**6, 10**6], [10**12]))
_masks("masks_many", "claims", "a thousand masks of 4 GB", _mask([60_000, 60_000], [36 * 10**8]) * 1000)
_masks("masks_long_run", "", "a run longer than its mask", _mask([4, 4], [0, 10**9]))
_masks("masks_negative_run", "", "a negative run", _mask([4, 4], [20, -4]))
_masks("masks_no_size", "", "a size that is none", _mask("4x4", [16]))
_masks("masks_odd_text", "", "runs as a text that is none", _mask([4, 4], "\u0000\u00ff!"))
_masks("masks_number", "", "a number instead of a mask", [7])
_masks("masks_empty", "", "no masks", [], "open")


# -- archives -----------------------------------------------------------------------------------------------------------
FOLDER = "Task99_Tiny"


def _archive(name: str, words: str, why: str, content: Callable[[], bytes]) -> None:
    _add(f"{name}.tar", "archive", "refuse", words, why, lambda path: path.write_bytes(content()))


def _special(kind: bytes, name: str, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


_archive("climbs_out", "outside", "a name that climbs out", lambda: tar_bytes((f"{FOLDER}/../../evil.txt", b"x")))
_archive("from_the_root", "outside", "a name from the root of the disk", lambda: tar_bytes(("/tmp/evil.txt", b"x")))
_archive(
    "other_folder", "outside", "another folder than the data set's", lambda: tar_bytes(("elsewhere/evil.txt", b"x"))
)
_archive(
    "windows_name",
    "outside",
    "a name that climbs out on Windows",
    lambda: tar_bytes((f"{FOLDER}/..\\..\\evil.txt", b"x")),
)
_archive(
    "link_out",
    "neither a plain file",
    "a link out, and a file through it",
    lambda: tar_bytes(_special(tarfile.SYMTYPE, f"{FOLDER}/link", "../.."), (f"{FOLDER}/link/evil.txt", b"x")),
)
_archive(
    "hard_link",
    "neither a plain file",
    "a hard link to a file of the system",
    lambda: tar_bytes(_special(tarfile.LNKTYPE, f"{FOLDER}/passwd", "/etc/passwd")),
)
_archive("device", "neither a plain file", "a device", lambda: tar_bytes(_special(tarfile.CHRTYPE, f"{FOLDER}/zero")))
_archive(
    "pipe", "neither a plain file", "a named pipe", lambda: tar_bytes(_special(tarfile.FIFOTYPE, f"{FOLDER}/pipe"))
)
_archive("twice_the_same", "twice", "a file twice", lambda: tar_bytes((f"{FOLDER}/a", b"x"), (f"{FOLDER}/a", b"y")))
_archive("too_much", "more than", "more than is allowed", lambda: tar_bytes((f"{FOLDER}/a", bytes(3_000_000))))
_archive("packed_bomb", "more than", "packed, so that it unpacks to gigabytes", lambda: _packed_claim())
_archive("cut", "damaged", "cut short", lambda: tar_bytes((f"{FOLDER}/a", bytes(90_000)))[:50_000])
_archive("no_archive", "damaged", "a web page", lambda: b"<!doctype html><html>404</html>" * 40)


def _packed_claim() -> bytes:
    info = tarfile.TarInfo(f"{FOLDER}/zeros")
    info.size = 3 * 2**30
    return bomb(info.tobuf(), 31)
