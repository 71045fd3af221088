"""Principal components as the exact special case: angles, stability and gauge, measured against formulas."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ...embedding import (
    Latent,
    VariationalManifoldEmbedding,
    euler_lagrange_residual,
    gaussian_log_density,
    linear_optimum,
    pca_map,
    principal_angles,
    second_variation,
    stability_spectrum,
    twisted,
)
from ..claims import AtMost, Claim
from ..seeded_target import Column, Measured

CASES = ((1, 8), (2, 4))
"""Dimensions and degrees of the stability table."""
COLUMNS = (
    Column("angle", "angle, ascent", "{:.1e}"),
    Column("angle_estimator", "angle, estimator", "{:.1e}"),
    Column("residual", "residual of PCA", "{:.1e}"),
    Column("twisted", "residual of twisted PCA", "{:.1e}"),
    Column("spectrum_1", "spectrum, d = 1, degree 8", "{:.1e}"),
    Column("spectrum_2", "spectrum, d = 2, degree 4", "{:.1e}"),
    Column("unstable_from", "first unstable degree, d = 1", "{:.0f}"),
    Column("predicted", "predicted", "{:.0f}"),
)
CLAIMS: tuple[Claim, ...] = (
    AtMost("angle", "bare", 1e-6),
    AtMost("angle_estimator", "bare", 1e-6),
    AtMost("residual", "bare", 1e-10),
    AtMost("twisted", "bare", 1e-10),
    *(AtMost(f"spectrum_{dim}", row, 1e-8) for dim, _ in CASES for row in ("bare", "stiff")),
)
VARIANCES = np.array([4.0, 1.5, 0.7, 0.3])


def run_pca(seed: int, quick: bool) -> Measured:
    """A Gaussian density in four dimensions with random principal axes."""
    del quick
    draws = np.random.default_rng(seed)
    axes = np.linalg.qr(draws.normal(size=(4, 4)))[0].T
    mean = draws.normal(size=4)
    log_density = gaussian_log_density(mean, axes.T @ np.diag(VARIANCES) @ axes)
    latent = Latent("normal", 2, 1)
    found = linear_optimum(log_density, draws.normal(size=(3, 4)))
    points = mean + draws.normal(size=(400, 4)) * np.sqrt(VARIANCES) @ axes
    model = VariationalManifoldEmbedding(2, density="gaussian").fit(points)
    phi = pca_map(mean, axes[:2], VARIANCES[:2])
    with jax.enable_x64(True):
        z = jnp.asarray(draws.normal(size=(20, 2)))
        residuals = [
            float(
                jnp.abs(
                    jax.vmap(lambda y, f=f: euler_lagrange_residual(f, log_density, latent.log_density, y))(z)
                ).max()
            )
            for f in (phi, twisted(phi, 0.3))
        ]
    bare = {
        "angle": float(principal_angles(found[1:].T, axes[:2].T).max()),
        "angle_estimator": float(model.principal_angles_.max()),
        "residual": residuals[0],
        "twisted": residuals[1],
        "unstable_from": float(_unstable_from(0.0)),
        "predicted": float(np.floor(VARIANCES[0] / VARIANCES[1]) + 1),
    }
    stiff = {"unstable_from": float(_unstable_from(1 / (2 * VARIANCES[0])))}
    for row, stiffness in ((bare, 0.0), (stiff, 1 / (2 * VARIANCES[0]))):
        for dim, degree in CASES:
            row[f"spectrum_{dim}"] = _mismatch(dim, degree, stiffness)
    return Measured({"bare": bare, "stiff": stiff}, {})


def _mismatch(dim: int, degree: int, stiffness: float) -> float:
    """The largest difference between the eigenvalues of the formula and those of autodiff."""
    exact = np.sort(stability_spectrum(VARIANCES, dim, degree, stiffness).eigenvalues.ravel())
    return float(
        np.abs(exact - np.linalg.eigvalsh(second_variation(VARIANCES, dim, degree, stiffness))).max()
    )


def _unstable_from(stiffness: float) -> float:
    """The lowest degree with a growing perturbation; nan for none up to 40."""
    for degree in range(1, 41):
        if not stability_spectrum(VARIANCES, 1, degree, stiffness).stable:
            return float(degree)
    return float("nan")


def draw_pca(found: Sequence[Measured]) -> Figure:
    """Growth rates by degree, without stiffness and with that which always suffices."""
    del found
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for stiffness, label in ((0.0, "no stiffness"), (1 / (2 * VARIANCES[0]), "stiffness 1 / (2 λ₁)")):
        spectrum = stability_spectrum(VARIANCES, 1, 8, stiffness)
        axes.plot(spectrum.orders[:, 0], spectrum.eigenvalues[:, 0], "o-", label=label)
        measured = np.sort(np.linalg.eigvalsh(second_variation(VARIANCES[:2], 1, 8, stiffness)))
        ordered = spectrum.orders[np.argsort(spectrum.eigenvalues[:, 0]), 0]
        axes.plot(ordered, measured, "x", color="black", label="autodiff" if not stiffness else None)
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(xlabel="degree of the perturbation", ylabel="growth rate along the second principal axis")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure
