"""What networks the Hamiltonian may be: one function a kind, which a configuration knows by its name."""

from collections.abc import Callable

from flax import nnx

from ..networks import HamiltonianNetwork, PairNetwork
from ..options import NetworkOptions, OptionError
from ..random import stream
from ..spelling import suggestion
from .bodies import equal_bodies
from .families import Described

MakeNetwork = Callable[[NetworkOptions, Described, nnx.Rngs], nnx.Module]
"""An untrained network, state -> value."""


def random_network(options: NetworkOptions, described: Described) -> nnx.Module:
    """The network of the kind that `options` name, with random weights.

    Raises `OptionError` for a kind that is not known, or that does not fit the data.
    """
    if options.kind not in NETWORKS:
        raise OptionError(f"network.kind: got {options.kind!r}, {suggestion(options.kind, list(NETWORKS))}")
    return NETWORKS[options.kind](options, described, nnx.Rngs(stream(described.seed, "initialisation")))


def _dense(options: NetworkOptions, described: Described, rngs: nnx.Rngs) -> HamiltonianNetwork:
    return HamiltonianNetwork(
        2 * described.data.dof,
        layers=options.layers,
        width=options.width,
        alpha=options.elu_alpha,
        periods=described.data.periods,
        rngs=rngs,
    )


def _pairs(options: NetworkOptions, described: Described, rngs: nnx.Rngs) -> PairNetwork:
    return PairNetwork(
        2 * described.data.dof,
        bodies=equal_bodies(described.bodies, described.measured, described.scale, "network.kind"),
        layers=options.layers,
        width=options.width,
        alpha=options.elu_alpha,
        rngs=rngs,
    )


NETWORKS: dict[str, MakeNetwork] = {"dense": _dense, "pairs": _pairs}
"""What makes the network of a kind, by its name."""
