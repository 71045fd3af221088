"""The network F whose average over an orbit is the learned Hamiltonian."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from .orthonormal import orthonormal
from .phase_space import by_body
from .scaling import Periods
from .typing import Scalar, State, States

_Linear = partial(nnx.Linear, kernel_init=jax.jit(nnx.initializers.lecun_normal(), static_argnums=(1, 2)))
"""A layer whose weights are drawn by one compiled program, not by one for each operation."""


def _features(state: State, periods: Periods) -> Float[Array, " features"]:
    """What a network sees of a state: the state itself, and in place of each angle q the point
    (r sin(q / r), r cos(q / r) - c) of its circle, r = period / 2 pi.

    c = sqrt(r^2 - 1), or 0 for r < 1, is the mean of the cosine for a swing of spread 1 about 0, as scaled
    coordinates have. So the features of a small swing, for which r is large, are about (q, 0), and those of
    full turns, r = 1, are cosine and sine as they are.
    """
    angles = [k for k, period in enumerate(periods) if period is not None]
    if not angles:
        return state
    others = [k for k in range(len(periods)) if k not in angles]
    radius = jnp.asarray([periods[k] for k in angles], state.dtype) / (2 * np.pi)
    phase = state[jnp.asarray(angles)] / radius
    rest = [state[jnp.asarray(others)]] if others else []
    # r - c without the difference of two large numbers, and likewise r cos(phase) - r.
    centre = 1 / (radius + jnp.sqrt(jnp.maximum(radius**2 - 1, 0))) * jnp.minimum(radius**2, 1)
    cosine = centre - 2 * radius * jnp.sin(phase / 2) ** 2
    return jnp.concatenate([*rest, radius * jnp.sin(phase), cosine])


def _features_count(dim: int, periods: Periods) -> int:
    """The number of features; raises ValueError for periods of another number, or not positive."""
    if len(periods) not in (0, dim) or not all(p is None or 0 < p < float("inf") for p in periods):
        raise ValueError(f"periods must be {dim} positive numbers or None, got {periods}")
    return dim + sum(period is not None for period in periods)


class HamiltonianNetwork(nnx.Module):
    """A fully connected network R^dim -> R with ELU(alpha) activations.

    `layers` counts weight matrices (dim -> width -> ... -> 1), as the paper does; the last one has no bias,
    which would only shift the energy. ELU is once continuously differentiable, so the Hamiltonian field is
    continuous.

    `periods` (dim,), or empty, are those of angles: in place of an angle the network sees its cosine and
    sine, so that it is a function on the circle. None marks the other coordinates.
    """

    def __init__(
        self,
        dim: int,
        *,
        layers: int,
        width: int,
        alpha: float = 1.0,
        periods: Periods = (),
        rngs: nnx.Rngs,
    ):
        if layers < 2 or width < 1 or dim < 1:
            raise ValueError(
                "a network needs dim >= 1, layers >= 2 and width >= 1, "
                f"got dim={dim}, layers={layers}, width={width}"
            )
        sizes = [_features_count(dim, periods), *[width] * (layers - 1)]
        self.hidden = nnx.List([_Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.readout = _Linear(width, 1, use_bias=False, rngs=rngs)
        self.alpha = alpha
        self.periods = tuple(periods)

    def __repr__(self) -> str:
        shapes = [layer.kernel.shape for layer in (*self.hidden, self.readout)]
        sizes = " -> ".join(str(size) for size in (shapes[0][-2], *(shape[-1] for shape in shapes)))
        angles = sum(period is not None for period in self.periods)
        return f"HamiltonianNetwork({sizes}{f', {angles} angles' if angles else ''})"

    def __call__(self, state: State) -> Scalar:
        features = _features(state, self.periods)
        for layer in self.hidden:
            features = jax.nn.elu(layer(features), self.alpha)
        return jnp.squeeze(self.readout(features), -1)


class Work(NamedTuple):
    """What a network does for one state: multiplications with entries of weight matrices, and the values of
    hidden units that it computes.
    """

    products: int
    units: int


@runtime_checkable
class CountsWork(Protocol):
    """A network that uses its weights several times for one state."""

    def work(self) -> Work: ...


class PairNetwork(nnx.Module):
    """H(x) = sum_i f(z_i) + sum_{i<j} g(z_i, z_j) of equal `bodies`, z_i the position and momentum of one.

    f and g are fully connected networks that all bodies and all pairs share, and g is the same for both
    orders of a pair: no exchange of bodies changes H. The cost grows with the pairs. `layers` counts weight
    matrices of each, as in `HamiltonianNetwork`. The first layer of g is linear in each body before its
    activation, so it takes products with the states of bodies alone; the mean of its activations for both
    orders of a pair is what the next one sees.
    """

    def __init__(self, dim: int, *, bodies: int, layers: int, width: int, alpha: float = 1.0, rngs: nnx.Rngs):
        if bodies < 2 or dim < 1 or dim % (2 * bodies):
            raise ValueError(f"expected two bodies or more that share {dim} coordinates, got {bodies}")
        self.bodies, self.alpha, own = bodies, alpha, dim // bodies
        self.single = HamiltonianNetwork(own, layers=layers, width=width, alpha=alpha, rngs=rngs)
        self.pair = HamiltonianNetwork(2 * own, layers=layers, width=width, alpha=alpha, rngs=rngs)

    def __repr__(self) -> str:
        return f"PairNetwork({self.bodies} bodies, {self.single!r} of each, {self.pair!r} of each pair)"

    def work(self) -> Work:
        """Of N bodies: N of f and of the first layer of g, and N (N - 1) / 2 of what follows it."""
        bodies, pairs = self.bodies, self.bodies * (self.bodies - 1) // 2
        single, (first, *later) = self.single, self.pair.hidden
        of_each = [layer.kernel.size for layer in (*single.hidden, single.readout, first)]
        of_pairs = [layer.kernel.size for layer in later]
        products = bodies * sum(of_each) + pairs * sum(of_pairs) + self.pair.readout.kernel.size
        # Both orders of a pair have activations of the first layer.
        width = first.kernel.shape[-1]
        units = bodies * len(single.hidden) * width + pairs * (2 + len(later)) * width
        return Work(products, units)

    def __call__(self, state: State) -> Scalar:
        own = by_body(state, self.bodies)
        first, *later = self.pair.hidden
        one, other = jnp.split(first.kernel[...], 2)
        assert first.bias is not None
        left, right = own @ one + first.bias[...], own @ other
        i, j = np.triu_indices(self.bodies, k=1)
        features = (
            jax.nn.elu(left[i] + right[j], self.alpha) + jax.nn.elu(left[j] + right[i], self.alpha)
        ) / 2
        for layer in later:
            features = jax.nn.elu(layer(features), self.alpha)
        # The readout is linear: it is taken of the sum.
        pairs = self.pair.readout(features.sum(axis=0))
        return jax.vmap(self.single)(own).sum() + jnp.squeeze(pairs, -1)


class FieldNetwork(nnx.Module):
    """A network that is a vector field R^dim -> R^dim: in a `Posterior` it takes the place of the gradient of
    a Hamiltonian, and goes with no averaging.
    """


class VectorFieldNetwork(FieldNetwork):
    """An unstructured vector field R^dim -> R^dim of the same hidden layers: what data are fitted by when no
    Hamiltonian is assumed, to see what the assumption costs.

    `periods` are as in `HamiltonianNetwork`.
    """

    def __init__(
        self,
        dim: int,
        *,
        layers: int,
        width: int,
        alpha: float = 1.0,
        periods: Periods = (),
        rngs: nnx.Rngs,
    ):
        if layers < 2 or width < 1 or dim < 1:
            raise ValueError(
                "a network needs dim >= 1, layers >= 2 and width >= 1, "
                f"got dim={dim}, layers={layers}, width={width}"
            )
        sizes = [_features_count(dim, periods), *[width] * (layers - 1)]
        self.hidden = nnx.List([_Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.readout = _Linear(width, dim, rngs=rngs)
        self.alpha = alpha
        self.periods = tuple(periods)

    def __call__(self, state: State) -> State:
        features = _features(state, self.periods)
        for layer in self.hidden:
            features = jax.nn.elu(layer(features), self.alpha)
        return self.readout(features)


class QuantityNetwork(nnx.Module):
    """K conserved quantities as a network R^dim -> R^K of two hidden layers, smooth so that their flows are.

    It sees states divided by `sizes` (dim,), with `periods` as in `HamiltonianNetwork`. Where it is told to
    `keep` a size, its outputs are combined so that their gradients have it and are uncorrelated.
    """

    def __init__(
        self,
        count: int,
        sizes: Sequence[float],
        *,
        width: int,
        periods: Periods = (),
        rngs: nnx.Rngs,
    ):
        self.sizes = tuple(sizes)
        self.periods: Periods = tuple(
            None if period is None else period / size
            for period, size in zip(periods, sizes if periods else (), strict=True)
        )
        features = _features_count(len(self.sizes), self.periods)
        self.hidden = nnx.List([_Linear(a, b, rngs=rngs) for a, b in pairwise((features, width, width))])
        self.readout = _Linear(width, count, use_bias=False, rngs=rngs)
        self.size: float | None = None
        self.states: tuple[tuple[float, ...], ...] = ()

    def __call__(self, state: State) -> Float[Array, " K"]:
        values = self._outputs(state)
        if self.size is None:
            return values
        products = self._products(jnp.asarray(self.states, values.dtype))
        return self.size * orthonormal(products, values[:, None])[:, 0]

    def keep(self, states: States, size: float) -> None:
        """Whatever the weights become, gradients at `states` have the r.m.s. `size`, in units of `sizes`, and
        are uncorrelated.
        """
        # Static: they are not learned.
        self.size, self.states = size, tuple(map(tuple, np.asarray(states, np.float32).tolist()))

    def resize(self, states: States, size: float) -> None:
        """Scale each output so that its gradient at `states` has the r.m.s. `size`, in units of `sizes`."""
        found = jnp.sqrt(jnp.diagonal(self._products(states)))
        self.readout.kernel[...] = self.readout.kernel[...] * size / found

    def _outputs(self, state: State) -> Float[Array, " K"]:
        features = _features(state / jnp.asarray(self.sizes, state.dtype), self.periods)
        for layer in self.hidden:
            features = jax.nn.silu(layer(features))
        return self.readout(features)

    def _products(self, states: States) -> Float[Array, "K K"]:
        """Means of the products of gradients."""
        slopes = jax.vmap(jax.jacobian(self._outputs))(states) * jnp.asarray(self.sizes, states.dtype)
        return jnp.einsum("ski,sli->kl", slopes, slopes) / len(states)
