"""Dictionaries of the exact evidence: their parts against autodiff, verdicts on noisy files with angles."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import noether_razor as nr
from noether_razor.discovery.exact import exact_answer
from noether_razor.exact_evidence import Features, Polynomials, Trigonometric
from noether_razor.exact_evidence.features import LinearFeatures, hamiltonian_fields
from noether_razor.exact_evidence.quotients import Averaged, quotient
from noether_razor.exact_evidence.scattered import Fourier, Places, Radial, Scattered
from noether_razor.exact_evidence.sums import Sum
from noether_razor.exact_evidence.trigonometric import trigonometric_count
from noether_razor.phase_space import poisson_bracket
from noether_razor.quadratic_forms import Quadratics
from noether_razor.quantities import parse_hypothesis
from noether_razor.trajectories import Trajectories

NAMES = ("q1", "q2", "p1", "p2")
TURN = 2 * np.pi
ROTORS = Trigonometric.of((TURN, TURN, None, None), 2, 2)
MIXED = Trigonometric.of((3.0, None, None, None), 3, 2)
EVERY = [Polynomials(4, 3), ROTORS, MIXED]

every_dictionary = pytest.mark.parametrize("features", EVERY, ids=lambda one: one.name)


def quantities(text: str) -> Quadratics:
    found = parse_hypothesis(text, NAMES)
    return Quadratics(found.matrices, found.vectors, np.zeros(len(found.vectors)))


def quadratic(matrix: jax.Array, vector: jax.Array, x: jax.Array) -> jax.Array:
    return x @ matrix @ x / 2 + vector @ x


def combined(features: Features, c: jax.Array, x: jax.Array) -> jax.Array:
    return features.values(x) @ c


@pytest.mark.usefixtures("double_precision")
class TestEveryDictionary:
    @every_dictionary
    def test_derivatives_are_those_of_the_values(self, features: Features):
        draws = np.random.default_rng(0)
        state, c = jnp.asarray(draws.normal(size=4)), jnp.asarray(draws.normal(size=features.size))

        def hamiltonian(x: jax.Array) -> jax.Array:
            return features.values(x) @ c

        @jax.jit
        def both(x: jax.Array) -> Any:
            found = features.slopes(x, features.prepared(c))
            every = jax.jacfwd(features.values)(x).T
            ours = found.gradient, found.hessian, features.slopes_of_all(x)
            return ours, (jax.grad(hamiltonian)(x), jax.hessian(hamiltonian)(x), every)

        for ours, theirs in zip(*both(state), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)

    @pytest.mark.parametrize(
        ("features", "text"),
        [
            (EVERY[0], "q1*p2 - q2*p1, p1^2 + q2"),
            (ROTORS, "p1 + p2, p1^2 / 2 + p1*p2 - p2"),
            (ROTORS, "q1, p2"),
            (MIXED, "p2^2 + q2^2, q2*p1 + p1^2"),
        ],
    )
    def test_brackets_are_those_of_autodiff(self, features: Features, text: str):
        asked, states = quantities(text), np.random.default_rng(1).normal(size=(3, 4))
        found = features.landing_at(states) @ features.brackets(asked)
        for matrix, vector, own in zip(asked.matrices, asked.vectors, found, strict=True):
            quantity = partial(quadratic, jnp.asarray(matrix), jnp.asarray(vector))
            c = jnp.asarray(np.random.default_rng(2).normal(size=features.size))
            along = poisson_bracket(quantity, partial(combined, features, c))
            expected = jax.jit(jax.vmap(along))(jnp.asarray(states))
            np.testing.assert_allclose(own @ c, expected, rtol=1e-9, atol=1e-9)

    @every_dictionary
    def test_richer_ones_hold_it(self, features: Features):
        states = np.random.default_rng(3).normal(size=(5, 4))
        needed = np.full(features.size, 10.0)
        found = features.richer(needed, 1000)
        assert found and not features.richer(needed, features.size)
        for richer, places in found:
            assert richer.size > features.size
            np.testing.assert_allclose(richer.values_at(states)[:, places], features.values_at(states))
            # What shares a prior variance still does.
            pairs = set(zip(features.groups.tolist(), richer.groups[places].tolist(), strict=True))
            assert len(pairs) == features.groups.max() + 1

    @every_dictionary
    def test_terms_are_the_features(self, features: Features):
        states, terms = np.random.default_rng(8).normal(size=(5, 4)), features.terms()
        assert terms is not None
        np.testing.assert_allclose(terms.values(states), features.values_at(states), rtol=1e-10, atol=1e-10)

    @every_dictionary
    def test_no_feature_is_constant_or_follows_from_others(self, features: Features):
        states = np.random.default_rng(4).uniform(-1.5, 1.5, size=(3 * features.size, 4))
        values = np.concatenate([np.ones((len(states), 1)), features.values_at(states)], axis=1)
        assert np.linalg.matrix_rank(values, tol=1e-8 * np.linalg.norm(values, 2)) == features.size + 1


class TestTrigonometric:
    def test_size_and_names(self):
        # 12 waves with |m1| + |m2| <= 2 and 1, times 6 monomials, less the constant.
        assert ROTORS.size == 13 * 6 - 1 == trigonometric_count((TURN, TURN, None, None), 2, 2)
        assert MIXED.size == 5 * 20 - 1
        assert ROTORS.angles == (0, 1) and MIXED.angles == (0,) and Polynomials(4, 2).angles == ()

    def test_values_are_periodic(self):
        states = np.random.default_rng(5).normal(size=(4, 4))
        np.testing.assert_allclose(
            MIXED.values_at(states + np.array([3.0, 0, 0, 0])), MIXED.values_at(states), atol=1e-12
        )

    def test_shifts_of_the_angles_leave_the_prior_as_it_is(self):
        x, y = np.random.default_rng(6).normal(size=(2, 1, 4))
        shift = np.array([0.7, -1.1, 0, 0])
        before = (ROTORS.values_at(x) * ROTORS.values_at(y))[0]
        after = (ROTORS.values_at(x + shift) * ROTORS.values_at(y + shift))[0]
        for group in np.unique(ROTORS.groups):
            own = group == ROTORS.groups
            assert before[own].sum() == pytest.approx(after[own].sum(), rel=1e-10)

    def test_null_spaces_are_those_of_the_invariants(self):
        # Of the waves 1 and those of q1 - q2 are left, times all monomials.
        assert ROTORS.symmetric(quantities("p1 + p2")).kept.shape[1] == 3 * 6 - 1
        assert ROTORS.symmetric(quantities("p1, p2")).kept.shape[1] == 5
        # A function of p1 + p2 and an invariant of it: the same symmetry.
        assert ROTORS.symmetric(quantities("p1^2 + 2*p1*p2 + p2^2")).kept.shape[1] == 3 * 6 - 1
        # Of q2, p2 only q2^2 + p2^2, of p1 all: 1, p1, p1^2, p1^3, r^2, p1 r^2, times 5 waves.
        assert MIXED.symmetric(quantities("q2^2 + p2^2")).kept.shape[1] == 5 * 6 - 1
        # The flow of an angle moves its momentum.
        assert ROTORS.symmetric(quantities("q1")).kept.shape[1] == 13 * 3 - 1


SMOOTH = [
    Radial(4, (Places((0, 1), 0.7, 5), Places((0, 1, 2, 3), 1.5, 6))),
    Fourier(4, (Places((0, 1), 0.7, 5), Places((2, 3), 1.5, 6))),
]
TURNED = quotient(quantities("q1*p2 - q2*p1"))
assert TURNED is not None
AVERAGED = Averaged.of(Sum.of(Polynomials(4, 2), SMOOTH[0]), TURNED)


@pytest.mark.usefixtures("double_precision")
class TestSmoothFunctions:
    """Radial basis functions, Fourier features, sums, and averages with a symmetry built in."""

    @pytest.mark.parametrize("features", [*SMOOTH, AVERAGED], ids=["radial", "fourier", "averaged"])
    def test_derivatives_are_those_of_the_values(self, features: LinearFeatures):
        draws = np.random.default_rng(0)
        state, c = jnp.asarray(draws.normal(size=4)), jnp.asarray(draws.normal(size=features.size))
        found = features.slopes(state, features.prepared(c))
        gradient, hessian = jax.jit(
            lambda x: (
                jax.grad(lambda y: features.values(y) @ c)(x),
                jax.hessian(lambda y: features.values(y) @ c)(x),
            )
        )(state)
        np.testing.assert_allclose(found.gradient, gradient, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(found.hessian, hessian, rtol=1e-9, atol=1e-9)
        every = features.slopes_of_all(state)
        np.testing.assert_allclose(every @ c, gradient, rtol=1e-9, atol=1e-10)
        rows = np.asarray(state)[None]
        np.testing.assert_allclose(features.gradients(rows)[0], every, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(features.values_at(rows)[0], features.values(state), rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("features", SMOOTH, ids=["radial", "fourier"])
    def test_richer_sums_hold_it(self, features: Scattered):
        whole, states = Sum.of(Polynomials(4, 2), features), np.random.default_rng(3).normal(size=(5, 4))
        found = whole.richer(np.zeros(whole.size), 1000)
        assert len(found) == 3 and not whole.richer(np.zeros(whole.size), whole.size)
        for richer, places in found:
            np.testing.assert_allclose(richer.values_at(states)[:, places], whole.values_at(states))
            pairs = set(zip(whole.groups.tolist(), richer.groups[places].tolist(), strict=True))
            assert len(pairs) == whole.groups.max() + 1

    def test_fourier_features_have_the_kernel_of_their_length(self):
        features = Fourier(2, (Places((0,), 0.8, 512),))
        x, y = np.array([[0.3, 1.0]]), np.array([[-0.6, 2.0]])
        kernel = (features.values_at(x) * features.values_at(y)).sum() / 512
        assert kernel == pytest.approx(np.exp(-(0.9**2) / (2 * 0.8**2)), abs=0.01)

    @pytest.mark.parametrize(
        "text",
        [
            "q1*p2 - q2*p1",
            "p1",
            "p1 - q2/2, p2 + q1/2",
            "p1^2",
            "q1^2 + p1^2, q2^2 + p2^2",
            "q1^2 + 2*p1^2 + 3*p1",
            "q1*p2 - q2*p1, p1^2 + p2^2 + q1^2 + q2^2",
        ],
    )
    @pytest.mark.parametrize("features", SMOOTH, ids=["radial", "fourier"])
    def test_what_is_built_in_commutes(self, features: Scattered, text: str):
        asked, whole = quantities(text), Sum.of(Polynomials(4, 2), features)
        maps = quotient(asked)
        assert maps is not None
        states = np.random.default_rng(5).normal(size=(10, 4))
        gradients, plain = Averaged.of(whole, maps).gradients(states), whole.gradients(states)
        for matrix, vector in zip(*hamiltonian_fields(asked), strict=True):
            field = states @ matrix.T + vector
            size = np.linalg.norm(field, axis=1).max() * np.linalg.norm(plain, axis=1).max()
            assert np.abs(np.einsum("ri,rip->rp", field, gradients)).max() < 1e-5 * size
        # Not by making them all constant.
        assert np.linalg.norm(gradients) > 0.1 * np.linalg.norm(plain)

    @pytest.mark.parametrize("text", ["q1*p1", "p1^2 + p2^2", "q1^2 + q2^2", "q1*p2 - q2*p1, q1^2 + p1^2"])
    def test_flows_that_are_neither_shifts_nor_periodic(self, text: str):
        assert quotient(quantities(text)) is None


class TestSmoothEvidence:
    def test_one_degree_of_freedom(self, monkeypatch):
        """A symmetry, a false one and one that cannot be built in; as the command asks."""

        def field(_: float, x: np.ndarray) -> list[float]:
            return [x[1], -x[0]]

        starts = np.random.default_rng(0).normal(size=(8, 2))
        data = simulated(field, starts, rows=21)
        found = nr.evidence(data, ["q1^2 + p1^2", "p1", "q1*p1"], features="radial")
        assert found.adequate and found.space is None and "radial basis functions" in found.dictionary
        assert [one.verdict for one in found] == ["exact", "rejected", "undecided"]
        assert found[0].gain > 10 and found[1].gain < -100 and np.isnan(found[2].gain)
        assert "neither a shift nor periodic" in found[2].why
        assert str(nr.Evidence.from_json(json.loads(json.dumps(found.to_json())))) == str(found)

    def test_words_and_formulas(self):
        data = simulated(lambda _, x: [x[1], -x[0]], np.eye(2), rows=6)
        for features, message in {
            "furier": "did you mean fourier",
            ("radial", "fourier"): "expected one of them",
            "1/(q1 - q1)": "features",
        }.items():
            with pytest.raises(nr.EvidenceError, match=message):
                nr.evidence(data, ["p1"], features=features)
        with pytest.raises(nr.EvidenceError, match="degree <= 2"):
            nr.evidence(data, ["q1^4"], features="radial")
        angle = simulated(lambda _, x: [x[1], -x[0]], np.eye(2), (TURN, None), rows=6)
        with pytest.raises(nr.EvidenceError, match="no angles"):
            nr.evidence(angle, ["p1"], features="radial")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("features", "extra"), [("radial", 0.0), ("", 0.0), (("radial", "cos(q1)"), 0.3)]
    )
    def test_a_central_force_that_is_no_polynomial(self, features, extra: float):
        """log(1 + r^2), and a term of its own that breaks the symmetry."""

        def field(_: float, x: np.ndarray) -> list[float]:
            square = 1 + x[0] ** 2 + x[1] ** 2
            return [x[2], x[3], -2 * x[0] / square + extra * np.sin(x[0]), -2 * x[1] / square]

        starts = np.random.default_rng(1).normal(size=(20, 4))
        found = nr.evidence(simulated(field, starts, rows=51), ["q1*p2 - q2*p1", "q1"], features=features)
        assert found.adequate and found[1].verdict == "rejected"
        assert found[0].verdict == ("approximate" if extra else "exact")


def simulated(
    field: Callable[[float, np.ndarray], list[float]],
    starts: np.ndarray,
    periods: tuple[float | None, ...] = (),
    *,
    rows: int = 31,
    seed: int = 0,
) -> Trajectories:
    """Trajectories of Hamilton's equations by scipy, with 1 % noise on all states."""
    times = 0.2 * np.arange(rows)
    paths = [
        solve_ivp(field, (0, times[-1]), start, "DOP853", times, rtol=1e-10, atol=1e-10).y.T
        for start in starts
    ]
    clean = Trajectories(np.tile(times, (len(starts), 1)), np.array(paths), periods=periods)
    draws = np.random.default_rng(seed).normal(size=clean.states.shape)
    return Trajectories(clean.times, clean.states + 0.01 * clean.spreads() * draws, periods=periods)


def rotors(seed: int = 0, *, count: int = 12, pinned: float = 0.0, rows: int = 31) -> Trajectories:
    """H = (p1^2 + p2^2) / 2 - cos(q1 - q2) - `pinned` cos q1; some of them turn."""

    def field(_: float, x: np.ndarray) -> list[float]:
        pull = np.sin(x[0] - x[1])
        return [x[2], x[3], -pull - pinned * np.sin(x[0]), pull]

    draws = np.random.default_rng(100 + seed)
    starts = np.concatenate([draws.uniform(-3, 3, (count, 2)), draws.normal(size=(count, 2))], axis=1)
    return simulated(field, starts, (TURN, TURN, None, None), seed=seed, rows=rows)


def pendulum_and_oscillator(
    coupling: float, seed: int = 0, *, count: int = 12, rows: int = 31
) -> Trajectories:
    """H = (p1^2 + p2^2) / 2 - cos q1 + q2^2 / 2 + `coupling` q2 sin q1; some pendulums turn."""

    def field(_: float, x: np.ndarray) -> list[float]:
        return [
            x[2],
            x[3],
            -np.sin(x[0]) - coupling * x[1] * np.cos(x[0]),
            -x[1] - coupling * np.sin(x[0]),
        ]

    draws = np.random.default_rng(200 + seed)
    starts = draws.normal(size=(count, 4)) * np.array([1.2, 1, 1.2, 1])
    return simulated(field, starts, (TURN, None, None, None), seed=seed, rows=rows)


def double_pendulum(
    gravity: float, swing: float, seed: int = 0, *, count: int = 20, rows: int = 51
) -> Trajectories:
    """Two masses 1 on rods of length 1 with canonical momenta: H is rational in the cosine of q1 - q2."""

    def field(_: float, x: np.ndarray) -> list[float]:
        cos, sin = np.cos(x[0] - x[1]), np.sin(x[0] - x[1])
        mass = 1 + sin**2
        kinetic = x[2] ** 2 + 2 * x[3] ** 2 - 2 * x[2] * x[3] * cos
        turn = x[2] * x[3] * sin / mass - kinetic * sin * cos / mass**2
        return [
            (x[2] - x[3] * cos) / mass,
            (2 * x[3] - x[2] * cos) / mass,
            -2 * gravity * np.sin(x[0]) - turn,
            -gravity * np.sin(x[1]) + turn,
        ]

    draws = np.random.default_rng(300 + seed)
    starts = swing * np.concatenate([draws.uniform(-1, 1, (count, 2)), draws.normal(size=(count, 2))], axis=1)
    return simulated(field, starts, (TURN, TURN, None, None), seed=seed, rows=rows)


class TestAngles:
    """Verdicts on noisy data."""

    def test_rotors_that_attract_each_other(self):
        """As `discover` asks: p1 + p2 and its square, found by the drift test, and false controls."""
        failed: dict[str, str] = {}
        found, said = exact_answer(rotors(), nr.data_answer(rotors()), [], failed)
        assert not failed and found is not None and said is not None
        assert found.adequate and not found.withdrawn and said.said == "same"
        assert [one.quantity for one in found][:2] == ["p1 + p2", "p1^2 + 2*p1*p2 + p2^2"]
        assert all(one.verdict == "exact" and one.gain > 10 for one in found)
        assert "trigonometric polynomials of order 2" in found.dictionary
        # H = p1^2 / 2 + p2^2 / 2 - cos(q1 - q2).
        assert found.hamiltonian is not None
        terms = {term.text: term for term in found.hamiltonian.terms}
        assert set(terms) == {"p1^2", "p2^2", "cos(q1 - q2)"}
        for text, truth in {"p1^2": 0.5, "p2^2": 0.5, "cos(q1 - q2)": -1.0}.items():
            assert abs(terms[text].coefficient - truth) < 4 * terms[text].error < 0.05
        # p1 + p2 and its square.
        assert found.rank == 2 and found.rank_margin > 8
        assert len(found.controls) == 3 and all(gain < -100 for gain in found.controls.values())

    @pytest.mark.slow
    def test_a_weak_pin_is_called_broken(self):
        found = nr.evidence(rotors(pinned=0.05), ["p1 + p2", "p1"])
        assert found.adequate and [one.verdict for one in found] == ["approximate", "rejected"]
        assert found[0].breaking.lo > 0.005 and found.rank == 0

    @pytest.mark.slow
    @pytest.mark.parametrize(("coupling", "verdict", "rank"), [(0.0, "exact", 1), (0.02, "approximate", 0)])
    def test_a_pendulum_and_an_oscillator(self, coupling: float, verdict: str, rank: int):
        found = nr.evidence(pendulum_and_oscillator(coupling), ["q2^2 + p2^2", "p1", "q2"])
        assert found.adequate and found.rank == rank
        assert [one.verdict for one in found] == [verdict, "rejected", "rejected"]

    @pytest.mark.slow
    def test_a_double_pendulum_that_floats(self):
        found = nr.evidence(double_pendulum(0.0, 0.4), ["p1 + p2", "p1"])
        assert found.adequate and [one.verdict for one in found] == ["exact", "rejected"]

    @pytest.mark.slow
    def test_a_double_pendulum_that_hangs(self):
        found = nr.evidence(double_pendulum(1.0, 0.6), ["p1 + p2", "p1"])
        assert found.adequate and [one.verdict for one in found] == ["rejected", "rejected"]

    @pytest.mark.slow
    def test_what_is_no_short_sum_of_waves_gets_no_verdict(self):
        # Whirling under gravity: 300 terms are too few for this quotient.
        found = nr.evidence(double_pendulum(1.0, 1.0), ["p1"])
        assert found.withdrawn and found[0].verdict == "undecided" and "discover" in found.withdrawn


def test_too_many_angles():
    times, states = np.tile(np.arange(4.0), (2, 1)), np.random.default_rng(0).normal(size=(2, 4, 28))
    data = Trajectories(times, states, periods=(TURN,) * 14 + (None,) * 14)
    with pytest.raises(nr.EvidenceError, match=r"14 angles.*terms, at most 300"):
        nr.evidence(data, ["p1"])
