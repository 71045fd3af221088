"""The matrix-normal posterior of one weight matrix, and its KL divergence in closed form."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float
from numpyro.distributions import constraints
from numpyro.distributions.kl import kl_divergence

from ..random import normal
from ..typing import PRNGKey, Scalar


class KroneckerNormal(dist.Distribution):
    """W = M + R E A^T with E iid N(0, 1), R = diag(e^r) (I + T_R), A = diag(e^c) (I + T_A): MN(M, R R^T, A
    A^T).

    `loc` M is (rows, columns); `log_row_scale` r is (rows,); `log_column_scale` c is (columns,); the T,
    strictly lower triangular parts of `row_factor` and `column_factor`, are zero when None, which saves two
    matrix products a sample. NumPyro's own MatrixNormal takes full Cholesky factors; logarithmic scales are
    what an optimiser can move by orders of magnitude (method: the posterior's scale).
    """

    arg_constraints = {  # noqa: RUF012  (NumPyro's own convention)
        "loc": constraints.real_matrix,
        "log_row_scale": constraints.real_vector,
        "log_column_scale": constraints.real_vector,
    }
    support = constraints.real_matrix  # pyright: ignore
    reparametrized_params = ["loc", "log_row_scale", "log_column_scale"]  # noqa: RUF012
    pytree_data_fields = ("loc", "log_row_scale", "log_column_scale", "row_factor", "column_factor")

    def __init__(
        self,
        loc: Float[Array, "rows columns"],
        log_row_scale: Float[Array, " rows"],
        log_column_scale: Float[Array, " columns"],
        row_factor: Float[Array, "rows rows"] | None = None,
        column_factor: Float[Array, "columns columns"] | None = None,
        *,
        validate_args: bool | None = None,
    ):
        self.loc = loc
        self.log_row_scale = log_row_scale
        self.log_column_scale = log_column_scale
        self.row_factor = row_factor
        self.column_factor = column_factor
        super().__init__(batch_shape=(), event_shape=loc.shape, validate_args=validate_args)

    def scale_tril_row(self) -> Float[Array, "rows rows"]:
        """The lower triangular R."""
        return _scale_tril(self.log_row_scale, self.row_factor)

    def scale_tril_column(self) -> Float[Array, "columns columns"]:
        """The lower triangular A."""
        return _scale_tril(self.log_column_scale, self.column_factor)

    def expected_square(self) -> Scalar:
        """E |W|_F^2 = |R|_F^2 |A|_F^2 + |M|_F^2."""
        return _squared_norm(self.log_row_scale, self.row_factor) * _squared_norm(
            self.log_column_scale, self.column_factor
        ) + jnp.sum(self.loc**2)

    def entropy(self) -> Scalar:
        """Differential entropy in nats."""
        rows, columns = self.event_shape
        log_det = columns * jnp.sum(self.log_row_scale) + rows * jnp.sum(self.log_column_scale)
        return log_det + rows * columns / 2 * (1 + jnp.log(2 * jnp.pi))

    def sample(  # pyright: ignore
        self, key: PRNGKey, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "... rows columns"]:
        return self.transform(normal(key, sample_shape + self.event_shape, self.loc.dtype))

    def transform(self, noise: Float[Array, "... rows columns"]) -> Float[Array, "... rows columns"]:
        """M + R E A^T of given noise E."""
        if self.row_factor is not None:
            noise = noise + jnp.tril(self.row_factor, -1) @ noise
        if self.column_factor is not None:
            noise = noise + noise @ jnp.tril(self.column_factor, -1).T
        scale = jnp.exp(self.log_row_scale)[:, None] * jnp.exp(self.log_column_scale)
        return self.loc + scale * noise

    def log_prob(  # pyright: ignore
        self, value: Float[Array, "... rows columns"]
    ) -> Float[Array, "..."]:
        rows, columns = self.event_shape
        residual = value - self.loc
        left = jnp.broadcast_to(self.scale_tril_row(), (*residual.shape[:-2], rows, rows))
        right = jnp.broadcast_to(self.scale_tril_column(), (*residual.shape[:-2], columns, columns))
        half = solve_triangular(left, residual, lower=True)
        whitened = solve_triangular(right, half.mT, lower=True)
        log_det = columns * jnp.sum(self.log_row_scale) + rows * jnp.sum(self.log_column_scale)
        squares = jnp.sum(whitened**2, axis=(-2, -1))
        return -squares / 2 - log_det - rows * columns / 2 * jnp.log(2 * jnp.pi)


class IsotropicNormal(dist.Distribution):
    """The prior of one weight matrix: independent N(0, 1 / precision) entries."""

    arg_constraints = {"precision": constraints.positive}  # noqa: RUF012
    support = constraints.real_matrix  # pyright: ignore

    def __init__(self, precision: Scalar, shape: tuple[int, int], *, validate_args: bool | None = None):
        self.precision = precision
        super().__init__(batch_shape=(), event_shape=shape, validate_args=validate_args)

    def sample(  # pyright: ignore
        self, key: PRNGKey, sample_shape: tuple[int, ...] = ()
    ) -> Float[Array, "... rows columns"]:
        noise = normal(key, sample_shape + self.event_shape, jnp.result_type(self.precision))
        return noise / jnp.sqrt(self.precision)

    def log_prob(  # pyright: ignore
        self, value: Float[Array, "... rows columns"]
    ) -> Float[Array, "..."]:
        size = self.event_shape[0] * self.event_shape[1]
        squares = jnp.sum(value**2, axis=(-2, -1))
        return -self.precision * squares / 2 + size / 2 * (jnp.log(self.precision) - jnp.log(2 * jnp.pi))


def optimal_precision(posterior: KroneckerNormal) -> Scalar:
    """The prior precision d / E|W|^2 at which KL(posterior, prior) is smallest: exact empirical Bayes, no
    step size.
    """
    rows, columns = posterior.event_shape
    return rows * columns / posterior.expected_square()


@kl_divergence.register(KroneckerNormal, IsotropicNormal)  # pyright: ignore
def _kl_kronecker_isotropic(posterior: KroneckerNormal, prior: IsotropicNormal) -> Scalar:
    """1/2 [precision E|W|^2 - d - d log precision - 2 a sum log R_ii - 2 o sum log A_ii], d = o a."""
    size = posterior.event_shape[0] * posterior.event_shape[1]
    cross = prior.precision * posterior.expected_square() - size * (
        jnp.log(prior.precision) - jnp.log(2 * jnp.pi)
    )
    return cross / 2 - posterior.entropy()


def _scale_tril(log_scale: Float[Array, " m"], factor: Float[Array, "m m"] | None) -> Float[Array, "m m"]:
    scale = jnp.exp(log_scale)
    if factor is None:
        return jnp.diag(scale)
    return scale[:, None] * (jnp.eye(scale.size, dtype=scale.dtype) + jnp.tril(factor, -1))


def _squared_norm(log_scale: Float[Array, " m"], factor: Float[Array, "m m"] | None) -> Scalar:
    squares = jnp.exp(2 * log_scale)
    if factor is not None:
        squares = squares * (1 + jnp.sum(jnp.tril(factor, -1) ** 2, axis=1))
    return jnp.sum(squares)
