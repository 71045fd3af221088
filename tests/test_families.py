"""Quantities of any family learned with the bound: speed-limited flows, families, and every verb on them."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_experiments import Stop, logged

from noether_razor.app.config import ConfigError, build_problem, load_config
from noether_razor.app.runs import Listener, analyse_run, evaluate_run, report_run, train_run
from noether_razor.discovery import Discovery, RunFolder
from noether_razor.discovery.discovering import discover
from noether_razor.invariants import Monomials
from noether_razor.invariants.distilled import distilled
from noether_razor.invariants.monomials import monomials
from noether_razor.modelling import Problem
from noether_razor.modelling.families import Described, random_quantities
from noether_razor.networks import QuantityNetwork
from noether_razor.options import (
    EstimateOptions,
    InferenceOptions,
    NetworkOptions,
    Options,
    SymmetryOptions,
    TrainingOptions,
)
from noether_razor.quantities import GeneralQuantities, QuadraticQuantities, TermQuantities, quadratic_form
from noether_razor.reporting import symmetry_text
from noether_razor.scaling import PhaseScale
from noether_razor.symmetry import CurveSamples, FlowAveraging, FlowSamples, GroupDraws, flow_samples
from noether_razor.symmetry.limited import LENGTH
from noether_razor.systems import CustomSystem, Pendulum
from noether_razor.training import Report
from noether_razor.trajectories import Trajectories, simulate

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = [
    "network.layers=2",
    "network.width=4",
    "inference.group_samples=2",
    "inference.weight_samples=2",
    "data.trajectories=6",
    "data.transitions=4",
    "evaluation.trajectories=2",
    "evaluation.transitions=2",
    "evaluation.weight_samples=2",
    "evaluation.group_samples=2",
    "evaluation.nll_stderr=100",
]


# Speed-limited flows


def general(quantities: QuadraticQuantities) -> GeneralQuantities:
    return GeneralQuantities(quantities, dof=quantities.dof)


@pytest.mark.usefixtures("double_precision")
class TestLimitedFlows:
    def test_one_quantity_is_constant_along_its_flow_to_the_order_of_the_integrator(self) -> None:
        energy = Pendulum().hamiltonian
        quantities, x = GeneralQuantities(energy, dof=1), jnp.array([1.0, 0.7])
        w = jnp.linspace(-1, 1, 9)[:, None]
        errors = []
        for steps in (8, 16):
            images = flow_samples(quantities, w, flow_steps=steps)(x)
            assert jnp.abs(images - x).max() > 0.5
            errors.append(float(jnp.abs(jax.vmap(energy)(images) - energy(x)).max()))
        assert errors[0] < 1e-4 and 3.5 < np.log2(errors[0] / errors[1]) < 5.5

    def test_several_quantities_move_along_the_flow_of_their_combination(self) -> None:
        quantities = general(quadratic_form(2, [{(0, 3): 1.0, (1, 2): -1.0}, {(2, 2): 0.5, (0, 0): 0.5}]))
        w, x = jnp.array([[0.6, -0.8], [0.3, 0.1], [0.0, 0.0]]), jnp.array([0.3, -0.4, 0.5, 0.9])
        images = flow_samples(quantities, w)(x)
        values = jnp.einsum("sk,sk->s", w, jax.vmap(quantities)(images) - quantities(x))
        assert jnp.abs(values).max() < 1e-5
        np.testing.assert_allclose(images[2], x, atol=1e-12)

    def test_a_quadratic_quantity_moves_on_its_exact_orbit_in_a_time_of_its_own(self) -> None:
        # C = a (q^2 + p^2) / 2 turns a state of radius r by LENGTH w a / sqrt(1 + a^2 r^2).
        size, x, w = 3.0, jnp.array([1.2, 0.5]), jnp.array([[1.0], [-0.35], [0.01]])
        images = flow_samples(
            general(quadratic_form(1, [{(0, 0): size / 2, (1, 1): size / 2}])), w, flow_steps=64
        )(x)
        angle = LENGTH * w[:, 0] * size / jnp.sqrt(1 + size**2 * jnp.sum(x**2))
        turned = [
            jnp.cos(angle) * x[0] + jnp.sin(angle) * x[1],
            jnp.cos(angle) * x[1] - jnp.sin(angle) * x[0],
        ]
        np.testing.assert_allclose(images, jnp.stack(turned, axis=1), atol=1e-7)

    def test_flows_are_reversed_by_the_sign_of_the_quantity_and_of_w(self) -> None:
        quantities = GeneralQuantities(Pendulum().hamiltonian, dof=1)
        negative = GeneralQuantities(lambda x: -Pendulum().hamiltonian(x), dof=1)
        x, w = jnp.array([1.0, 0.7]), jnp.array([[0.8], [-0.8]])
        images = flow_samples(quantities, w, flow_steps=32)(x)
        np.testing.assert_allclose(flow_samples(negative, -w, flow_steps=32)(x), images, atol=1e-12)
        back = flow_samples(quantities, w[1:], flow_steps=32)(images[0])
        np.testing.assert_allclose(back[0], x, atol=1e-5)

    def test_flows_do_not_depend_on_units(self) -> None:
        sizes = jnp.array([3.0, 3.0, 1e-3, 1e-3])
        plain = general(quadratic_form(2, [{(0, 3): 1.0, (1, 2): -1.0}, {(0, 2): 1.0, (3,): 1.0}]))
        scaled = GeneralQuantities(lambda x: plain(x / sizes), dof=2)
        x, w = jnp.array([0.3, -0.4, 0.5, 0.9]), jnp.array([[0.6, -0.8], [0.3, 0.1]])
        images = FlowSamples(scaled, w, 8, tuple(sizes.tolist()))(x * sizes)
        np.testing.assert_allclose(images / sizes, FlowSamples(plain, w, 8)(x), rtol=1e-9)

    def test_one_curve_holds_what_single_integrations_give(self) -> None:
        one = GeneralQuantities(Pendulum().hamiltonian, dof=1)
        x, w = jnp.array([1.0, 0.7]), jnp.array([[1.3, 0.2, 0.55, 0.97, 0.0], [0.4, 1.1, 0.0, 0.3, 0.8]])
        directions = jnp.array([[1.0], [-1.0]])
        single = flow_samples(one, (directions * w).reshape(-1, 1), flow_steps=16)(x)
        np.testing.assert_allclose(CurveSamples(one, directions, w, 16)(x), single, atol=1e-5)

    def test_an_average_shows_an_even_change_along_a_curve_at_first_order(self) -> None:
        # Along C = q only p changes, so F = p does, and evenly: images on both sides would hide it.
        quantities, x = GeneralQuantities(lambda x: x[0], dof=1), jnp.array([0.3, -0.4])
        moved = [
            float(jnp.mean(FlowAveraging().sample(jax.random.key(seed), quantities, GroupDraws(16))(x)[:, 1]))
            for seed in range(8)
        ]
        # The mean of the speed, 1 / sqrt(2), over half of the length, in one direction or the other.
        np.testing.assert_allclose(np.abs(np.array(moved) + 0.4), LENGTH / 2 / np.sqrt(2), rtol=0.01)
        assert len(set(np.sign(np.array(moved) + 0.4))) == 2

    def test_images_of_an_averaging_are_those_of_its_length_along_unit_combinations(self) -> None:
        quantities = general(quadratic_form(2, [{(0, 3): 1.0, (1, 2): -1.0}, {(2, 2): 0.5, (0, 0): 0.5}]))
        x = jnp.array([0.3, -0.4, 0.5, 0.9])
        for draws in (GroupDraws(5), GroupDraws(20)):
            samples = FlowAveraging(length=3.0, flow_steps=32).sample(jax.random.key(1), quantities, draws)
            assert isinstance(samples, CurveSamples) and samples(x).shape == (draws.samples, 4)
            np.testing.assert_allclose(jnp.linalg.norm(samples.directions, axis=1), 1, rtol=1e-6)
            w = samples.positions[:, :, None] * samples.directions[:, None]
            single = FlowSamples(quantities, w.reshape(-1, 2), 32, length=3.0)(x)
            np.testing.assert_allclose(samples(x), single, atol=1e-5)


# Families


def options(family: str, **others: object) -> list[str]:
    table = {"family": family, "quantities": 1, **others}
    return [f"symmetry.{key}={json.dumps(value)}" for key, value in table.items()]


def problem_of(family: str, **others: object) -> Problem:
    return build_problem(load_config(CONFIGS / "debug.toml", [*SMALL, *options(family, **others)]))


def sizes_at_start(problem: Problem) -> np.ndarray:
    """The r.m.s. gradients of quantities, in spreads of the data."""
    quantities = problem.posterior.quantities
    assert quantities is not None
    points = jnp.asarray(problem.data.points(), jnp.float32)
    slopes = jax.vmap(jax.jacobian(quantities))(points) * jnp.asarray(problem.training.spreads)
    return np.sqrt(np.mean(np.sum(np.asarray(slopes) ** 2, axis=2), axis=0))


def test_a_polynomial_is_what_its_gradient_says() -> None:
    quantities = problem_of("polynomial", degree=3, quantities=2).posterior.quantities
    assert isinstance(quantities, TermQuantities) and len(quantities.basis.terms) == 9
    weights, x = jnp.array([0.3, -1.2]), jnp.array([0.4, -0.7])
    wanted = jax.grad(lambda state: weights @ quantities(state))(x)
    np.testing.assert_allclose(quantities.gradient(weights)(x), wanted, rtol=1e-4)


def test_terms_are_their_formulas() -> None:
    quantities = problem_of("library", degree=2, terms=["exp(-q1^2)", "1/(2+p1)"]).posterior.quantities
    assert isinstance(quantities, TermQuantities)
    terms = quantities.basis.terms
    q, p = x = jnp.array([0.4, -0.7])
    assert terms.functions is not None
    found = jnp.einsum("mf,f->m", jnp.asarray(terms.tensors.multiples)[-2:, :, 0], terms.functions.call(x))
    np.testing.assert_allclose(found, [jnp.exp(-(q**2)), 1 / (2 + p)], rtol=1e-5)
    wanted = jax.grad(lambda state: quantities(state)[0])(x)
    np.testing.assert_allclose(quantities.gradient(jnp.ones(1))(x), wanted, rtol=1e-5)


@pytest.mark.parametrize("family", ["polynomial", "library", "network", "fourier"])
def test_quantities_start_at_the_size_that_was_asked_for(family: str) -> None:
    sizes = sizes_at_start(problem_of(family, quantities=16, initial_scale=0.2))
    np.testing.assert_allclose(np.sqrt(np.mean(sizes**2)), 0.2, rtol=0.35)


def test_quantities_of_one_size_stay_so_and_independent() -> None:
    problem = problem_of("polynomial", degree=3, quantities=2, initial_scale=1.5, fixed_size=True)
    quantities = problem.posterior.quantities
    assert isinstance(quantities, TermQuantities)
    np.testing.assert_allclose(sizes_at_start(problem), 1.5, rtol=1e-2)
    # Whatever the coefficients become.
    quantities.coefficients[...] = jnp.array([[3.0, 0.4], [0.1, 0.5]]) @ quantities.coefficients[...]
    rows = quantities.rows()
    np.testing.assert_allclose(rows @ rows.T, 2.25 * np.eye(2), atol=1e-3)
    weights, x = jnp.array([0.3, -1.2]), jnp.array([0.4, -0.7])
    wanted = jax.grad(lambda state: weights @ quantities(state))(x)
    np.testing.assert_allclose(quantities.gradient(weights)(x), wanted, rtol=1e-4)


def test_orbits_grow_from_where_quantities_begin_to_move() -> None:
    made = ["training.steps=10", *SMALL, *options("polynomial")]
    training = build_problem(load_config(CONFIGS / "debug.toml", made)).training
    assert (training.quantities_after, training.group_warmup) == (4, 6)
    learned = build_problem(
        load_config(CONFIGS / "debug.toml", [*made, 'symmetry.family="quadratic"'])
    ).training
    assert (learned.quantities_after, learned.group_warmup) == (0, 0)


def test_networks_of_one_size_stay_so_and_independent() -> None:
    problem = problem_of("network", quantities=2, width=8, initial_scale=1.5, fixed_size=True)
    quantities = problem.posterior.quantities
    assert isinstance(quantities, GeneralQuantities)
    network = quantities.function
    assert isinstance(network, QuantityNetwork)
    kernel = network.readout.kernel
    # Whatever the weights become.
    kernel[...] = kernel[...] @ jnp.array([[3.0, 0.4], [0.1, 0.5]])
    points = jnp.asarray(problem.data.points(), jnp.float32)
    slopes = jax.vmap(jax.jacobian(quantities))(points) * jnp.asarray(problem.training.spreads)
    products = jnp.einsum("pki,pli->kl", slopes, slopes) / len(points)
    np.testing.assert_allclose(products, 2.25 * np.eye(2), atol=2e-3)


def test_polynomials_have_no_angles_and_waves_are_functions_on_the_circle() -> None:
    angle = Trajectories(
        times=np.arange(5.0)[None],
        states=np.random.default_rng(0).normal(size=(1, 5, 2)),
        lengths=np.array([5]),
        periods=(2 * np.pi, None),
    )
    described = Described(angle, angle, PhaseScale.identity(1), (1.0, 1.0), 0)
    turn = jnp.array([2 * jnp.pi, 0.0])
    for family in ("polynomial", "network", "fourier"):
        quantities = random_quantities(SymmetryOptions(family=family), described, 2)
        x = jnp.array([0.3, 0.8])
        np.testing.assert_allclose(quantities(x + turn), quantities(x), atol=1e-5)


def test_a_family_of_named_terms_has_these_alone() -> None:
    quantities = problem_of("terms", terms=["2*q1*p1^2", "q1^3", "exp(-q1^2)*p1"]).posterior.quantities
    assert isinstance(quantities, TermQuantities) and len(quantities.basis.terms) == 3
    assert quantities.basis.terms.exponents == ((1, 2), (3, 0), (0, 1))
    # Their gradients are those of some combination of the three.
    x = jnp.asarray(np.random.default_rng(3).normal(size=(20, 2)), jnp.float32)
    q, p = x[:, 0], x[:, 1]
    own = jnp.stack([q * p**2, q**3, jnp.exp(-(q**2)) * p], axis=1)
    values = jax.vmap(quantities)(x)
    weights = jnp.linalg.lstsq(own, values)[0]
    np.testing.assert_allclose(own @ weights, values, atol=1e-4 * float(jnp.abs(values).max()))


def test_problems_of_equal_data_share_their_compiled_steps() -> None:
    one, other = (problem_of("library", degree=2, terms=["exp(-q1^2)"]) for _ in range(2))
    assert nnx.split(one.posterior)[0] == nnx.split(other.posterior)[0]
    assert hash(nnx.split(one.posterior)[0]) == hash(nnx.split(other.posterior)[0])


def test_a_network_of_quantities_is_smooth() -> None:
    network = QuantityNetwork(2, (1.0, 2.0), width=4, rngs=nnx.Rngs(0))
    third = jax.jacfwd(jax.jacfwd(jax.jacfwd(network)))
    assert jnp.isfinite(third(jnp.zeros(2))).all()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (['symmetry.family="polynomal"'], ["symmetry.family", "polynomal", "did you mean polynomial?"]),
        (["symmetry.degree=0"], ["symmetry.degree"]),
        (['symmetry.family="terms"'], ["symmetry.terms", "none"]),
        (
            [
                'symmetry.family="terms"',
                'symmetry.terms=["q1^3"]',
                "symmetry.fixed_size=true",
                "symmetry.quantities=2",
            ],
            ["symmetry.quantities", "1 terms"],
        ),
        (['symmetry.family="terms"', 'symmetry.terms=["q7"]'], ["symmetry.terms", "q7"]),
        (["symmetry.width=0"], ["symmetry.width"]),
        (['symmetry.family="library"', 'symmetry.terms=["sqrt(q1)"]'], ["symmetry.terms", "not finite"]),
        (['symmetry.family="library"', 'symmetry.terms=["q7"]'], ["symmetry.terms", "q7"]),
        (['symmetry.family="network"', 'symmetry.initialise="data"'], ["symmetry.initialise", "network"]),
    ],
)
def test_bad_families_are_one_line(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as said:
        build_problem(load_config(CONFIGS / "debug.toml", [*SMALL, *overrides]))
    assert "\n" not in str(said.value)
    for word in words:
        assert word in str(said.value)


# Formulas of what was learned


def test_formulas_are_read_off_functions_of_them() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    terms = Monomials.of(("q1", "q2", "p1", "p2"), 4)
    grades = np.array([len(m) for m in monomials(4, 4)])
    slopes = np.stack([terms.slopes(x, i) for i in range(4)], axis=2)

    def momentum(state: jax.Array) -> jax.Array:
        return state[0] * state[3] - state[1] * state[2]

    def energy(state: jax.Array) -> jax.Array:
        return (state[2] ** 2 + state[3] ** 2) / 2 + (state[0] ** 2 + state[1] ** 2) ** 2 / 4

    def learned(state: jax.Array) -> jax.Array:
        return jnp.stack([jnp.tanh(momentum(state)) + energy(state), energy(state) * momentum(state)])

    gradients = np.asarray(jax.vmap(jax.jacobian(learned))(jnp.asarray(x, jnp.float32)), np.float64)
    gradients += 0.05 * rng.normal(size=gradients.shape)
    found = distilled(slopes, gradients, 2, grades, linear=False)
    names = sorted([{terms.terms[k].name for k in np.flatnonzero(one.row)} for one in found], key=len)
    assert names == [{"q1*p2", "q2*p1"}, {"p1^2", "p2^2", "q1^4", "q1^2*q2^2", "q2^4"}]
    assert max(one.off for one in found) < 0.2
    # Of noise alone nothing is read.
    assert distilled(slopes, rng.normal(size=(400, 1, 4)), 1, grades, linear=False) == []


# Every verb


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """The same polynomial run, as a whole and stopped after two logged steps and resumed. Its flow takes four
    times as long to compile inside a step of Runge and Kutta as inside one of Euler, and tells no more here.
    """
    steps = ["training.steps=6", "training.log_every=2", "training.checkpoint_seconds=0"]
    euler = ['inference.estimator="paper"', "inference.substeps=1"]
    config = load_config(CONFIGS / "debug.toml", [*SMALL, *steps, *euler, *options("polynomial", degree=3)])
    folder = tmp_path_factory.mktemp("families")
    whole, stopped = RunFolder(folder / "whole"), RunFolder(folder / "stopped")
    train_run(config, whole)
    with pytest.raises(KeyboardInterrupt):
        train_run(config, stopped, listener=Listener(interrupted=Stop(1)))
    train_run(config, stopped, resume=True)
    return whole, stopped


def test_a_resumed_run_ends_bitwise_where_it_would_have(trained: tuple[RunFolder, RunFolder]) -> None:
    whole, stopped = trained
    assert logged(stopped.path) == logged(whole.path) != []
    for key in ("train", "test", "symmetry"):
        assert stopped.read_summary()[key] == whole.read_summary()[key]


def test_every_verb_takes_another_family(trained: tuple[RunFolder, RunFolder]) -> None:
    folder = trained[0]
    symmetry = folder.read_summary()["symmetry"]
    assert symmetry["quantities"] == len(symmetry["singular_values"]) == len(symmetry["parallelness"]) == 1
    assert evaluate_run(folder)["symmetry"] == symmetry
    found = analyse_run(folder, repeats=0)
    assert found["rank"] == 1 and found["failed"] == {}
    learned = found["learned_family"]
    assert learned["family"] == "polynomial" and learned["terms"] == 9 and learned["exact"]
    (direction,) = learned["directions"]
    assert direction["strength"] == pytest.approx(symmetry["singular_values"][0])
    assert 0 <= direction["bracket"] <= 1 and direction["drift"] > 0.02
    assert direction["parallelness"] == pytest.approx(symmetry["parallelness"][0])
    text = symmetry_text(found)
    assert "learned with the bound, family polynomial" in text and "this decides no counts" in text
    assert (
        "learned with the bound" in report_run(folder) and "Learned with the bound" in folder.page.read_text()
    )


@pytest.mark.slow
def test_discover_says_what_another_family_learned(tmp_path: Path) -> None:
    system = CustomSystem(1, "p1^2/2 + q1^4/4", {})
    data = simulate(system, jax.random.key(0), trajectories=20, transitions=10, dt=0.2)
    told: list[tuple[str, Any]] = []
    found = discover(
        data,
        family="quadratic",
        progress=lambda name, what: told.append((name, what)),
        options=Options(
            network=NetworkOptions(layers=2, width=8),
            symmetry=SymmetryOptions(family="network", quantities=1, width=4),
            inference=InferenceOptions(group_samples=2, weight_samples=2, noise_variance=1e-4),
            training=TrainingOptions(steps=400),
            estimates=EstimateOptions(weight_samples=2, group_samples=2, nll_stderr=1.0),
        ),
    )
    assert found.learned is not None and found.learned.family == "network" and not found.learned.exact
    assert [name for name, what in told if isinstance(what, Discovery)] == [
        "the data alone",
        "exact evidence",
    ]
    assert {name for name, what in told if isinstance(what, Report)} >= {"model"}
    assert "learned with the bound, family network" in str(found)
    assert Discovery.load(found.save(tmp_path / "run")).learned == found.learned
