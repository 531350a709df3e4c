"""``python -m napari_ssl_seg.sample``: write phantoms, list and download public sets."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.sample.classes import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 2 a mistake of the caller's, 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        if options.list:
            return _list()
        if options.dataset:
            return _download(options)
        return _write(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; a download goes on where it was when it is started again", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m napari_ssl_seg.sample", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="cardiac", help="which phantom to write")
    parser.add_argument("--subjects", type=int, default=24, help="how many subjects, 1 to 999")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same scans")
    parser.add_argument("--out", metavar="DIR", help="folder to write into")
    parser.add_argument("--list", action="store_true", help="list the public sets that can be downloaded")
    parser.add_argument("--dataset", metavar="NAME", help="download this public set into --out instead")
    parser.add_argument("--accept-licence", action="store_true", help="agree to the set's licence without being asked")
    return parser


def _write(options: argparse.Namespace) -> int:
    from napari_ssl_seg.sample.write import write_phantom_study_files

    if not options.out:
        raise UserError("no folder to write into was named; add --out DIR")
    folder = write_phantom_study_files(
        options.out,
        options.kind,
        options.subjects,
        options.seed,
        on_subject=lambda done, total: print(f"\r{done} of {total}", end="", file=sys.stderr, flush=True),
    )
    print(file=sys.stderr)
    print(folder)
    return 0


def _list() -> int:
    from napari_ssl_seg.sample.datasets import list_datasets

    for name, info in list_datasets().items():
        print(f"{name:12s} {info.title}, {info.size_text()}, {info.licence}\n{'':12s} {info.description}")
    return 0


def _download(options: argparse.Namespace) -> int:
    from napari_ssl_seg.sample.datasets import get_dataset
    from napari_ssl_seg.sample.download import fetch
    from napari_ssl_seg.training.events import drain

    if not options.out:
        raise UserError("no folder to download into was named; add --out DIR")
    info = get_dataset(options.dataset)
    print(info.notice(), file=sys.stderr)
    if not options.accept_licence and not _agreed():
        raise UserError(f"the licence of {info.name} was not accepted; add --accept-licence to agree")

    def shown():
        folder = yield from _printed(fetch(info.name, options.out))
        return folder

    print(drain(shown()))
    return 0


def _printed(events):
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            print(file=sys.stderr)
            return end.value
        done, total = event.data["done"], event.data["total"]
        share = f"{100 * done / total:5.1f} %" if total else f"{done / 1e6:.1f} MB"
        left = event.data.get("seconds_left")
        wait = "" if left is None else f", {left:.0f} s left"
        print(f"\r{event.data['what']}: {share}{wait}      ", end="", file=sys.stderr, flush=True)
        yield event


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("Download under this licence? [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
