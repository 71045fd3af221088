"""Trajectories in files."""

import os
import zipfile
from pathlib import Path

import numpy as np

from ._trajectories import Trajectories


class DataFileError(ValueError):
    """A data file that cannot be used: which file, where in it, and why."""

    def __init__(self, path: str | Path, where: str, why: str):
        self.path, self.where, self.why = Path(path), where, why
        super().__init__(f"{path}: {where}: {why}" if where else f"{path}: {why}")


def save_trajectories(path: str | Path, trajectories: Trajectories) -> None:
    """Write an ``.npz`` with times, states, targets (if any), names, units and, where they differ, lengths:
    whole, or not at all.
    """
    path = Path(path)
    # The required arrays last: damage that hides the end of the archive then never hides only optional ones.
    arrays = {"names": np.asarray(trajectories.names), "units": np.asarray(trajectories.units)}
    if trajectories.targets is not None:
        arrays["targets"] = trajectories.targets
    if trajectories.time_unit:
        arrays["time_unit"] = np.asarray(trajectories.time_unit)
    if trajectories.lengths.min() < trajectories.times.shape[1]:
        arrays["lengths"] = trajectories.lengths
    arrays |= {"times": trajectories.times, "states": trajectories.states}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_trajectories(path: str | Path) -> Trajectories:
    """Read an ``.npz`` written by `save_trajectories`. Raises `DataFileError`, never a half-read set; nothing
    is unpickled.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise DataFileError(path, "", "damaged, or not an .npz file of plain arrays")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except DataFileError:
        raise
    except FileNotFoundError:
        raise DataFileError(path, "", "no such file") from None
    except OSError as error:
        raise DataFileError(path, "", f"cannot be read ({error.strerror or error})") from None
    except Exception as error:  # zip, zlib and NumPy raise many kinds on damaged bytes
        raise DataFileError(path, "", "damaged, or not an .npz file of plain arrays") from error
    for name in ("times", "states"):
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise DataFileError(path, name, f"array is missing, the file holds {found}")
    for name in {"times", "states", "targets"} & set(arrays):
        if not np.issubdtype(arrays[name].dtype, np.number) or np.iscomplexobj(arrays[name]):
            raise DataFileError(path, name, f"must hold real numbers, got {arrays[name].dtype}")
    try:
        return Trajectories(
            arrays["times"],
            arrays["states"],
            arrays.get("targets"),
            tuple(str(name) for name in np.atleast_1d(arrays.get("names", []))),
            tuple(str(unit) for unit in np.atleast_1d(arrays.get("units", []))),
            arrays.get("lengths"),  # type: ignore[arg-type]
            str(arrays.get("time_unit", "")),
        )
    except ValueError as error:
        raise DataFileError(path, "", str(error)) from None
