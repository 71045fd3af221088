"""Velocities from positions alone."""

import re

import numpy as np
import pytest

from noether_razor.trajectories import DataFileError, Layout
from noether_razor.trajectories.files import read_data_file
from noether_razor.trajectories.positions import PositionsError, velocities

ROWS, FILES = 240, 12
SPANS = [(k * ROWS, (k + 1) * ROWS) for k in range(FILES)]


def circles(step: float, noise: float, seed: int = 0, irregular: float = 0.0):
    """Times, noisy positions and true velocity of oscillators with frequencies 1 and 1.5."""
    rng = np.random.default_rng(seed)
    times = np.concatenate([np.sort(step * (np.arange(ROWS) + irregular * rng.random(ROWS))) for _ in SPANS])
    phases = np.repeat(rng.uniform(0, 2 * np.pi, (FILES, 2)), ROWS, axis=0)
    turned = times[:, None] * np.array([1.0, 1.5]) + phases
    return times, np.cos(turned) + noise * rng.normal(size=turned.shape), turned


def test_errors_are_those_that_are_said_and_nothing_is_scaled():
    off, slopes, rates = [], [], np.array([1.0, 1.5])
    for seed in range(10):
        times, positions, turned = circles(0.05, 0.01, seed)
        found = velocities(times, positions, SPANS, ("x", "y"))
        phases = [
            np.stack([np.interp(found.times[c:d], times[a:b], turned[a:b, k]) for k in (0, 1)], axis=1)
            for (a, b), (c, d) in zip(SPANS, found.spans, strict=True)
        ]
        truth = -rates * np.sin(np.concatenate(phases))
        off.append(np.sqrt(np.mean((found.velocities - truth) ** 2, axis=0)) / found.errors)
        scale = np.sum(found.velocities * truth, axis=0) / np.sum(truth**2, axis=0) - 1
        slopes.append(scale / (found.errors / np.sqrt(np.sum(truth**2, axis=0))))
    assert np.all(np.abs(np.mean(off, axis=0) - 1) < 0.1)
    # A slope that smoothing flattens would show in the mean of the z-scores, and in their spread.
    assert np.all(np.abs(np.mean(slopes, axis=0)) < 1.2) and np.all(np.std(slopes, axis=0) < 1.6)


def test_noise_of_blocks_and_of_position_and_velocity_is_independent():
    times, positions, _ = circles(0.05, 0.0)
    noise = np.random.default_rng(1).normal(size=positions.shape)
    found = velocities(times, positions + 0.01 * noise, SPANS, ("x", "y"))
    clean = velocities(times, positions + 1e-9 * noise, SPANS, ("x", "y"))
    assert (found.rows, found.degree) != (clean.rows, clean.degree)  # less noise, shorter blocks
    pure = velocities(times, 1e3 * positions + 10 * noise, SPANS, ("x", "y"))
    np.testing.assert_allclose(pure.velocities, 1e3 * found.velocities, rtol=1e-9, atol=1e-9)
    errors = 0.01 * noise
    weights = [errors[a : a + found.rows] for s in SPANS for a in range(s[0], s[1] - found.rows, found.rows)]
    steps = np.arange(found.rows) - found.rows // 2
    fits = np.array([np.polynomial.polynomial.polyfit(steps, one, found.degree)[:2] for one in weights])
    both = np.corrcoef(fits[:, 0, 0], fits[:, 1, 0])[0, 1]
    neighbours = np.corrcoef(fits[1:, 1, 0], fits[:-1, 1, 0])[0, 1]
    assert max(abs(both), abs(neighbours)) < 4 / np.sqrt(len(fits))


def test_without_noise_velocities_are_exact_to_the_polynomial():
    times, positions, turned = circles(0.05, 0.0, irregular=0.3)
    found = velocities(times, positions, SPANS, ("x", "y"))
    first = found.velocities[: found.spans[0][1]]
    at = np.stack(
        [np.interp(found.times[: len(first)], times[:ROWS], turned[:ROWS, k]) for k in (0, 1)], axis=1
    )
    assert np.max(np.abs(first + np.array([1.0, 1.5]) * np.sin(at))) < 1e-4


@pytest.mark.parametrize(
    ("step", "noise", "said"),
    [
        (0.35, 0.01, r"12 rows a period, velocities from positions need 24"),
        (0.01, 0.5, r"an error of \d+ % of its spread, at most 30 % .* sample about \d+\.\d times as often"),
    ],
)
def test_what_is_too_coarse_or_too_noisy_is_refused_with_the_number(step: float, noise: float, said: str):
    with pytest.raises(PositionsError) as caught:
        velocities(*circles(step, noise)[:2], SPANS, ("x", "y"))
    assert re.search(said, str(caught.value)), str(caught.value)


def test_a_column_of_nothing_but_noise_is_named():
    times, positions, _ = circles(0.05, 0.01)
    positions[:, 1] = np.random.default_rng(2).normal(size=len(positions))
    with pytest.raises(PositionsError, match="y"):
        velocities(times, positions, SPANS, ("x", "y"))


def file_of(folder, step: float, noise: float, count: int = FILES, gap: bool = False):
    """Two particles of masses 1 and 2.5 on springs to walls and to each other, x1 and x2 alone."""
    rng = np.random.default_rng(3)
    masses = np.array([1.0, 2.5])
    stiff = np.array([[1.5, -0.5], [-0.5, 1.8]]) / np.sqrt(np.outer(masses, masses))
    squares, modes = np.linalg.eigh(stiff)
    lines = ["trajectory,time,x1 (m),x2 (m)"]
    for k in range(count):
        times = step * np.arange(ROWS) + (60.0 * (np.arange(ROWS) > 6) if gap and k == 0 else 0.0)
        waves = np.cos(np.outer(times, np.sqrt(squares)) + rng.uniform(0, 6.28, 2)) * rng.uniform(0.5, 1.5, 2)
        rows = waves @ modes.T / np.sqrt(masses)
        rows = rows + noise * rng.normal(size=rows.shape)
        lines += [f"{k},{t:.8g},{a:.10g},{b:.10g}" for t, (a, b) in zip(times, rows, strict=True)]
    path = folder / "positions.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_of_positions_has_velocities(tmp_path):
    path = file_of(tmp_path, 0.05, 0.01, gap=True)
    data, notes = read_data_file(path, Layout(positions=("x1", "x2"), units={"time": "s"}))
    assert data.names == ("x1", "x2", "v_x1", "v_x2") and data.units == ("m", "m", "m/s", "m/s")
    assert data.bracket == "auto" and len(data.times) == FILES
    assert any("velocities are taken from the positions, one from each 5 rows" in note for note in notes)
    assert any("1 piece with less than 10 rows cannot be used" in note for note in notes)


def test_given_masses_make_momenta_of_them(tmp_path):
    path = file_of(tmp_path, 0.05, 0.01, count=2)
    data, _ = read_data_file(path, Layout(positions=("x1", "x2"), masses=(1.0, 2.5)))
    assert data.names == ("x1", "x2", "m_v_x1", "m_v_x2") and not data.bracket
    plain, _ = read_data_file(path, Layout(positions=("x1", "x2")))
    np.testing.assert_allclose(data.states[..., 3], 2.5 * plain.states[..., 3])


def test_trajectories_side_by_side_have_velocities_each(tmp_path):
    times, positions, _ = circles(0.05, 0.001)
    lines = ["time,xa,xb"]
    lines += [
        f"{t},{a},{b}"
        for t, a, b in zip(times[:ROWS], positions[:ROWS, 0], positions[ROWS : 2 * ROWS, 0], strict=True)
    ]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join(lines) + "\n")
    data, _ = read_data_file(path, Layout(positions=("x{}",)))
    assert data.names == ("x", "v_x") and len(data.times) == 2


def test_positions_of_a_file_that_is_sampled_too_rarely(tmp_path):
    with pytest.raises(DataFileError, match="rows a period, velocities from positions need 24"):
        read_data_file(file_of(tmp_path, 0.5, 0.01), Layout(positions=("x1", "x2")))
