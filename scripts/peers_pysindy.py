"""Fit PySINDy to a file and print one JSON object: seconds, the version, and its equations.

It runs in an environment of its own, and knows nothing of this package.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import pandas as pd
import pysindy as ps  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Read a file of trajectories, take smoothed derivatives, and fit polynomials of a degree."""
    path, degree, periodic = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "periodic"
    frame = pd.read_csv(path)
    columns = [name for name in frame.columns if name not in ("trajectory", "time")]
    groups = [group for _, group in frame.groupby("trajectory")]
    states, times = [g[columns].to_numpy() for g in groups], [g["time"].to_numpy() for g in groups]
    begun = time.perf_counter()
    library = ps.PolynomialLibrary(degree=degree)
    if periodic:
        library = library + ps.FourierLibrary(n_frequencies=1)
    # The threshold of the usual recipe, on columns of unit variance as they are here nearly.
    model = ps.SINDy(
        optimizer=ps.STLSQ(threshold=0.05),
        feature_library=library,
        differentiation_method=ps.SmoothedFiniteDifference(),
    )
    model.fit(states, t=times, feature_names=columns)
    seconds = time.perf_counter() - begun
    equations = [f"{name}' = {text}" for name, text in zip(columns, model.equations(3), strict=True)]
    print(json.dumps({"seconds": seconds, "version": version("pysindy"), "equations": equations}))


np.seterr(all="ignore")
main()
