"""Trajectories in files."""

import json
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..files import written_whole
from ..spelling import suggestion
from .assemble import DataFile, assemble, single_states, table_of_arrays
from .canonical import CanonicalMap
from .columns import find_columns
from .csv import Progress, read_csv
from .dataset import Trajectories, default_names
from .error import DataFileError, reading
from .layout import Layout
from .writing import usual_names

Arrays = dict[str, np.ndarray]

WHOLE = ("times", "states")
TEXTS = (".csv", ".tsv", ".txt", ".dat")
FORMATS = (*TEXTS, ".npz", ".npy", ".h5", ".hdf5")
FRAME = 'read it with pandas and save it as CSV, df.to_csv("mine.csv", index=False)'
SHEET = "save it as CSV, in the spreadsheet by Save As"
ELSEWHERE = {
    ".parquet": FRAME,
    ".feather": FRAME,
    ".pkl": FRAME,
    ".pickle": FRAME,
    ".json": FRAME,
    ".xlsx": f'{SHEET}, or with pandas by df.to_csv("mine.csv", index=False)',
    ".xls": SHEET,
    ".ods": SHEET,
    ".mat": 'save its columns as CSV, in MATLAB by writetable(array2table(...), "mine.csv")',
}
"""What to do with files that are not read."""


class DataFileWarning(UserWarning):
    """What a reader did to a file's data that its owner should know."""


def save_trajectories(path: str | Path, trajectories: Trajectories, notes: Sequence[str] = ()) -> None:
    """Write an ``.npz`` with times, states, targets (if any), names, units, the periods of angles (0: no
    angle) where there are any, and lengths where they differ: whole, or not at all. `notes` are kept with
    them, and given back by `read_data_file`.
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
    if trajectories.recording_count < len(trajectories):
        arrays["recordings"] = trajectories.recordings
    if trajectories.velocities:
        arrays["velocities"] = np.asarray(list(trajectories.velocities))
        arrays["masses"] = np.asarray(list(trajectories.velocities.values()))
    if trajectories.bracket:
        arrays["bracket"] = np.asarray(trajectories.bracket)
    if trajectories.canonical is not None:
        made = trajectories.canonical
        arrays["canonical_columns"] = np.asarray(made.columns)
        arrays["canonical_exponents"] = made.exponents
        arrays["canonical_coefficients"] = made.coefficients
        arrays["canonical_answer"] = np.asarray(json.dumps(made.answer))
        arrays["canonical_changes"] = np.array(made.changes).reshape(-1, *made.coefficients.shape)
    if trajectories.angles():
        arrays["periods"] = np.array([period or 0.0 for period in trajectories.periods])
    if notes:
        arrays["notes"] = np.asarray(notes)
    arrays |= {"times": trajectories.times, "states": trajectories.states}
    # A file object: numpy adds .npz to other names.
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_trajectories(path: str | Path, layout: Layout | None = None) -> Trajectories:
    """Read the trajectories of a data file; see `read_data_file`.

    What was done to them that its owner should know is a `DataFileWarning`. Raises `DataFileError`, never a
    half-read set; nothing is unpickled.
    """
    trajectories, notes = read_data_file(path, layout)
    for note in notes:
        warnings.warn(f"{path}: {note}", DataFileWarning, stacklevel=2)
    return trajectories


def read_data_file(
    path: str | Path, layout: Layout | None = None, *, progress: Progress | None = None
) -> DataFile:
    """Read trajectories and notes on them from text (``.csv``, ``.tsv``, ``.txt``, ``.dat``) or arrays
    (``.npz``, ``.npy``, ``.h5``, ``.hdf5``).

    Text has names of columns and one row a point: trajectory, time, q1..qn, p1..pn in any order, or the
    columns of `layout`; None: those of the file ``<path>.toml`` if it exists (see `Layout.parse`). Arrays are
    either whole sets, ``times`` (trajectories, time) and ``states`` (trajectories, time, 2n), optionally
    ``lengths``, ``targets``, ``names``, ``units``, ``periods``, ``time_unit`` and ``recordings``, or
    one-dimensional columns named as those of a text. A single array is (trajectories, time, columns) or
    (rows, columns). `progress` is told the bytes read and to read, of a text. Values keep the units of the
    file.

    Raises `DataFileError` naming file and place for everything that is not a set of trajectories.
    """
    path = Path(path)
    layout = Layout.beside(path) if layout is None else layout
    if is_text(path):
        return assemble(path, read_csv(path, layout, progress), layout)
    arrays = _read_arrays(path, layout)
    if set(arrays) & set(WHOLE):
        return _whole(path, arrays, layout)
    columns = find_columns(path, tuple(arrays), layout, where="arrays")
    return assemble(path, table_of_arrays(path, columns, arrays), layout)


def read_states(path: str | Path, layout: Layout | None = None) -> Float[np.ndarray, "rows dim"]:
    """Read single states, one a row, in the columns of `read_data_file`; times are not needed and not used.

    Arrays may also be one ``states`` of shape (rows, 2n). Raises `DataFileError`.
    """
    path = Path(path)
    layout = Layout.beside(path) if layout is None else layout
    if is_text(path):
        return single_states(path, read_csv(path, layout, timed=False))
    arrays = _read_arrays(path, layout, timed=False)
    if "states" not in arrays:
        columns = find_columns(path, tuple(arrays), layout, where="arrays", timed=False)
        return single_states(path, table_of_arrays(path, columns, arrays))
    states = arrays["states"]
    if not np.issubdtype(states.dtype, np.number) or np.iscomplexobj(states):
        raise DataFileError(path, "states", f"must hold real numbers, got {states.dtype}")
    if states.ndim != 2 or not len(states):
        raise DataFileError(path, "states", f"must have shape (rows, 2n), got {states.shape}")
    if not np.isfinite(states).all():
        raise DataFileError(path, "states", "must be finite")
    return states.astype(np.float64)


def is_text(path: Path) -> bool:
    """Whether a file is a text, by its name. Raises `DataFileError` for kinds of files that are not read."""
    suffix = path.suffix.lower()
    if suffix in ELSEWHERE and path.exists():
        raise DataFileError(path, "", f"{suffix} files are not read: {ELSEWHERE[suffix]}")
    return suffix in TEXTS


def read_arrays(path: Path) -> Arrays:
    """The arrays of a file as they stand in it, by name; that of an ``.npy`` file is "arr_0"."""
    suffix = path.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        return _read_hdf5(path)
    return {"arr_0": _read_npy(path)} if suffix == ".npy" else _read_npz(path)


def _read_arrays(path: Path, layout: Layout, *, timed: bool = True) -> Arrays:
    arrays = read_arrays(path)
    # An .npz of one array without a name is that array.
    return _columns_of(path, arrays["arr_0"], layout, timed) if list(arrays) == ["arr_0"] else arrays


def _columns_of(path: Path, array: np.ndarray, layout: Layout, timed: bool) -> Arrays:
    """The columns of an array, named by its fields or the layout; of one of trajectories also q1..pn."""
    if array.dtype.names:
        return {name: array[name].reshape(-1) for name in array.dtype.names}
    if array.ndim not in (2, 3) or not array.size:
        raise DataFileError(
            path, "", f"must have shape (trajectories, time, columns) or (rows, columns), got {array.shape}"
        )
    if array.ndim == 2 and not timed and not layout.names:
        return {"states": array}
    width = array.shape[-1]
    names = layout.names
    if not names and array.ndim == 3 and width % 2 == 0:
        names = default_names(width // 2)
    if len(names) != width:
        raise DataFileError(
            path,
            "",
            f"got {len(names)} names for an array of {width} columns, expected one each: give them with "
            f"--names {','.join(usual_names(width))} (columns.names)",
        )
    arrays = {name: array[..., k].reshape(-1) for k, name in enumerate(names)}
    if array.ndim == 3:
        if layout.trajectory in arrays:
            raise DataFileError(
                path, layout.trajectory, "the first axis of the array is that of trajectories"
            )
        arrays[layout.trajectory] = np.repeat(np.arange(len(array)), array.shape[1])
    return arrays


def _read_npy(path: Path) -> np.ndarray:
    with reading(path, "damaged, or not an .npy file of a plain array"), path.open("rb") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _read_npz(path: Path) -> Arrays:
    kind = "" if path.suffix.lower() in FORMATS else f", a data file is one of {', '.join(FORMATS)}"
    damaged = f"damaged, or not an .npz file of plain arrays{kind}"
    with reading(path, damaged), path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise DataFileError(path, "", damaged)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _read_hdf5(path: Path) -> Arrays:
    with reading(path), path.open("rb"):
        pass
    try:
        import h5py
    except ImportError:
        raise DataFileError(path, "", "needs the package h5py: pip install 'noether-razor[hdf5]'") from None
    # Of damaged bytes h5py raises OSErrors, too: what they say is of no use.
    try:
        with h5py.File(path, "r") as file:
            return {
                str(name): np.asarray(item.asstr()[...] if h5py.check_string_dtype(item.dtype) else item[...])
                for name, item in file.items()
                if isinstance(item, h5py.Dataset)
            }
    except Exception as error:
        raise DataFileError(path, "", "damaged, or not an HDF5 file of plain data sets") from error


def _whole(path: Path, arrays: Arrays, layout: Layout) -> DataFile:
    if "times" not in arrays and layout.step is not None and arrays["states"].ndim == 3:
        times = layout.step * np.arange(arrays["states"].shape[1])
        arrays = {**arrays, "times": np.tile(times, (len(arrays["states"]), 1))}
    for name in WHOLE:
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            hint = ": or give the time between rows with --dt 0.01 (step)" if name == "times" else ""
            raise DataFileError(path, name, f"array is missing, the file holds {found}{hint}")
    for name in {"times", "states", "targets"} & set(arrays):
        if not np.issubdtype(arrays[name].dtype, np.number) or np.iscomplexobj(arrays[name]):
            raise DataFileError(path, name, f"must hold real numbers, got {arrays[name].dtype}")
    for key in ("positions", "momenta", "velocities", "masses", "states", "bracket", "ignore", "gap"):
        if getattr(layout, key):
            raise DataFileError(path, key, "is for files of columns, but this one has times and states")
    try:
        trajectories = Trajectories(
            arrays["times"],
            arrays["states"],
            arrays.get("targets"),
            tuple(str(name) for name in np.atleast_1d(arrays.get("names", []))),
            tuple(str(unit) for unit in np.atleast_1d(arrays.get("units", []))),
            arrays.get("lengths", np.zeros(0, np.int64)),
            str(arrays.get("time_unit", "")),
            arrays.get("recordings", np.zeros(0, np.int64)),
            _velocities(arrays),
            tuple(float(period) or None for period in np.atleast_1d(arrays.get("periods", []))),
            str(arrays.get("bracket", "")),
            _canonical(arrays),
        )
    except ValueError as error:
        raise DataFileError(path, "", str(error)) from None
    if layout.periodic:
        trajectories = _unwrapped(path, trajectories, layout)
    notes = tuple(str(note) for note in np.atleast_1d(arrays.get("notes", [])))
    known = (*trajectories.names, layout.time)
    for name in layout.units:
        if name not in known:
            raise DataFileError(path, name, f"has a unit but is no coordinate, {suggestion(name, known)}")
    units = [
        layout.units.get(name, unit)
        for name, unit in zip(trajectories.names, trajectories.units, strict=True)
    ]
    time_unit = layout.units.get(layout.time, trajectories.time_unit)
    return DataFile(replace(trajectories, units=tuple(units), time_unit=time_unit), notes)


def _canonical(arrays: Arrays) -> CanonicalMap | None:
    """How coordinates were made of columns, as `save_trajectories` writes it. Raises ValueError."""
    if "canonical_columns" not in arrays:
        return None
    exponents, coefficients = (
        arrays.get(f"canonical_{key}", np.zeros(0)) for key in ("exponents", "coefficients")
    )
    answer = json.loads(str(arrays.get("canonical_answer", "{}")))
    names, columns = (tuple(map(str, np.atleast_1d(arrays[key]))) for key in ("names", "canonical_columns"))
    changes = arrays.get("canonical_changes", np.zeros((0, *coefficients.shape)))
    kinds = [(part.dtype.kind, part.ndim) for part in (exponents, coefficients, changes)]
    if kinds != [("i", 2), ("f", 2), ("f", 3)] or not isinstance(answer, dict):
        raise ValueError("the map from columns to canonical coordinates is damaged")
    return CanonicalMap(names, columns, exponents, coefficients, answer, tuple(changes))


def _velocities(arrays: Arrays) -> dict[str, float]:
    """The velocities that momenta were made of, as `save_trajectories` writes them."""
    names, masses = (np.atleast_1d(arrays.get(key, np.zeros(0))) for key in ("velocities", "masses"))
    if names.dtype.kind != "U" or masses.dtype.kind != "f" or names.shape != masses.shape:
        return {}
    return {str(name): float(mass) for name, mass in zip(names, masses, strict=True)}


def _unwrapped(path: Path, trajectories: Trajectories, layout: Layout) -> Trajectories:
    """`trajectories` with the angles that `layout` names, unwrapped."""
    periods, states, targets = list(trajectories.periods), trajectories.states.copy(), trajectories.targets
    targets = None if targets is None else targets.copy()
    positions = trajectories.names[: trajectories.dof]
    for name in layout.periodic or ():
        if name not in positions:
            raise DataFileError(path, name, f"is periodic but no position, {suggestion(name, positions)}")
        k, period = positions.index(name), layout.period_of(trajectories.units[positions.index(name)])
        periods[k] = period
        states[..., k] = np.unwrap(states[..., k], period=period, axis=1)
        if targets is not None:
            targets[..., k] -= period * np.round((targets[..., k] - states[:, :-1, k]) / period)
    return replace(trajectories, states=states, targets=targets, periods=tuple(periods))
