"""Brackets of three columns that are no pairs: Casimir, energy and algebra from trajectories."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives_of_autodiff
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import noether_razor as nr
from noether_razor.app.cli.application import app
from noether_razor.bracket import bracket_of_states
from noether_razor.bracket.casimirs import CasimirMatrix
from noether_razor.bracket.logarithms import LogarithmicBrackets, LogarithmicMatrix
from noether_razor.bracket.pencils import structure_constants
from noether_razor.lie import abstract_algebra
from noether_razor.trajectories import DataFileError, Layout, load_trajectories, save_trajectories

TIMES = np.linspace(0, 10, 50)


def crossing(casimir, energy, linear=(0, 0, 0), offset=(0, 0, 0)) -> Callable[[np.ndarray], np.ndarray]:
    """x' = (M x + m) x (A x + b)."""
    m, b = np.array(offset, float), np.array(linear, float)
    casimir, energy = np.array(casimir, float), np.array(energy, float)
    return lambda x: np.cross(casimir @ x + m, energy @ x + b)


def rigid(moments, rotor=(0, 0, 0), damping=(0, 0, 0)) -> Callable[[np.ndarray], np.ndarray]:
    own = crossing(np.eye(3), np.diag(1 / np.array(moments)), rotor)
    return lambda x: own(x) - np.array(damping) * x


def states_of(field, seed=0, noise=0.01, size=1.0, time=1.0) -> np.ndarray:
    """Twenty trajectories of fifty rows with noise."""
    rng = np.random.default_rng(seed)
    paths = [
        solve_ivp(lambda _, x: field(x), (0, 10 * time), x, t_eval=TIMES * time, rtol=1e-9, atol=1e-11).y.T
        for x in size * rng.normal(size=(20, 3))
    ]
    states = np.array(paths)
    return states + noise * states.std(axis=(0, 1)) * rng.normal(size=states.shape)


def found(field, **options) -> Any:
    times = np.tile(TIMES * options.get("time", 1.0), (20, 1))
    return nr.lie_poisson(nr.Trajectories(times, states_of(field, **options), bracket="unpaired"))


@pytest.fixture(scope="module")
def top() -> Any:
    return found(rigid((1, 2, 3)))


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("structure", [CasimirMatrix(False), CasimirMatrix(True), LogarithmicMatrix(3)])
def test_matrix_obeys_jacobi_with_the_derivatives_of_autodiff(structure):
    rng = np.random.default_rng(0)
    theta, state, gradient = (jnp.asarray(rng.normal(size=n)) for n in (structure.size, 3, 3))

    def velocity(x, own):
        return structure.matrix(x, structure.prepared(own)) @ gradient

    @jax.jit
    def every(x, own):
        prepared = structure.prepared(own)
        ours = structure.of_state(x, gradient, prepared), structure.of_parameters(x, gradient, prepared)
        slopes = jax.jacfwd(lambda y: structure.matrix(y, prepared))(x)
        once = jnp.einsum("ijl,lk->ijk", slopes, structure.matrix(x, prepared))
        return ours, jax.jacfwd(velocity, (0, 1))(x, own), once

    ours, theirs, once = every(state, theta)
    for found, expected in zip(ours, theirs, strict=True):
        assert_allclose(found, expected, atol=1e-12)
    once = np.asarray(once)
    assert np.abs(once + once.transpose(1, 2, 0) + once.transpose(2, 0, 1)).max() < 1e-12


@pytest.mark.parametrize(
    ("diagonal", "name"),
    [
        ((1, 1, 1), "so(3)"),
        ((1, 1, -1), "sl(2,R)"),
        ((1, 1, 0), "se(2)"),
        ((1, -1, 0), "se(1,1)"),
        ((1, 0, 0), "heisenberg(1)"),
    ],
)
def test_casimirs_tell_the_algebra(diagonal, name):
    algebra = abstract_algebra(structure_constants(np.diag(np.array(diagonal, float))))
    assert algebra.name == name or name == "se(1,1)"


class TestFound:
    def test_rigid_body(self, top):
        assert top.fits and top.algebra == "so(3)" and top.kind == "pencil"
        assert top.brackets()[0] == "{x1, x2} = -x3"
        assert_allclose(top.casimir.matrices[0], np.eye(3), atol=1e-12)
        expected = np.diag([1 - 1 / 3, 1 / 2 - 1 / 3, 0.0])
        off = (top.energy.matrices[0] - expected)[np.triu_indices(3)]
        assert np.all(np.abs(off) <= 4 * top.energy.errors[:6]) and top.energy.errors.max() < 1e-3
        assert top.found.choice and top.found.others == ("sl(2,R)",)
        assert any("sl(2,R)" in text and "for sure" in text for text in top.sentences())

    def test_symmetric_top_conserves_a_component_too(self):
        one = found(rigid((1, 1, 2)))
        assert one.found.linear.text(("a", "b", "c")) == "c"
        assert [entry["role"] for entry in one.to_json()["quantities"]] == ["Casimir", "energy", "linear"]

    def test_rotor_makes_the_algebra_known(self):
        one = found(rigid((1, 2, 3), rotor=(0.5, 0.2, -0.3)))
        assert one.kind == "linear" and one.algebra == "so(3)" and not one.found.choice
        assert_allclose(one.energy.vectors[0], [0.5, 0.2, -0.3], atol=2e-3)

    @pytest.mark.parametrize(
        ("casimir", "energy", "linear", "name"),
        [
            ((1, 1, 0), (0, 0, 1), (1, 0, 0), "se(2)"),
            ((1, 1, -1), (1, 0.5, 2), (0.5, 0.2, 0), "sl(2,R)"),
            ((0, 0, 1), (1, 2, 0), (0.5, 0.2, 0), "heisenberg(1)"),
            ((1, 1, 1), (0, 0, 0), (1, 0.5, 0.2), "so(3)"),
        ],
    )
    def test_other_algebras(self, casimir, energy, linear, name):
        one = found(crossing(np.diag(casimir), np.diag(energy), linear), size=0.5, time=0.5, seed=1)
        assert one.fits and one.algebra == name

    def test_angular_velocities_have_another_casimir(self):
        moments = np.array([1, 2, 2.5])
        one = found(lambda w: np.cross(moments * w, w) / moments)
        assert one.algebra == "so(3)" and one.found.choice
        true = np.stack([np.diag(moments), np.diag(moments**2)]).reshape(2, 9)
        for quantity in (one.casimir, one.energy):
            matrix = quantity.matrices[0].reshape(9)
            left = matrix - true.T @ np.linalg.lstsq(true.T, matrix, rcond=None)[0]
            assert np.abs(left).max() < 5e-3 * np.abs(matrix).max()

    @pytest.mark.slow
    def test_offset_of_the_columns(self):
        one = found(crossing(np.eye(3), np.diag([1, 0.5, 0.3]), (0.5, 0.2, 0), (0.7, -0.3, 0.2)))
        assert one.kind == "affine" and one.algebra == "so(3)"
        assert "and an offset" in one.sentences()[0]


class TestRefused:
    @pytest.mark.parametrize(
        "damping",
        [
            (0.01, 0.01, 0.01),
            pytest.param((0.02, 0, 0), marks=pytest.mark.slow),
            pytest.param((0.002, 0, 0.001), marks=pytest.mark.slow),
        ],
    )
    def test_damped_rigid_body(self, damping):
        one = found(rigid((1, 2, 3), damping=damping))
        assert not one.fits and one.to_json()["rank"] == 0 and one.algebra == ""

    def test_equal_damping_is_told(self):
        one = found(rigid((1, 2, 3), damping=(0.05, 0.05, 0.05)))
        rate, sd = one.damping
        assert abs(rate - 0.05) < 5 * sd and "damped" in one.why

    @pytest.mark.slow
    def test_lorenz_and_decay(self):
        lorenz = found(
            lambda x: np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]),
            size=5.0,
            time=0.2,
        )
        decay = found(lambda x: -np.array([0.3, 0.5, 0.2]) * x)
        for one in (lorenz, decay):
            assert not one.fits and one.why and "no bracket tells what is conserved" in one.sentences()[0]

    def test_bad_input(self):
        times, states = np.tile(TIMES, (20, 1)), np.random.default_rng(0).normal(size=(20, 50, 5))
        with pytest.raises(ValueError, match="three columns, got 5"):
            nr.lie_poisson(nr.Trajectories(times, states, bracket="unpaired"))
        still = nr.Trajectories(times, np.ones((20, 50, 3)), bracket="unpaired")
        assert "does not move" in nr.lie_poisson(still).why
        with pytest.raises(ValueError, match="lie_poisson"):
            nr.discover(still)
        with pytest.raises(ValueError, match="as many momenta"):
            nr.Trajectories(times, states)
        with pytest.raises(ValueError, match="no pairs"):
            Layout(states=("a", "b"), positions=("c",))


@pytest.mark.usefixtures("double_precision")
def test_features_of_logarithms_have_the_derivatives_of_autodiff():
    features = LogarithmicBrackets(2).features
    rng = np.random.default_rng(0)
    state, c = jnp.asarray(rng.uniform(0.5, 2, 2)), jnp.asarray(rng.normal(size=features.size))
    assert_derivatives_of_autodiff(features, state, c)


def populations(field, dim=2, seed=0) -> nr.Trajectories:
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0.4, 2, size=(20, dim))
    paths = [solve_ivp(lambda _, x: field(x), (0, 10), x, t_eval=TIMES, rtol=1e-9).y.T for x in starts]
    states = np.array(paths)
    states = states + 0.01 * states.std(axis=(0, 1)) * rng.normal(size=states.shape)
    return nr.Trajectories(np.tile(TIMES, (20, 1)), states, bracket="unpaired")


def volterra(x: np.ndarray) -> np.ndarray:
    return np.array([x[0] * (1.1 - 0.7 * x[1]), x[1] * (-0.8 + 0.5 * x[0])])


class TestPositiveColumns:
    def test_predator_and_prey(self):
        one: Any = bracket_of_states(populations(volterra))
        assert one.fits and one.brackets() == ["{x1, x2} = x1*x2"]
        true = np.array([0.8, 1.1, -0.5, -0.7, 0, 0, 0])
        assert np.all(np.abs(one.energy.coefficients[0] - true) <= 4 * one.energy.errors + 1e-12)
        assert "log(x1)" in one.sentences()[1] and one.to_json()["rank"] == 1

    def test_limited_growth_is_refused(self):
        for rate in (0.02, 0.002):
            found = bracket_of_states(populations(lambda x, r=rate: volterra(x) - [r * x[0] ** 2, 0]))
            assert not found.fits and "no bracket tells what is conserved" in found.sentences()[0]

    @pytest.mark.slow
    def test_three_in_a_circle_have_a_casimir(self):
        matrix = np.array([[0, 1, -0.8], [-1, 0, 0.6], [0.8, -0.6, 0]])
        one: Any = bracket_of_states(populations(lambda x: x * (matrix @ x), dim=3))
        assert one.to_json()["bracket"]["kind"] == "log-canonical" and one.fits
        assert_allclose(one.matrix, matrix, atol=4e-3)
        assert_allclose(one.casimir.coefficients[0], [0.6, 0.8, 1.0], atol=4e-3)
        assert [entry["role"] for entry in one.to_json()["quantities"]] == ["energy", "Casimir"]

    def test_bad_input(self):
        data = populations(volterra)
        with pytest.raises(ValueError, match="got 2 columns with values that are not positive"):
            bracket_of_states(replace(data, states=data.states - 1))
        with pytest.raises(ValueError, match="positive in all rows"):
            nr.log_canonical(replace(data, states=data.states - 1))


class TestFiles:
    def test_frame_and_file(self, tmp_path):
        states = states_of(rigid((1, 2, 3)))
        frame = {"run": np.repeat(np.arange(20), 50), "t": np.tile(TIMES, 20)}
        frame |= {f"L{k + 1}": states[..., k].reshape(-1) for k in range(3)}
        data = nr.Trajectories.from_frame(frame, trajectory="run", time="t", states=["L1", "L2", "L3"])
        assert data.names == ("L1", "L2", "L3") and data.bracket == "unpaired"
        assert_allclose(data.states, states)
        save_trajectories(tmp_path / "a.npz", data)
        assert_allclose(load_trajectories(tmp_path / "a.npz").states, states)
        with pytest.raises(DataFileError, match="L4"):
            nr.Trajectories.from_frame(frame, trajectory="run", time="t", states=["L1", "L4"])

    def test_command(self, tmp_path, capsys, top):
        path, run = tmp_path / "top.csv", tmp_path / "run"
        rows = ["trajectory,time,L1,L2,L3"]
        for k, states in enumerate(states_of(rigid((1, 2, 3)))):
            rows += [
                f"{k},{t!r},{','.join(map(repr, x.tolist()))}"
                for t, x in zip(TIMES.tolist(), states, strict=True)
            ]
        path.write_text("\n".join(rows))
        words = ["discover", str(path), "--states", "L1,L2,L3", "--out", str(run)]
        app(args=words, standalone_mode=False)
        text = capsys.readouterr().out
        assert text.startswith("2 conserved quantities, Casimir and energy; algebra so(3)")
        assert "L1^2" in text and "{L1, L2} = -L3" in text
        symmetry = json.loads((run / "symmetry.json").read_text())
        assert symmetry["rank"] == 2 and symmetry["algebra"]["name"] == "so(3)"
        assert_allclose(symmetry["quantities"][1]["A"], top.energy.matrices[0], atol=1e-6)
        assert (run / "report.md").exists() and "so(3)" in (run / "report.html").read_text()
        with pytest.raises(ValueError, match="discover alone"):
            app(args=["evidence", *words[1:4], "--quantity", "L1"], standalone_mode=False)
