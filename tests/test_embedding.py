"""The estimator: known densities, data, both ways, selection, conventions and bad input."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import i0e
from scipy.stats import multivariate_normal, spearmanr

from noether_razor.embedding import (
    NotFittedError,
    Tube,
    VariationalManifoldEmbedding,
    log_likelihood_gradient,
    principal_components,
)

NOISE = 0.1
LENGTH = 10 / 7


def ring_points(count: int, seed: int = 0, turn: float = 1.0) -> np.ndarray:
    """Points near the unit circle, or the part `turn` of it."""
    draws = np.random.default_rng(seed)
    angles = turn * draws.uniform(-np.pi, np.pi, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) + NOISE * draws.normal(size=(count, 2))


def sphere_points(count: int, seed: int = 0) -> np.ndarray:
    """Points near a sphere of radius 2 about (1, 0, 0)."""
    draws = np.random.default_rng(seed)
    directions = draws.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    return np.array([1, 0, 0]) + 2 * directions + 0.05 * draws.normal(size=(count, 3))


def s_curve(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy points of a curved sheet in space, and their coordinates on it by arc length."""
    draws = np.random.default_rng(seed)
    t, height = 3 * np.pi * draws.uniform(-0.5, 0.5, count), 2 * draws.uniform(size=count)
    points = np.stack([np.sin(t), height, np.sign(t) * (np.cos(t) - 1)], axis=1)
    return points + 0.05 * draws.normal(size=points.shape), np.stack([t, height], axis=1)


class TestTube:
    @pytest.mark.parametrize("dim", [1, 2])
    def test_the_density_and_its_gradient(self, dim):
        draws = np.random.default_rng(0)
        weights = draws.dirichlet(np.ones(7))
        tube = Tube(draws.normal(size=(7, 4)), draws.normal(size=(7, 4, dim)), np.log(weights), 0.3)
        points = draws.normal(size=(30, 4))
        parts = zip(weights, tube.means, tube.tangents, strict=True)
        expected = sum(
            w * multivariate_normal(mean, 0.3 * np.eye(4) + u @ u.T).pdf(points) for w, mean, u in parts
        )
        assert np.allclose(tube.log_density(points), np.log(expected), atol=1e-12)

        def mean_of(means, tangents, variance):
            held = Tube(means, tangents, jnp.log(weights), variance)
            return jnp.mean(jax.vmap(held.log_density_at)(jnp.asarray(points)))

        with jax.enable_x64(True):
            arguments = jnp.asarray(tube.means), jnp.asarray(tube.tangents), jnp.asarray(0.3)
            value, exact = jax.jit(jax.value_and_grad(mean_of, (0, 1, 2)))(*arguments)
        found = log_likelihood_gradient(tube, points)
        assert found.value == pytest.approx(float(value), abs=1e-12)
        for ours, theirs in zip(found[1:], exact, strict=True):
            assert np.allclose(ours, theirs, atol=1e-12)

    def test_samples_have_its_density(self):
        draws = np.random.default_rng(1)
        tube = Tube(draws.normal(size=(3, 2)), draws.normal(size=(3, 2, 1)), np.log(np.ones(3) / 3), 0.1)
        samples = tube.sample(20000, draws)
        second = np.einsum("mia,mja->ij", tube.tangents, tube.tangents) / 3 + 0.1 * np.eye(2)
        second += tube.means.T @ tube.means / 3
        assert np.allclose(samples.T @ samples / len(samples), second, atol=0.05)


def line(x: jax.Array) -> jax.Array:
    """log p of a segment of length 10/7 along the first axis with noise 0.1."""
    cdf = jax.scipy.stats.norm.cdf
    inside = cdf((x[0] + LENGTH / 2) / NOISE) - cdf((x[0] - LENGTH / 2) / NOISE)
    tail = jax.scipy.stats.norm.logcdf((LENGTH / 2 - jnp.abs(x[0])) / NOISE)
    near = jnp.abs(x[0]) < LENGTH / 2 + 0.4
    along = jnp.where(near, jnp.log(jnp.where(near, inside, 1.0)), tail) - jnp.log(LENGTH)
    return along - x[1] ** 2 / (2 * NOISE**2) - jnp.log(2 * jnp.pi * NOISE**2) / 2


RING_VOLUME = 2 * math.pi * math.sqrt(2 * math.pi) * NOISE
"""Of exp(-(r - 1)^2 / 2 s^2) in the plane, to 1e-20."""


def ring(x: jax.Array) -> jax.Array:
    """log p of a ring of radius 1, of normal profile."""
    return -((jnp.sqrt(x @ x) - 1) ** 2) / (2 * NOISE**2) - math.log(RING_VOLUME)


def best_radius() -> tuple[float, float]:
    """The radius of the circle whose tube is nearest to `ring`, and minus the divergence, by quadrature."""
    r = np.linspace(1e-6, 2.5, 50001)

    def divergence(radius: float) -> float:
        log = -((r - radius) ** 2) / (2 * NOISE**2) + np.log(i0e(r * radius / NOISE**2))
        log -= np.log(2 * np.pi * NOISE**2)
        truth = -((r - 1) ** 2) / (2 * NOISE**2) - math.log(RING_VOLUME)
        return float(np.trapezoid(np.exp(log) * 2 * np.pi * r * (log - truth), r))

    found: Any = minimize_scalar(divergence, bounds=(0.9, 1.1), method="bounded", options={"xatol": 1e-9})
    return found.x, -found.fun


class TestKnownDensity:
    def test_a_line_is_covered_once(self):
        draws = np.random.default_rng(0)
        points = np.stack([LENGTH * draws.uniform(-0.5, 0.5, 200), np.zeros(200)], axis=1)
        points += NOISE * draws.normal(size=points.shape)
        found = VariationalManifoldEmbedding(
            1, density=line, objective="reverse", noise=NOISE, degree=5, chart="pca"
        ).fit(points)
        value, error = (found.diagnostics_[key] for key in ("negative_kl", "negative_kl_stderr"))
        assert value > -1e-4 and value <= 3 * error
        path = found.inverse_transform(np.linspace(-1, 1, 2001)[:, None], "latent")
        length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
        assert length == pytest.approx(LENGTH, abs=0.01)
        assert found.scales_[0] * 2 == pytest.approx(length, rel=1e-3)

    def test_a_ring_is_a_circle_with_a_constant_current(self):
        found = VariationalManifoldEmbedding(
            1, latent="circle", density=ring, objective="reverse", noise=NOISE, degree=1, stiffness=0.0
        ).fit(ring_points(200))
        z = np.linspace(-np.pi, np.pi, 60)[:, None]
        radius = np.linalg.norm(found.inverse_transform(z, "latent"), axis=1)
        exact, divergence = best_radius()
        assert np.abs(radius - exact).max() < 1e-5
        rotation = found.currents(z, "latent").rotation[:, 0, 0, 1]
        assert np.ptp(rotation) < 1e-8 and abs(rotation[0]) == pytest.approx(1 / (2 * np.pi))
        # No tube of constant width is the ring exactly.
        value, error = (found.diagnostics_[key] for key in ("negative_kl", "negative_kl_stderr"))
        assert abs(value - divergence) < 4 * error and divergence < 0
        symmetry = found.symmetries(ring_points(50))
        assert symmetry.dimension == 1 and symmetry.algebra.name.startswith("so(2)")

    def test_a_gaussian_is_principal_components(self):
        draws = np.random.default_rng(2)
        points = draws.normal(size=(300, 6)) @ draws.normal(size=(6, 6)) + 3
        found = VariationalManifoldEmbedding(2, density="gaussian").fit(points)
        components = principal_components(points)
        scores = (points - components.mean) @ components.axes[:2].T
        z = found.transform(points)
        assert found.principal_angles_.max() < 1e-6
        assert np.allclose(z, scores, atol=1e-8)
        assert np.allclose(
            found.inverse_transform(z), components.mean + scores @ components.axes[:2], atol=1e-8
        )
        assert np.allclose(found.metric(z), np.eye(2), atol=1e-10)
        slopes = found.map_.jacobian(np.zeros(2))
        covariance = slopes @ slopes.T + found.noise_**2 * np.eye(6)
        expected = multivariate_normal(components.mean, covariance).logpdf(points)
        assert np.allclose(found.score_samples(points), expected, atol=1e-8)


@pytest.fixture(scope="module")
def sheet() -> VariationalManifoldEmbedding:
    return VariationalManifoldEmbedding(2, degree=8, iterations=60).fit(s_curve(700)[0])


class TestData:
    def test_a_sheet_both_ways(self, sheet):
        points, truth = s_curve(300, seed=1)
        z = sheet.transform(points)
        back = sheet.inverse_transform(z)
        explained = 1 - np.sum((points - back) ** 2) / np.sum((points - points.mean(axis=0)) ** 2)
        # Noise of .05 in three dimensions.
        floor = 1 - 3 * 0.05**2 / points.var(axis=0).sum()
        assert explained > floor - 1e-3
        first, second = np.triu_indices(300, 1)
        lengths = [np.linalg.norm((own[:, None] - own)[first, second], axis=1) for own in (z, truth)]
        correlation: Any = spearmanr(*lengths)
        assert correlation.statistic > 0.99
        # Coordinates of points of the image come back.
        inside = z[np.abs(sheet.transform(points, "latent")).max(axis=1) < 0.9]
        assert np.allclose(sheet.metric_coordinates(sheet.transform(points, "latent")), z)
        assert np.abs(sheet.transform(sheet.inverse_transform(inside)) - inside).max() < 1e-6
        assert np.allclose(np.mean(sheet.metric(inside), axis=0), np.eye(2), atol=0.25)
        assert 0.035 < sheet.noise_ < 0.06

    def test_the_density_is_that_of_its_samples(self, sheet):
        points, _ = s_curve(300, seed=2)
        # A plane with normal noise is far less likely.
        plane = VariationalManifoldEmbedding(2, density="gaussian").fit(points)
        assert sheet.score(points) > plane.score(points) + 0.5

    def test_units_do_not_matter(self, sheet):
        points, _ = s_curve(700)
        scaled = VariationalManifoldEmbedding(2, degree=8, iterations=60).fit(1e3 * points + 50)
        some = points[:40]
        assert np.allclose(scaled.transform(1e3 * some + 50), 1e3 * sheet.transform(some), rtol=1e-3, atol=1)
        assert scaled.score(1e3 * some + 50) == pytest.approx(sheet.score(some) - 3 * np.log(1e3), abs=1e-3)

    def test_the_topology_is_chosen_by_held_out_likelihood(self):
        for turn, expected in ((1.0, "circle"), (0.8, "uniform")):
            found = VariationalManifoldEmbedding(
                1, latent="auto", select=True, chart="angle", iterations=30
            ).fit(ring_points(300, turn=turn))
            assert found.diagnostics_["latent"] == expected
            tried = found.diagnostics_["selection"]
            assert {one["latent"] for one in tried} == {"uniform", "normal", "circle"}
            lines, circles = (
                max(one["validation"] for one in tried if one["latent"] == latent)
                for latent in ("uniform", "circle")
            )
            # An arc is told by its likelihood; on a ring a line is no better, with more terms.
            assert circles > lines - 0.05 if turn == 1 else lines > circles

    def test_a_torus_has_two_angles(self):
        draws = np.random.default_rng(3)
        one, two = draws.uniform(-np.pi, np.pi, (2, 600))
        points = np.stack([2 * np.cos(one), 2 * np.sin(one), np.cos(two), np.sin(two)], axis=1)
        points += 0.05 * draws.normal(size=points.shape)
        found = VariationalManifoldEmbedding(2, latent="circle", degree=1, chart="pca").fit(points)
        assert found.noise_ == pytest.approx(0.05, rel=0.15)
        z = found.transform(points, "latent")
        # Each true angle is one of the coordinates, up to sign and origin.
        for truth in (one, two):
            locked = [abs(np.mean(np.exp(1j * (s * z[:, a] - truth)))) for a in (0, 1) for s in (1, -1)]
            assert max(locked) > 0.99

    def test_a_sphere_is_closed_without_poles(self):
        points = sphere_points(600)
        found = VariationalManifoldEmbedding(2, latent="sphere", degree=2, chart="pca", iterations=60).fit(
            points
        )
        assert found.noise_ == pytest.approx(0.05, rel=0.15)
        fresh = sphere_points(300, seed=1)
        back = found.inverse_transform(found.transform(fresh))
        directions = (fresh - [1, 0, 0]) / np.linalg.norm(fresh - [1, 0, 0], axis=1)[:, None]
        # The radius of a sphere, and the nearest points of it.
        assert np.abs(np.linalg.norm(back - [1, 0, 0], axis=1) - 2).max() < 0.1
        assert np.abs(back - [1, 0, 0] - 2 * directions).max() < 0.1
        symmetries = found.symmetries(points)
        assert symmetries.dimension == 3 and symmetries.algebra.name.startswith("so(3)")

    @pytest.mark.slow
    def test_a_sphere_is_chosen_by_held_out_likelihood(self):
        found = VariationalManifoldEmbedding(2, latent="auto", select=True, chart="pca", iterations=20).fit(
            sphere_points(250)
        )
        assert found.diagnostics_["latent"] == "sphere"

    def test_repeated_rows_constant_columns_and_few_rows(self):
        points = np.pad(np.repeat(ring_points(40), 3, axis=0), ((0, 0), (0, 1)), constant_values=7.0)
        found = VariationalManifoldEmbedding(1, latent="circle", degree=2, iterations=20).fit(points)
        assert np.allclose(found.inverse_transform(found.transform(points))[:, 2], 7.0, atol=1e-6)
        # Fewer rows than neighbours: all others are neighbours.
        few = VariationalManifoldEmbedding(1, degree=2, iterations=5).fit(ring_points(6))
        assert np.isfinite(few.transform(ring_points(6))).all()

    def test_many_columns_are_reduced_and_it_is_said(self):
        draws = np.random.default_rng(4)
        points = ring_points(150) @ draws.normal(size=(2, 70)) + 0.01 * draws.normal(size=(150, 70))
        found = VariationalManifoldEmbedding(1, latent="circle", degree=2, iterations=20).fit(points)
        assert found.diagnostics_["reduced_to"] == 50 and found.diagnostics_["variance_kept"] > 0.99
        back = found.inverse_transform(found.transform(points))
        assert back.shape == points.shape and np.mean((back - points) ** 2) < 0.05 * points.var()

    def test_the_seed_and_progress(self):
        told = []
        points = ring_points(80)
        runs = [
            VariationalManifoldEmbedding(1, select=True, chart="pca", iterations=10, seed=5).fit(
                points, progress=lambda *line: told.append(line)
            )
            for _ in range(2)
        ]
        assert np.array_equal(runs[0].transform(points), runs[1].transform(points))
        assert told and all("uniform latent" in text for text, _, _ in told)


@pytest.mark.slow
def test_the_cost_is_linear_in_the_points_and_memory_is_bounded():
    script = Path(__file__).parents[1] / "scripts" / "embedding_scaling.py"
    done = subprocess.run(
        [sys.executable, script, "--rows", "25000", "100000"], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    few, many = (json.loads(line) for line in done.stdout.splitlines())
    for cost in ("fit_cpu_s", "transform_cpu_s"):
        assert many[cost] < 1.3 * 4 * few[cost]
    assert many["peak_mb"] < 1024
    assert many["noise"] == pytest.approx(0.05, rel=0.1)


@pytest.mark.slow
def test_a_choice_of_all_settings_takes_less_than_a_minute():
    draws = np.random.default_rng(0)
    one, two = draws.uniform(-1, 1, (2, 1200))
    waves = [np.sin((k % 5 + 1) * one + k) + np.cos((k % 3 + 1) * two + 2 * k) for k in range(20)]
    points = np.stack(waves, axis=1) + 0.1 * draws.normal(size=(1200, 20))
    started = time.process_time()
    found = VariationalManifoldEmbedding(2, select=True).fit(points)
    # CPU time: on two cores the wall clock shows less.
    assert time.process_time() - started < 60
    assert found.noise_ == pytest.approx(0.1, rel=0.3)


def printed(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestConventions:
    def test_options_are_read_and_set_by_name(self):
        estimator = VariationalManifoldEmbedding(3, degree=4)
        assert VariationalManifoldEmbedding(**estimator.get_params()).get_params() == estimator.get_params()
        assert estimator.set_params(degree=5) is estimator and estimator.degree == 5
        with pytest.raises(ValueError, match="did you mean degree"):
            estimator.set_params(degre=5)

    def test_it_does_not_need_scikit_learn(self):
        code = (
            "import sys, numpy as np; sys.modules['sklearn'] = None\n"
            "from noether_razor.embedding import VariationalManifoldEmbedding as V\n"
            "X = np.random.default_rng(0).normal(size=(30, 3))\n"
            "print(V(1, degree=2, iterations=3).fit_transform(X).shape)"
        )
        assert printed(code) == "(30, 1)\n"

    def test_it_passes_the_checks_of_scikit_learn(self):
        pytest.importorskip("sklearn.utils.estimator_checks")
        # In a process of its own: they hand options of wrong types, which checked signatures refuse.
        code = (
            "from sklearn.utils.estimator_checks import check_estimator\n"
            "from noether_razor.embedding import VariationalManifoldEmbedding as V\n"
            "found = check_estimator(V(2, degree=2, iterations=5), on_fail=None, on_skip=None)\n"
            "print([(one['check_name'], one['exception']) for one in found if one['status'] == 'failed'])\n"
            "print(sum(one['status'] == 'passed' for one in found) > 35)"
        )
        assert printed(code).splitlines() == ["[]", "True"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_components": 3}, "n_components: got 3, expected 1 to 2"),
            ({"latent": "unifrom"}, "did you mean uniform"),
            ({"latent": "auto"}, "needs select=True"),
            ({"density": "data", "objective": "reverse"}, "needs a known density"),
            ({"chart": "tsne"}, "chart: got 'tsne', expected one of isomap, pca, angle, auto"),
            ({"chart": "angle", "n_components": 2}, "needs one component, got 2"),
            ({"chart": np.zeros((3, 1))}, r"chart: got shape \(3, 1\), expected \(20, 1\)"),
            ({"degree": 0}, "degree: got 0, expected at least 1"),
            ({"latent": "sphere"}, "a sphere has 2 components, got 1"),
            ({"degree": 1000}, "degree: got 1000, expected at most 200"),
            ({"noise": -1.0}, "noise: got -1.0, expected a positive number"),
            ({"stiffness": math.nan}, "stiffness: got nan"),
        ],
    )
    def test_options_that_cannot_be(self, options, message):
        with pytest.raises(ValueError, match=message):
            VariationalManifoldEmbedding(**{"n_components": 1, **options}).fit(ring_points(20))

    @pytest.mark.parametrize(
        ("points", "error", "message"),
        [
            (np.full((9, 2), np.nan), ValueError, "NaN or infinity: nan in row 0, column 0"),
            (np.ones((9, 2)), ValueError, "all rows of X are equal"),
            (np.ones(9), ValueError, "Expected 2D array"),
            ([["a", "b"]] * 9, ValueError, "must hold numbers"),
            (np.ones((1, 2)), ValueError, "1 sample"),
            (1e300 * ring_points(9), ValueError, "values up to .*e\\+300, expected at most 1e\\+100"),
            (1e-300 * ring_points(9), ValueError, "spreads over .*e-300, expected at least 1e-100"),
        ],
    )
    def test_data_that_cannot_be(self, points, error, message):
        with pytest.raises(error, match=message):
            VariationalManifoldEmbedding(1).fit(points)

    def test_few_rows_cannot_choose_settings(self):
        with pytest.raises(ValueError, match=r"got 9 rows, expected at least 10 .* give a degree"):
            VariationalManifoldEmbedding(1, select=True).fit(ring_points(9))

    def test_a_start_that_does_not_move_along_an_axis_is_no_division_by_zero(self):
        points = np.repeat([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], 10, axis=0)
        found = VariationalManifoldEmbedding(2, degree=2, iterations=5).fit(points)
        assert np.isfinite(found.transform(points)).all() and np.isfinite(found.score(points))

    def test_an_estimator_that_is_not_fitted_says_so(self):
        with pytest.raises((NotFittedError, ValueError), match="call fit with data before"):
            VariationalManifoldEmbedding(1).transform(np.zeros((2, 2)))

    def test_points_of_other_columns(self, sheet):
        with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3"):
            sheet.transform(np.zeros((2, 2)))
        with pytest.raises(ValueError, match="Z has 3 columns, expected 2"):
            sheet.inverse_transform(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="coordinates: got 'metrc', did you mean metric"):
            sheet.transform(np.zeros((2, 3)), "metrc")

    def test_a_density_that_is_nowhere_finite(self):
        with pytest.raises(FloatingPointError, match="not finite at the start"):
            VariationalManifoldEmbedding(
                1, density=lambda x: jnp.log(-(x @ x) - 1), objective="reverse", degree=1
            ).fit(ring_points(20))
