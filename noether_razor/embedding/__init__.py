"""Variational manifold embedding: a smooth map both ways between data and a latent space, with currents."""

from .answer import EmbeddingAnswer
from .checks import checked_points
from .estimator import NotFittedError, VariationalManifoldEmbedding
from .fitting import fresh_negative_kl
from .functional import (
    Currents,
    current,
    current_divergence,
    currents,
    euler_lagrange_residual,
    functional,
    integrand,
    kinetic,
    pseudo_inverse,
)
from .latent import Latent, LatentMap
from .linear import (
    PrincipalComponents,
    StabilitySpectrum,
    gaussian_log_density,
    linear_optimum,
    pca_map,
    principal_angles,
    principal_components,
    second_variation,
    stability_spectrum,
    twisted,
)
from .symmetries import DensitySymmetries, density_symmetries
from .tube import Tube, log_likelihood_gradient

__all__ = [
    "Currents",
    "DensitySymmetries",
    "EmbeddingAnswer",
    "Latent",
    "LatentMap",
    "NotFittedError",
    "PrincipalComponents",
    "StabilitySpectrum",
    "Tube",
    "VariationalManifoldEmbedding",
    "checked_points",
    "current",
    "current_divergence",
    "currents",
    "density_symmetries",
    "euler_lagrange_residual",
    "fresh_negative_kl",
    "functional",
    "gaussian_log_density",
    "integrand",
    "kinetic",
    "linear_optimum",
    "log_likelihood_gradient",
    "pca_map",
    "principal_angles",
    "principal_components",
    "pseudo_inverse",
    "second_variation",
    "stability_spectrum",
    "twisted",
]
