"""Ways to average the network: over nothing, over the flows of quantities, over a compact group."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from ..quantities import ConservedQuantities
from ..typing import Hamiltonian, PRNGKey, Scalar, State
from .haar import CompactGroup
from .measures import Ball, GroupMeasure
from .orbits import AffineOrbit, Orbit, TrivialOrbit, flow_orbit


@runtime_checkable
class Averaging(Protocol):
    """Draws the orbit of one evaluation of the bound."""

    def orbit(
        self,
        key: PRNGKey,
        quantities: ConservedQuantities | None,
        samples: int,
        *,
        independent: bool = False,
        scale: Scalar | float = 1.0,
    ) -> Orbit:
        """`samples` group elements.

        `independent` switches the measure's variance reduction off; `scale` multiplies the group coordinates.
        """
        ...


@dataclass(frozen=True)
class NoAveraging:
    """No symmetry: H = F."""

    def orbit(
        self,
        key: PRNGKey,
        quantities: ConservedQuantities | None,
        samples: int,
        *,
        independent: bool = False,
        scale: Scalar | float = 1.0,
    ) -> Orbit:
        del key, quantities, samples, independent, scale
        return TrivialOrbit()


@dataclass(frozen=True)
class FlowAveraging:
    """The flows of conserved quantities at coordinates drawn from `measure` (Noether's Razor, section 3)."""

    measure: GroupMeasure = field(default_factory=Ball)
    flow_steps: int = 32

    def orbit(
        self,
        key: PRNGKey,
        quantities: ConservedQuantities | None,
        samples: int,
        *,
        independent: bool = False,
        scale: Scalar | float = 1.0,
    ) -> Orbit:
        if quantities is None:
            raise ValueError("averaging over flows needs conserved quantities, got None")
        coordinates = scale * self.measure.sample(key, quantities.count, samples, independent=independent)
        return flow_orbit(quantities, coordinates, flow_steps=self.flow_steps)


@dataclass(frozen=True)
class HaarAveraging:
    """The Haar measure of a known compact group: exact invariance in the limit of many samples.

    Its elements have no coordinates to scale: `scale` is ignored.
    """

    group: CompactGroup

    def orbit(
        self,
        key: PRNGKey,
        quantities: ConservedQuantities | None,
        samples: int,
        *,
        independent: bool = False,
        scale: Scalar | float = 1.0,
    ) -> Orbit:
        del quantities, independent, scale
        matrices = self.group.sample(key, samples)
        return AffineOrbit(matrices, jnp.zeros(matrices.shape[:2], matrices.dtype))


def symmetrised(network: Hamiltonian, orbit: Orbit, *, chunk: int | None = None) -> Hamiltonian:
    """H(x) = mean over the orbit of F(Phi_w(x)): the network averaged over sampled group elements.

    With `chunk` the network sees so many images at a time and its activations are computed again in every
    reverse pass, so that memory grows with `chunk` and no longer with the number of group elements. The
    values are the same.
    """

    def average(state: State) -> Scalar:
        images = orbit(state)
        if chunk is None or chunk >= images.shape[0]:
            return jnp.mean(jax.vmap(network)(images))
        return jnp.mean(jax.lax.map(jax.checkpoint(network), images, batch_size=chunk))

    return average
