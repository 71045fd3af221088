"""What a posterior is learned from, and the likelihood that belongs to it."""

from typing import Any

import jax
import jax.numpy as jnp

from ..trajectories import Transitions
from ..typing import PRNGKey
from .bound import BoundTerms, bound_terms
from .posterior import Posterior
from .windows import INITIAL, Windows, window_bound_terms

Observations = Transitions | Windows
"""Single transitions, whose inputs are exact, or windows, whose states are all noisy. Rows are independent
given H.
"""


def steps_a_row(data: Observations) -> int:
    """Transitions in one row: those of a window, or 1."""
    return data.dt.shape[1] if isinstance(data, Windows) else 1


def transition_count(data: Observations) -> int:
    """N, the number of measured transitions."""
    return data.transitions if isinstance(data, Windows) else data.size


def in_single_precision(data: Observations) -> Observations:
    """The same as JAX arrays, numbers in float32, indices and masks as they are."""

    def array(values: Any) -> jax.Array:
        whole = jnp.asarray(values)
        return whole.astype(jnp.float32) if jnp.issubdtype(whole.dtype, jnp.floating) else whole

    return jax.tree.map(array, data)


def observed_bound_terms(
    posterior: Posterior, key: PRNGKey, batch: Observations, total: int, **options: Any
) -> BoundTerms:
    """`bound_terms` of transitions or `window_bound_terms` of windows, with their `options`, `batch` standing
    for `total` transitions.

    `nll` is what the data cost, so that of windows holds the KL divergence of the initial states; `kl` has
    one entry a weight matrix.
    """
    if isinstance(batch, Transitions):
        return bound_terms(posterior, key, batch, total, **options)
    initial = posterior.initial_states
    assert initial is not None, "windows need a posterior with initial_states"
    terms = window_bound_terms(posterior, initial, key, batch, initial.count, total, **options)
    of_weights = dict(terms.kl)
    return BoundTerms(terms.nll + of_weights.pop(INITIAL), of_weights)
