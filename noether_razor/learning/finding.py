"""Find the symmetries of any model: gradients at perturbed parameters, and what vanishes in all of them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..typing import PRNGKey
from .features import Features
from .linear import LinearFeatures, linear_symmetries
from .report import SymmetryReport
from .slices import symmetries_of
from .symmetries import SymmetryError, require_real

Method = Literal["slices", "linear"]
MOST_ROWS = 3000
"""Gradients that are taken unless more are asked for."""
SPREAD = 0.4
"""Standard deviation of the perturbation of each array, as a share of its root mean square (of 1 for
zeros).
"""


def find_symmetries(
    model: Any,
    loss: Callable[[Any, Any], Any],
    batches: Sequence[Any],
    *,
    method: Method = "slices",
    rows: int | None = None,
    key: PRNGKey | None = None,
) -> SymmetryReport:
    """The symmetries of ``loss(model, batch)`` in parameter space, whatever the data.

    `model` is an NNX module, in the mode in which it trains, or any tree of parameters. method slices: scales
    and shifts of slices of arrays, for models of any size. method linear: all xi = L W + W R + T for the
    weights W of every layer (its bias as last row), with their Lie algebra; for small layers, since the
    features are as many as entries of L, R and T. `rows`: gradients at perturbed parameters, each on the
    next of `batches`; None: enough to see everything that does not vanish, at most 3000. Computes in float64,
    also layers of a module that round to less; a loss that rounds by itself hides symmetries. Raises
    `SymmetryError` where the loss is not finite or nothing depends on the parameters.
    """
    if method not in get_args(Method):
        raise SymmetryError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if not batches or (rows is not None and rows < 1):
        raise SymmetryError("find_symmetries needs at least one batch and one row")
    with jax.enable_x64(True):
        params, of = _objective(model, loss)
        batches = [jax.tree.map(_doubled, batch) for batch in batches]
        draw = _draws(params, of, jax.random.key(0) if key is None else key)
        features = LinearFeatures.of(params) if method == "linear" else Features.of(params)
        wanted = min(MOST_ROWS, int(1.25 * features.count) + 40) if rows is None else rows
        try:
            table = _table(lambda n, batch: features.row(*draw(n, batch)), batches, wanted, params)
        except TypeError as error:
            why = str(error).strip().splitlines()[0]
            raise SymmetryError(
                f"the loss has no gradient in float64, which is needed here: {why}"
            ) from error
        if not all(np.isfinite(part).all() for part in table):
            raise SymmetryError("the gradient of the loss is not finite at perturbed parameters")
        if not table.total.any():
            raise SymmetryError("the loss does not depend on the parameters")
        if isinstance(features, LinearFeatures):
            return linear_symmetries(features, table)
        return symmetries_of(features, table)


def _table(row: Callable[[Any, Any], Any], batches: Sequence[Any], wanted: int, params: Any) -> Any:
    """The rows, stacked: in one loop that is compiled, or step by step where that is slower or cannot be."""
    shapes = {tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(batch)) for batch in batches}
    # A CPU takes several times as long for convolutions inside a compiled loop.
    convolves = any(jnp.ndim(leaf) > 3 for leaf in jax.tree.leaves(params))
    if len(shapes) > 1 or convolves:
        step = jax.jit(row)
        found = [step(n, batches[n % len(batches)]) for n in range(wanted)]
        return jax.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts]), *found)
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *batches)

    def at(n: Any) -> Any:
        return row(n, jax.tree.map(lambda part: part[n % len(batches)], stacked))

    table = jax.jit(lambda numbers: jax.lax.map(at, numbers))(jnp.arange(wanted))
    return jax.tree.map(np.asarray, table)


def _doubled(leaf: Any) -> Any:
    leaf = jnp.asarray(leaf)
    return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _objective(model: Any, loss: Callable[[Any, Any], Any]) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The parameters in float64, and the loss as a function of them and of a batch."""
    if not isinstance(model, nnx.Module):
        require_real(model)
        return jax.tree.map(_doubled, model), loss
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        for name in ("dtype", "param_dtype"):
            if (dtype := getattr(module, name, None)) and jnp.issubdtype(dtype, jnp.floating):
                setattr(module, name, jnp.float64)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    require_real(params)
    rest = jax.tree.map(lambda leaf: leaf if _is_key(leaf) else _doubled(leaf), rest)
    return jax.tree.map(_doubled, params), lambda at, batch: loss(
        nnx.merge(graph, at, rest, copy=True), batch
    )


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def _draws(params: Any, of: Callable[[Any, Any], Any], key: PRNGKey) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Perturbed parameters number n, and the gradient there on a batch."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    sizes = jax.tree.map(lambda leaf: jnp.full_like(leaf, _size(leaf)), params)
    size, _ = jax.flatten_util.ravel_pytree(sizes)

    def draw(n: Any, batch: Any) -> tuple[Any, Any]:
        # In one piece: random numbers of every array apart take seconds to compile.
        noise = jax.random.normal(jax.random.fold_in(key, n), flat.shape, flat.dtype)
        at = unravel(flat + SPREAD * size * noise)
        return at, jax.grad(of)(at, batch)

    return draw


def _size(leaf: Any) -> Any:
    square = jnp.mean(leaf**2)
    return jnp.sqrt(jnp.where(square > 0, square, 1.0))
