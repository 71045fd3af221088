"""CPU time and peak memory of an embedding against the number of points: one line of JSON for each.

    .venv/bin/python scripts/embedding_scaling.py [--rows 25000 50000 100000]

Points lie near a curved sheet in three columns. Each fit (degree 8, two components) and the coordinates of
all its points run in a process of their own, so that the peak memory is their own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from noether_razor.embedding import VariationalManifoldEmbedding


def sheet(rows: int) -> np.ndarray:
    """Points of an S-shaped sheet with noise of 0.05."""
    draws = np.random.default_rng(0)
    t, height = 3 * np.pi * draws.uniform(-0.5, 0.5, rows), 2 * draws.uniform(size=rows)
    points = np.stack([np.sin(t), height, np.sign(t) * (np.cos(t) - 1)], axis=1)
    return points + 0.05 * draws.normal(size=points.shape)


def point(rows: int) -> dict[str, float]:
    """The cost of so many points, in this process; `start_mb` is its memory before."""
    points, before = sheet(rows), peak_mb()
    started = time.process_time()
    model = VariationalManifoldEmbedding(2, degree=8).fit(points)
    fitted = time.process_time()
    model.transform(points)
    return {
        "rows": rows,
        "fit_cpu_s": fitted - started,
        "transform_cpu_s": time.process_time() - fitted,
        "start_mb": before,
        "peak_mb": peak_mb(),
        "noise": model.noise_,
    }


def peak_mb() -> float:
    """Of this process, all its libraries included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Print what each number of rows costs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000, 50_000, 100_000])
    rows = parser.parse_args().rows
    if len(rows) == 1:
        print(json.dumps(point(rows[0])))
        return
    for count in rows:
        subprocess.run([sys.executable, __file__, "--rows", str(count)], check=True)


if __name__ == "__main__":
    main()
