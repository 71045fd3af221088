"""Data sets: simulation and its noise, the checks at the border, transitions, and files."""

import contextlib
import io
import pickle
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.app.config import build_system, parse_config
from noether_razor.systems import InitialStates, NBody, Oscillators
from noether_razor.trajectories import (
    DataFileError,
    GaussianNoise,
    Trajectories,
    fit_scale,
    load_trajectories,
    save_trajectories,
    scaled_trajectories,
    simulate,
)
from noether_razor.typing import Scalar, State

SYSTEM = Oscillators((1.0, 2**0.5))
SIZES: dict[str, Any] = {"trajectories": 40, "transitions": 25, "dt": 0.2}
VARIANCE = 0.01
several_examples = settings(max_examples=50, deadline=None)


def sample(
    seed: int = 0, noise_seed: int = 1, noise_variance: float = VARIANCE, noise_on: Any = "targets"
) -> Trajectories:
    return simulate(
        SYSTEM,
        jax.random.key(seed),
        **SIZES,
        noise=GaussianNoise(noise_variance, jax.random.key(noise_seed), noise_on),
    )


def plain_set(count: int = 2, length: int = 4, dof: int = 1) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "times": np.cumsum(generator.uniform(0.1, 1.0, (count, length)), axis=1),
        "states": generator.standard_normal((count, length, 2 * dof)),
    }


def assert_same(left: Trajectories, right: Trajectories) -> None:
    np.testing.assert_array_equal(left.times, right.times)
    np.testing.assert_array_equal(left.states, right.states)
    assert (left.targets is None) == (right.targets is None)
    if left.targets is not None:
        np.testing.assert_array_equal(left.targets, right.targets)
    np.testing.assert_array_equal(left.lengths, right.lengths)
    assert (left.names, left.units, left.time_unit) == (right.names, right.units, right.time_unit)
    # The same trajectories are pieces of one recording, whatever its number.
    for one, other in zip(
        *(np.unique(x.recordings, return_inverse=True)[1:] for x in (left, right)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert left.velocities == right.velocities


# Simulation


def test_the_same_keys_give_the_same_data():
    assert_same(sample(), sample())


def test_data_of_all_sizes_and_of_equal_systems_share_a_compilation():
    traced: list[int] = []

    @dataclass(frozen=True)
    class Counted:
        dof = 1

        def hamiltonian(self, state: State) -> Scalar:
            traced.append(1)
            return jnp.dot(state, state) / 2

        def known_quantities(self) -> None:
            return None

    system = Counted()
    few = simulate(system, jax.random.key(0), trajectories=3, transitions=5, dt=0.1)
    before = len(traced)
    many = simulate(system, jax.random.key(0), trajectories=70, transitions=60, dt=0.3)
    assert before and len(traced) == before
    assert few.states.shape == (3, 6, 2) and many.states.shape == (70, 61, 2)
    for data in (few, many):
        # The rotation q + i p = e^{-it} (q_0 + i p_0): no trajectory is that of another.
        turned = (data.states[..., 0] + 1j * data.states[..., 1]) * np.exp(1j * data.times)
        np.testing.assert_allclose(turned, np.tile(turned[:, :1], data.times.shape[1]), atol=1e-8)
        assert len(np.unique(data.states[:, 0], axis=0)) == len(data)
    tables = {"system": {"kind": "n_body", "dof": 6}}
    assert build_system(parse_config(tables).system) is build_system(parse_config(tables).system)


def test_another_key_gives_other_initial_states():
    assert abs(sample(0).states[:, 0] - sample(5).states[:, 0]).min() > 0


def test_noise_has_a_stream_of_its_own():
    one, other = sample(noise_seed=1), sample(noise_seed=2)
    np.testing.assert_array_equal(one.states, other.states)
    assert one.targets is not None and other.targets is not None
    assert abs(one.targets - other.targets).min() > 0


def test_states_follow_the_system_from_the_first_time_on():
    data = sample(noise_variance=0.0)
    assert data.targets is None
    np.testing.assert_allclose(data.times, np.tile(0.2 * np.arange(26), (40, 1)))
    angle = data.times[..., None] * np.array(SYSTEM.frequencies)
    q, p = data.states[:, :1, :2], data.states[:, :1, 2:]
    exact = np.concatenate(
        [q * np.cos(angle) + p * np.sin(angle), p * np.cos(angle) - q * np.sin(angle)], axis=-1
    )
    np.testing.assert_allclose(data.states, exact, atol=1e-8)


@pytest.mark.parametrize("noise_on", ["targets", "states"])
def test_noise_is_white_and_has_the_variance_asked_for(noise_on):
    clean, noisy = sample(noise_variance=0.0), sample(noise_on=noise_on)
    if noise_on == "targets":
        np.testing.assert_array_equal(noisy.states, clean.states)
        assert noisy.targets is not None
        noise = noisy.targets - clean.states[:, 1:]
    else:
        assert noisy.targets is None
        noise = noisy.states - clean.states
    assert abs(noise.mean()) < 4 * np.sqrt(VARIANCE / noise.size)
    assert abs(noise.var() / VARIANCE - 1) < 4 * np.sqrt(2 / noise.size)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean() / VARIANCE
    assert abs(neighbours) < 4 / np.sqrt(noise.size)


@pytest.mark.parametrize(
    "change",
    [
        {"trajectories": 0},
        {"transitions": 0},
        {"dt": 0.0},
        {"dt": -0.1},
        {"dt": float("nan")},
        {"dt": float("inf")},
    ],
    ids=lambda change: ", ".join(f"{key}={value}" for key, value in change.items()),
)
def test_impossible_simulations_are_refused(change):
    with pytest.raises((ValueError, TypeError), match=next(iter(change))):
        simulate(SYSTEM, jax.random.key(0), **{**SIZES, **change})


@pytest.mark.parametrize(
    ("variance", "on", "said"),
    [(-1.0, "targets", "variance"), (float("nan"), "targets", "variance"), (1.0, "momenta", "momenta")],
)
def test_impossible_noise_is_refused(variance, on, said):
    # TypeError where signatures are checked.
    with pytest.raises((ValueError, TypeError), match=said):
        GaussianNoise(variance, jax.random.key(0), on)


def test_an_infinite_energy_is_refused():
    colliding = NBody((1.0, 1.0), softening=0.0)
    with pytest.raises(FloatingPointError, match="initial state"):
        simulate(colliding, jax.random.key(0), **SIZES, initial=InitialStates(scale_q=0.0))


# The checks of Trajectories


@several_examples
@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 3))
def test_transitions_pair_each_state_with_the_next(count, length, dof):
    data = Trajectories(**plain_set(count, length, dof))
    pairs = data.transitions()
    assert (len(data), data.dof, pairs.size) == (count, dof, count * (length - 1))
    expected = [(k, t) for k in range(count) for t in range(length - 1)]
    for row, (k, t) in enumerate(expected):
        np.testing.assert_array_equal(pairs.states[row], data.states[k, t])
        np.testing.assert_array_equal(pairs.targets[row], data.states[k, t + 1])
        assert pairs.dt[row] == data.times[k, t + 1] - data.times[k, t]


def test_transitions_lead_to_the_noisy_targets_where_there_are_any():
    arrays = plain_set(3, 4)
    targets = arrays["states"][:, 1:] + 10
    pairs = Trajectories(**arrays, targets=targets).transitions()
    np.testing.assert_array_equal(pairs.targets, targets.reshape(-1, 2))
    np.testing.assert_array_equal(pairs.states, arrays["states"][:, :-1].reshape(-1, 2))


def test_the_first_points_of_unequal_trajectories():
    paths = [np.arange(2.0 * length).reshape(length, 2) for length in (3, 7, 5)]
    data = Trajectories.of_segments([(np.arange(float(len(path))), path) for path in paths])
    short = data.first(5)
    assert short.lengths.tolist() == [3, 5, 5] and short.times.shape == (3, 5)
    for (_, states), path in zip(short.segments(), paths, strict=True):
        np.testing.assert_array_equal(states, path[:5])
    targets = Trajectories(data.times[1:2], data.states[1:2], targets=data.states[1:2, 1:] + 1)
    np.testing.assert_array_equal(targets.first(4).targets, data.states[1:2, 1:4] + 1)


def test_a_slice_keeps_everything_else():
    arrays = plain_set(3, 4)
    data = Trajectories(**arrays, targets=arrays["states"][:, 1:], names=("x", "y"), units=("m", "kg m/s"))
    part = data[1:]
    expected = Trajectories(
        data.times[1:], data.states[1:], arrays["states"][1:, 1:], names=("x", "y"), units=("m", "kg m/s")
    )
    assert_same(part, expected)


@several_examples
@given(st.lists(st.integers(0, 5), max_size=4).map(tuple))
def test_states_of_any_other_shape_are_refused(shape):
    usable = len(shape) == 3 and shape[0] >= 1 and shape[1] >= 2 and shape[2] >= 2 and shape[2] % 2 == 0
    times = np.tile(np.arange(float(shape[1])), (shape[0], 1)) if len(shape) > 1 else np.arange(3.0)
    if usable:
        assert Trajectories(times, np.zeros(shape)).states.shape == shape
    else:
        with pytest.raises(ValueError, match="got"):
            Trajectories(times, np.zeros(shape))


@several_examples
@given(st.lists(st.integers(0, 5), max_size=3).map(tuple))
def test_times_and_targets_must_fit_the_states(shape):
    arrays = plain_set(2, 4)
    if shape != (2, 4):
        with pytest.raises(ValueError, match=r"times must have shape \(2, 4\), got"):
            Trajectories(np.zeros(shape), arrays["states"])
    with pytest.raises(ValueError, match=r"targets must have shape \(2, 3, 2\), got"):
        Trajectories(**arrays, targets=np.zeros((*shape, 1)))


@several_examples
@given(
    st.sampled_from(["times", "states", "targets"]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.integers(0, 100),
)
def test_values_that_are_not_finite_are_refused_by_name_and_index(name, value, position):
    arrays = plain_set(2, 4)
    arrays["targets"] = arrays["states"][:, 1:].copy()
    where = np.unravel_index(position % arrays[name].size, arrays[name].shape)
    arrays[name][where] = value
    index = ", ".join(str(int(i)) for i in where)
    with pytest.raises(ValueError, match=rf"{name} must be finite, got {value} at index \({index}\)"):
        Trajectories(**arrays)


@several_examples
@given(st.integers(0, 1), st.integers(0, 2), st.floats(0, 10))
def test_times_that_do_not_increase_are_refused_by_trajectory(trajectory, step, back):
    arrays = plain_set(2, 4)
    arrays["times"][trajectory, step + 1 :] -= (
        arrays["times"][trajectory, step + 1] - arrays["times"][trajectory, step]
    )
    arrays["times"][trajectory, step + 1] = arrays["times"][trajectory, step] - back
    with pytest.raises(ValueError, match=f"times must increase.* in trajectory {trajectory}"):
        Trajectories(**arrays)


@pytest.mark.parametrize("label", ["names", "units"])
def test_labels_must_be_one_a_column(label):
    with pytest.raises(ValueError, match=f"{label} must have 2 entries, got 3"):
        replace(Trajectories(**plain_set()), **{label: ("a", "b", "c")})


def test_complex_states_are_refused():
    arrays = plain_set()
    with pytest.raises((ValueError, TypeError), match="got complex"):
        Trajectories(arrays["times"], arrays["states"] + 1j)


# Trajectories of unequal length

several_lengths = st.lists(st.integers(2, 6), min_size=1, max_size=5)


def unequal_segments(lengths: list[int], dof: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [
        (np.cumsum(generator.uniform(0.1, 1.0, k)), generator.standard_normal((k, 2 * dof))) for k in lengths
    ]


@several_examples
@given(several_lengths, st.integers(1, 2))
def test_unequal_trajectories_are_given_back_one_by_one(lengths, dof):
    segments = unequal_segments(lengths, dof)
    data = Trajectories.of_segments(segments)
    assert data.lengths.tolist() == lengths
    assert (len(data), data.dof) == (len(lengths), dof)
    for (times, states), (at, path), iterated in zip(data.segments(), segments, data, strict=True):
        np.testing.assert_array_equal(times, at)
        np.testing.assert_array_equal(states, path)
        np.testing.assert_array_equal(iterated, path)
    np.testing.assert_array_equal(data.points(), np.concatenate([path for _, path in segments]))


@several_examples
@given(several_lengths)
def test_transitions_are_those_of_the_single_trajectories(lengths):
    segments = unequal_segments(lengths)
    pairs = Trajectories.of_segments(segments).transitions()
    alone = [Trajectories(times[None], states[None]).transitions() for times, states in segments]
    for ours, theirs in zip(pairs, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(ours, np.concatenate(theirs))
    assert (pairs.dt > 0).all()


@several_examples
@given(several_lengths, st.sampled_from([float("nan"), float("inf"), 0.0, -1e300]), st.booleans())
def test_what_the_padding_holds_changes_nothing(lengths, filler, with_targets):
    data = Trajectories.of_segments(unequal_segments(lengths))
    missing = ~data.present()
    arrays: dict[str, Any] = {"times": data.times.copy(), "states": data.states.copy()}
    if with_targets:
        arrays["targets"] = data.states[:, 1:].copy()
        arrays["targets"][missing[:, 1:]] = filler
    arrays["times"][missing], arrays["states"][missing] = filler, filler
    padded = Trajectories(**arrays, lengths=np.array(lengths))
    np.testing.assert_array_equal(padded.states, data.states)
    np.testing.assert_array_equal(padded.times, data.times)
    for ours, theirs in zip(padded.transitions(), data.transitions(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@several_examples
@given(several_lengths, st.integers(0, 4), st.integers(1, 5))
def test_a_slice_of_unequal_trajectories_is_padded_no_further_than_it_needs(lengths, start, count):
    segments = unequal_segments(lengths)
    start = start % len(lengths)
    part = Trajectories.of_segments(segments)[start : start + count]
    assert_same(part, Trajectories.of_segments(segments[start : start + count]))


def test_recordings_are_kept(tmp_path):
    data = Trajectories.of_segments(unequal_segments([4, 3, 5]), recordings=[0, 0, 1], velocities={"v": 2.0})
    assert data.recording_count == 2
    assert data[1:].recordings.tolist() == [0, 1] and data[1:].recording_count == 2
    assert data[np.array([0, 1])].recording_count == 1
    assert data.first(2).recordings.tolist() == [0, 0, 1]
    scaled = scaled_trajectories(data, fit_scale(data))
    assert scaled.recordings.tolist() == [0, 0, 1] and scaled.velocities == {}
    save_trajectories(tmp_path / "data.npz", data)
    assert_same(load_trajectories(tmp_path / "data.npz"), data)
    alone = Trajectories.of_segments(unequal_segments([4, 3]))
    assert alone.recordings.tolist() == [0, 1]
    save_trajectories(tmp_path / "alone.npz", alone)
    assert not {"recordings", "velocities"} & set(np.load(tmp_path / "alone.npz"))
    for wrong in ([0], [0.5, 1.0]):
        with pytest.raises(ValueError, match="recordings must be 2 whole numbers"):
            replace(alone, recordings=np.array(wrong))
    with pytest.raises(ValueError, match="velocities must have 1 entries or none, got 2"):
        replace(alone, velocities={"u": 1.0, "v": 1.0})


@several_examples
@given(several_lengths, st.booleans())
def test_files_keep_unequal_lengths(lengths, with_targets):
    data = Trajectories.of_segments(unequal_segments(lengths), units=("m", "kg m/s"), time_unit="s")
    if with_targets:
        data = replace(data, targets=data.states[:, 1:] + 1)
    with tempfile.TemporaryDirectory() as folder:
        save_trajectories(Path(folder) / "data.npz", data)
        assert_same(load_trajectories(Path(folder) / "data.npz"), data)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 4], "from 2 to 4, got 1 for trajectory 0"),
        ([4, 5], "from 2 to 4, got 5 for trajectory 1"),
        ([4], "2 whole numbers"),
        ([2.5, 4.0], "2 whole numbers, got float64"),
    ],
)
def test_lengths_must_fit_the_states(lengths, message):
    with pytest.raises(ValueError, match=message):
        Trajectories(**plain_set(2, 4), lengths=np.array(lengths))


def test_segments_must_fit_each_other():
    with pytest.raises(ValueError, match="got 0 trajectories"):
        Trajectories.of_segments([])
    (times, states), other = unequal_segments([4, 3])
    with pytest.raises(ValueError, match=r"trajectory 1 must have shape \(4, 2\), got \(3, 2\)"):
        Trajectories.of_segments([(times, states), (times, other[1])])


# Files

labels = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x3C9, blacklist_categories=("Cs",)), min_size=1, max_size=6
)


@several_examples
@given(st.booleans(), st.lists(labels, min_size=2, max_size=2), st.lists(labels, min_size=2, max_size=2))
def test_files_give_back_what_was_saved(with_targets, names, units):
    arrays = plain_set(2, 4)
    data = Trajectories(
        **arrays,
        targets=arrays["states"][:, 1:] if with_targets else None,
        names=tuple(names),
        units=tuple(units),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "data.npz"
        save_trajectories(path, data)
        assert_same(load_trajectories(path), data)


def test_names_and_units_are_optional_in_a_file(tmp_path):
    np.savez(tmp_path / "data.npz", **plain_set(2, 4))
    data = load_trajectories(tmp_path / "data.npz")
    assert (data.names, data.units, data.targets) == (("q1", "p1"), ("", ""), None)


def test_an_interrupted_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "data.npz"
    old = Trajectories(**plain_set(2, 4))
    save_trajectories(path, old)

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_trajectories(path, Trajectories(**plain_set(3, 4)))
    assert_same(load_trajectories(path), old)
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


@pytest.fixture(scope="module")
def saved() -> tuple[Trajectories, bytes]:
    arrays = plain_set(2, 4)
    data = Trajectories(**arrays, targets=arrays["states"][:, 1:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        save_trajectories(path, data)
        return data, path.read_bytes()


def load_bytes(content: bytes) -> Trajectories:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        path.write_bytes(content)
        return load_trajectories(path)


@several_examples
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(saved, share):
    content = saved[1]
    with pytest.raises(DataFileError, match=r"data\.npz"):
        load_bytes(content[: int(share * len(content))])


def test_a_file_with_a_damaged_byte_is_refused_or_read_right(saved, tmp_path):
    data, content = saved
    path = tmp_path / "data.npz"
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(DataFileError):
            assert_same(load_trajectories(path), data)


class Payload:
    """What an attacker would pickle: unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_object_arrays_are_refused_and_never_unpickled(tmp_path):
    payload = np.array([Payload(tmp_path / "executed")], dtype=object)
    np.savez(tmp_path / "data.npz", **plain_set(2, 4), names=payload)
    with pytest.raises(DataFileError, match="plain arrays"):
        load_trajectories(tmp_path / "data.npz")
    assert not (tmp_path / "executed").exists()


def test_a_pickle_is_refused_and_never_unpickled(tmp_path):
    (tmp_path / "data.npz").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(DataFileError, match="plain arrays"):
        load_trajectories(tmp_path / "data.npz")
    assert not (tmp_path / "executed").exists()


def single_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 4, 2)))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"q,p\n1,2\n", single_array()], ids=["empty", "text", "a single array"]
)
def test_other_kinds_of_file_are_refused(content):
    with pytest.raises(DataFileError, match=r"data\.npz"):
        load_bytes(content)


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        ({"times": None}, "times", "missing"),
        ({"states": None}, "states", "missing"),
        ({"states": np.full((2, 4, 2), "x")}, "states", "real numbers"),
        ({"states": np.full((2, 4, 2), 1j)}, "states", "real numbers"),
        ({"targets": np.full((2, 3, 2), True)}, "targets", "real numbers"),
        ({"states": np.zeros((2, 4, 3))}, "", "3 columns"),
        ({"states": np.full((2, 4, 2), np.nan)}, "", "states must be finite"),
        ({"times": np.zeros((2, 4))}, "", "times must increase"),
        ({"names": np.array(["q"])}, "", "names must have 2 entries"),
    ],
)
def test_wrong_content_is_named(tmp_path, change, where, why):
    path = tmp_path / "data.npz"
    arrays = {key: value for key, value in {**plain_set(2, 4), **change}.items() if value is not None}
    np.savez(path, **arrays)
    with pytest.raises(DataFileError, match=why) as caught:
        load_trajectories(path)
    assert (caught.value.path, caught.value.where) == (path, where)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        load_trajectories(tmp_path / "nothing.npz")
    with pytest.raises(DataFileError, match="cannot be read"):
        load_trajectories(tmp_path)
