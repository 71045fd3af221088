"""Principal components as the exact stationary point for Gaussian densities: stability and gauge."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .functional import LogDensity, Map, functional
from .latent import Latent


class PrincipalComponents(NamedTuple):
    """Mean (D,), orthonormal axes as rows (D, D) and variances along them, falling."""

    mean: Float[np.ndarray, " D"]
    axes: Float[np.ndarray, "r D"]
    variances: Float[np.ndarray, " r"]


def principal_components(points: Float[np.ndarray, "n D"]) -> PrincipalComponents:
    """Those of a sample, min(n, D) of them; variances over n, as the maximum of the likelihood has them."""
    mean = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - mean, full_matrices=False)
    # The sign of an axis is arbitrary: its largest entry is positive.
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return PrincipalComponents(mean, axes * np.where(signs == 0, 1.0, signs)[:, None], sizes**2 / len(points))


def principal_angles(
    first: Float[np.ndarray, "D k"], second: Float[np.ndarray, "D k"]
) -> Float[np.ndarray, " k"]:
    """Angles in radians between the spans of two sets of columns, largest first; exact for small ones too."""
    one, other = (np.linalg.qr(columns)[0] for columns in (first, second))
    sines = np.linalg.svd(other - one @ (one.T @ other), compute_uv=False)
    return np.arcsin(np.clip(sines, 0.0, 1.0))


def gaussian_log_density(mean: Float[np.ndarray, " D"], covariance: Float[np.ndarray, "D D"]) -> LogDensity:
    """log p of a normal distribution. Raises ValueError where the covariance is not positive definite."""
    values = np.linalg.eigvalsh(covariance)
    if values[0] <= 0:
        raise ValueError("covariance must be positive definite, got eigenvalues " + str(values))
    precision, constant = np.linalg.inv(covariance), -np.sum(np.log(2 * np.pi * values)) / 2

    def log_density(x: Float[Array, " D"]) -> Float[Array, ""]:
        away = x - mean
        return constant - away @ precision @ away / 2

    return log_density


def pca_map(
    mean: Float[np.ndarray, " D"], axes: Float[np.ndarray, "d D"], variances: Float[np.ndarray, " d"]
) -> Map:
    """phi(z) = mean + sum_a sqrt(variance_a) z_a axis_a: stationary for the normal density whose principal
    axes these are, with a standard normal latent.
    """
    slopes = np.sqrt(variances)[:, None] * axes
    return lambda z: jnp.asarray(mean) + z @ slopes


def twisted(phi: Map, rate: float) -> Map:
    """phi after a turn of the first two latent coordinates by the angle `rate` |z|^2.

    The turn keeps the standard normal density, so the functional and the Euler-Lagrange equation do not see
    it (gauge): a nonlinear map with the same image. Bending does.
    """

    def turned(z: Float[Array, " d"]) -> Float[Array, " D"]:
        angle = rate * jnp.sum(z**2)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        pair = jnp.stack([cos * z[0] - sin * z[1], sin * z[0] + cos * z[1]])
        return phi(jnp.concatenate([pair, z[2:]]))

    return turned


class StabilitySpectrum(NamedTuple):
    """Growth rates of normal perturbations of PCA: `eigenvalues` [m, k] for the Hermite mode `orders` [m] and
    the discarded axis k. PCA is a maximum of the bent functional where all are negative.
    """

    orders: Int[np.ndarray, "modes d"]
    eigenvalues: Float[np.ndarray, "modes rest"]

    @property
    def stable(self) -> bool:
        """Whether no perturbation of these modes increases the functional."""
        return bool(np.all(self.eigenvalues <= 0))


def stability_spectrum(
    variances: Float[np.ndarray, " D"], n_components: int, degree: int, stiffness: float = 0.0
) -> StabilitySpectrum:
    """The exact second variation of functional - (stiffness / 2) E |nabla^2 phi|^2 at PCA, normal directions.

    The Hermite mode alpha along a discarded axis of variance v has the eigenvalue sum_j alpha_j / lambda_j -
    1 / v - stiffness n (n - 1), n = |alpha|; `variances` are those of all principal axes, falling, the first
    `n_components` kept. Without stiffness PCA is unstable for n large: the bare functional has no maximum.
    Stiffness 1 / (2 lambda_d) always suffices. Raises ValueError for variances that do not fall or are not
    positive.
    """
    variances = np.asarray(variances, dtype=np.float64)
    if np.any(variances <= 0) or np.any(np.diff(variances) > 0):
        raise ValueError(f"variances must be positive and fall, got {variances}")
    if not 0 < n_components < len(variances):
        raise ValueError(f"n_components must be between 1 and {len(variances) - 1}, got {n_components}")
    orders = Latent("normal", n_components, degree).indices
    total = orders.sum(axis=1)
    gain = np.sum(orders / variances[:n_components], axis=1) - stiffness * total * (total - 1)
    return StabilitySpectrum(orders, gain[:, None] - 1 / variances[n_components:])


def second_variation(
    variances: Float[np.ndarray, " D"], n_components: int, degree: int, stiffness: float = 0.0
) -> Float[np.ndarray, "n n"]:
    """The matrix whose eigenvalues `stability_spectrum` gives in closed form, by autodiff and quadrature."""
    latent = Latent("normal", n_components, degree)
    rest = len(variances) - n_components
    points, weights = latent.quadrature(degree + 2)
    log_density = gaussian_log_density(np.zeros(len(variances)), np.diag(variances))
    base = pca_map(
        np.zeros(len(variances)),
        np.eye(len(variances))[:n_components],
        np.asarray(variances, np.float64)[:n_components],
    )

    def bent(flat: Float[Array, " n"]) -> Float[Array, ""]:
        normal = flat.reshape(latent.size, rest)

        def phi(z: Float[Array, " d"]) -> Float[Array, " D"]:
            return base(z).at[n_components:].add(latent.values(z) @ normal)

        curve = jnp.sum(normal * (latent.bending @ normal))
        value = functional(phi, log_density, latent.log_density, jnp.asarray(points), jnp.asarray(weights))
        return value - stiffness / 2 * curve

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.hessian(bent))(jnp.zeros(latent.size * rest)))


def linear_optimum(
    log_density: LogDensity, start: Float[np.ndarray, "P D"], *, steps: int = 200
) -> Float[np.ndarray, "P D"]:
    """The coefficients (constant first) of the linear map that maximises the functional for a normal latent.

    Found by ascent from `start`, without principal components: for a Gaussian density the answer spans them.
    """
    from scipy.optimize import minimize

    latent = Latent("normal", len(start) - 1, 1)
    points, weights = latent.quadrature(6)

    def loss(flat: Float[Array, " n"]) -> Float[Array, ""]:
        coefficients = flat.reshape(start.shape)
        nodes = jnp.asarray(points), jnp.asarray(weights)
        return -functional(lambda z: latent.values(z) @ coefficients, log_density, latent.log_density, *nodes)

    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(loss))
        found = minimize(
            _in_numpy(both), start.ravel(), jac=True, method="BFGS", options={"maxiter": steps, "gtol": 1e-12}
        )
    return found.x.reshape(start.shape)


def _in_numpy(both: Callable[..., tuple[Array, Array]]) -> Callable[..., tuple[float, np.ndarray]]:
    """A compiled value and gradient as SciPy asks for them."""

    def called(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = both(jnp.asarray(flat))
        return float(value), np.asarray(gradient, np.float64)

    return called
