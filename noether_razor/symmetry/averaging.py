"""Ways to average the network: over nothing, over the flows of quantities, over a compact group."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from ..devices import SAMPLES, divided
from ..quantities import BodyQuantities, ConservedQuantities, QuadraticQuantities
from ..random import normal
from ..typing import Hamiltonian, PRNGKey, Scalar, State
from .group_samples import AffineSamples, GroupSamples, IdentitySample, flow_samples
from .haar import CompactGroup
from .limited import FLOW_STEPS, LENGTH, CurveSamples
from .measures import Ball, GroupMeasure

ON_A_CURVE = 16
"""Images of a state on one curve. Equally spaced ones leave little noise, which those of as many combinations
would.
"""


class GroupDraws(NamedTuple):
    """How many group elements to draw, and how.

    `independent` switches the measure's variance reduction off; `scale` multiplies the group coordinates.
    """

    samples: int
    independent: bool = False
    scale: Scalar | float = 1.0


@runtime_checkable
class Averaging(Protocol):
    """Draws the group samples of one evaluation of the ELBO. Hashable: a part of a model's structure."""

    def sample(
        self, key: PRNGKey, quantities: ConservedQuantities | None, draws: GroupDraws
    ) -> GroupSamples: ...


@dataclass(frozen=True)
class NoAveraging:
    """No symmetry: H = F."""

    def sample(
        self, key: PRNGKey, quantities: ConservedQuantities | None, draws: GroupDraws
    ) -> IdentitySample:
        del key, quantities, draws
        return IdentitySample()


@dataclass(frozen=True)
class FlowAveraging:
    """The flows of conserved quantities at coordinates drawn from `measure` (Noether's Razor, section 3).

    Where the flows have no closed form, images lie along those of random combinations of unit length: by the
    size of the measure's draws in one dimension on each curve, which is that of a symmetric measure. All are
    ahead of the state. On both sides of it, changes of F along C would cancel to the first order: any C along
    which F changes evenly would do, and those that are conserved are not found (docs/numerics.md).
    `flow_steps`, `spreads` and `length` are those of `CurveSamples`.
    """

    measure: GroupMeasure = field(default_factory=Ball)
    flow_steps: int = FLOW_STEPS
    spreads: tuple[float, ...] | None = None
    length: float = LENGTH

    def sample(self, key: PRNGKey, quantities: ConservedQuantities | None, draws: GroupDraws) -> GroupSamples:
        if quantities is None:
            raise ValueError("averaging over flows needs conserved quantities, got None")
        if isinstance(quantities, QuadraticQuantities | BodyQuantities):
            drawn = self.measure.sample(key, quantities.count, draws.samples, independent=draws.independent)
            return flow_samples(quantities, draws.scale * drawn)
        return self._curves(key, quantities, draws)

    def _curves(self, key: PRNGKey, quantities: ConservedQuantities, draws: GroupDraws) -> CurveSamples:
        curves = -(-draws.samples // ON_A_CURVE)
        for_directions, *for_curves = jax.random.split(key, 1 + curves)
        directions = normal(for_directions, (curves, quantities.count))
        directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
        each = -(-draws.samples // curves)
        along = [self.measure.sample(k, 1, each, independent=draws.independent)[:, 0] for k in for_curves]
        positions = draws.scale * jnp.abs(jnp.stack(along))
        return CurveSamples(quantities, directions, positions, self.flow_steps, self.spreads, self.length)


@dataclass(frozen=True)
class HaarAveraging:
    """The Haar measure of a known compact group: exact invariance in the limit of many samples.

    Its elements are independent, and have no coordinates to scale.
    """

    group: CompactGroup

    def sample(
        self, key: PRNGKey, quantities: ConservedQuantities | None, draws: GroupDraws
    ) -> AffineSamples:
        del quantities
        matrices = self.group.sample(key, draws.samples)
        return AffineSamples(matrices, jnp.zeros(matrices.shape[:2], matrices.dtype))


def symmetrised(network: Hamiltonian, samples: GroupSamples, *, chunk: int | None = None) -> Hamiltonian:
    """H(x) = mean of F(Phi_w(x)) over the group samples Phi_w.

    With `chunk` the network sees so many images at a time and its activations are computed again in every
    reverse pass, so that memory grows with `chunk` and no longer with the number of group samples. The
    values are the same. Without it images are divided along the axis of a mesh of devices for group samples.
    """

    def average(state: State) -> Scalar:
        images = samples(state)
        if chunk is None or chunk >= images.shape[0]:
            return jnp.mean(jax.vmap(network)(divided(images, SAMPLES)))
        return jnp.mean(jax.lax.map(jax.checkpoint(network), images, batch_size=chunk))

    return average
