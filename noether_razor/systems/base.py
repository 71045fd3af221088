"""What a system offers: its Hamiltonian, its initial states and what it is known to conserve."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax.numpy as jnp
import numpy as np

from ..quantities import QuadraticQuantities
from ..random import normal
from ..typing import PRNGKey, Scalar, State, States


@runtime_checkable
class HamiltonianSystem(Protocol):
    """A Hamiltonian on R^2n. Frozen dataclasses implement it, so that a system hashes and prints as its
    parameters.
    """

    @property
    def dof(self) -> int:
        """Degrees of freedom n."""
        ...

    def hamiltonian(self, state: State) -> Scalar:
        """H(x), the energy."""
        ...

    def known_quantities(self) -> QuadraticQuantities | None:
        """A basis of the conserved quantities of degree at most two, H included where it is one; None if
        there are none.
        """
        ...


SYSTEMS: dict[str, type[HamiltonianSystem]] = {}
"""The classes that a config knows, by their `kind`: what it calls `system.kind`."""

Class = TypeVar("Class", bound=type[Any])


def register_system(cls: Class) -> Class:
    """Make a class of systems known to configurations, as a decorator: its `kind` is the `system.kind`, its
    fields are the `system.parameters`.

    The class is a frozen dataclass with ``kind: ClassVar[str]`` that implements `HamiltonianSystem`. A static
    method ``of_dof(dof, parameters)``, if it has one, gives the fields where a config says `system.dof`. A
    class of the same name in the same module is replaced, so that a cell of a notebook may run twice. Raises
    ValueError for anything else.
    """
    kind = cls.__dict__.get("kind")
    if not isinstance(kind, str) or not re.fullmatch("[a-z][a-z0-9_]*", kind):
        raise ValueError(
            f"{cls.__name__}.kind: got {kind!r}, expected a name of small letters, as the class variable "
            'kind: ClassVar[str] = "my_system"'
        )
    if kind == "custom":
        raise ValueError(f'{cls.__name__}.kind: "custom" means a system given by a formula, choose another')
    made = cls.__dict__.get("__dataclass_params__")
    if made is None or not made.frozen:
        raise ValueError(
            f"{cls.__name__}: expected a frozen dataclass, put @register_system above @dataclass"
        )
    fields = {field.name for field in dataclasses.fields(cls)}
    if "kind" in fields:
        raise ValueError(f"{cls.__name__}.kind: is a field, expected the class variable kind: ClassVar[str]")
    expected = ("dof", "hamiltonian", "known_quantities")
    if missing := [name for name in expected if not (hasattr(cls, name) or name in fields)]:
        raise ValueError(f"{cls.__name__}: has no {', '.join(missing)}, expected {', '.join(expected)}")
    known = SYSTEMS.get(kind)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{cls.__name__}.kind: {kind!r} is {known.__name__}, choose another")
    SYSTEMS[kind] = cls
    return cls


@dataclass(frozen=True)
class InitialStates:
    """Where trajectories begin: normal draws of standard deviation `scale_q` of the positions and `scale_p`
    of the momenta, every position moved by `shift_q`; with an energy below `energy_below`, None: any.
    """

    scale_q: float = 1.0
    scale_p: float = 1.0
    shift_q: float = 0.0
    energy_below: float | None = None

    def draw(self, key: PRNGKey, count: int, dof: int) -> States:
        """So many states (count, 2 dof), whatever their energy."""
        position, momentum = np.asarray(normal(key, (2, count, dof)))
        drawn = np.concatenate([self.shift_q + self.scale_q * position, self.scale_p * momentum], axis=1)
        return jnp.asarray(drawn)
