"""Equal bodies: quantities and networks that no exchange of two of them changes."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from flax import nnx

from noether_razor.app.config import ConfigError, build_problem, load_config
from noether_razor.app.runs import analyse_run, report_run, train_run
from noether_razor.discovery import RunFolder, analysis_of
from noether_razor.discovery.discovering import first_words
from noether_razor.discovery.fitted import Fitted
from noether_razor.invariants import BodyTerms
from noether_razor.invariants.monomials import coefficients, monomials
from noether_razor.networks import PairNetwork
from noether_razor.null_space import null_space
from noether_razor.options import OptionError, Options, SymmetryOptions
from noether_razor.phase_space import by_body, of_bodies, symplectic_gradient
from noether_razor.quantities import BodyQuantities, QuadraticQuantities, form_count
from noether_razor.symmetry import flow_samples
from noether_razor.systems import NBody
from noether_razor.training import fit, step_cost
from noether_razor.trajectories import Trajectories, simulate

CONFIG = Path(__file__).parents[1] / "configs/bodies/eight_in_space.toml"
SIZES = (1.5, 0.5)


def random_states(count: int, dim: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (count, dim))


def names(bodies: int, dimension: int) -> tuple[str, ...]:
    return tuple(f"{letter}{k + 1}" for letter in "qp" for k in range(bodies * dimension))


def quantities(bodies: int, dimension: int, count: int = 5) -> BodyQuantities:
    return BodyQuantities.random(
        jax.random.key(1), count, 0.3, bodies=bodies, dimension=dimension, sizes=SIZES
    )


# Quantities


def test_values_slopes_and_flows_are_those_of_the_expanded_quantities():
    own = quantities(4, 3)
    states, w = random_states(3, 24), 0.2 * random_states(4, 5)
    order = jnp.array([2, 0, 3, 1])

    @jax.jit
    def found(states: jax.Array) -> list[Any]:
        kinds = own, own.expanded()
        other = jax.vmap(lambda x: of_bodies(by_body(x, 4)[order]))(states)
        return [
            [jax.vmap(one)(states) for one in kinds],
            [jax.vmap(one.gradient(w[0]))(states) for one in kinds],
            [jax.vmap(own.gradient(w[0]))(states), jax.vmap(jax.grad(lambda x: w[0] @ own(x)))(states)],
            [jax.vmap(flow_samples(one, w))(states) for one in kinds],
            [jax.vmap(own)(states), jax.vmap(own)(other)],
        ]

    for one, expected in found(states):
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-3)


def test_no_quantity_that_exchanges_leave_alone_is_missing():
    # All quantities of degree <= 2, averaged over two exchanges: what they leave alone is what all do.
    place, every = np.arange(12).reshape(2, 3, 2), np.eye(90)
    index = {m: k for k, m in enumerate(monomials(12))}
    for order in ((1, 0, 2), (1, 2, 0)):
        moved = place[:, order].reshape(-1)
        to = [index[tuple(sorted(moved[list(m)].tolist()))] for m in monomials(12)]
        every = every - (every - every[:, to]) / 2
    assert np.sum(np.abs(np.linalg.eigvals(every) - 1) < 1e-9) == form_count(2)


def test_coefficients_are_checked():
    with pytest.raises(ValueError, match=r"shape \(K, 48\), got \(1, 47\)"):
        BodyQuantities(jnp.zeros((1, 47)), bodies=8, dimension=3)
    with pytest.raises(ValueError, match="two bodies or more"):
        BodyQuantities(jnp.zeros((1, 48)), bodies=1, dimension=3)


# Terms


def test_terms_are_combinations_of_monomials():
    terms = BodyTerms.of(names(3, 2), 3)
    states = np.asarray(random_states(4, 12), float)
    rows = np.random.default_rng(0).normal(size=(2, len(terms)))
    assert len(terms) == form_count(2)
    assert terms.terms[len(terms) - 1].name == "sum(p2)^2"
    plain = coefficients_of(states)
    assert terms.expansion is not None
    np.testing.assert_allclose(terms.values(states), plain @ terms.expansion.T, rtol=1e-10)
    np.testing.assert_allclose(terms.contracted(terms.expanded(rows)), rows, rtol=1e-8)
    by_sympy = sympy.lambdify(terms.variables, [term.expression for term in terms.terms])(*states[0])
    np.testing.assert_allclose(terms.values(states[:1])[0], by_sympy, rtol=1e-8)
    small = 1e-5
    for k in range(12):
        step = small * (np.arange(12) == k)
        slope = (terms.values(states + step) - terms.values(states - step)) / (2 * small)
        np.testing.assert_allclose(terms.slopes(states, k), slope, atol=1e-7)
        bend = (terms.slopes(states + step, 1) - terms.slopes(states - step, 1)) / (2 * small)
        np.testing.assert_allclose(terms.bends(states, 1, k), bend, atol=1e-7)


def coefficients_of(states: np.ndarray) -> np.ndarray:
    """All monomials of degree <= 2."""
    return np.array([[np.prod(state[list(m)]) for m in monomials(len(state))] for state in states])


@pytest.mark.parametrize(("bodies", "dimension", "count"), [(3, 2, 7), (8, 3, 15), (16, 3, 15)])
def test_gravity_conserves_15_of_the_48_in_space_whatever_the_number_of_bodies(bodies, dimension, count):
    system = NBody((1.0,) * bodies, dimension)
    terms = BodyTerms.of(names(bodies, dimension), bodies)
    with jax.enable_x64(True):
        states = jnp.asarray(np.random.default_rng(0).normal(size=(4 * len(terms), 2 * system.dof)))
        gradients = jax.jit(jax.vmap(jax.grad(system.hamiltonian)))(states)
        velocities = np.asarray(jax.vmap(symplectic_gradient)(gradients))
    slopes = [terms.slopes(np.asarray(states), k) for k in range(2 * system.dof)]
    brackets = np.einsum("kpm,pk->pm", slopes, velocities)
    found = null_space(brackets, 1e-10)
    assert len(found.basis) == count
    assert found.gap > 1e6
    known = system.known_quantities()
    rows = rows_of(known)
    own = terms.contracted(rows)
    np.testing.assert_allclose(terms.expanded(own), rows, atol=1e-5)
    np.testing.assert_allclose((own @ found.basis.T) @ found.basis, own, atol=1e-5)


def rows_of(known: QuadraticQuantities) -> np.ndarray:
    return coefficients(np.asarray(known.symmetric_matrices(), float), np.asarray(known.vectors[...], float))


# The network


def pair_network(bodies: int, layers: int = 3) -> PairNetwork:
    return PairNetwork(6 * bodies, bodies=bodies, layers=layers, width=8, rngs=nnx.Rngs(0))


def test_the_network_is_a_sum_over_bodies_and_pairs():
    network = pair_network(4)
    state = random_states(1, 24)[0]
    two = pair_network(2)
    nnx.update(two, nnx.state(network))
    i, j = np.triu_indices(4, k=1)

    @jax.jit
    def parts(state: jax.Array) -> tuple[jax.Array, ...]:
        own = by_body(state, 4)
        exchanged = of_bodies(own[jnp.array([3, 1, 0, 2])])
        together = jax.vmap(two)(of_bodies(jnp.stack([own[i], own[j]], axis=1)))
        return network(state), network(exchanged), jax.vmap(network.single)(own).sum(), together.sum()

    whole, exchanged, singles, together = parts(state)
    np.testing.assert_allclose(exchanged, whole, rtol=1e-5)
    # Each of the 4 bodies is in 3 of the pairs.
    np.testing.assert_allclose(whole, together - 2 * singles, rtol=1e-4, atol=1e-5)


def test_the_work_of_the_network_is_what_it_does():
    counts = []
    for bodies in (4, 8, 16):
        network = pair_network(bodies, layers=4)
        jaxpr = jax.make_jaxpr(network)(jnp.zeros(6 * bodies))
        counts.append(multiplications(jaxpr.jaxpr))
        assert counts[-1] == network.work().products
    # Twice the bodies, not quite four times the pairs.
    assert all(2 < b / a < 4.5 for a, b in pairwise(counts))


def multiplications(jaxpr: Any) -> int:
    """Of all products of matrices in a program."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() if hasattr(p, "jaxpr")]
        total += sum(multiplications(p.jaxpr) for p in inner)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            size = np.prod([equation.invars[0].aval.shape[k] for k in contracted])
            total += int(size * np.prod(equation.outvars[0].aval.shape))
    return total


# Runs


SMALL = [
    "system.dof=9",
    "data.bodies=3",
    "network.layers=2",
    "network.width=4",
    "symmetry.quantities=3",
    "inference.group_samples=2",
    "inference.weight_samples=2",
    "inference.substeps=1",
    "training.steps=2",
    "training.batch=4",
]


@pytest.fixture(scope="module")
def three_bodies() -> Trajectories:
    return simulate(NBody((1.0,) * 3, 3), jax.random.key(0), trajectories=30, transitions=20, dt=0.3)


def test_the_data_alone_show_all_fifteen(three_bodies):
    options = Options(symmetry=SymmetryOptions(family="bodies"), bodies=3)
    found = first_words(three_bodies, options).analysis
    assert (found.rank, found.algebra.name) == (15, "n-body(3)")
    assert found.quantities[0].text == "sum(p1)"
    rows, known = coefficients(*found.matrices()), NBody((1.0,) * 3, 3).known_quantities()
    basis = np.linalg.svd(rows_of(known), full_matrices=False)[2]
    np.testing.assert_allclose((rows @ basis.T) @ basis, rows, atol=1e-6)


def test_learned_quantities_of_bodies_are_judged_among_their_terms(three_bodies):
    config = load_config(CONFIG, SMALL)
    problem = build_problem(config, three_bodies)
    key = jax.random.key(0)
    posterior = fit(
        problem.posterior, problem.observations, problem.objective, problem.training, key=key
    ).posterior
    assert isinstance(posterior.quantities, BodyQuantities)
    assert isinstance(posterior.network, PairNetwork)
    assert np.isfinite(posterior.quantities.coefficients[...]).all()
    fitted = Fitted(problem, posterior)
    assert fitted.quantities().matrices.shape == (3, 18, 18)
    found = analysis_of(fitted, three_bodies)
    assert (len(found.strengths), found.space.rank) == (3, 15)
    # Two steps teach nothing: what counts commutes with the learned H, by the little that it is.
    assert found.learned < 8
    assert all(quantity.bracket is not None and quantity.bracket < 0.2 for quantity in found.quantities)
    cost = step_cost(posterior, problem.observations, problem.objective, problem.training)
    assert cost.quantities > 0
    assert cost.operations == 12 * cost.images * 4 * posterior.network.work().products


def test_data_of_other_bodies_are_refused(three_bodies):
    config = load_config(CONFIG, SMALL)

    def refused(message: str, data: Trajectories = three_bodies, *more: str) -> None:
        with pytest.raises(ConfigError, match=message):
            build_problem(load_config(CONFIG, [*SMALL, *more]), data)

    states = three_bodies.states.copy()
    states[..., -3:] *= 1.3
    refused(r"velocity over momentum is 0.77. for body 3 and 1", replace(three_bodies, states=states))
    refused(r"data.bodies: got 5, but 9 positions cannot be shared", three_bodies, "data.bodies=5")
    refused(r"network.kind: got 'pair', did you mean pairs", three_bodies, "network.kind=pair")
    with pytest.raises(OptionError, match="needs data"):
        first_words(three_bodies, replace(config.options(), bodies=None))


@pytest.mark.slow
def test_eight_bodies_in_space_are_found_within_half_an_hour(tmp_path):
    folder, started = RunFolder(tmp_path / "run"), time.perf_counter()
    train_run(load_config(CONFIG), folder)
    symmetry = analyse_run(folder, repeats=0)
    report_run(folder)
    assert time.perf_counter() - started < 1800
    assert (symmetry["rank"], symmetry["learned"], symmetry["data"]["shown"]) == (15, 15, 15)
    assert symmetry["algebra"]["name"] == "n-body(3)"
    assert isinstance(symmetry["quantities"][0]["A"], list)
    assert max(quantity["bracket_with_hamiltonian"] for quantity in symmetry["quantities"]) < 0.01
