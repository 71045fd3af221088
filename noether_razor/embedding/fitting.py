"""The two objectives of an embedding, and the optimisation of its map and noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import OptimizeResult, minimize
from scipy.stats import norm, qmc

from .functional import LogDensity
from .latent import Latent, LatentMap, Nodes
from .tube import Tube, log_likelihood_gradient

SMALLEST_NOISE = 1e-3
"""Of the spread of the data: a thinner tube fits nothing but the points themselves."""
RIDGES = 10.0 ** np.arange(-9, 2)
"""Bending penalties of the first smooth fit, of which cross-validation takes one."""
NOISE_SAMPLES, GAUSS_POINTS = 16, 8
"""Noise at each node of the reverse objective: quasi-random samples, or Gauss nodes an axis in up to two
dimensions of the data."""
FRESH = 4096
"""Samples with which a Kullback-Leibler divergence is told at the end."""
FLAT = 1e-4
"""Of the noise variance, the smallest mean eigenvalue of a metric."""
SETTLED, LOOK_BACK = 1e-3, 10
"""Nats a point that the last so many iterations may still have gained when a fit has converged."""
COARSE_ROWS = 4000
"""Rows with which a map is learned before all rows take part."""

Progress = Callable[[str, int, float], None]
"""Told what is being fitted, the iteration and the objective."""


class Objective(NamedTuple):
    """What is maximised: the mean log density of `points` under the tube where given (forward), and minus the
    divergence KL(tube || p) where `log_density` is given (reverse).
    """

    points: Float[np.ndarray, "n D"] | None
    log_density: LogDensity | None


@dataclass(frozen=True)
class FitOptions:
    """How a map is fitted: `stiffness` in units of the noise against the metric at the start, `noise` a
    standard deviation or None to learn it, at most `iterations` of L-BFGS.
    """

    stiffness: float = 1.0
    noise: float | None = None
    iterations: int = 150


@dataclass(frozen=True, eq=False)
class Fitted:
    """A map with the noise around it, the weight of its bending, and how it was found: `gain` is what the
    last ten iterations still added to the objective.
    """

    phi: LatentMap
    variance: float
    bending_weight: float
    objective: float
    iterations: int
    gain: float

    @property
    def converged(self) -> bool:
        """Whether the last iterations changed nothing that matters."""
        return self.gain <= SETTLED

    @property
    def tube(self) -> Tube:
        """The density of the data that the map with its noise stands for."""
        return Tube.around(self.phi, self.variance)


class Start(NamedTuple):
    """A smooth fit of points to their first coordinates."""

    phi: LatentMap
    variance: float


def smooth_start(
    latent: Latent, coordinates: Float[np.ndarray, "n d"], points: Float[np.ndarray, "n D"]
) -> Start:
    """The map nearest to points at given coordinates, with a bending penalty by generalised cross-validation,
    and the variance of what it leaves, a dimension.
    """
    features = latent.values(coordinates)
    count = len(points)
    gram, right = features.T @ features / count, features.T @ points / count
    scale = max(float(np.mean(np.var(points, axis=0))), np.finfo(float).tiny)
    best, found = np.inf, None
    ridge = 1e-10 * np.trace(gram) / len(gram) * np.eye(len(gram))
    for penalty in RIDGES:
        left = gram + penalty * latent.bending + ridge
        coefficients = np.linalg.solve(left, right)
        used = float(np.trace(np.linalg.solve(left, gram)))
        error = float(np.mean((points - features @ coefficients) ** 2))
        score = error / max(1 - used / count, 1e-3) ** 2
        if score < best:
            best, found = score, (coefficients, error)
    assert found is not None
    coefficients, error = found
    return Start(LatentMap(latent, coefficients), max(error, SMALLEST_NOISE**2 * scale))


def bending_weight(start: Start, stiffness: float) -> float:
    """tau = stiffness h^2 / (4 s^4), h^2 the first noise variance and s^2 the mean smallest eigenvalue of the
    metric at the start: stiffness 2 h^-2 s^2 makes PCA stable in every mode.
    """
    nodes = start.phi.latent.nodes
    slopes = nodes.gradients @ start.phi.coefficients
    smallest = np.linalg.eigvalsh(slopes @ np.swapaxes(slopes, 1, 2))[:, 0]
    # A start that does not move along some axis is made as stiff as can be computed with.
    mean = max(float(np.exp(nodes.log_weights) @ smallest), FLAT * start.variance)
    return stiffness * start.variance / (4 * mean**2)


def fit_map(
    objective: Objective,
    start: Start,
    options: FitOptions,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Maximise the objective less (tau / 2) E |nabla^2 phi|^2 over the map and, unless given, the noise.

    L-BFGS in coordinates in which the bending is as steep as the likelihood. Where there are many points, the
    map is first learned on evenly spaced ones among them. Raises FloatingPointError where the objective is
    not finite at the start.
    """
    points = objective.points
    if points is not None and len(points) > 2 * COARSE_ROWS and objective.log_density is None:
        stride = len(points) // COARSE_ROWS
        coarse = fit_map(Objective(points[::stride], None), start, options, progress)
        start = Start(coarse.phi, coarse.variance)
        # What is left to learn is little: a few passes over all rows.
        short = replace(options, iterations=max(10, options.iterations // 10))
        return _Problem(objective, start, short, coarse.bending_weight).solve(progress)
    return _Problem(objective, start, options, bending_weight(start, options.stiffness)).solve(progress)


def fit_further(
    objective: Objective,
    fitted: Fitted,
    options: FitOptions,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Maximise the objective from a map that was fitted to some of the points, with the bending it had."""
    start = Start(fitted.phi, fitted.variance)
    return _Problem(objective, start, options, fitted.bending_weight).solve(progress)


class _Problem:
    """The objective as a function of one vector: the map in preconditioned coordinates, then log noise."""

    def __init__(self, objective: Objective, start: Start, options: FitOptions, bending: float):
        self.objective, self.options, self.bending = objective, options, bending
        self.latent, self.nodes = start.phi.latent, start.phi.latent.nodes
        self.variance = start.variance if options.noise is None else options.noise**2
        # The curvature of the likelihood is about 1 / variance in each coefficient, that of bending known.
        curvature = np.eye(self.latent.size) / self.variance + bending * self.latent.bending
        values, vectors = np.linalg.eigh(curvature)
        self.root = (vectors / np.sqrt(values)) @ vectors.T
        self.shape = start.phi.coefficients.shape
        self.first = np.append(
            np.linalg.solve(self.root, start.phi.coefficients).ravel(), 0.5 * np.log(self.variance)
        )
        scale = np.sqrt(np.mean(np.var(start.phi(self.nodes.points), axis=0)) + self.variance)
        self.lowest = float(np.log(SMALLEST_NOISE * scale))
        self.reverse = _reverse(objective.log_density, self.nodes, self.shape[1])

    def solve(self, progress: Callable[[int, float], None] | None) -> Fitted:
        free = self.options.noise is None
        fixed = self.first[-1]
        value, _ = self.value(self.first)
        values = [value]

        def told(intermediate_result: OptimizeResult) -> None:
            values.append(float(intermediate_result.fun))
            step = len(values) - 1
            if progress is not None:
                progress(step, -values[-1] if step % 10 == 0 else np.nan)

        if not np.isfinite(value):
            raise FloatingPointError(
                "the objective is not finite at the start: where is the density of the data zero or not"
                " defined near them?"
            )
        found = minimize(
            self.value,
            self.first,
            jac=True,
            method="L-BFGS-B",
            callback=told,
            bounds=[(None, None)] * (len(self.first) - 1) + [(self.lowest, None) if free else (fixed, fixed)],
            options={"maxiter": self.options.iterations, "maxcor": 20, "ftol": 1e-15, "gtol": 1e-9},
        )
        phi, variance = self._unpacked(found.x)
        # Where the optimiser says that it is done, what it gained on the way does not count.
        gain = 0.0 if found.success else values[-min(len(values), LOOK_BACK + 1)] - float(found.fun)
        return Fitted(phi, variance, self.bending, -float(found.fun), int(found.nit), gain)

    def _unpacked(self, flat: Float[np.ndarray, " n"]) -> tuple[LatentMap, float]:
        coefficients = self.root @ flat[:-1].reshape(self.shape)
        return LatentMap(self.latent, coefficients), float(np.exp(2 * flat[-1]))

    def value(self, flat: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        """Minus the objective, and its gradient."""
        phi, variance = self._unpacked(flat)
        bent = self.latent.bending @ phi.coefficients
        total = -self.bending / 2 * float(np.sum(phi.coefficients * bent))
        by_map, by_variance = -self.bending * bent, 0.0
        if self.objective.points is not None:
            likelihood = log_likelihood_gradient(Tube.around(phi, variance), self.objective.points)
            total += likelihood.value
            by_variance += likelihood.variance
            by_map += self.nodes.values.T @ likelihood.means
            by_map += self.nodes.width * np.einsum("map,mia->pi", self.nodes.gradients, likelihood.tangents)
        if self.reverse is not None:
            value, (one, other) = self.reverse(phi.coefficients, variance)
            total, by_map, by_variance = total + value, by_map + one, by_variance + other
        gradient = np.append((self.root @ by_map).ravel(), 2 * variance * by_variance)
        return -total, -gradient


Reverse = Callable[[np.ndarray, float], tuple[float, tuple[np.ndarray, float]]]


def _reverse(log_density: LogDensity | None, nodes: Nodes, dim: int) -> Reverse | None:
    """-KL(tube || p) of coefficients (P, D) and a variance, and its derivatives; None without a density."""
    if log_density is None:
        return None
    draws, weights = _noise(dim)
    values, gradients = nodes.values, nodes.gradients

    def negative_kl(coefficients: Float[Array, "P D"], variance: Float[Array, ""]) -> Float[Array, ""]:
        tangents = nodes.width * jnp.swapaxes(gradients @ coefficients, 1, 2)
        tube = Tube(values @ coefficients, tangents, nodes.log_weights, variance)
        moved = tube.means[:, None] + _spread(tangents, variance, draws)
        flat = moved.reshape(-1, dim)
        own = jax.nn.logsumexp(tube.parts(flat).log, axis=1)
        gain = (jax.vmap(log_density)(flat) - own).reshape(moved.shape[:2])
        return jnp.exp(nodes.log_weights) @ (gain @ weights)

    compiled = jax.jit(jax.value_and_grad(negative_kl, (0, 1)))

    def called(coefficients: np.ndarray, variance: float) -> tuple[float, tuple[np.ndarray, float]]:
        with jax.enable_x64(True):
            value, (by_map, by_variance) = compiled(jnp.asarray(coefficients), jnp.asarray(variance))
            return float(value), (np.asarray(by_map), float(by_variance))

    return called


def _noise(dim: int) -> tuple[Float[np.ndarray, "S D"], Float[np.ndarray, " S"]]:
    """Standard normal noise and its weights: Gauss nodes in few dimensions, else opposite pairs."""
    if dim <= 2:
        return Latent("normal", dim, 1).quadrature(GAUSS_POINTS)
    uniform = qmc.Sobol(dim, rng=np.random.default_rng(0)).random(NOISE_SAMPLES // 2)
    half = norm.ppf(np.clip(uniform, 1e-6, 1 - 1e-6))
    return np.concatenate([half, -half]), np.full(NOISE_SAMPLES, 1 / NOISE_SAMPLES)


def _spread(
    tangents: Float[Array, "M D d"], variance: Float[Array, ""], draws: Float[np.ndarray, "S D"]
) -> Float[Array, "M S D"]:
    """Noise of covariance variance I + U U^T at each node: (s I + U X U^T) e with s^2 the variance.

    X = (S^1/2 + s I)^-1, S = variance I + U^T U, its root by the iteration of Denman and Beavers, which has a
    derivative where eigenvalues coincide.
    """
    unit = jnp.eye(tangents.shape[2])
    # In units of the variance all eigenvalues are at least one.
    root = unit + jnp.swapaxes(tangents, 1, 2) @ tangents / variance
    inverse = jnp.broadcast_to(unit, root.shape)
    for _ in range(12):
        root, inverse = (root + jnp.linalg.inv(inverse)) / 2, (inverse + jnp.linalg.inv(root)) / 2
    inner = jnp.linalg.inv(root + unit) / jnp.sqrt(variance)
    along = jnp.einsum("mia,si->msa", tangents, jnp.asarray(draws))
    return jnp.sqrt(variance) * draws + jnp.einsum("mia,mab,msb->msi", tangents, inner, along)


def fresh_negative_kl(tube: Tube, log_density: LogDensity, seed: int) -> tuple[float, float]:
    """-KL(tube || p) from samples that took no part in the fit, and its standard error."""
    samples = tube.sample(FRESH, np.random.default_rng(seed))
    with jax.enable_x64(True):
        potential = np.asarray(jax.jit(jax.vmap(log_density))(jnp.asarray(samples)))
    gain = potential - tube.log_density(samples)
    return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))
