"""How long `import napari_ssl_seg` takes, beside `import numpy`: fresh processes, interleaved.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import keep

ROUNDS = 15


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    codes = {"nothing": "pass", "numpy": "import numpy", "napari_ssl_seg": "import napari_ssl_seg"}
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(ROUNDS):
        for name, code in codes.items():
            times[name].append(seconds(code))
    median = {name: statistics.median(values) for name, values in times.items()}
    keep(
        "import_time",
        {
            "seconds_median_with_interpreter": median,
            "ratio_to_numpy_with_interpreter": median["napari_ssl_seg"] / median["numpy"],
            "rounds": ROUNDS,
        },
    )


if __name__ == "__main__":
    main()
