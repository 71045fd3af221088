"""What columns that are no pairs conserve, from the rows alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from noether_razor.app.cli.application import app
from noether_razor.bracket import no_bracket
from noether_razor.invariants import WithLogarithms, conserved_space, laws_of_states
from noether_razor.reporting import states_text
from noether_razor.trajectories import DataFileError, Layout, Trajectories, read_data_file

TIMES = np.linspace(0, 10, 41)


def moving(
    field: Callable[[np.ndarray], np.ndarray], starts: np.ndarray, names: str, noise: float = 0.01
) -> Trajectories:
    """Trajectories from some starts, with noise of a share of the spread of each column."""
    paths = [
        solve_ivp(lambda _, x: field(x), (0, 10), x, t_eval=TIMES, rtol=1e-9, atol=1e-11) for x in starts
    ]
    states = np.array([path.y.T for path in paths])
    states = states + noise * states.std(axis=(0, 1)) * np.random.default_rng(1).normal(size=states.shape)
    times = np.tile(TIMES, (len(starts), 1))
    return Trajectories(times, states, names=tuple(names.split(",")), bracket="unpaired")


def reaction(x: np.ndarray) -> np.ndarray:
    """A <-> B <-> C."""
    first, second = 0.5 * x[0] - 0.3 * x[1], 0.2 * x[1] - 0.1 * x[2]
    return np.array([-first, first - second, second])


def epidemic(x: np.ndarray) -> np.ndarray:
    return np.array([-0.8 * x[0] * x[1], 0.8 * x[0] * x[1] - 0.25 * x[1], 0.25 * x[1]])


def starts(low: list[float], high: list[float], count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (count, len(low)))


def of(laws) -> list[str]:
    return [one.text for one in laws.quantities]


def test_derivatives_of_logarithms_are_those_of_the_terms():
    terms, step = WithLogarithms.of(("x", "y", "z"), ("z", "x"), 2), 1e-5
    assert [term.name for term in terms.terms[:3]] == ["log(z)", "log(x)", "x"]
    states = np.random.default_rng(0).uniform(0.5, 2, (5, 3))
    for i in range(3):
        shift = step * np.eye(3)[i]
        slope = (terms.values(states + shift) - terms.values(states - shift)) / (2 * step)
        assert_allclose(terms.slopes(states, i), slope, atol=1e-8)
        for j in range(3):
            shift = step * np.eye(3)[j]
            bend = (terms.slopes(states + shift, i) - terms.slopes(states - shift, i)) / (2 * step)
            assert_allclose(terms.bends(states, i, j), bend, atol=1e-8)


class TestLaws:
    def test_the_amount_of_a_reaction(self):
        laws = laws_of_states(moving(reaction, starts([0.3] * 3, [2] * 3), "A,B,C"))
        # A + B + C, and not its square beside it.
        assert of(laws) == ["A + B + C"] and laws.analysis.decided
        assert laws.quantities[0].change.limit < 0.02

    def test_an_epidemic_conserves_its_people_and_a_logarithm(self):
        laws = laws_of_states(moving(epidemic, starts([0.6, 0.05, 0.2], [1.2, 0.4, 0.6]), "S,I,R"))
        assert of(laws)[0] == "S + I + R" and laws.rank == 2
        law = laws.quantities[1]
        row = dict(zip([term.name for term in law.dictionary.terms], law.row, strict=True))
        assert_allclose(row["log(S)"] / row["R"], 0.25 / 0.8, rtol=0.02)

    def test_what_has_one_value_in_the_file_is_no_law(self):
        infected = np.linspace(0.02, 0.2, 12)
        begin = np.stack([1 - infected, infected, np.zeros(12)], axis=1)
        laws = laws_of_states(moving(epidemic, begin, "S,I,R", noise=0.002))
        assert [one.text for one in laws.same] == ["S + I + R"]
        assert laws.rank == 1 and "log(S)" in of(laws)[0] and not laws.analysis.decided

    def test_damped_columns_conserve_nothing(self):
        def damped(x):
            return np.cross(x, x / np.array([1, 2, 3])) - 0.05 * x

        laws = laws_of_states(moving(damped, starts([-1] * 3, [1] * 3), "L1,L2,L3"))
        assert laws.rank == 0 and not laws.same and laws.analysis.decided

    def test_few_trajectories_cannot_tell(self):
        laws = laws_of_states(moving(reaction, starts([0.3] * 3, [2] * 3, count=1), "A,B,C"))
        assert laws.rank == 0 and not laws.analysis.decided

    def test_glitches_of_an_odd_number_of_columns_are_left_out(self):
        data = moving(reaction, starts([0.3] * 3, [2] * 3), "A,B,C")
        states = data.states.copy()
        states[3, 20, 1] += 5
        found = conserved_space(replace(data, states=states))
        assert found.left_out == 1 and found.rank == 2


def write(path: Path, data: Trajectories) -> Path:
    lines = ["trajectory,time," + ",".join(data.names)]
    for k, (times, states) in enumerate(data.segments()):
        lines += [f"{k},{t},{','.join(map(str, x))}" for t, x in zip(times, states.tolist(), strict=True)]
    path.write_text("\n".join(lines))
    return path


class TestWords:
    def test_no_bracket_is_not_no_law(self):
        laws = laws_of_states(moving(reaction, starts([0.3] * 3, [2] * 3), "A,B,C")).to_json()
        text = states_text(no_bracket(("A", "B", "C"), "none fits") | {"laws": laws, "notes": []})
        first, second, *_ = text.splitlines()
        assert first.startswith("1 conserved quantity") and first.endswith("; no bracket of the columns fits")
        assert second.startswith("  C1 = A + B + C  drift below ")
        without = states_text(no_bracket(("A", "B"), "none fits") | {"laws": None, "notes": []})
        assert without.startswith("cannot tell what is conserved: no bracket of the columns fits\n")

    def test_four_columns_with_signs_have_laws_though_no_bracket_is_looked_for(self, tmp_path, capsys):
        def chain(x):
            return np.array([x[1], x[2] - x[0], x[3] - x[1], -x[2]])

        path = write(tmp_path / "a.csv", moving(chain, starts([-1] * 4, [1] * 4), "a,b,c,d"))
        words = ["discover", str(path), "--states", "a,b,c,d", "--out", str(tmp_path / "run")]
        app(args=words, standalone_mode=False)
        text = capsys.readouterr().out
        assert text.startswith("2 conserved quantities of degree <= 2; no bracket of the columns fits")
        assert "no bracket was looked for: a bracket is found for three columns" in text
        symmetry = json.loads((tmp_path / "run" / "symmetry.json").read_text())
        assert symmetry["rank"] == 2 and {one["role"] for one in symmetry["quantities"]} == {"law"}
        assert symmetry["quantities"][0]["formula"] in (tmp_path / "run" / "report.html").read_text()

    def test_one_column_is_too_few(self, tmp_path):
        path = write(tmp_path / "a.csv", moving(reaction, starts([0.3] * 3, [2] * 3, count=2), "A,B,C"))
        with pytest.raises(DataFileError, match=r"column A: one column alone .* the others are B, C"):
            read_data_file(path, Layout(states=("A",)))
