"""``python -m napari_ssl_seg``: the same as the command ``napari-ssl-seg``."""

import sys

from napari_ssl_seg.cli import main

if __name__ == "__main__":
    sys.exit(main())
