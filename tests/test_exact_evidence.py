"""Exact evidence: its parts against closed forms, autodiff and sampling, and its verdicts on noisy files."""

import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import chi2, kstest, multivariate_normal

import noether_razor as nr
from noether_razor.app.cli import main
from noether_razor.app.cli.demo import two_oscillators
from noether_razor.exact_evidence import evidence as polynomial_evidence
from noether_razor.exact_evidence.built_in import Comparison, no_symmetry
from noether_razor.exact_evidence.checks import friction
from noether_razor.exact_evidence.flow import Compiled, Rows, normal_equations
from noether_razor.exact_evidence.null_spaces import null_space, unit_quantities
from noether_razor.exact_evidence.polynomials import Polynomials
from noether_razor.exact_evidence.prior import Prior, log_determinant
from noether_razor.exact_evidence.shooting import Begin, LinearModel, Problem, evaluate, fit
from noether_razor.phase_space import poisson_bracket
from noether_razor.quadratic_forms import Quadratics
from noether_razor.quantities import parse_hypothesis
from noether_razor.trajectories import Trajectories, load_trajectories

NAMES = ("q1", "q2", "p1", "p2")


def quantities(text: str) -> Quadratics:
    found = parse_hypothesis(text, NAMES)
    return Quadratics(found.matrices, found.vectors, np.zeros(len(found.vectors)))


def quadratic(matrix: jax.Array, vector: jax.Array, x: jax.Array) -> jax.Array:
    return x @ matrix @ x / 2 + vector @ x


def oscillators(
    frequencies: tuple[float, ...] = (1.0, 1.0),
    *,
    seed: int = 0,
    count: int = 12,
    rows: int = 31,
    noise: float = 0.01,
    decay: float = 0.0,
) -> Trajectories:
    """H = sum (p^2 + w^2 q^2) / 2 with noise on all states; decay adds -decay p to p'."""
    draws = np.random.default_rng(seed)
    dof = len(frequencies)
    times = 0.2 * np.arange(rows)
    q, p = draws.normal(size=(2, count, 1, dof))
    w = np.sqrt(np.array(frequencies) ** 2 - decay**2 / 4)
    cos, sin = np.cos(np.outer(times, w)), np.sin(np.outer(times, w)) / w
    fades = np.exp(-decay * times / 2)[:, None]
    positions = fades * (q * cos + (p + decay / 2 * q) * sin)
    speeds = fades * (p * cos - (np.array(frequencies) ** 2 * q + decay / 2 * p) * sin)
    states = np.concatenate([positions, speeds], axis=2)
    states += noise * states.std(axis=(0, 1)) * draws.normal(size=states.shape)
    return Trajectories(np.tile(times, (count, 1)), states)


def charges(seed: int = 0) -> Trajectories:
    """A charge in a magnetic field, H = ((p1 + q2 / 2)^2 + (p2 - q1 / 2)^2) / 2, 1 % noise on all states."""
    draws = np.random.default_rng(seed)
    times = 0.2 * np.arange(31)
    generator = np.array([[0, 0.5, 1, 0], [-0.5, 0, 0, 1], [-0.25, 0, 0, 0.5], [0, -0.25, -0.5, 0]])
    values, vectors = np.linalg.eig(generator)
    flows = np.einsum("ij,tj,jk->tik", vectors, np.exp(np.outer(times, values)), np.linalg.pinv(vectors)).real
    states = np.einsum("tik,bk->bti", flows, draws.normal(size=(12, 4)))
    states += 0.01 * states.std(axis=(0, 1)) * draws.normal(size=states.shape)
    return Trajectories(np.tile(times, (12, 1)), states)


class TestFeatures:
    features = Polynomials(4, 3)

    @pytest.mark.usefixtures("double_precision")
    def test_derivatives_are_those_of_the_values(self):
        draws = np.random.default_rng(0)
        state, c = jnp.asarray(draws.normal(size=4)), jnp.asarray(draws.normal(size=self.features.size))

        def hamiltonian(x: jax.Array) -> jax.Array:
            return self.features.values(x) @ c

        found = self.features.slopes(state, self.features.prepared(c))
        gradient, hessian, every = jax.jit(
            lambda x: (
                jax.grad(hamiltonian)(x),
                jax.hessian(hamiltonian)(x),
                jax.jacfwd(self.features.values)(x).T,
            )
        )(state)
        np.testing.assert_allclose(found.gradient, gradient, rtol=1e-12)
        np.testing.assert_allclose(found.hessian, hessian, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(self.features.slopes_of_all(state), every, rtol=1e-12, atol=1e-12)

    @pytest.mark.usefixtures("double_precision")
    def test_rotations_of_phase_space_leave_the_prior_as_it_is(self):
        x, y = np.random.default_rng(1).normal(size=(2, 4))
        products = np.asarray(self.features.values(jnp.asarray(x)) * self.features.values(jnp.asarray(y)))
        for degree in (1, 2, 3):
            kernel = products[self.features.groups == degree - 1].sum()
            assert kernel == pytest.approx((x @ y) ** degree, rel=1e-12)


class TestNullSpace:
    features = Polynomials(4, 4)

    @pytest.mark.usefixtures("double_precision")
    @pytest.mark.parametrize(
        "text", ["q1*p2 - q2*p1", "p1", "q1*p1 + p2", "p1, p2", "p1^2 + 2*q1^2, p2^2 + q2^2", "q1^2 - q2*p2"]
    )
    def test_what_is_built_in_commutes_exactly(self, text):
        asked = quantities(text)
        basis = self.features.symmetric(asked).kept
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
        c = jnp.asarray(basis @ np.random.default_rng(2).normal(size=basis.shape[1]))
        for matrix, vector in zip(asked.matrices, asked.vectors, strict=True):
            quantity = partial(quadratic, jnp.asarray(matrix), jnp.asarray(vector))
            bracket = poisson_bracket(quantity, lambda x: self.features.values(x) @ c)
            states = jnp.asarray(np.random.default_rng(3).normal(size=(12, 4)))
            assert np.abs(jax.vmap(bracket)(states)).max() < 1e-10 * np.abs(c).sum()

    def test_its_dimension_is_that_of_the_invariants(self):
        # Polynomials in q^2, p^2, q.p, L: 4 of degree 2; of degree 4 10, less L^2 = q^2 p^2 - (q.p)^2.
        assert self.features.symmetric(quantities("q1*p2 - q2*p1")).kept.shape[1] == 4 + 9
        # All of p1, q2, p2.
        assert self.features.symmetric(quantities("p1")).kept.shape[1] == Polynomials(3, 4).size

    def test_columns_stay_within_groups_where_they_can(self):
        """Columns that all mix groups made priors that could not be inverted, and true laws were rejected."""
        groups = np.array([0, 0, 0, 1, 1, 1])
        maps = np.array([[0.0, 1.0, 0.0, -1.0, 0.0, 0.0]])
        basis = null_space(maps, groups)
        assert basis.shape == (6, 5) and np.allclose(basis.T @ basis, np.eye(5))
        assert np.abs(maps @ basis).max() < 1e-12
        within = [np.abs(basis[groups == group]).max(axis=0) > 1e-9 for group in (0, 1)]
        assert (np.sum(within, axis=0) == [1, 1, 1, 1, 2]).all()
        precision = Prior.of(basis, groups).precision(np.array([1e-14, 1e4]))
        assert np.allclose(precision, np.diag(np.diag(precision)))

    def test_quantities_of_huge_numbers(self):
        huge = Quadratics(1e180 * np.eye(4)[None], np.zeros((1, 4)), np.zeros(1))
        assert np.linalg.norm(unit_quantities(huge).matrices) == pytest.approx(1)

    def test_bracket_and_complement(self):
        basis, rest = self.features.symmetric(quantities("q1*p2 - q2*p1"))
        np.testing.assert_allclose(basis.T @ rest, 0, atol=1e-12)
        assert basis.shape[1] + rest.shape[1] == self.features.size
        maps = self.features.brackets(quantities("q1*p2 - q2*p1"))[0]
        assert np.linalg.svd(maps @ rest, compute_uv=False).min() > 0.5


def small_problem(features: Polynomials, data: Trajectories) -> Problem:
    return Problem.of(features, data, np.zeros(data.dof))


class TestFlow:
    @pytest.mark.usefixtures("double_precision")
    def test_normal_equations_are_those_of_autodiff(self):
        features, data = Polynomials(2, 3), oscillators((1.0,), count=2, rows=9)
        problem = small_problem(features, data)
        draws = np.random.default_rng(4)
        parameters = np.append(features.values(jnp.zeros(2)), 0.05) + 0.05 * draws.normal(size=problem.size)
        parameters[[2, 4]] += 0.5
        rows = jax.tree.map(jnp.asarray, problem.rows(4))
        firsts = jnp.asarray(problem.firsts(data.states, 4))
        weights = jnp.asarray([2.0, 3.0])

        def blocks(parameters, firsts):
            panels = jnp.asarray(4)
            return normal_equations(
                Compiled(features, 2), (), parameters, firsts, rows, weights, jnp.ones(1), panels
            )

        found = blocks(jnp.asarray(parameters), firsts)
        # Forward mode goes through the integrator, and not through the sensitivities that it carries.
        of_c, of_x = jax.jacfwd(lambda c, x: blocks(c, x).states, argnums=(0, 1))(
            jnp.asarray(parameters), firsts
        )
        of_x = of_x.reshape(2, 9, 2, 2, -1, 2)
        residuals = data.states - found.states
        np.testing.assert_allclose(found.squares, np.sum(residuals**2, axis=(0, 1)), rtol=1e-10)
        for name, other in {
            "hcc": jnp.einsum("bkdp,d,bkdr->pr", of_c, weights, of_c),
            "gc": jnp.einsum("bkdp,d,bkd->p", of_c, weights, residuals),
            "hxx": jnp.einsum("bkdbma,d,bkdbmc->bmac", of_x, weights, of_x),
            "hxc": jnp.einsum("bkdbma,d,bkdp->bmap", of_x, weights, of_c),
            "gx": jnp.einsum("bkdbma,d,bkd->bma", of_x, weights, residuals),
        }.items():
            got = np.asarray(getattr(found, name))
            np.testing.assert_allclose(got, other, rtol=1e-4, atol=1e-4 * np.abs(other).max(), err_msg=name)


class TestEvidence:
    def test_of_a_linear_model_is_the_closed_form(self):
        # H = b . x moves all states by t J b: a Gaussian in b and the first states.
        features = Polynomials(2, 1)
        draws = np.random.default_rng(5)
        times = np.sort(draws.uniform(0, 2, size=(3, 6)), axis=1)
        slope = np.array([0.7, -0.4])
        states = draws.normal(size=(3, 1, 2)) + times[..., None] * slope + 0.1 * draws.normal(size=(3, 6, 2))
        lengths = np.array([6, 4, 5])
        problem = small_problem(features, Trajectories(times, states, lengths=lengths))
        basis = np.eye(3)[:, :2]
        model = LinearModel.of(basis, Prior.of(basis, [0, 0, 1]))
        noise, variance = np.array([0.01, 0.02]), np.array([0.3])
        found = fit(problem, model, Begin(np.zeros(2), problem.measured, variance, noise), fixed=True)
        total = 0.0
        for column in range(2):
            seen = np.concatenate([problem.times[b, :n] - problem.times[b, 0] for b, n in enumerate(lengths)])
            own = np.repeat(np.arange(3), lengths)
            covariance = noise[column] * np.eye(len(seen)) + variance[0] * np.outer(seen, seen)
            covariance += problem.first_variance * (own[:, None] == own)
            values = np.concatenate([states[b, :n, column] for b, n in enumerate(lengths)])
            total += multivariate_normal(np.zeros(len(seen)), covariance).logpdf(values)
        assert found.converged
        assert found.log_evidence == pytest.approx(total, abs=1e-6)

    def test_laplace_agrees_with_importance_sampling(self):
        data = oscillators((1.0,), count=3, rows=11, noise=0.03, seed=6)
        problem = small_problem(Polynomials(2, 4), data)
        none = Comparison.of(problem, data.segments()).none
        rows, point = problem.rows(11), none.point
        blocks = evaluate(problem, rows, none.parameters, point)
        size, count = problem.size, len(data)
        precision = np.zeros((size + 2 * count, size + 2 * count))
        precision[:size, :size] = blocks.hcc + none.model.prior.precision(point.variances)
        for b in range(count):
            own = slice(size + 2 * b, size + 2 * b + 2)
            precision[own, own] = blocks.hxx[b, 0] + np.eye(2) / problem.first_variance
            precision[own, :size], precision[:size, own] = blocks.hxc[b, 0], blocks.hxc[b, 0].T
        # Coefficients that the prior holds at zero stay there.
        unit = 1 / np.sqrt(np.diag(precision))
        root = unit[:, None] * np.linalg.inv(np.linalg.cholesky(precision * unit * unit[:, None]).T)
        draws = np.random.default_rng(7)
        ratios = []
        for standard in draws.normal(size=(400, size + 2 * count)):
            off = root @ standard
            firsts = point.firsts.copy()
            firsts[:, 0] += off[size:].reshape(count, 2)
            z = point.z + off[:size]
            moved = evaluate(problem, rows, z, point._replace(firsts=firsts))
            ratios.append(
                -(moved.squares - blocks.squares) @ (1 / point.noise) / 2
                - self.prior(none, problem, z, firsts)
                + self.prior(none, problem, point.z, point.firsts)
                + standard @ standard / 2
            )
        error = np.std(np.exp(ratios)) / np.mean(np.exp(ratios)) / np.sqrt(len(ratios))
        assert error < 0.05
        assert np.log(np.mean(np.exp(ratios))) == pytest.approx(0, abs=0.1)

    @staticmethod
    def prior(none, problem, z, firsts) -> float:
        own = z @ none.model.prior.precision(none.point.variances) @ z
        return (own + np.sum(firsts**2) / problem.first_variance) / 2

    def test_a_parameter_that_is_not_there_gains_as_chance_would_have_it(self):
        # Friction of frictionless data: its square over its variance is chi-squared with one degree.
        scores, truth = [], np.array([0, 0, 0.5, 0, 0.5, 0])
        for seed in range(40):
            data = oscillators((1.0,), count=5, rows=21, seed=100 + seed, noise=0.02)
            problem = small_problem(Polynomials(2, 2), data)
            begin = Begin(truth, data.states, np.array([1e-6, 0.1, 1e-4]), np.full(2, 4e-4))
            found = friction(
                Comparison(problem, fit(problem, no_symmetry(problem), begin, lengths=[21])), 1.0
            )
            scores.append((found.gamma / found.sd) ** 2)
        assert kstest(scores, chi2(1).cdf).pvalue > 0.05
        assert 0.5 < np.mean(scores) < 1.7

    def test_variances_are_at_a_maximum_of_the_evidence(self):
        draws = np.random.default_rng(8)
        prior = Prior.of(np.eye(6), [0, 0, 0, 1, 1, 1])
        root = draws.normal(size=(9, 6))
        information = 50 * root.T @ root
        pull = information @ np.array([1.0, -2.0, 0.5, 0.0, 0.0, 0.0])
        found = prior.variances(np.ones(2), information, pull)
        value = prior.evidence(found, information, pull)
        for factor in (0.8, 1.25):
            for group in range(2):
                tried = found.copy()
                tried[group] *= factor
                assert prior.evidence(tried, information, pull) <= value + 1e-4
        assert found[1] < 1e-8 < found[0]
        # What is at the floor stays there, until it is asked whether it is worth to be taken up again.
        given_up = prior.variances(np.array([0.0, 1.0]), information, pull)
        taken_up = prior.revived(given_up, information, pull, nats=0.1)
        assert given_up[0] < 1e-10 and taken_up[0] > 1e-2
        again = prior.variances(taken_up, information, pull)
        assert prior.evidence(again, information, pull) == pytest.approx(value, abs=1e-3)
        assert (prior.revived(found, information, pull, nats=0.1) == found).all()

    def test_log_determinant_of_rounded_matrices(self):
        matrix = np.diag([1e12, 1.0, 1e-12])
        assert log_determinant(matrix) == pytest.approx(0, abs=1e-9)


class TestVerdicts:
    """Signs on noisy data; all of one shape, so that the programs are compiled once."""

    def test_what_is_built_in_is_in_the_space_where_the_search_finds_none(self, tmp_path, monkeypatch):
        """As for H with hundreds of coefficients, where no step of the search settles."""
        file = tmp_path / "two.csv"
        file.write_text(two_oscillators())
        monkeypatch.setattr("noether_razor.exact_evidence.space._nearest", lambda *_: None)
        found = nr.evidence(load_trajectories(file), ["q1*q2 + p1*p2, q1*p2 - q2*p1"], degree=2)
        assert found[0].verdict == "exact" and found.rank == 4
        assert found.rank_margin == pytest.approx(found[0].gain)

    def test_equal_oscillators(self, tmp_path):
        file = tmp_path / "two.csv"
        file.write_text(two_oscillators())
        asked = ["q1*p2 - q2*p1", "q1", "p1^2 + q1^2, p2^2 + q2^2"]
        found = nr.evidence(load_trajectories(file), asked, degree=2)
        angular, position, both = found
        assert [one.verdict for one in found] == ["exact", "rejected", "exact"]
        assert 30 < angular.gain < 60 and angular.stderr < 5 and angular.dims_removed == 10
        assert both.gain > angular.gain and position.gain < -1000
        assert angular.breaking.lo == 0 and angular.breaking.hi < 0.002
        assert position.breaking.lo > 0.3
        assert found.adequate and not found.withdrawn and found.friction.absent
        assert found.rank == 4 and found.rank_margin > 8 and found.rank_angle < 1
        assert 0 < found.degree_two.broken < 0.003 and "broken by less than 0." in str(found)
        assert all(gain < -100 for gain in found.controls.values())
        assert found.noise["q1"] == pytest.approx(0.01, rel=0.2)
        assert "exact" in repr(found) and "nats" in str(found)
        assert nr.Evidence.from_json(found.to_json()).to_json() == found.to_json()
        assert set(json.loads(json.dumps(found.to_json()))["quantities"][0]) >= {
            "gain",
            "approximate",
            "dims_removed",
            "breaking",
            "verdict",
            "basis_sensitivity",
            "stderr",
            "converged",
        }

    def test_a_charge_in_a_field(self):
        found = nr.evidence(
            charges(), ["q1*p2 - q2*p1", "p1 - q2/2", "p1 - q2/2, p2 + q1/2", "p1", "q1^2 + q2^2"]
        )
        assert [one.verdict for one in found] == ["exact", "exact", "exact", "rejected", "rejected"]
        assert found.rank == 6
        assert 20 < found[1].gain < found[0].gain < found[2].gain < 80

    def test_units_do_not_move_it(self):
        data = oscillators()
        other = Trajectories(1.3 * data.times, data.states * np.array([1.7, 1.7, 0.6, 0.6]))
        own = nr.evidence(data, ["q1*p2 - q2*p1"], degree=2)
        converted = nr.evidence(other, ["q1*p2 - q2*p1"], degree=2)
        assert converted[0].gain == pytest.approx(own[0].gain, abs=0.05)
        assert converted.rank_margin == pytest.approx(own.rank_margin, abs=0.2)

    def test_a_detuning_is_called_broken_and_measured(self):
        data = oscillators((1.0, 1.02))
        found = nr.evidence(data, ["q1*p2 - q2*p1", "p1^2 + q1^2"], degree=2)
        angular, energy = found
        assert angular.verdict == "approximate" and angular.gain < -100
        assert energy.verdict == "exact"
        # {L, H} = (w^2 - 1) q1 q2 against |grad L| |grad H|.
        q1, q2, p1, p2 = data.points().T
        slopes = (q1**2 + q2**2 + p1**2 + p2**2) * (q1**2 + p1**2 + p2**2 + 1.02**4 * q2**2)
        truth = (1.02**2 - 1) * np.sqrt(np.mean((q1 * q2) ** 2) / np.mean(slopes))
        assert angular.breaking.lo < truth < angular.breaking.hi < 1.2 * truth
        assert found.rank == 2

    def test_friction_is_seen_and_breaks_symmetries(self):
        found = nr.evidence(oscillators(decay=0.01), ["q1*p2 - q2*p1"], degree=2)
        assert not found.friction.absent and found.friction.gain > 100
        assert found.friction.gamma == pytest.approx(0.01, abs=4 * found.friction.sd)
        assert found[0].verdict == "approximate" and "friction" in found[0].why

    def test_gaps_irregular_times_and_lengths(self):
        whole = oscillators(seed=3)
        draws = np.random.default_rng(9)
        segments = []
        for times, states in whole.segments():
            kept = np.sort(draws.choice(31, size=int(draws.integers(20, 30)), replace=False))
            kept[0], kept[-1] = 0, 30
            segments.append((times[np.unique(kept)], states[np.unique(kept)]))
        found = nr.evidence(Trajectories.of_segments(segments), ["q1*p2 - q2*p1", "q2"], degree=2)
        assert [one.verdict for one in found] == ["exact", "rejected"]
        assert 10 < found[0].gain < 60

    @pytest.mark.parametrize("features", ["polynomials", pytest.param("", marks=pytest.mark.slow)])
    def test_what_no_hamiltonian_fits_gets_no_verdict(self, features: str):
        data = oscillators()
        # The first momentum drives itself: no H, whatever its degree, does that.
        states = data.states.copy()
        states[:, :, 2] = states[:, :, 2] * np.exp(0.1 * data.times)
        data = Trajectories(data.times, states)
        found = nr.evidence(data, ["q1*p2 - q2*p1"], degree=2, features=features)
        assert not found.adequate and found.withdrawn
        assert found[0].verdict == "undecided"


def quartics(quadrupole: float, seed: int = 0) -> Trajectories:
    """H = (p^2 + r^2) / 2 + r^4 / 4 + quadrupole (q1^2 - q2^2) / 2, 1 % noise on all states."""
    draws = np.random.default_rng(seed)
    first = 0.8 * draws.normal(size=(20, 4))
    stiffness = np.array([1 + quadrupole, 1 - quadrupole])

    def motion(_: float, flat: np.ndarray) -> np.ndarray:
        q, p = flat.reshape(20, 2, 2).swapaxes(0, 1)
        force = -q * (stiffness + np.sum(q**2, axis=1, keepdims=True))
        return np.stack([p, force], axis=1).ravel()

    times = 0.2 * np.arange(31)
    paths = solve_ivp(motion, (0, times[-1]), first.ravel(), t_eval=times, rtol=1e-9, atol=1e-9).y
    states = paths.reshape(20, 4, len(times)).swapaxes(1, 2)
    states = states + 0.01 * states.std(axis=(0, 1)) * draws.normal(size=states.shape)
    return Trajectories(np.tile(times, (20, 1)), states)


class TestPolynomialsBeyondDegreeTwo:
    """The space of conserved polynomials of degree <= 4. A quadrupole of r^4 leaves it integrable: its second
    quantity is of degree 4 (Garnier's system).
    """

    def test_energy_angular_momentum_and_its_square(self):
        found = nr.evidence(quartics(0.0), [], degree=4, space_degree=4)
        higher = found.higher
        assert higher is not None and higher.decided
        assert (higher.rank, higher.independent, found.rank) == (3, 2, 1)
        assert [set(term.text for term in terms) for terms in higher.quantities] == [
            {"q1*p2", "q2*p1"},
            {"q1^2*p2^2", "q1*q2*p1*p2", "q2^2*p1^2"},
            {"q1^2", "q2^2", "p1^2", "p2^2", "q1^4", "q1^2*q2^2", "q2^4"},
        ]
        true = {"q1*p2": 1, "q2*p1": -1, "q1^2": 1, "q2^2": 1, "p1^2": 1, "p2^2": 1} | {
            "q1^4": 0.5,
            "q1^2*q2^2": 1,
            "q2^4": 0.5,
        }
        for terms in (higher.quantities[0], higher.quantities[2]):
            for one in terms:
                assert abs(one.value - true[one.text]) < 5 * one.error + 1e-9
        assert "conserved polynomials of degree <= 4: 3" in str(found)
        assert str(nr.Evidence.from_json(json.loads(json.dumps(found.to_json())))) == str(found)

    @pytest.mark.slow
    @pytest.mark.parametrize(("length", "time"), [(1.0, 1.0), (1.0, 3600.0), (1000.0, 3600.0)])
    def test_parts_and_the_whole_in_any_units(self, length: float, time: float):
        """H = p^2 / 2 + 0.3 q1^4 + 0.7 q2^4, 1 % noise; units of so many metres and seconds."""

        def force(_: float, x: np.ndarray) -> np.ndarray:
            return np.concatenate([x[2:], [-1.2 * x[0] ** 3, -2.8 * x[1] ** 3]])

        draws, times = np.random.default_rng(4), 0.12 * np.arange(51)
        paths = [solve_ivp(force, (0, 7), x, t_eval=times, rtol=1e-9).y.T for x in draws.normal(size=(20, 4))]
        states = np.array(paths)
        states += 0.01 * states.std(axis=(0, 1)) * draws.normal(size=states.shape)
        momentum = length / time
        states /= np.repeat([length, momentum], 2)
        data = Trajectories(np.tile(times / time, (20, 1)), states)
        parts = [f"p{k}^2/2 + {c * length**2 * time**2}*q{k}^4" for k, c in ((1, 0.3), (2, 0.7))]
        found = nr.evidence(data, [*parts, " + ".join(parts)])
        assert [one.verdict for one in found] == ["exact"] * 3
        assert "q1" in found.formula and "q2" in found.formula

    @pytest.mark.slow
    def test_a_second_quantity_of_degree_four(self):
        higher = nr.evidence(quartics(0.05), [], degree=4, space_degree=4).higher
        assert higher is not None and higher.decided
        assert (higher.rank, higher.independent) == (2, 2)

    def test_degrees_that_cannot_be_asked_about(self):
        with pytest.raises(nr.EvidenceError, match="must be 2 to 4, got 5"):
            nr.evidence(oscillators(), [], space_degree=5)
        with pytest.raises(nr.EvidenceError, match="494 terms"):
            nr.evidence(oscillators((1.0,) * 4), [], space_degree=4)


class TestExactInputs:
    def test_stored_targets(self):
        clean = oscillators(noise=0.0)
        noise = np.sqrt(1e-3) * np.random.default_rng(10).normal(size=(12, 30, 4))
        data = Trajectories(clean.times, clean.states, clean.states[:, 1:] + noise)
        found = nr.evidence(data, ["q1*p2 - q2*p1", "q1"], degree=2)
        assert found[0].gain > 10 and found[1].verdict == "rejected"
        # Simplicity alone gains as much where the data cannot exclude a detuning of 2 %.
        assert found[0].verdict == "undecided" and "cannot be excluded" in found[0].why
        assert found.noise["p2"] == pytest.approx(1e-3**0.5, rel=0.1)


class TestBadInput:
    def test_formulas_and_dictionaries(self):
        data = oscillators(count=4, rows=9)
        with pytest.raises(nr.HypothesisError, match="unknown name 'q3'"):
            nr.evidence(data, ["q1^3 + q3"])
        with pytest.raises(nr.HypothesisError, match="expected a polynomial of degree at most 2"):
            polynomial_evidence(data, ["q1^3"])
        with pytest.raises(nr.EvidenceError, match=r"10625 terms.*at most 600"):
            nr.evidence(data, ["q1"], degree=20)

    def test_a_column_that_does_not_move(self):
        data = oscillators((1.0, 1.0), count=4, rows=9)
        states = data.states * np.array([1.0, 0.0, 1.0, 0.0])
        with pytest.raises(nr.EvidenceError, match="has one value in the whole file"):
            nr.evidence(Trajectories(data.times, states), ["q1"], degree=2)

    def test_bare_angles(self):
        data = oscillators((1.0,), count=4, rows=9)
        angles = Trajectories(data.times, data.states, periods=(2 * np.pi, None))
        with pytest.raises(nr.HypothesisError, match="no polynomial in an angle"):
            nr.evidence(angles, ["q1"])


def test_command_line(tmp_path, monkeypatch, capsys):
    file, out = tmp_path / "two.csv", tmp_path / "two.json"
    file.write_text(two_oscillators())
    words = ["--quantity", "q1*p2 - q2*p1", "--quantity", "q1", "--out", str(out), "--degree", "2"]
    monkeypatch.setattr(sys, "argv", ["noether-razor", "evidence", str(file), *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "q1*p2 - q2*p1: exact" in printed and "q1: rejected" in printed
    assert [one["verdict"] for one in json.loads(out.read_text())["quantities"]] == ["exact", "rejected"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quantity", "q3"], "unknown name 'q3'"),
        (["--quantity", "log(q1)"], "formula 'log(q1)': not finite at"),
        (["--quantity", "q1", "--degree", "30"], "46375 terms"),
        (["--quantity", "q1", "--features", "furier"], "did you mean fourier"),
        ([], "--quantity"),
    ],
)
def test_command_line_refuses(words, message, tmp_path, monkeypatch, capsys):
    file = tmp_path / "two.csv"
    file.write_text(two_oscillators())
    monkeypatch.setattr(sys, "argv", ["noether-razor", "evidence", str(file), *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frequencies", "rank", "true", "false"),
    [
        ((1.0, 1.0), 4, "q1*p2 - q2*p1", "q1^2 + q2^2"),
        ((1.0, 1.02), 2, "p1^2 + q1^2", "p2^2 + q2^2"),
        ((1.0, 2**0.5), 2, "p2^2 + 2*q2^2", "q1*p2 - q2*p1"),
    ],
)
def test_gains_scatter_little_over_data_sets(frequencies, rank, true, false):
    gains = []
    for seed in range(5):
        found = nr.evidence(oscillators(frequencies, seed=seed, count=20, rows=51), [true, false])
        assert found[0].verdict == "exact" and found[1].verdict in ("rejected", "approximate")
        assert found[0].stderr < 5 and found[1].gain < -100 and found.rank == rank
        gains.append(found[0].gain)
    assert np.ptp(gains) < 10 and 30 < np.mean(gains) < 60


@pytest.mark.slow
@pytest.mark.parametrize(("frequency", "decay"), [(1.005, 0.0), (1.0, 0.005)])
def test_small_breaking_lies_in_its_interval(frequency, decay):
    inside = 0
    for seed in range(20):
        data = oscillators((1.0, frequency), seed=seed, count=20, rows=51, decay=decay)
        found = nr.evidence(data, ["q1*p2 - q2*p1"], degree=2)
        assert found[0].verdict == "approximate"
        if decay:
            inside += abs(found.friction.gamma - decay) < 1.96 * found.friction.sd
        else:
            q1, q2, p1, p2 = data.points().T
            slopes = (q1**2 + q2**2 + p1**2 + p2**2) * (q1**2 + p1**2 + p2**2 + frequency**4 * q2**2)
            truth = (frequency**2 - 1) * np.sqrt(np.mean((q1 * q2) ** 2) / np.mean(slopes))
            inside += found[0].breaking.lo < truth < found[0].breaking.hi
    assert inside >= 16


def test_rows_are_cut_into_segments():
    data = oscillators((1.0,), count=2, rows=9)
    problem = small_problem(Polynomials(2, 2), data)
    rows = problem.rows(4)
    assert isinstance(rows, Rows)
    np.testing.assert_array_equal(np.flatnonzero(rows.begins[0]), [0, 4, 8])
    np.testing.assert_array_equal(rows.segment[1], [0, 0, 0, 0, 1, 1, 1, 1, 2])
    assert no_symmetry(problem).basis.shape == (6, 6)
