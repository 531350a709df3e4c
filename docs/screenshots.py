"""Take the screenshots of the documentation again: ``python docs/screenshots.py STUDY [OUT]``.

STUDY is a study that was pretrained, fine-tuned and predicted on (``make demo`` leaves one in ``demo_output/study``); it
is not changed. OUT is ``docs/images`` by default. Without a screen, run it under ``xvfb-run -a -s "-screen 0 1600x1000x24"``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_ssl_seg.gui.tour import take_screenshots


def main() -> None:
    """Dark with every state, then light."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a study with runs and predictions")
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).parent / "images")
    parser.add_argument("--themes", default="dark,light", help="napari themes, with commas between them")
    chosen = parser.parse_args()
    for number, theme in enumerate(chosen.themes.split(",")):
        for path in take_screenshots(chosen.study, chosen.out, theme=theme, states=number == 0):
            print(path)


if __name__ == "__main__":
    main()
