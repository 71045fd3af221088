"""Users' own files: what their columns mean, gaps, angles, and every damage that a CSV can have."""

import csv
import io
import itertools
import math
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noether_razor.trajectories import (
    DataFileError,
    DataFileWarning,
    Layout,
    Trajectories,
    hold_out,
    load_trajectories,
    read_data_file,
    read_states,
)
from noether_razor.trajectories import csv as csv_reader
from noether_razor.trajectories.writing import NUMBER

several_examples = settings(max_examples=60, deadline=None)
AS_IT_IS = Layout(periodic=(), gap=1e101)
"""Neither angles nor gaps are looked for: no file may hold a time that is as long as this gap."""
many_examples = settings(max_examples=400, deadline=None)


def read(content: str | bytes, layout: Layout | None = None, name: str = "mine.csv") -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_data_file(path, layout)


def refused(content: str | bytes, layout: Layout | None = None) -> str:
    """The message of a refusal, without the name of the file, which must stand in front."""
    with pytest.raises(DataFileError) as caught:
        read(content, layout)
    message = str(caught.value)
    assert "\n" not in message and "mine.csv: " in message
    return message.split("mine.csv: ", 1)[1]


PLAIN = """trajectory,time,q1,q2,p1,p2
a,0.0,1,2,3,4
a,0.1,1.5,2.5,3.5,4.5
b,0.05,-1,-2,-3,-4
b,0.45,-1.5,-2.5,-3.5,-4.5
b,0.5,1e-3,+.5,5.,-1E2
"""


def test_a_plain_file_is_read_as_it_stands():
    data, notes = read(PLAIN)
    assert notes == ()
    assert data.lengths.tolist() == [2, 3]
    assert data.names == ("q1", "q2", "p1", "p2") and data.units == ("",) * 4
    (ta, a), (tb, b) = data.segments()
    np.testing.assert_array_equal(ta, [0.0, 0.1])
    np.testing.assert_array_equal(tb, [0.05, 0.45, 0.5])
    np.testing.assert_array_equal(a, [[1, 2, 3, 4], [1.5, 2.5, 3.5, 4.5]])
    np.testing.assert_array_equal(b[2], [1e-3, 0.5, 5.0, -100.0])


numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def tables(draw) -> tuple[list[str], list[list[str]], Trajectories]:
    """A header, rows of text, and the trajectories that they mean; columns and rows in any order."""
    dof = draw(st.integers(1, 2))
    coordinates = [f"{kind}{i + 1}" for kind in "qp" for i in range(dof)]
    segments, rows = [], []
    for k in range(draw(st.integers(1, 3))):
        times = np.cumsum([draw(st.floats(0.01, 9.0)) for _ in range(draw(st.integers(2, 4)))])
        states = np.array([[draw(numbers) for _ in coordinates] for _ in times])
        segments.append((times, states))
        rows.append(
            [[f"t{k}", repr(float(t)), *map(repr, x.tolist())] for t, x in zip(times, states, strict=True)]
        )
    header = ["trajectory", "time", *coordinates]
    order = draw(st.permutations(range(len(header))))
    if draw(st.booleans()):
        # Sorted by time step rather than by trajectory.
        mixed = [row for step in itertools.zip_longest(*rows) for row in step if row is not None]
    else:
        mixed = [row for part in rows for row in part]
    lines = [[row[k] for k in order] for row in mixed]
    return [header[k] for k in order], lines, Trajectories.of_segments(segments)


def text_of(header: list[str], rows: list[list[str]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in [header, *rows])


def assert_equal(ours: Trajectories, theirs: Trajectories) -> None:
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    np.testing.assert_array_equal(ours.times, theirs.times)
    np.testing.assert_array_equal(ours.states, theirs.states)


@several_examples
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_any_order_of_columns_and_trajectories(table, end, delimiter, last_newline):
    header, rows, expected = table
    text = text_of(header, rows, delimiter, end)
    content = text if last_newline else text[: -len(end)]
    data, _ = read(content, Layout(delimiter=delimiter, periodic=(), gap=1e101))
    assert_equal(data, expected)


@several_examples
@given(tables(), st.integers(30, 300))
def test_blocks_may_end_anywhere(table, size):
    header, rows, expected = table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "BLOCK", max(size, max(len(",".join(row)) + 2 for row in rows)))
        data, _ = read(text_of(header, rows), AS_IT_IS)
    assert_equal(data, expected)


@several_examples
@given(tables())
def test_the_careful_and_the_plain_way_agree(table):
    header, rows, expected = table
    quoted = [[f'"{field}"' for field in row] for row in [header, *rows]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader._Reader, "_plain", lambda *_: None)
        assert_equal(read(text_of(header, rows), AS_IT_IS)[0], expected)
        assert_equal(read(text_of(quoted[0], quoted[1:]), AS_IT_IS)[0], expected)
    assert_equal(read(text_of(quoted[0], quoted[1:]), AS_IT_IS)[0], expected)


# Damage


def naive(content: bytes) -> dict[str, list[tuple[float, list[float]]]] | None:
    """What a plain file says by the slow and obvious reading, without its missing rows, or None where it says
    nothing sound or is not plain.
    """
    try:
        header, *lines = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
        header = [name.strip() for name in header]
        states = [name for kind in "qp" for name in sorted(header) if name[:1] == kind]
        found: dict[str, list[tuple[float, list[float]]]] = {}
        for fields in lines:
            if not "".join(fields).strip():
                continue
            row = dict(zip(header, fields, strict=True))
            label = row["trajectory"].strip()
            label = str(int(float(label))) if label.strip("+-").replace(".", "").isdigit() else label
            state = [float(row[name].strip() or "nan") for name in states]
            rows = found.setdefault(label, [])
            if not any(map(math.isnan, state)):
                rows.append((float(row["time"]), state))
    except (ValueError, KeyError, csv.Error):
        return None
    return found


def points_of(content: bytes) -> list[set[float]]:
    """The numbers of each line, whatever stands between them."""
    lines = content.decode().replace("\r\n", "\n").split("\n")
    fields = [re.split(r'[,;\t| "]+', line) for line in lines]
    return [{float(field) for field in line if NUMBER.fullmatch(field)} for line in fields]


NASTY = [
    "",
    " ",
    "x",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "1e101",
    "1_0",
    "0x1",
    "1,5",
    '"',
    "\uff11",
    "1 2",
    "--1",
    "\0",
    "1d3",
]
BYTES = st.sampled_from(
    [b",", b"\n", b"\r", b'"', b";", b"\0", b"\xff", b"\xef\xbb\xbf", b"#", b"e", b"-", b"1", b" ", b"\t"]
)


@st.composite
def damaged(draw) -> bytes:
    header, rows, _ = draw(tables())
    rows = [row.copy() for row in rows]
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["field", "drop", "repeat", "swap", "column", "extra", "header"]))
        k = draw(st.integers(0, len(rows) - 1)) if rows else 0
        column = draw(st.integers(0, len(header) - 1))
        if not rows:
            break
        if kind == "field":
            rows[k][min(column, len(rows[k]) - 1)] = draw(st.sampled_from(NASTY))
        elif kind == "drop":
            del rows[k]
        elif kind == "repeat":
            rows.insert(k, rows[k].copy())
        elif kind == "swap":
            rows[k], rows[-1] = rows[-1], rows[k]
        elif kind == "column":
            del rows[k][-1]
        elif kind == "extra":
            rows[k].append("3")
        elif kind == "header":
            header[column] = draw(st.sampled_from(["", "q9", "time", "note", "x", "1"]))
    content = text_of(header, rows).encode()
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        cut = draw(st.integers(0, 2))
        content = content[:at] + draw(st.one_of(st.just(b""), BYTES)) + content[at + cut :]
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 4)) == 0 else content


@many_examples
@given(damaged())
@example(b"trajectory,time,q1,p1\n1,0,1,2\n1.0,1,1,2\n01,2,1,2\n")
@example(b"trajectory,time,q1,p1\n9007199254740993,0,1,2\n9007199254740992,0,1,2\n9007199254740992,1,1,2\n")
@example(b'trajectory,time,q1,p1\n1,0,1,2\n1,1,1"2",2\n')
@example(b'trajectory,time,q1,p1\na,0,1,2\n"a,1,1,2\n"a",2,1,2\n')
def test_damage_is_refused_or_changes_nothing_else(content):
    try:
        data, notes = read(content, AS_IT_IS)
    except DataFileError as error:
        assert "mine.csv" in str(error) and "\n" not in str(error)
        return
    expected = naive(content)
    if expected is None or any("ignored" in note or "passed over" in note for note in notes):
        # A mark, a comment, another delimiter: read, but no point may be invented.
        lines = points_of(content)
        for times, states in data.segments():
            for time, state in zip(times.tolist(), states.tolist(), strict=True):
                assert any({time, *state} <= line for line in lines)
        return
    # A trajectory of which one row is left cannot be used.
    expected = {label: rows for label, rows in expected.items() if len(rows) > 1}
    assert len(data) == len(expected)
    for (times, states), rows in zip(data.segments(), expected.values(), strict=True):
        np.testing.assert_array_equal(times, [t for t, _ in rows])
        np.testing.assert_array_equal(states, [x for _, x in rows])


@many_examples
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(content):
    try:
        read(content)
    except DataFileError as error:
        assert "\n" not in str(error)


HEAD = "trajectory,time,q1,p1\n"
OK = "a,0,1,2\na,1,1,2\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["line 1", "empty"]),
        ("\n\n", ["line 1", "blank"]),
        (HEAD, ["line 2", "no rows"]),
        (HEAD + "\n \n", ["line 4", "no rows"]),
        (HEAD + "a,0,1,2\na,1,x,2\n", ["line 3, column q1", "'x'"]),
        (HEAD + "a,0,1,2\n\na,nan,1,1\n", ["line 4, column time", "'nan'", "finite"]),
        (HEAD + "a,0,1,2\na,1,-inf,2\n", ["line 3, column q1", "'-inf'"]),
        (HEAD + "a,0,1,2\na,1,1e300,2\n", ["line 3, column q1", "'1e300'", "1e+100"]),
        (HEAD + "a,0,1,2\na,1,1e999,2\n", ["line 3, column q1", "'1e999'"]),
        (HEAD + "a,0,,2\na,1,,2\n", ["every row is without a state"]),
        (HEAD + "a,0,1,2\na,,1,2\n", ["line 3, column time", "empty field"]),
        (HEAD + "a,0,1,2\n,1,1,2\n", ["line 3, column trajectory", "empty"]),
        (HEAD + "a,0,1,2\na,0,1,2\n", ["line 3, column time", "got 0 after 0", "trajectory a"]),
        (HEAD + "a,0,1,2\nb,3,1,2\na,-1,1,2\nb,2,1,2\n", ["line 4, column time", "got -1 after 0"]),
        (HEAD + OK + "b,0,1,2\n", ["line 4", "trajectory b", "one row"]),
        (HEAD + "a,0,1\n", ["line 2", "3 fields", "4 columns"]),
        (HEAD + "a,0,1,5,2\n", ["line 2", "5 fields", "4 columns"]),
        (HEAD + 'a,0,"1,2\n', ["line 2", "quotes"]),
        (
            "time,q1,p1\n0,1,2\n1,1,2\n0,1,2\n",
            ["line 4, column time", "no column tells trajectories apart", "--trajectory NAME"],
        ),
        ("block,time,q1,p1\n" + OK, ["column block", "--ignore block", "--trajectory block"]),
        ("trajectory,time,q1,q2,p1\n" + OK, ["line 1", "2 positions (q1, q2) and 1 momenta (p1)"]),
        ("trajectory,time,q1,q3,p1,p2\n", ["line 1, column q2", "missing"]),
        ("trajectory,time,q1,p1,note\n", ["line 1, column note", "unknown", "ignore"]),
        ("trajectory,tme,q1,p1\n", ["line 1, column time", "missing", "--time tme", "--dt"]),
        ("trajectory,q1,p1\n", ["line 1, column time", "missing", "--dt"]),
        ("t,Time,q1,p1\n", ["line 1, column time", "missing"]),
        ("trajectroy,time,q1,p1\n", ["line 1, column trajectroy", "did you mean trajectory"]),
        ("trajectory,time,q1,q1,p1\n", ["line 1, column q1", "twice"]),
        ("trajectory,time,q1,\na,0,1,2\n", ["line 1", "column 4 has no name", "'2'"]),
        ("trajectory,time,q1,q2,a\n", ["line 1", "positions (q1, q2) without momenta", "velocities"]),
        ("trajectory,time,q1,q2\n" + OK, ["positions alone need 18 rows"]),
        ("trajectory,time,x,y\n", ["line 1", "no positions", "q1..qn"]),
        ("trajectory,time,q1,v1\n", ["line 2", "no rows"]),
        ("trajectory,time,q1,p1,v1\n", ["line 1, column v1", "both momenta and velocities", "ignore"]),
        ("1,0,1,2\n", ["line 1", "the number 1", "names"]),
        (HEAD.replace(",", "\t"), ["line 2", "no rows"]),
        ("\ufeff" + HEAD, ["line 2", "no rows"]),
        ("# made by lab X\n", ["line 1", "nothing but comments"]),
        ((HEAD + OK).encode("utf-16"), ["line 1", "UTF-8"]),
        (HEAD.encode() + b"a,0,1,2\n\xe9,1,1,2\n", ["line 3", "UTF-8"]),
        (HEAD + "a,0,1,2\na,1,\0,2\n", ["line 3", "zero byte"]),
        ((HEAD + OK).replace("\n", "\r"), ["line 1", "carriage return"]),
        (HEAD + "a,0,1,2\n" + "a,1,1,2\r3\n", ["line 3", "carriage return"]),
        (HEAD + "a,0,,\na,1,,\n", ["every row is without a state"]),
        (HEAD + "a,0,1,1\na,1,,\n", ["no two rows together"]),
    ],
)
def test_every_damage_is_named_by_line_and_column(content, parts):
    message = refused(content)
    for part in parts:
        assert part in message, message


def test_a_long_line_is_no_csv(monkeypatch):
    monkeypatch.setattr(csv_reader, "BLOCK", 100)
    assert "line of more than 100 bytes" in refused(HEAD + "a,0,1," + "2" * 300 + "\n")


def test_what_is_no_readable_file(tmp_path):
    for reader in (read_data_file, read_states):
        for suffix in ("csv", "npz", "h5"):
            with pytest.raises(DataFileError, match=f"nothing.{suffix}: no such file"):
                reader(tmp_path / f"nothing.{suffix}")
            folder = tmp_path / f"folder.{suffix}"
            folder.mkdir(exist_ok=True)
            with pytest.raises(DataFileError, match=r"cannot be read \(Is a directory\)"):
                reader(folder)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX ones")
def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "secret.csv"
    path.write_text(PLAIN)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataFileError, match=r"secret\.csv: cannot be read \(Permission denied\)"):
        read_data_file(path)


def test_other_names_say_which_formats_there_are(tmp_path):
    (tmp_path / "mine.log").write_text(PLAIN)
    with pytest.raises(DataFileError, match=r"one of \.csv, \.tsv, \.txt, \.dat, \.npz"):
        read_data_file(tmp_path / "mine.log")


# What columns mean


NAMED = "id;t;x;y;vx;vy;note\nA;0;1;2;3;4;hm\nA;0.5;2;3;4;5;\nA;2.5;2;3;4;5;\n"
MAPPED = Layout(
    trajectory="id",
    time="t",
    positions=("x", "y"),
    velocities=("vx", "vy"),
    masses=(2.0, 10.0),
    ignore=("note",),
    units={"x": "m", "y": "m", "vx": "m/s", "t": "s"},
    delimiter=";",
)


def test_columns_are_mapped_by_name_and_velocities_become_momenta():
    data, notes = read(NAMED, MAPPED)
    np.testing.assert_array_equal(data.states[0, 0], [1, 2, 6, 40])
    assert data.names == ("x", "y", "m_vx", "m_vy")
    assert data.units == ("m", "m", "mass m/s", "") and data.time_unit == "s"
    assert len(notes) == 1 and "rotating frame" in notes[0] and "magnetic field" in notes[0]


def test_velocities_of_one_mass():
    data, _ = read("time,q1,v1\n0,1,2\n1,2,3\n", Layout(masses=(3.0,)))
    np.testing.assert_array_equal(data.states[0], [[1, 6], [2, 9]])
    assert data.names == ("q1", "p1")
    assert "masses belong to velocities" in refused(PLAIN, Layout(masses=(3.0,)))


def test_notes_are_warnings_of_the_plain_reader(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(NAMED)
    with pytest.warns(DataFileWarning, match="rotating frame"):
        load_trajectories(path, MAPPED)


TOML = """
masses = [2.0, 10.0]
delimiter = ";"
units = { x = "m", y = "m", vx = "m/s", t = "s" }

[columns]
trajectory = "id"
time = "t"
positions = ["x", "y"]
velocities = ["vx", "vy"]
ignore = ["note"]
"""


def test_a_file_beside_the_data_says_what_its_columns_are(tmp_path):
    path, beside = tmp_path / "mine.csv", tmp_path / "mine.csv.toml"
    path.write_text(NAMED)
    beside.write_text(TOML)
    assert Layout.beside(path) == MAPPED
    np.testing.assert_array_equal(read_data_file(path).trajectories.states[0, 0], [1, 2, 6, 40])
    options = {"masses": 1.0, "columns": {"positions": ["y", "x"]}}
    swapped = read_data_file(path, Layout.beside(path, options)).trajectories
    np.testing.assert_array_equal(swapped.states[0, 0], [2, 1, 3, 4])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("masses = ", "not TOML"),
        ("mass = 1", "mass: unknown key, did you mean masses"),
        ("[columns]\nposition = ['x']", "columns.position: unknown key, did you mean positions"),
        ("columns = 3", "columns: got 3"),
        ("masses = 'heavy'", "masses: got 'heavy', expected numbers"),
        ("masses = [-1]", "masses: got [-1.0]"),
        ("masses = [true]", "masses: got [True]"),
        ("gap = 0", "gap: got 0.0, expected a positive"),
        ("period = 'full'", "period: got 'full'"),
        ("delimiter = 'ab'", "delimiter: got 'ab', expected one of , ; | tab space"),
        ("step = 0", "step: got 0.0, expected a positive"),
        ("[columns]\npositions = ['x{}']\nmomenta = ['p']", "expected {} once in all"),
        ("units = {q1 = 3}", "units: got"),
        ("periodic = 'q1'", "periodic: got 'q1', expected a list"),
        ("[columns]\ntime = 3", "time: got 3, expected a name"),
        ("[columns]\npositions = ['x', 'x']", "no name twice"),
        ("[columns]\npositions = ['x']\nmomenta = ['a']\nvelocities = ['b']", "exclude each other"),
        ("[columns]\npositions = ['x']\nmomenta = ['a', 'b']", "got 2 for 1 positions"),
    ],
)
def test_a_wrong_file_beside_the_data_is_named(tmp_path, text, part):
    path = tmp_path / "mine.csv"
    path.write_text(PLAIN)
    path.with_name("mine.csv.toml").write_text(text)
    with pytest.raises(DataFileError, match=r"mine\.csv\.toml: ") as caught:
        read_data_file(path)
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "part"),
    [
        (Layout(positions=("x",), momenta=("p1",)), "column x: is missing"),
        (Layout(positions=("q1", "q2"), momenta=("p1", "q1")), "two things"),
        (Layout(ignore=("nothing",)), "column nothing: is missing"),
        (Layout(ignore=("time",)), "column time: one column cannot be two things"),
        (Layout(trajectory="run"), "column run: is missing"),
        (Layout(units={"q7": "m"}), "column q7: has a unit but is no coordinate"),
        (Layout(periodic=("p1",)), "column p1: is periodic but no position"),
    ],
)
def test_a_layout_that_does_not_fit_is_named(layout, part):
    assert part in refused(PLAIN, layout)


# Gaps


def rows_of(times: Any, states: Any, label: str = "1") -> str:
    return "".join(
        f"{label},{t!r}," + ",".join(map(repr, x)) + "\n" for t, x in zip(times, states, strict=True)
    )


def test_rows_without_a_state_are_left_out_and_not_invented():
    text = HEAD + "a,0,1,1\na,1,2,2\na,2,,\na,3,4,4\na,4,5,5\na,5, , \na,6,NaN,7\na,7,8,8\n"
    data, notes = read(text)
    assert [times.tolist() for times, _ in data.segments()] == [[0, 1, 3, 4, 7]]
    assert notes == ("3 rows without a state (1 of them with some of its coordinates) are left out",)
    assert data.transitions().dt.tolist() == [1, 2, 1, 3]


def test_a_long_hole_of_rows_without_a_state_breaks_even_irregular_times():
    times = np.cumsum(np.random.default_rng(0).exponential(size=40)).tolist()
    rows = rows_of(times, np.ones((40, 2)).tolist()).splitlines(keepends=True)
    hole = [row.replace("1.0,1.0", ",") if 10 <= k < 20 else row for k, row in enumerate(rows)]
    data, notes = read(HEAD + "".join(hole))
    assert data.lengths.tolist() == [10, 20] and data.recordings.tolist() == [0, 0]
    assert "10 rows without a state are left out" in notes[0]
    assert "break 1 recording into 2 pieces; for what is conserved they count as one" in notes[1]


@several_examples
@given(st.integers(30, 40), st.sets(st.integers(0, 39), max_size=9), st.booleans())
def test_dropped_rows_of_a_regular_file_are_bridged(length, dropped, jittered):
    times = 0.1 * np.arange(length)
    if jittered:
        times = times + np.random.default_rng(length).uniform(-0.02, 0.02, length)
    states = np.stack([np.arange(length), -np.arange(length)], axis=1).astype(float)
    kept = [k for k in range(length) if k not in dropped]
    steps = np.diff(times[kept])
    data, notes = read(HEAD + rows_of(times[kept].tolist(), states[kept].tolist()))
    if steps.max() < 0.42:
        assert len(data) == 1 and data.states[0, :, 0].tolist() == kept
    np.testing.assert_array_equal(data.recordings, 0)
    assert data.transitions().dt.max() < 0.49 or not any("bridged" in note for note in notes)
    inner = sum(kept[0] < k < kept[-1] for k in dropped)
    if len(data) == 1 and inner and np.mean(steps < 0.15) > 0.9:
        assert notes == (notes[0],) and notes[0].startswith(f"{inner} dropped row")


def test_no_row_of_times_that_jitter_is_dropped():
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, 300)
    data, notes = read(HEAD + rows_of((np.arange(300) + jitter).tolist(), np.ones((300, 2)).tolist()))
    assert data.lengths.tolist() == [300] and notes == ()


def test_a_gap_breaks_a_recording_into_pieces_that_stay_together():
    rows = ""
    for label in "abcde":
        times = [t for t in range(60) if not (label in "ab" and 20 <= t < 20 + 10)]
        rows += rows_of([0.1 * t for t in times], np.ones((len(times), 2)).tolist(), label)
    data, notes = read(HEAD + rows)
    assert data.recordings.tolist() == [0, 0, 1, 1, 2, 3, 4] and data.recording_count == 5
    assert len(notes) == 1 and notes[0].startswith("2 gaps longer than 0.45, the first before line 22,")
    assert "break 2 recordings into 4 pieces; for what is conserved they count as one" in notes[0]
    kept, aside = hold_out(data, 0.4)
    assert aside is not None and aside.recording_count == 2 and kept.recording_count == 3
    assert not set(kept.recordings) & set(aside.recordings)
    assert hold_out(data[:5], 0.4)[1] is None


def test_irregular_times_have_no_gaps_unless_said():
    text = HEAD + rows_of([0.0, 1.0, 1.5, 8.0, 9.0], np.ones((5, 2)).tolist())
    assert read(text)[0].transitions().dt.tolist() == [1, 0.5, 6.5, 1]
    data, notes = read(text, Layout(gap=2.0))
    assert data.transitions().dt.tolist() == [1, 0.5, 1]
    assert "1 gap longer than 2" in notes[0] and "line 5" in notes[0] and "into 2 pieces" in notes[0]


def test_a_gap_that_is_no_gap():
    times = [*(0.1 * np.arange(30)).tolist(), 10.0]
    text = HEAD + rows_of(times, np.ones((31, 2)).tolist())
    assert len(read(text)[0].transitions().dt) == 29
    assert len(read(text, Layout(gap=1e9))[0].transitions().dt) == 30


# Angles


def wrapped(period: float, speed: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    times = 0.25 * np.arange(60)
    angle = period / (2 * math.pi) * speed * times
    return times, angle, (angle + period / 2) % period - period / 2


@pytest.mark.parametrize(("unit", "period"), [("rad", 2 * math.pi), ("deg", 360.0)])
@pytest.mark.parametrize("speed", [1.0, -2.0])
def test_jumps_of_an_angle_are_refused_until_it_is_called_one(unit, period, speed):
    times, angle, seen = wrapped(period, speed)
    text = HEAD + rows_of(times.tolist(), np.stack([seen, np.ones(60)], axis=1).tolist())
    message = refused(text)
    assert "column q1" in message and 'periodic = ["q1"]' in message and f"period {period:.6g}" in message
    data, notes = read(text, Layout(periodic=("q1",), units={"q1": unit}))
    np.testing.assert_allclose(data.states[0, :, 0], angle, atol=1e-9 * period)
    assert "unwrapped" in notes[0]
    untouched, _ = read(text, Layout(periodic=()))
    np.testing.assert_array_equal(untouched.states[0, :, 0], seen)


def test_another_period_and_a_break_in_the_middle():
    times, angle, seen = wrapped(1.0)
    rows = rows_of(times.tolist(), np.stack([seen, np.ones(60)], axis=1).tolist()).splitlines(keepends=True)
    rows[30] = "1,7.5,,\n"
    data, _ = read(HEAD + "".join(rows), Layout(periodic=("q1",), period=1.0, gap=0.3))
    (_, one), (_, other) = data.segments()
    np.testing.assert_allclose(one[:, 0], angle[:30], atol=1e-9)
    # Each piece starts where it was seen: nobody knows how often it went round in between.
    np.testing.assert_allclose(other[:, 0], angle[31:] - angle[31] + seen[31], atol=1e-9)


@several_examples
@given(st.floats(0.1, 3.1), st.integers(0, 1000))
def test_motion_without_jumps_is_no_angle(amplitude, seed):
    generator = np.random.default_rng(seed)
    times = np.sort(generator.uniform(0, 30, 100))
    states = np.stack([amplitude * np.sin(times), amplitude * np.cos(times)], axis=1)
    data, _ = read(HEAD + rows_of(times.tolist(), states.tolist()))
    np.testing.assert_array_equal(data.states[0], states)


# Arrays


def columns_of(data: Trajectories) -> dict[str, np.ndarray]:
    rows = [
        (k, t, *x)
        for k, (times, states) in enumerate(data.segments())
        for t, x in zip(times, states, strict=True)
    ]
    names = ["trajectory", "time", *data.names]
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def write_arrays(path: Path, arrays: dict[str, Any]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values.astype("S") if values.dtype.kind == "U" else values
    return path


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5", "mine.hdf5"])
@several_examples
@given(tables())
def test_arrays_hold_columns_or_whole_sets(name, table):
    expected = table[2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        data, notes = read_data_file(write_arrays(path, columns_of(expected)), AS_IT_IS)
        assert_equal(data, expected)
        assert notes == ()
        whole = {"times": expected.times, "states": expected.states, "lengths": expected.lengths}
        units = np.array(["m"] * expected.dof + ["kg m/s"] * expected.dof)
        data, notes = read_data_file(write_arrays(path, {**whole, "units": units}))
        assert_equal(data, expected)
        assert data.units == tuple(units)


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5"])
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"q1": np.array([1.0, 2.0, np.inf])}, "row 2, q1: got inf"),
        ({"time": np.array([0.0, 1.0, np.nan])}, "row 2, time: got nan"),
        ({"q1": np.array([1.0, 2.0])}, "must have shape (2,), got (3,)"),
        ({"q1": np.array(1.0)}, "must have shape (1,), got (3,)"),
        ({"q1": np.array(1.0), "time": np.array([1.0]), "p1": np.array([1.0])}, "q1: must have shape (1,)"),
        ({"time": np.array([0.0, 2.0, 1.0])}, "row 2, column time: got 1 after 2"),
        ({"time": np.array([0.0, 1.0, np.inf])}, "row 2, time: got inf"),
        ({"time": np.zeros((3, 1))}, "time: must have shape (3,), got (3, 1)"),
        ({"p1": np.array(["1", "2", "x"])}, "p1: must hold real numbers"),
        ({"note": np.zeros(3)}, "column note: unknown"),
        ({"p1": None}, "positions alone need 18 rows"),
        ({"p1": None, "a": np.ones(3)}, "without momenta"),
        ({"q1": np.zeros(0), "p1": np.zeros(0), "time": np.zeros(0)}, "the arrays are empty"),
    ],
)
def test_wrong_columns_of_arrays_are_named(tmp_path, name, change, part):
    arrays: dict[str, Any] = {"time": np.arange(3.0), "q1": np.ones(3), "p1": np.ones(3), **change}
    arrays = {key: value for key, value in arrays.items() if value is not None}
    with pytest.raises(DataFileError) as caught:
        read_data_file(write_arrays(tmp_path / name, arrays))
    assert part in str(caught.value)


def test_rows_of_nan_are_missing_ones_in_arrays(tmp_path):
    q = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    path = write_arrays(tmp_path / "mine.npz", {"time": np.arange(5.0), "q1": q, "p1": q})
    data, notes = read_data_file(path)
    assert data.times.tolist() == [[0, 1, 3, 4]] and "1 row without a state is left out" in notes


@several_examples
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_hdf5_file_is_refused(share):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.h5"
        write_arrays(path, {"times": np.arange(3.0)[None], "states": np.ones((1, 3, 2))})
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataFileError, match=r"mine\.h5"):
            read_data_file(path)


def test_whole_sets_take_units_and_no_columns(tmp_path):
    path = write_arrays(tmp_path / "mine.npz", {"times": np.arange(3.0)[None], "states": np.ones((1, 3, 2))})
    data, _ = read_data_file(path, Layout(units={"q1": "m", "time": "s"}))
    assert data.units == ("m", "") and data.time_unit == "s"
    with pytest.raises(DataFileError, match="gap: is for files of columns"):
        read_data_file(path, Layout(gap=1.0))
    with pytest.raises(DataFileError, match="p1: is periodic but no position"):
        read_data_file(path, Layout(periodic=("p1",)))
    with pytest.raises(DataFileError, match="q2: has a unit"):
        read_data_file(path, Layout(units={"q2": "m"}))


# Single states


def test_single_states_need_no_times(tmp_path):
    path = tmp_path / "initial.csv"
    path.write_text("p1,q1\n1,2\n3,4\n")
    np.testing.assert_array_equal(read_states(path), [[2, 1], [4, 3]])
    path.write_text("trajectory,time,v1,q1\na,0,1,2\na,0,3,4\n")
    np.testing.assert_array_equal(read_states(path, Layout(masses=(5.0,))), [[2, 5], [4, 15]])
    arrays = write_arrays(tmp_path / "initial.npz", {"states": np.ones((2, 4))})
    assert read_states(arrays).shape == (2, 4)
    assert read_states(write_arrays(arrays, {"q1": np.ones(2), "p1": np.ones(2)})).shape == (2, 2)


@pytest.mark.parametrize(
    ("content", "part"),
    [("q1,p1\n", "no rows"), ("q1,p1\n1,2\n,\n", "line 3: has no state"), ("q1\n1\n", "without momenta")],
)
def test_single_states_that_are_none(tmp_path, content, part):
    path = tmp_path / "initial.csv"
    path.write_text(content)
    with pytest.raises(DataFileError, match=part):
        read_states(path)


@pytest.mark.parametrize("states", [np.ones(4), np.ones((0, 2)), np.full((1, 2), np.nan), np.array([["a"]])])
def test_wrong_arrays_of_single_states(tmp_path, states):
    with pytest.raises(DataFileError, match="states: must"):
        read_states(write_arrays(tmp_path / "initial.npz", {"states": states}))


# Size


def test_progress_ends_at_the_size_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_reader, "BLOCK", 1000)
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + rows_of(np.arange(300.0).tolist(), np.ones((300, 2)).tolist()))
    told: list[tuple[int, int]] = []
    read_data_file(path, progress=lambda done, total: told.append((done, total)))
    assert len(told) > 3 and told == sorted(told)
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


def test_very_unequal_trajectories_do_not_fill_the_memory(monkeypatch):
    from noether_razor.trajectories import assemble as _assemble

    monkeypatch.setattr(_assemble, "LARGEST_PADDING", 10_000)
    short = "".join(f"{k},0,1,1\n{k},1,1,1\n" for k in range(100))
    long = rows_of(np.arange(200.0).tolist(), np.ones((200, 2)).tolist(), "long")
    assert "cut the longest" in refused(HEAD + short + long)
