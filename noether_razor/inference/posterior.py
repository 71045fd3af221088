"""Everything that is learned and what it means, in one Flax module."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..quantities import ConservedQuantities
from ..symmetry import Averaging, FlowAveraging, NoAveraging
from ..typing import Hamiltonian, PRNGKey, Scalar
from .matrix_normal import KroneckerNormal

Weights = Mapping[str, Float[Array, "rows columns"]]
"""One value for each weight matrix of a network, by site name."""


class Posterior(nnx.Module):
    """A model: q(theta), one matrix normal per weight matrix of `network`, and how it makes a Hamiltonian.

    The weight matrices (two-dimensional parameters) of `network` are the means; its other parameters, the
    biases, are deterministic. Any Flax module state -> scalar will do as network. Standard deviations start
    at `relative_scale` times the root mean square of each matrix. `quantities` are the conserved quantities
    (eta), None without symmetry. H is the network averaged as `averaging` says; None: over the flows of the
    quantities, where there are any. `noise_variance` is sigma^2. With `correlated`, row and column
    covariances are full, else diagonal. `latents` are the latent variables of the rows to be learned from
    (`Likelihood.latents`), None for transitions.
    """

    def __init__(
        self,
        network: nnx.Module,
        quantities: ConservedQuantities | None = None,
        averaging: Averaging | None = None,
        *,
        noise_variance: float = 1e-3,
        relative_scale: float = 0.1,
        correlated: bool = False,
        latents: nnx.Module | None = None,
    ):
        if not noise_variance > 0 or not relative_scale > 0:
            raise ValueError(
                "noise_variance and relative_scale must be positive, "
                f"got noise_variance={noise_variance}, relative_scale={relative_scale}"
            )
        self.network = network
        self.quantities = quantities
        # Hashable, so a part of the structure and not of the state.
        self.averaging: Averaging = (
            averaging
            if averaging is not None
            else FlowAveraging()
            if quantities is not None
            else NoAveraging()
        )
        self.latents = latents
        row_scales, column_scales, precisions = {}, {}, {}
        row_factors, column_factors = {}, {}
        for site, mean in self.means().items():
            rows, columns = mean.shape
            # By numpy: each operation of JAX would be compiled for each shape.
            square = np.mean(np.square(mean))
            half = np.log(relative_scale * np.sqrt(square)) / 2
            row_scales[site] = nnx.Param(jnp.asarray(np.full(rows, half, mean.dtype)))
            column_scales[site] = nnx.Param(jnp.asarray(np.full(columns, half, mean.dtype)))
            precisions[site] = nnx.Param(jnp.asarray(-np.log(square), mean.dtype))
            if correlated:
                row_factors[site] = nnx.Param(jnp.zeros((rows, rows)))
                column_factors[site] = nnx.Param(jnp.zeros((columns, columns)))
        if not row_scales:
            raise ValueError("the network has no weight matrix: no parameter of two dimensions")
        self.log_row_scales = nnx.Dict(row_scales)
        self.log_column_scales = nnx.Dict(column_scales)
        self.row_factors = nnx.Dict(row_factors)
        self.column_factors = nnx.Dict(column_factors)
        self.log_prior_precisions = nnx.Dict(precisions)
        self.log_noise_variance = nnx.Param(jnp.log(jnp.asarray(noise_variance, jnp.float32)))

    def __repr__(self) -> str:
        shapes = [leaf.shape for _, leaf in nnx.to_flat_state(nnx.state(self.network, nnx.Param))]
        weights = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
        covariances = "full" if self.row_factors else "diagonal"
        parts = [
            f"{type(self.network).__name__} of {weights} weights, {covariances} covariances",
            f"quantities {self.quantities!r}",
            repr(self.averaging),
            *([] if self.latents is None else [f"latents {type(self.latents).__name__}"]),
        ]
        return f"Posterior({', '.join(parts)})"

    def means(self) -> dict[str, Float[Array, "rows columns"]]:
        """The mean of every weight matrix, by site name (its path in the network)."""
        flat = nnx.to_flat_state(nnx.state(self.network, nnx.Param))
        return {_site(path): leaf[...] for path, leaf in flat if leaf.ndim == 2}

    def distribution(self, site: str) -> KroneckerNormal:
        """The posterior of the weight matrix called `site`."""
        return KroneckerNormal(
            self.means()[site],
            self.log_row_scales[site][...],
            self.log_column_scales[site][...],
            self.row_factors[site][...] if site in self.row_factors else None,
            self.column_factors[site][...] if site in self.column_factors else None,
        )

    def draw(self, key: PRNGKey) -> dict[str, Float[Array, "rows columns"]]:
        """One sample of all weight matrices; one call of the random generator, whose compilation costs."""
        return self._transformed(self._noise(key))

    def flipped_draws(self, key: PRNGKey, count: int) -> dict[str, Float[Array, "count rows columns"]]:
        """`count` samples of all weight matrices that share their noise up to random signs of rows and
        columns.

        Each has the law of `draw`; any two are uncorrelated, though not independent (flipout, Wen et al.
        2018). They cost about one draw, where independent ones cost `count`.
        """
        for_noise, for_signs = jax.random.split(key)
        noise = self._noise(for_noise)
        lengths = [length for matrix in noise.values() for length in matrix.shape]
        signs = jax.random.rademacher(for_signs, (count, sum(lengths)), jnp.float32)
        parts = iter(jnp.split(signs, np.cumsum(lengths)[:-1], axis=1))
        flipped = {
            site: next(parts)[:, :, None] * matrix * next(parts)[:, None, :] for site, matrix in noise.items()
        }
        return self._transformed(flipped)

    def _noise(self, key: PRNGKey) -> dict[str, Float[Array, "rows columns"]]:
        means = self.means()
        sizes = [mean.size for mean in means.values()]
        dtype = jnp.result_type(*means.values())
        parts = jnp.split(jax.random.normal(key, (sum(sizes),), dtype), np.cumsum(sizes)[:-1])
        return {site: part.reshape(means[site].shape) for site, part in zip(means, parts, strict=True)}

    def _transformed(
        self, noise: Mapping[str, Float[Array, "... rows columns"]]
    ) -> dict[str, Float[Array, "... rows columns"]]:
        return {site: self.distribution(site).transform(matrix) for site, matrix in noise.items()}

    def network_with(self, weights: Weights) -> Hamiltonian:
        """The network with `weights` in place of the means."""
        graph, state = nnx.split(self.network)
        flat = [
            (path, leaf.replace(weights[_site(path)]) if _site(path) in weights else leaf)
            for path, leaf in nnx.to_flat_state(state)
        ]
        return nnx.merge(graph, nnx.from_flat_state(flat))  # type: ignore[return-value]

    def noise_variance(self) -> Scalar:
        """sigma^2."""
        return jnp.exp(self.log_noise_variance[...])


def _site(path: Iterable[Any]) -> str:
    return ".".join(str(part) for part in path)
