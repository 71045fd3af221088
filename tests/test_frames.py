"""Tables and arrays in memory make the same trajectories as the same table in a file, and the same errors."""

import datetime
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noether_razor as nr
from noether_razor.trajectories import DataFileError, DataFileWarning, Layout, Trajectories

FIELDS = ("times", "states", "lengths", "recordings", "names", "units", "time_unit", "velocities", "periods")


def table(count: int = 3, rows: int = 12) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(1)
    time = np.cumsum(draws.uniform(0.05, 0.15, (count, rows)), axis=1)
    return {
        "trajectory": np.repeat(np.arange(count), rows),
        "time": time.ravel(),
        **{name: draws.normal(size=count * rows) for name in ("q1", "q2", "p1", "p2")},
    }


class Frame:
    """As little as a frame may be: columns, and items of any kind by their names."""

    def __init__(self, columns: dict[str, Any]):
        self.columns, self._of = list(columns), columns

    def __getitem__(self, name: str) -> Any:
        return self._of[name]


def save(path: Path, columns: dict[str, Any]) -> Path:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if field is None else str(field) for field in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


def assert_same(one: Trajectories, other: Trajectories) -> None:
    for field in FIELDS:
        first, second = getattr(one, field), getattr(other, field)
        assert np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second, field
    assert one.targets is None and other.targets is None


def read_both(tmp_path: Path, columns: dict[str, Any], **options: Any) -> tuple[Trajectories, Trajectories]:
    names = ("trajectory", "time", "positions", "momenta", "velocities", "ignore")
    mapping = {key: value for key, value in options.items() if key not in names}
    mapping["columns"] = {key: value for key, value in options.items() if key in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataFileWarning)
        from_file = nr.load_trajectories(save(tmp_path / "table.csv", columns), Layout.parse(mapping))
        return Trajectories.from_frame(columns, **options), from_file


def renamed(columns: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): values for name, values in columns.items()}


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (table(), {}),
        ({name: values for name, values in table(1).items() if name != "trajectory"}, {}),
        ({name: values for name, values in table().items() if name != "time"}, {"step": 0.1}),
        (
            renamed(table(), time="t (s)", q1="x (m)", q2="y (m)", p1="vx (m/s)", p2="vy (m/s)"),
            {"positions": ["x", "y"], "velocities": ["vx", "vy"], "masses": [2.0, 3.0]},
        ),
        (renamed(table(), p1="v1", p2="v2"), {"masses": 2.0, "units": {"q1": "m", "v1": "m/s", "time": "s"}}),
        (table() | {"note": ["some text"] * 36}, {"ignore": ["note"]}),
        (table() | {"trajectory": np.repeat(["b", "a", "10"], 12)}, {}),
        (table() | {"trajectory": np.repeat([2.0, 1.0, 0.5], 12)}, {}),
        (table() | {"q1": [None, *table()["q1"][1:-1], "nan"]}, {}),
        (table() | {"q1": [Decimal(k) / 7 for k in range(36)]}, {}),
        (table() | {"q1": np.arange(36)}, {}),
        (table() | {"q1": np.linspace(0, 30, 36) % 6.283}, {"periodic": ["q1"], "period": 6.283}),
        (table(1) | {"time": [*np.arange(10) * 0.1, 8.0, 8.1]}, {}),
        (table(1) | {"time": [f"2024-05-01T12:30:{second:02}" for second in range(12)]}, {}),
        (
            renamed(table(1), time="date") | {"date": [f"2024-05-{k:02}" for k in range(1, 13)]},
            {"time": "date"},
        ),
        ({"Unnamed: 0": np.arange(36), **table()}, {}),
        (renamed(table(), trajectory="run", time="t"), {}),
    ],
    ids=str,
)
def test_a_table_is_read_as_its_csv_is(tmp_path, columns, options):
    assert_same(*read_both(tmp_path, columns, **options))


def test_any_object_with_columns_and_items_is_a_frame():
    assert_same(Trajectories.from_frame(Frame(table())), Trajectories.from_frame(table()))
    lists = {name: list(values) for name, values in table().items()}
    assert_same(Trajectories.from_frame(Frame(lists)), Trajectories.from_frame(table()))


def test_a_frame_of_pandas_is_read_as_its_csv_is(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table() | {"trajectory": np.repeat(["b", "a", "c"], 12)})
    frame.to_csv(tmp_path / "table.csv", index=False)
    assert_same(Trajectories.from_frame(frame), nr.load_trajectories(tmp_path / "table.csv"))
    dated = frame[frame.trajectory == "b"].drop(columns="trajectory").convert_dtypes()
    dated["time"] = pandas.date_range("2024-05-01", periods=12, freq="s", tz="Europe/Amsterdam")
    dated.loc[3, "q1"] = pandas.NA
    dated.to_csv(tmp_path / "dated.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataFileWarning)
        assert_same(Trajectories.from_frame(dated), nr.load_trajectories(tmp_path / "dated.csv"))


def test_dates_of_every_kind_count_from_the_first():
    start = datetime.datetime(2024, 5, 1, 12, 30)
    dates = [start + datetime.timedelta(seconds=0.5 * k) for k in range(12)]
    kinds = (dates, [at.isoformat() for at in dates], np.array(dates, "datetime64[ns]"))
    for times in (*kinds, [at.replace(tzinfo=datetime.UTC) for at in dates]):
        with pytest.warns(DataFileWarning, match="times are dates: counted in s from 2024-05-01"):
            data = Trajectories.from_frame(table(1) | {"time": times})
        np.testing.assert_allclose(data.times, [0.5 * np.arange(12)])


def test_what_was_done_is_a_warning():
    with pytest.warns(DataFileWarning, match="1 row without a state"):
        Trajectories.from_frame(table(1) | {"q1": [float("nan"), *table(1)["q1"][1:]]})


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (np.zeros((3, 4)), {}, "got ndarray, expected a table with .columns"),
        ({}, {}, "no columns"),
        (
            renamed(table(), q1="x", q2="y", p1="px", p2="py"),
            {},
            r"add positions=\['x', 'y'\], momenta=\['px'",
        ),
        (renamed(table(), p1="a", p2="b"), {}, r"momenta=\[...\], or velocities=\[...\], or ignore="),
        (
            renamed(table(), p1="v1", p2="v2"),
            {"masses": [1, 2, 3]},
            "without any they are found from the data",
        ),
        (renamed(table(), time="clock"), {}, "give the time between rows with step=0.01"),
        (table(), {"step": 0.5}, "so leave step=0.5 out"),
        (table(), {"time": "tmie"}, "column tmie: is missing, did you mean time"),
        (table() | {"energy": np.zeros(36)}, {}, r"column energy: unknown, add ignore=\['energy'\] to"),
        (table() | {"q1": ["a"] * 36}, {}, "row 0, q1: got 'a', expected a number"),
        (table() | {"time": [True] * 36}, {}, "time: must hold real numbers, got bool"),
        (table() | {"time": np.arange(36).astype("timedelta64[s]")}, {}, "got timedelta64"),
        (
            table() | {"time": [0.0, "noon", *range(34)]},
            {},
            "row 1, time: got 'noon', expected a number, or a",
        ),
        (table() | {"q1": np.zeros(35)}, {}, r"must have shape \(35,\), got \(36,\)"),
        (table() | {"q1": [[1.0], *[[1.0, 2.0]] * 35]}, {}, "q1: expected one value a row"),
        (table() | {"trajectory": [None, *"a" * 35]}, {}, "row 0, trajectory: empty"),
        (table() | {"time": np.zeros(36)}, {}, "times collide"),
        (
            {name: values for name, values in table().items() if name != "trajectory"},
            {},
            "with trajectory='NAME'",
        ),
        (table(), {"positions": "q1"}, "positions: got 'q1', expected a list of names"),
        (table(), {"masses": [0.0]}, "masses: got"),
        (table(), {"gap": -1.0}, "gap: got -1.0, expected a positive number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_with_the_keyword_that_helps(frame, options, message):
    with pytest.raises(ValueError, match=message):
        Trajectories.from_frame(frame, **options)


def test_columns_with_one_name_are_refused():
    frame = Frame(table())
    frame.columns = [*frame.columns, "q1"]
    with pytest.raises(DataFileError, match="frame: columns, column q1: the name is used twice"):
        Trajectories.from_frame(frame)


class TestArrays:
    def test_whole_sets(self):
        draws = np.random.default_rng(0)
        times, states = np.tile(np.arange(5.0), (3, 1)), draws.normal(size=(3, 5, 4))
        whole = Trajectories.from_arrays(times, states)
        assert_same(whole, Trajectories(times, states))
        assert_same(whole, Trajectories.from_arrays(times[0], states))
        assert_same(whole, Trajectories.from_arrays(range(5), list(states)))
        assert_same(whole[:1], Trajectories.from_arrays(times[0], states[0]))
        assert_same(whole, Trajectories.from_arrays(times.tolist(), states.tolist()))

    def test_trajectories_of_unequal_length(self):
        states = [np.random.default_rng(0).normal(size=(length, 2)) for length in (5, 3)]
        data = Trajectories.from_arrays([np.arange(5), np.arange(3) / 2], states, names=("x", "p"))
        assert data.lengths.tolist() == [5, 3] and data.names == ("x", "p")
        np.testing.assert_array_equal(data.segments()[1][0], [0, 0.5, 1])
        np.testing.assert_array_equal(data.segments()[1][1], states[1])

    def test_arrays_are_read_as_their_table_is(self, tmp_path):
        columns = renamed(table(), p1="v1", p2="v2")
        of_frame, of_file = read_both(tmp_path, columns, masses=[2.0, 3.0])
        states = np.stack([columns[name] for name in ("q1", "q2", "v1", "v2")], axis=1).reshape(3, 12, 4)
        of_arrays = Trajectories.from_arrays(columns["time"].reshape(3, 12), states, masses=[2.0, 3.0])
        assert_same(of_arrays, of_frame)
        assert_same(of_arrays, of_file)

    def test_velocities_that_have_names_and_units(self):
        data = Trajectories.from_arrays(
            range(3),
            np.ones((1, 3, 2)),
            names=("x", "vx"),
            units=("m", "m/s"),
            time_unit="s",
            masses=2.0,
        )
        assert data.names == ("x", "m_vx") and data.units == ("m", "mass m/s") and data.time_unit == "s"
        assert data.velocities == {"vx": 2.0} and data.states[0, 0].tolist() == [1.0, 2.0]

    @pytest.mark.parametrize(
        ("times", "states", "options", "message"),
        [
            (range(3), np.zeros((1, 3, 3)), {}, "got 3 columns, an odd number"),
            (range(3), np.zeros(3), {}, r"states of trajectory 0 must have shape \(time, 2n\), got \(\)"),
            (range(3), [], {}, "got no trajectory"),
            (
                range(3),
                [np.zeros((3, 2)), np.zeros((3, 4))],
                {},
                r"trajectory 1 .* \(time, 2\) as those before",
            ),
            (range(3), np.zeros((1, 4, 2)), {}, r"times of trajectory 0 must have shape \(4,\), one a state"),
            ([range(3)], np.zeros((2, 3, 2)), {}, "got 1 for 2"),
            (np.zeros((1, 3, 1)), np.zeros((1, 3, 2)), {}, r"times must have shape .* got \(1, 3, 1\)"),
            (range(3), np.zeros((1, 3, 2), complex), {}, "states must be real numbers, got complex128"),
            (range(3), np.zeros((1, 3, 2)), {"names": ("q",)}, "names must have 2 entries"),
            (range(3), np.zeros((1, 3, 2)), {"masses": (1.0, 2.0)}, r"one a position \(1\), got 2"),
            (range(3), np.zeros((1, 3, 2)), {"masses": 0.0}, "masses must be positive and finite"),
            ((0, 0, 1), np.zeros((1, 3, 2)), {}, "times must increase"),
            (range(3), np.full((1, 3, 2), np.nan), {}, "states must be finite"),
        ],
    )
    def test_bad_arrays_are_refused(self, times, states, options, message):
        with pytest.raises(ValueError, match=message):
            Trajectories.from_arrays(times, states, **options)


def test_first_states_are_a_copy_of_those_that_trajectories_begin_in():
    data = Trajectories.from_arrays([range(5), range(3)], [np.ones((5, 2)), np.zeros((3, 2))])
    first = data.first_states()
    assert first.tolist() == [[1, 1], [0, 0]]
    first[:] = 7
    assert data.states[0, 0, 0] == 1
