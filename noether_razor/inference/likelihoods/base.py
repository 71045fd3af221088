"""What a likelihood is, and the list of those that are known."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ...trajectories import Trajectories
from ...typing import Scalar, State
from ..posterior import Posterior

Flow = Callable[[State, Scalar], State]
"""(x, dt) -> Phi_H^dt(x)."""
OBSERVED = "target"
"""The NumPyro site of what is observed."""


@runtime_checkable
class Rows(Protocol):
    """Data as a tree of arrays, all with one entry per row along the first axis.

    Rows are independent given H; `states` (rows, ..., 2n) begin with the measured state that a row starts
    from, and `dt` are the time steps of its transitions, (rows,) or (rows, steps).
    """

    @property
    def states(self) -> Float[Array | np.ndarray, "rows ..."]: ...

    @property
    def dt(self) -> Float[Array | np.ndarray, "rows ..."]: ...

    @property
    def size(self) -> int:
        """The number of rows."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """How trajectories are cut into rows of one type, and what these rows say of a flow.

    kind: its name in configurations. rows: the type of its rows, its own. several_steps: whether a row spans
    more than one step. noisy_inputs: whether noise on the first state of a row is part of the model, so that
    sigma^2 is that of a single measurement.
    """

    kind: ClassVar[str]
    rows: ClassVar[type]
    several_steps: ClassVar[bool]
    noisy_inputs: ClassVar[bool]

    def text(self, steps: int) -> str:
        """What a report calls it, for rows of `steps` steps."""
        ...

    def cut(self, trajectories: Trajectories, steps: int) -> Any:
        """The rows of `trajectories`, of `steps` steps where there are several."""
        ...

    def moves(self, rows: Any) -> Float[np.ndarray, "transitions dim"]:
        """How far each measured target is from the state that its row begins with: N of them in all."""
        ...

    def noise_floor(self, dim: int, variance: float, steps: int) -> float:
        """NLL / N of the true Hamiltonian, where sigma^2 is `variance`."""
        ...

    def latents(self, rows: Any) -> nnx.Module | None:
        """What the posterior needs to know of latent variables of `rows`, untrained; None without any."""
        ...

    def guide(self, posterior: Posterior, rows: Any) -> None:
        """q of the latent variables of `rows`, as NumPyro sites."""
        ...

    def model(self, posterior: Posterior, rows: Any, advance: Flow) -> None:
        """p of the latent variables and of what is observed, the site `OBSERVED`, given the flow."""
        ...


LIKELIHOODS: dict[str, Likelihood] = {}
"""The likelihoods that a configuration knows, by their `kind`: its `inference.likelihood`."""

Class = TypeVar("Class", bound=type[Any])


def register_likelihood(cls: Class) -> Class:
    """Make a class of likelihoods known to configurations by its ``kind``, as a decorator.

    A class of the same name in the same module is replaced. Raises ValueError for a kind or a type of rows
    that another one has.
    """
    name = (cls.__module__, cls.__qualname__)
    for other in LIKELIHOODS.values():
        taken = [what for what in ("kind", "rows") if getattr(other, what) == getattr(cls, what)]
        if taken and (type(other).__module__, type(other).__qualname__) != name:
            what, used = taken[0], getattr(cls, taken[0])
            raise ValueError(f"{cls.__name__}.{what}: {used!r} is that of {type(other).__name__}")
    LIKELIHOODS[cls.kind] = cls()
    return cls


def likelihood_of(rows: Rows) -> Likelihood:
    """The likelihood that `rows` are of, by their type. Raises TypeError where there is none."""
    for likelihood in LIKELIHOODS.values():
        if type(rows) is likelihood.rows:
            return likelihood
    known = ", ".join(likelihood.rows.__name__ for likelihood in LIKELIHOODS.values())
    raise TypeError(f"no likelihood is registered for rows of type {type(rows).__name__}, only for {known}")


def steps_a_row(rows: Rows) -> int:
    """Transitions in a row, at most."""
    return 1 if rows.dt.ndim == 1 else rows.dt.shape[1]


def in_single_precision(rows: Rows) -> Any:
    """The same as JAX arrays, numbers in float32, indices and masks as they are."""

    def array(values: Any) -> jax.Array:
        whole = jnp.asarray(values)
        return whole.astype(jnp.float32) if jnp.issubdtype(whole.dtype, jnp.floating) else whole

    return jax.tree.map(array, rows)
