"""Every public object prints as a person can read it: a few lines, never its arrays."""

import jax
import numpy as np
import pytest
from flax import nnx

import noether_razor as nr
from noether_razor.exact_evidence import Adequacy, Breaking, Friction, QuantityEvidence, Space
from noether_razor.invariants import Analysis
from noether_razor.prediction import bands
from noether_razor.symmetry import HaarUnitary
from noether_razor.systems import InitialStates
from noether_razor.training import FitResult, initial_state
from noether_razor.trajectories import CanonicalMap, Trajectories


def oscillators(dof: int, count: int, rows: int) -> Trajectories:
    """Equal oscillators of exact states."""
    q, p = np.split(
        np.asarray(InitialStates().draw(jax.random.key(0), count, dof), np.float64)[:, None], 2, axis=2
    )
    time = 0.3 * np.arange(rows)
    cos, sin = np.cos(time)[:, None], np.sin(time)[:, None]
    return Trajectories.from_arrays(time, np.concatenate([q * cos + p * sin, p * cos - q * sin], axis=2))


def answer(data: Trajectories) -> Analysis:
    dim = 2 * data.dof
    return nr.analyse(np.zeros((0, dim, dim)), np.zeros((0, dim)), data, restrict=False)


@pytest.fixture(scope="module")
def found() -> Analysis:
    return answer(oscillators(2, 12, 40))


def evidence_of(count: int) -> nr.Evidence:
    """An answer about so many quantities."""
    one = QuantityEvidence(
        quantity="q1*p2 - q2*p1",
        gain=43.8,
        approximate=-20.0,
        dims_removed=6,
        breaking=Breaking(0.0, 0.0, 7e-4, 7e-4),
        verdict="exact",
        why="",
        basis_sensitivity=0.4,
        stderr=0.5,
        converged=True,
    )
    return nr.Evidence(
        quantities=(one,) * count,
        logZ_none=12309.5,
        noise={"q1": 0.01, "p1": 0.01},
        degree=4,
        adequacy=Adequacy(1.0, 1.0, 1.0, ""),
        space=Space(4, (0.0, 1.0, 2.0, 3.0, 30.0), 27.0, 0.1, 0.002, np.zeros((4, 2, 2)), np.zeros((4, 2))),
        friction=Friction(1e-5, 6e-5, 0.0),
        controls={"q1": -9000.0},
    )


def bracket() -> nr.Bracket:
    """Of a field, without what it was found by."""
    names = ("x", "y", "vx", "vy")
    matrix = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [-1, 0, 0, 1.5], [0, -1, -1.5, 0]])
    return nr.Bracket(
        kind="field",
        columns=names,
        matrix=matrix,
        sd=np.where(np.abs(matrix) == 1.5, 1e-3, 0.0),
        at=np.zeros(4),
        map=CanonicalMap(names, names, np.eye(4, dtype=int), np.eye(4)),
        spectrum=(0.0, 0.2, 0.4, 0.4, 0.9, 0.9),
        forms=1,
        gains={"field": 0.0, "natural": -16.0},
        bounded=(),
        chi2={"field": 1.0},
        mass_ratios=((1.0, 1e-3),),
        friction=None,
        sources=(),
        adequate=True,
        converged=True,
        why="",
        network=False,
    )


def top() -> nr.LiePoisson:
    """A bracket of three columns that was not found."""
    return nr.LiePoisson(("L1", "L2", "L3"), False, "why", "unknown", None, {}, None, None)


def populations() -> nr.LogCanonical:
    """A bracket of two positive columns that was not found."""
    return nr.LogCanonical(("x", "y"), False, "why", np.zeros((2, 2)), np.zeros((2, 2)), None, None, {}, None)


@pytest.fixture(scope="module")
def objects(found: Analysis) -> dict[str, object]:
    data = found.space.motion.trajectories
    units = ("a long unit of measurement",) * 60
    long = Trajectories.from_arrays(
        range(3),
        np.ones((2, 3, 60)),
        names=[f"a long name of a column {k}" for k in range(60)],
        units=units,
        masses=np.arange(1.0, 31.0).tolist(),
    )
    network = nr.HamiltonianNetwork(4, layers=4, width=32, rngs=nnx.Rngs(0))
    quantities = nr.QuadraticQuantities.random(jax.random.key(1), count=9, dof=2, scale=0.1)
    posterior = nr.Posterior(network, quantities, noise_variance=1e-3)
    training = nr.Training(steps=10)
    many = answer(oscillators(5, 60, 20))
    return {
        "data": data,
        "long": long,
        "transitions": data.transitions(),
        "in jax": jax.tree.map(jax.numpy.asarray, data.transitions()),
        "analysis": found,
        "of many": many,
        "quantity": found.quantities[0],
        "space": found.space,
        "motion": found.space.motion,
        "drift": found.space.drift,
        "algebra": found.algebra,
        "heisenberg": nr.lie_algebra(np.zeros((2, 2, 2)), np.eye(2)),
        "not closed": nr.lie_algebra(np.random.default_rng(0).normal(size=(3, 4, 4)), np.ones((3, 4))),
        "network": network,
        "quantities": quantities,
        "general": nr.GeneralQuantities(lambda x: x[0], dof=2),
        "posterior": posterior,
        "fit": FitResult(posterior, initial_state(posterior, training), []),
        "training": training,
        "rates": nr.Rates(),
        "estimator": nr.Estimator(weight_samples=4),
        "elbo": nr.ELBO(28, nr.Estimator(weight_samples=4)),
        "averaging": nr.FlowAveraging(nr.Box()),
        "gaussian": nr.FlowAveraging(nr.Gaussian()),
        "ball": nr.Ball(),
        "box": nr.Box(),
        "scale": nr.Gaussian(),
        "bracket": bracket(),
        "top": top(),
        "populations": populations(),
        "haar": nr.HaarAveraging(HaarUnitary(2)),
        "none": nr.NoAveraging(),
        "oscillators": nr.Oscillators((1.0,) * 5),
        "bodies": nr.NBody(),
        "pendulum": nr.Pendulum(),
        "custom": nr.CustomSystem(1, "p1^2 / 2 + q1^4"),
        "initial states": nr.InitialStates(),
        "noise": nr.GaussianNoise(1e-3, jax.random.key(0)),
        "layout": nr.Layout(),
        "error": nr.DataFileError("data.csv", "line 3", "why"),
        "discovery": nr.Discovery(data, found),
        "long discovery": nr.Discovery(data, many),
        "prediction": nr.Prediction(np.arange(50.0), bands(np.ones((9, 20, 50, 60))), long.names, long.units),
        "options": nr.Options(),
        "option error": nr.OptionError("scale: why"),
        "evidence": evidence_of(20),
        "evidence error": nr.EvidenceError("quantity 'q1^3': why"),
        "hypothesis error": nr.HypothesisError("formula 'q1': why"),
        "beyond": nr.conserved_library(data, degree=2),
        "library options": nr.LibraryOptions(terms=("1/q1",)),
        "library error": nr.LibraryError("term '1/q1': why"),
    }


def test_every_public_object_prints_in_a_few_lines(objects):
    for name, thing in objects.items():
        text = repr(thing)
        assert len(text) <= 2000 and text.count("\n") < 30, name
        assert "array(" not in text, name


def test_no_public_class_is_left_out(objects):
    classes = {name for name in nr.__all__ if isinstance(getattr(nr, name), type)}
    assert classes - {"HamiltonianSystem"} <= {type(thing).__name__ for thing in objects.values()}


def test_trajectories_say_how_many_of_what(objects):
    assert repr(objects["data"]) == (
        "Trajectories(12 of 40 points, times 0 to 11.7, dt 0.3,\n  4 columns: q1, q2, p1, p2)"
    )
    paths = [np.ones((length, 2)) for length in (5, 3)]
    data = Trajectories.from_arrays(
        [range(5), range(3)], paths, names=("x", "v"), units=("m", "m/s"), time_unit="s", masses=2
    )
    assert repr(data) == (
        "Trajectories(2 of 3 to 5 points, 8 in all, times 0 to 4 s, dt 1,\n"
        "  2 columns: x [m], m_v [mass m/s],\n"
        "  momenta are mass times velocity, masses 2)"
    )


def test_an_analysis_prints_its_formulas_and_their_algebra(found):
    first, *lines = repr(found).splitlines()
    assert first == "Analysis(4 conserved, 3 independent, decided, algebra u(2)"
    assert [line.split(" = ")[1].rstrip(")") for line in lines] == [q.text for q in found.quantities]


def test_a_found_quantity_has_its_formula_as_text_and_in_sympy(found):
    for quantity, expression in zip(found.quantities, found.expressions(), strict=True):
        assert quantity.expression == expression
        assert quantity.text in repr(quantity)
        assert quantity.text == quantity.formula.text()
