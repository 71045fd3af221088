"""Predictions of a discovery, in the units of its data."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ..files import write_whole, written_whole
from ..prediction import Bands
from ..reporting import bands_figure


class Prediction(NamedTuple):
    """Rollouts from initial states (batch, 2n) at times (time,), in the units of the data."""

    times: Float[np.ndarray, " time"]
    bands: Bands
    names: tuple[str, ...]
    units: tuple[str, ...]

    def __repr__(self) -> str:
        first, last = (f"{time:.6g}" for time in (self.times[0], self.times[-1]))
        states, columns = (
            len(self.bands.mean),
            ", ".join(self.names[:8]) + (", .." if len(self.names) > 8 else ""),
        )
        return f"Prediction({states} states at {len(self.times)} times {first} to {last}: {columns})"

    def plot(self) -> Figure:
        """Means with 50 % and 90 % bands over time, one row a coordinate, one colour an initial state."""
        return bands_figure(self.times, self.bands, self.names, self.units)

    def save(self, path: Path) -> None:
        """Write a ``.csv`` (one row a state and time, columns such as q1_mean and q1_q05) or an ``.npz``
        (arrays times, mean, quantiles, levels, names and units), whole or not at all.
        """
        mean, quantiles, levels = self.bands
        if path.suffix == ".npz":
            with written_whole(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    times=self.times,
                    mean=mean,
                    quantiles=quantiles,
                    levels=np.array(levels),
                    names=np.array(self.names),
                    units=np.array(self.units),
                )
            return
        kinds = ["mean", *(f"q{round(100 * level):02d}" for level in levels)]
        table = np.concatenate([mean[None], quantiles])
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trajectory", "time", *(f"{name}_{kind}" for name in self.names for kind in kinds)])
        for row in range(mean.shape[0]):
            for column, time in enumerate(self.times.tolist()):
                writer.writerow([row, time, *table[:, row, column].T.reshape(-1).tolist()])
        write_whole(path, text.getvalue())
