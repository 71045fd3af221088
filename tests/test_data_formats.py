"""Files as people have them: read as they are, or refused with the option that reads them."""

import datetime
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether_razor.app.cli.application import app
from noether_razor.app.config import file_layout, load_config, load_recipe, parse_config
from noether_razor.discovery.saving import options_of
from noether_razor.trajectories import (
    DataFile,
    DataFileError,
    Layout,
    load_trajectories,
    read_data_file,
    read_states,
    save_trajectories,
)

COUNT, LENGTH, STEP, FREQUENCY = 8, 40, 0.1, 1.3
HEAD = "trajectory,time,q1,p1"


def oscillators() -> np.ndarray:
    """Positions and momenta (trajectories, time, 2), to six digits."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, COUNT, 1))
    phase = FREQUENCY * STEP * np.arange(LENGTH)
    q = a * np.cos(phase) + b * np.sin(phase)
    return np.round(np.stack([q, FREQUENCY * (b * np.cos(phase) - a * np.sin(phase))], axis=2), 6)


STATES = oscillators()
TIMES = np.round(STEP * np.arange(LENGTH), 3)
ROWS = np.column_stack([np.repeat(np.arange(COUNT), LENGTH), np.tile(TIMES, COUNT), STATES.reshape(-1, 2)])


def plain(header: str = HEAD, form: str = "{:.0f},{:.3f},{:.6f},{:.6f}", end: str = "\n") -> str:
    return header + end + "".join(form.format(*row) + end for row in ROWS)


def changed(row: int, old: int, new: str) -> str:
    """The plain file with the fields from `old` on of one row replaced."""
    lines = plain().splitlines()
    lines[row] = ",".join(lines[row].split(",")[:old]) + "," + new
    return "\n".join(lines) + "\n"


def saved(folder: Path, name: str, header: str, **options: Any) -> str:
    """What numpy.savetxt writes."""
    np.savetxt(folder / name, ROWS, header=header, **options)
    return (folder / name).read_text()


def circle(header: str, *columns: str) -> str:
    """x, y and velocities on a circle; `columns` are formulas' names among t, x, y, u, v."""
    lines = [header]
    for t in STEP * np.arange(60):
        values = {"t": t, "x": np.cos(t), "y": np.sin(t), "u": -np.sin(t), "v": np.cos(t)}
        lines.append(",".join(f"{values[name]:.6f}" for name in columns))
    return "\n".join(lines) + "\n"


def dated(form: str = "{}", begin: datetime.datetime = datetime.datetime(2020, 1, 1, 23, 59, 58)) -> str:
    lines = [HEAD]
    for k, t, q, p in ROWS.tolist():
        at = form.format((begin + datetime.timedelta(seconds=t)).isoformat())
        lines.append(f"{k:.0f},{at},{q:.6f},{p:.6f}")
    return "\n".join(lines) + "\n"


def read(name: str, content: str | bytes | np.ndarray, layout: Layout | None = None) -> DataFile:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_data_file(path, layout)


def refused(name: str, content: str | bytes | np.ndarray, layout: Layout | None = None) -> str:
    with pytest.raises(DataFileError) as caught:
        read(name, content, layout)
    message = str(caught.value)
    assert "\n" not in message and f"{name}: " in message
    return message.split(f"{name}: ", 1)[1]


def assert_oscillators(data: DataFile, *notes: str, names: tuple[str, ...] = ("q1", "p1")) -> None:
    trajectories = data.trajectories
    assert trajectories.names == names and trajectories.recording_count == len(trajectories) == COUNT
    np.testing.assert_allclose(trajectories.states, STATES, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(trajectories.times, np.tile(TIMES, (COUNT, 1)), rtol=1e-12, atol=1e-12)
    assert len(data.notes) == len(notes)
    for note, part in zip(data.notes, notes, strict=True):
        assert part in note


def euro(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


INDEXED = f",{HEAD}\n" + "".join(f"{k},{line}\n" for k, line in enumerate(plain().splitlines()[1:]))
AS_IT_IS: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "an index of pandas": ("a.csv", INDEXED, ("column 1 has no name and counts the rows: ignored",)),
    "an index saved twice": ("a.csv", INDEXED.replace(",", "Unnamed: 0,", 1), ("column 1 has no name",)),
    "a European spreadsheet": ("a.csv", euro(plain()), ()),
    "tabs and decimal commas": ("a.txt", euro(plain()).replace(";", "\t"), ()),
    "blanks and decimal commas": ("a.txt", euro(plain()).replace(";", "  "), ()),
    "a byte-order mark": ("a.csv", b"\xef\xbb\xbf" + plain(end="\r\n").encode(), ()),
    "carriage returns": ("a.csv", plain(end="\r\n"), ()),
    "tabs": ("a.tsv", plain().replace(",", "\t"), ()),
    "bars": ("a.dat", plain().replace(",", "|"), ()),
    "blanks": ("a.dat", plain().replace(",", " "), ()),
    "fixed width": (
        "a.txt",
        plain("  trajectory   time     q1    p1", " {:12.0f} {:9.3f} {:12.6f} {:12.6f}"),
        (),
    ),
    "blanks after commas": ("a.csv", plain().replace(",", ", "), ()),
    "quoted names after blanks": ("a.csv", plain('trajectory, "time", "q1", "p1"'), ()),
    "a comment on top": ("a.csv", "# made by lab X, 2020\n\n" + plain(), ()),
    "names in a comment": ("a.csv", "# made by lab X\n" + plain("# " + HEAD), ()),
    "names in a comment of MATLAB": ("a.txt", plain("%" + HEAD).replace(",", " "), ()),
    "a line for Excel": ("a.csv", "sep=;\n" + euro(plain()), ("passed over above",)),
    "a title": ("a.csv", "Pendulum 5, swing\n" + plain(), ("passed over above",)),
    "a title in all columns": ("a.csv", "Pendulum,,,\n" + plain(), ("Pendulum,,,",)),
    "commas at the end": ("a.csv", plain(end=",\n"), ("column 5 has no name and is empty: ignored",)),
    "commas at the end of rows": (
        "a.csv",
        plain(end=",\n").replace(",\n", "\n", 1),
        ("column 5 has no name",),
    ),
    "names of rows of R": (
        "a.csv",
        HEAD + "\n" + "".join(f'"{k + 1}",{line}\n' for k, line in enumerate(plain().splitlines()[1:])),
        ("column 1 has no name and counts the rows",),
    ),
    "empty rows of a spreadsheet": ("a.csv", plain() + ",,,\n,,,\n", ()),
    "another column of times": ("a.csv", plain("trajectory,t,q1,p1"), ("column t is taken for the time",)),
    "other columns": ("a.csv", plain("run,Time,q1,p1"), ("column run is taken", "column Time is taken")),
}


@pytest.mark.parametrize("case", AS_IT_IS)
def test_what_is_read_as_it_is(case: str) -> None:
    name, content, notes = AS_IT_IS[case]
    assert_oscillators(read(name, content), *notes)


def test_what_savetxt_writes(tmp_path: Path) -> None:
    assert_oscillators(read("a.csv", saved(tmp_path, "a", HEAD, delimiter=",")))
    spaced = HEAD.replace(",", " ")
    assert_oscillators(read("a.txt", saved(tmp_path, "a", spaced, comments="")))
    assert_oscillators(read("a.txt", saved(tmp_path, "a", spaced, fmt="%12.6f")))


def test_units_in_names() -> None:
    data = read("a.csv", plain("trajectory,t (s),q1 [mm],p1(kg m/s)"))
    assert_oscillators(data, "column t is taken for the time")
    assert data.trajectories.units == ("mm", "kg m/s") and data.trajectories.time_unit == "s"
    layout = Layout(time="t (s)", units={"q1": "cm"})
    data = read("a.csv", plain("trajectory,t (s),q1 [mm],p1"), layout)
    assert data.trajectories.units == ("cm", "") and data.trajectories.time_unit == "s"
    message = refused("a.csv", plain("trajectory,t (s),x (m),v (m/s)"))
    assert "line 1: no positions, expected columns q1..qn, got trajectory, t, x, v" in message
    assert "add --positions x --velocities v" in message and "masses" not in message
    layout = Layout(positions=("x",), velocities=("v",), masses=(1.0,))
    data = read("a.csv", plain("trajectory,t (s),x (m),v (m/s)"), layout)
    assert data.trajectories.units == ("m", "mass m/s") and data.trajectories.velocities == {"v": 1.0}
    turned = read("a.csv", plain("trajectory,time,q1 (deg),p1"), Layout(periodic=("q1",)))
    assert "of period 360" in turned.notes[0]
    # A number in brackets is no unit.
    assert "got time, x(1), p(1)" in refused("a.csv", "time,x(1),p(1)\n0,1,2\n1,2,3\n")


def test_units_of_names_among_blanks() -> None:
    content = plain("trajectory time [s]  q1 (mm) p1 [kg m/s]").replace(",", " ")
    data = read("a.txt", content)
    assert_oscillators(data)
    assert data.trajectories.units == ("mm", "kg m/s") and data.trajectories.time_unit == "s"


def test_dates_are_counted_from_the_first() -> None:
    note = "times are dates: counted in s from 2020-01-01T23:59:58"
    data = read("a.csv", dated())
    assert_oscillators(data, note)
    assert data.trajectories.time_unit == "s"
    assert_oscillators(read("a.csv", dated("{}Z")), note + "+00:00")
    assert_oscillators(read("a.csv", dated().replace("T", " ")), note)
    assert_oscillators(read("a.txt", dated().replace(",", "\t").replace("T", " ")), note)
    data = read("a.csv", dated(), Layout(units={"time": "ms"}))
    np.testing.assert_allclose(data.trajectories.times[3], 1000 * TIMES)
    assert data.trajectories.time_unit == "ms"
    assert "got the unit year" in refused("a.csv", dated(), Layout(units={"time": "year"}))
    broken = dated().replace("2020-01-02T00:00:00.5", "2020-13-02T00:00:00.5", 1)
    assert "line 27, column time: got '2020-13-02T00:00:00.5" in refused("a.csv", broken)
    clock = "time,q1,p1\n12:00:00.5,1,2\n12:00:01,2,3\n12:01:00,3,4\n"
    assert read("a.csv", clock).trajectories.times.tolist() == [[0, 0.5, 59.5]]
    assert "expected a date" in refused("a.csv", clock + "61,3,4\n")
    assert "got '12:01:00', expected a finite number" in refused("a.csv", "time,q1,p1\n1,1,2\n12:01:00,3,4\n")


def test_dates_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from noether_razor.trajectories import csv as _csv

    monkeypatch.setattr(_csv, "BLOCK", 1000)
    assert_oscillators(read("a.csv", dated()), "times are dates")
    assert_oscillators(read("a.csv", euro(plain())))
    assert_oscillators(read("a.txt", saved_blanks()))


def saved_blanks() -> str:
    return plain(form="   {:.0f}\t {:.3f}    {:.6f} {:.6f} ").replace(HEAD, HEAD.replace(",", " "))


@pytest.mark.parametrize("mark", ["", "NaN", "nan", "NA", "null", "#N/A", "<NA>"])
def test_missing_numbers_leave_a_row_out(mark: str) -> None:
    """A whole state or a part of it; the others keep their times and stay one trajectory."""
    expected = np.delete(STATES[2], 5, axis=0)
    for content, some in ((changed(86, 2, f"{mark},{mark}"), False), (changed(86, 3, mark), True)):
        trajectories, notes = read("a.csv", content)
        assert trajectories.lengths.tolist() == [40, 40, 39, 40, 40, 40, 40, 40]
        np.testing.assert_array_equal(trajectories.segments()[2][1], expected)
        assert len(notes) == 1 and "1 row without a state" in notes[0]
        assert ("some of its coordinates" in notes[0]) == some
    assert refused("a.csv", changed(86, 1, f"{mark},1,2")).startswith("line 87, column time: got")


def test_times_that_are_not_there_are_counted() -> None:
    content = "\n".join(f"{k:.0f},{q:.6f},{p:.6f}" for k, _, q, p in ROWS.tolist())
    content = f"trajectory,q1,p1\n{content}\n"
    assert (
        "line 1, column time: is missing, got trajectory, q1, p1: give the time between rows with --dt"
        in refused("a.csv", content)
    )
    assert_oscillators(read("a.csv", content, Layout(step=STEP)))
    # Rows without a state count.
    data, _ = read("a.csv", "q1,p1\n1,2\n,\n3,4\n", Layout(step=0.5))
    assert data.times.tolist() == [[0, 1]]
    assert "column t: holds the times" in refused("a.csv", "t,q1,p1\n0,1,2\n1,2,3\n", Layout(step=0.5))


def test_names_that_are_not_there_are_given() -> None:
    content = plain().split("\n", 1)[1]
    message = refused("a.csv", content)
    assert message.startswith("line 1: got the number 0, expected the names of the columns")
    assert f"--names {HEAD}" in message
    layout = Layout(names=("trajectory", "time", "q1", "p1"))
    assert_oscillators(read("a.csv", content, layout))
    assert_oscillators(read("a.csv", "# by lab X\n" + content, layout))
    assert_oscillators(read("a.csv", b"\xef\xbb\xbf" + content.encode(), layout))
    assert_oscillators(read("a.csv", plain("a,b,c,d"), layout))
    assert "3 columns" in refused("a.csv", content, Layout(names=("time", "q1", "p1")))
    assert "--names time,q1,p1" in refused("a.dat", "0 1 2\n1 2 3\n")
    assert "--names q1,p1" in refused("a.dat", "1 2\n2 3\n")


def test_arrays_of_one_kind() -> None:
    message = refused("a.npy", STATES)
    assert "column time: is missing" in message and "--dt" in message
    assert_oscillators(read("a.npy", STATES, Layout(step=STEP)))
    layout = Layout(names=("x", "v"), step=STEP, positions=("x",), velocities=("v",), masses=(1.0,))
    assert_oscillators(read("a.npy", STATES, layout), "momenta are mass times", names=("x", "m_v"))
    assert "got 0 names for an array of 4 columns" in refused("a.npy", ROWS)
    assert f"--names {HEAD}" in refused("a.npy", ROWS)
    assert_oscillators(read("a.npy", ROWS, Layout(names=tuple(HEAD.split(",")))))
    timed = np.concatenate([np.tile(TIMES[:, None], (COUNT, 1, 1)), STATES], axis=2)
    assert_oscillators(read("a.npy", timed, Layout(names=("time", "q1", "p1"))))
    fields = np.array([tuple(row) for row in ROWS], [(name, float) for name in HEAD.split(",")])
    assert_oscillators(read("a.npy", fields))
    assert "must have shape (trajectories, time, columns)" in refused("a.npy", np.ones(3))
    assert "plain array" in refused("a.npy", np.array([{}], dtype=object))
    assert "plain array" in refused("a.npy", b"\x93NUMPY")


def test_arrays_of_dates_and_sets_without_times(tmp_path: Path) -> None:
    at = np.datetime64("2020-01-01") + (1000 * ROWS[:, 1]).astype("timedelta64[ms]")
    columns = {"trajectory": ROWS[:, 0], "time": at, "q1": ROWS[:, 2], "p1": ROWS[:, 3]}
    np.savez(tmp_path / "a.npz", **columns)
    assert_oscillators(read_data_file(tmp_path / "a.npz"), "counted in s from 2020-01-01")
    np.savez(tmp_path / "b.npz", states=STATES)
    with pytest.raises(DataFileError, match=r"times: array is missing, the file holds states: .*--dt"):
        read_data_file(tmp_path / "b.npz")
    assert_oscillators(read_data_file(tmp_path / "b.npz", Layout(step=STEP)))
    np.savez(tmp_path / "c.npz", STATES)
    assert_oscillators(read_data_file(tmp_path / "c.npz", Layout(step=STEP)))
    np.save(tmp_path / "d.npy", STATES[0])
    np.testing.assert_array_equal(read_states(tmp_path / "d.npy"), STATES[0])


def wide() -> str:
    header = ["time", *(f"{name}{label}" for label in "abcdefgh" for name in ("x_", "px_"))]
    rows = np.concatenate([TIMES[:, None], *STATES], axis=1)
    return "\n".join([",".join(header), *(",".join(map(repr, row)) for row in rows.tolist())]) + "\n"


def test_trajectories_side_by_side() -> None:
    layout = Layout(positions=("x_{}",), momenta=("px_{}",))
    assert_oscillators(read("a.csv", wide(), layout), names=("x", "px"))
    lines = wide().splitlines()
    lost = lines[7].split(",")
    lost[3] = "NaN"
    lines[7] = ",".join(lost)
    data, notes = read("a.csv", "\n".join(lines) + "\n", layout)
    assert data.lengths.tolist() == [40, 39, 40, 40, 40, 40, 40, 40] and len(notes) == 1
    layout = Layout(
        positions=("x_{}",), velocities=("px_{}",), masses=(2.0,), units={"x_{}": "m", "px": "m/s"}
    )
    data, _ = read("a.csv", wide(), layout)
    assert data.names == ("x", "m_px") and data.units == ("m", "mass m/s") and data.velocities == {"px": 2.0}
    np.testing.assert_allclose(data.states, STATES * [1, 2])
    message = refused("a.csv", wide(), Layout(positions=("y_{}",), momenta=("px_{}",)))
    assert "no trajectory has all of y_{}, px_{}" in message
    extra = wide().replace("time,", "time,x_z,", 1).replace("\n", "\n0,")[:-2]
    assert "unknown, add --ignore x_z" in refused(
        "a.csv", extra, Layout(positions=("x_{}",), momenta=("px_{}",))
    )


@pytest.mark.parametrize(
    ("header", "columns", "parts"),
    [
        (
            "mass_A\nt,x,y,v_x,v_y",
            "txyuv",
            ["line 2", "add --positions x,y --velocities v_x,v_y (or"],
        ),
        ("t,x,y,px,py", "txyuv", ["add --positions x,y --momenta px,py (or"]),
        ("t,theta,omega", "txu", ["add --positions theta --velocities omega (or"]),
        ("t,x,y,xdot,note", "txyux", ["add --positions x --velocities xdot --ignore y,note (or"]),
        ("t,x,y", "txy", ["got t, x, y", "or --positions NAMES alone to take velocities from the positions"]),
        ("t,q1,q2,note", "txyu", ["positions (q1, q2) without momenta", "--momenta NAMES"]),
        (
            "t,q1,w,z",
            "txuv",
            ["positions (q1) without momenta", "--velocities NAMES, or --ignore w,z to take"],
        ),
        ("t,q1,p1,a,b", "txuxu", ["column a: unknown, add --ignore a,b (columns.ignore)"]),
    ],
)
def test_what_columns_mean_is_said_by_the_option_that_helps(
    header: str, columns: str, parts: list[str]
) -> None:
    message = refused("a.csv", circle(header, *columns))
    for part in parts:
        assert part in message, message


def test_times_with_too_few_digits_collide() -> None:
    rows = [f"{k:.0f},{np.float32(1.6e9 + t):.1f},{q},{p}" for k, t, q, p in ROWS.tolist()]
    message = refused("a.csv", "\n".join([HEAD, *rows]) + "\n")
    assert message.startswith(
        "line 3, column time: times collide: 312 of 320 rows have the time of the row before"
    )
    assert "too few digits" in message and "column of trajectories" not in message
    rounded = "time,q1,p1\n" + "".join(f"{0.01 * k:.1f},{k},1\n" for k in range(50))
    assert "times collide" in refused("a.csv", rounded) and "or name the column of" in refused(
        "a.csv", rounded
    )
    # One row written twice is another mistake.
    twice = plain().splitlines()
    twice.insert(9, twice[8])
    assert refused("a.csv", "\n".join(twice)).startswith("line 10, column time: got 0.7 after 0.7")


@pytest.mark.parametrize(
    "suffix", ["parquet", "feather", "pkl", "pickle", "json", "xlsx", "xls", "ods", "mat"]
)
def test_other_kinds_of_files_say_what_to_do(suffix: str) -> None:
    message = refused(f"a.{suffix}", b"PK\x03\x04")
    assert message.startswith(f".{suffix} files are not read: ") and "CSV" in message


HOSTILE: dict[str, tuple[str, list[str]]] = {
    "two decimal marks": (
        "time;q1;p1\n0;1.5;2\n1;1,5;2\n",
        ["line 3, column q1", "'1,5'", "a decimal '.' as in other numbers"],
    ),
    "thousands": ("time;q1;p1\n0;1.000,5;2\n1;1,5;2\n", ["line 2, column q1", "'1.000,5'"]),
    "commas for two things": (
        "time,q1,p1\n0,0,1,5,2,25\n0,5,1,4,2\n1,1,3,2,5\n",
        ["line 2: 6 fields", "3 columns", "commas are both decimal marks and delimiters", "; or tabs"],
    ),
    "quoted decimal commas": (
        'time,q1,p1\n0,"1,5",2\n1,"1,4",2\n',
        ["line 2, column q1", "'1,5'", "a decimal point where commas are delimiters"],
    ),
    "a comma too many": ("time,q1,p1\n0,1,5,2\n1,1,2\n2,1,2\n", ["line 2", "4 fields", "3 columns"]),
    "units below the names": ("time,q1,p1\ns,m,kg\n0,1,2\n", ["line 2, column", "expected a finite number"]),
    "a second header": ("time,q1,p1\n0,1,2\ntime,q1,p1\n1,2,3\n", ["line 3, column", "got 'q1'"]),
    "a comment among rows": ("time,q1,p1\n0,1,2\n# pause\n1,2,3\n", ["line 3", "1 fields"]),
    "names of numbers": ("0,1,2\n0,1,2\n1,1,2\n", ["line 1", "got the number 0", "--names time,q1,p1"]),
    "a column of words without a name": ("time,q1,p1,\n0,1,2,up\n1,1,2,\n", ["column 4 has no name", "'up'"]),
    "two candidates": (
        "t,timestamp,q1,p1\n0,0,1,2\n1,1,1,2\n",
        ["column time", "is missing", "got t, timestamp"],
    ),
    "rows numbered by id": (
        "id,time,q1,p1\n0,0,1,2\n1,1,1,2\n",
        ["trajectory 0 has this one row only", "(column id is taken for the trajectory: add --ignore id if"],
    ),
    "titles only": ("Experiment\nof Monday\n", ["line 1"]),
    "a date of a spreadsheet": (
        "time,q1,p1\n01.02.2020 12:00,1,2\n",
        ["line 2, column time", "'01.02.2020 12:00'", "a date as 2024-05-01T12:30:00"],
    ),
    "a formula": ("time,q1,p1\n0,=1+1,2\n1,1,2\n", ["line 2, column q1", "'=1+1'"]),
    "Latin-1": ("time,q1,p1,\udce4\n0,1,2,3\n", ["line 1", "UTF-8"]),
    "braces": ("{0.__class__},{}\n1,2\n", ["line 1"]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_meant_is_one_line(case: str) -> None:
    content, parts = HOSTILE[case]
    message = refused("a.csv", content.encode("utf-8", "surrogateescape"))
    for part in parts:
        assert part in message, message


def test_a_file_is_written_as_it_is_however_it_is_cut() -> None:
    """Every beginning of a file is read, or refused in one line."""
    for content in (euro(plain()), dated(), plain("# " + HEAD).replace(",", " "), "title\n" + INDEXED):
        for end in [*range(0, 120), 1000, 2000]:
            try:
                read("a.csv", content[:end])
            except DataFileError as error:
                assert "\n" not in str(error)


def pendulum(share: float) -> str:
    """Two runs at 100 Hz of which a share of the frames was dropped."""
    generator = np.random.default_rng(10)
    lines = ["trajectory,time,t1,t2,o1,o2"]
    for k in range(2):
        for t in np.arange(0, 8, 0.01):
            if generator.uniform() > share:
                state = (np.sin(3 * t + k), np.cos(2 * t), 3 * np.cos(3 * t + k), -2 * np.sin(2 * t))
                lines.append(f"{k},{t:.2f}," + ",".join(f"{x:.5f}" for x in state))
    return "\n".join(lines) + "\n"


def test_dropped_frames_leave_two_runs_two_trajectories() -> None:
    layout = Layout(positions=("t1", "t2"), velocities=("o1", "o2"), masses=(1.0,))
    content = pendulum(0.08)
    trajectories, notes = read("a.csv", content, layout)
    assert len(trajectories) == trajectories.recording_count == 2
    assert trajectories.lengths.sum() == content.count("\n") - 1
    assert "dropped rows are bridged: steps of up to 0.045 stay inside a trajectory" in notes[0]
    assert set(np.round(100 * trajectories.transitions().dt)) <= {1, 2, 3, 4}


def test_unequal_times_that_are_no_gaps() -> None:
    generator = np.random.default_rng(0)
    two_rates = np.repeat([0.01, 0.1], [80, 20])
    for steps in (generator.exponential(size=100), generator.uniform(0.1, 0.4, 100), two_rates):
        rows = "".join(f"{t!r},1,1\n" for t in np.cumsum(steps).tolist())
        data, notes = read("a.csv", "time,q1,p1\n" + rows)
        assert len(data) == 1 and not any("gap" in note for note in notes)
    assert notes == ()


def test_initial_states_of_a_file_without_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    layout = Layout(names=tuple(HEAD.split(",")))
    assert read_states(tmp_path / "a.csv", layout).tolist() == [[1, 2], [3, 4]]
    (tmp_path / "a.csv").write_text("p1;q1\n1,5;2\n")
    assert read_states(tmp_path / "a.csv", layout).tolist() == [[2, 1.5]]


def test_velocities_are_known_to_a_file_that_was_saved(tmp_path: Path) -> None:
    layout = Layout(positions=("t1", "t2"), velocities=("o1", "o2"), masses=(1.0, 2.0))
    data, _ = read("a.csv", pendulum(0.0), layout)
    save_trajectories(tmp_path / "data.npz", data)
    assert load_trajectories(tmp_path / "data.npz").velocities == {"o1": 1.0, "o2": 2.0}


# Options


def options(*overrides: str, **data: Any) -> Layout:
    return file_layout(load_recipe("systems/base.toml", {"file": "a.csv", **data}, overrides, source="here"))


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [("tab", "\t"), ("\\t", "\t"), ("space", " "), (";", ";"), ("semicolon", ";"), (",", ","), ("|", "|")],
)
def test_delimiters_need_no_quotes(text: str, delimiter: str) -> None:
    assert options(f"data.delimiter={text}").delimiter == delimiter
    content = plain().replace(",", delimiter)
    assert_oscillators(read("a.csv", content, Layout(delimiter=delimiter)))
    assert options().delimiter is None


def test_keys_of_the_configuration() -> None:
    layout = options("data.step=0.5", "data.columns.names=['q1', 'p1']", masses=["2", "3"])
    assert (layout.step, layout.names, layout.masses) == (0.5, ("q1", "p1"), (2.0, 3.0))
    config = parse_config({"data": {"file": "a.csv", "masses": 2}})
    assert config.data.masses == (2.0,) and parse_config(config.model_dump(mode="json")) == config
    for masses in (0, [1, -1], "heavy", ["0"], [[1]]):
        with pytest.raises(
            ValueError, match=r"^config: data\.masses: expected positive numbers, one for all .* got"
        ):
            parse_config({"data": {"file": "a.csv", "masses": masses}})


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (
            ["--masses", "0", "--positions", "x", "--velocities", "v"],
            "data.masses: expected positive numbers",
        ),
        (["--dt", "0"], "data.step"),
        (["--names", "time,q1,p1"], "line 2: 4 fields where the header names 3"),
        (["--positions", "x{},y{}", "--momenta", "p{}"], "got 1 for 2 positions"),
        (["--positions", "x{}", "--momenta", "p"], "expected {} once in all"),
        (["--positions", "x{}", "--momenta", "p{}"], "no trajectory has all of x{}, p{}"),
        (
            ["--dt", "0.1", "--names", "trajectory,time,q1,p1"],
            "column time: holds the times, so leave --dt 0.1",
        ),
        (
            [],
            "no positions, expected columns q1..qn, got trajectory, time, x, v: add --positions x --vel",
        ),
    ],
)
def test_options_of_discover(tmp_path: Path, words: list[str], part: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(plain("trajectory,time,x,v"))
    with pytest.raises(ValueError) as caught:
        app(args=["discover", str(path), "--out", str(tmp_path / "run"), *words], standalone_mode=False)
    assert part in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_options_of_a_folder_that_the_command_wrote_are_those_of_its_configuration() -> None:
    """Also before the end of a run, when only the command line's own tables stand there."""
    config = load_config(Path("configs/debug.toml"))
    assert options_of(config.model_dump(mode="json")) == config.options()
