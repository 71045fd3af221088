"""A system or a measure of a user's own is registered once and known to configurations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest.mock import patch

import jax.numpy as jnp
import pytest

import noether_razor as nr
from noether_razor.app.config import ConfigError, build_system, load_config, parse_config, simulate_data
from noether_razor.symmetry import MEASURES, GroupMeasure, register_measure
from noether_razor.systems import SYSTEMS


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """What a test registers goes with it; the class above stays."""
    with patch.dict(SYSTEMS), patch.dict(MEASURES):
        yield


def duffing(kind: Any = "duffing") -> Any:
    """A new class each time, as a cell of a notebook makes it."""

    @dataclass(frozen=True)
    class Duffing:
        """H = p^2 / 2 - q^2 / 2 + strength q^4 / 4."""

        strength: float = 1.0
        dof: ClassVar[int] = 1

        def hamiltonian(self, state: Any) -> Any:
            q, p = state
            return p**2 / 2 - q**2 / 2 + self.strength * q**4 / 4

        def known_quantities(self) -> None:
            return None

    if kind is not None:
        Duffing.kind = kind  # type: ignore[attr-defined]
    return Duffing


@nr.register_system
@dataclass(frozen=True)
class Chain:
    """n equal oscillators, each held by the next."""

    kind: ClassVar[str] = "chain"
    dof: int
    coupling: float = 1.0

    @staticmethod
    def of_dof(dof: int, parameters: Any) -> dict[str, Any]:
        return {"dof": dof, **parameters}

    def hamiltonian(self, state: Any) -> Any:
        q, p = jnp.split(state, 2)
        return (p @ p + q @ q + self.coupling * jnp.sum(jnp.diff(q) ** 2)) / 2

    def known_quantities(self) -> None:
        return None


class TestSystems:
    def test_each_class_says_its_kind(self):
        assert {kind: cls.kind for kind, cls in SYSTEMS.items()} == {kind: kind for kind in SYSTEMS}  # type: ignore[attr-defined]
        assert {"oscillators", "n_body", "pendulum"} <= set(SYSTEMS)
        assert nr.CustomSystem.kind == "custom" and "custom" not in SYSTEMS

    def test_a_registered_class_is_a_kind_of_a_configuration(self):
        cls = nr.register_system(duffing())
        config = parse_config({"system": {"kind": "duffing", "parameters": {"strength": 2.0}}})
        system = build_system(config.system)
        assert system == cls(2.0) and isinstance(system, nr.HamiltonianSystem)

    def test_and_of_one_in_a_file(self, tmp_path):
        path = tmp_path / "chain.toml"
        path.write_text('[system]\nkind = "chain"\ndof = 3\n[data]\ntrajectories = 2\ntransitions = 3\n')
        config = load_config(path, ["system.parameters.coupling=0.5"])
        system = build_system(config.system)
        assert system == Chain(3, 0.5)
        assert simulate_data(config, system).states.shape == (2, 4, 6)

    def test_wrong_kinds_and_parameters_are_told_of_it(self):
        nr.register_system(duffing())
        with pytest.raises(ConfigError, match="did you mean duffing"):
            parse_config({"system": {"kind": "dufing"}})
        with pytest.raises(ConfigError, match=r"expected one of .*duffing.*custom"):
            parse_config({"system": {"kind": "zzz"}})
        config = parse_config({"system": {"kind": "duffing", "parameters": {"strenght": 2.0}}})
        with pytest.raises(ConfigError, match="did you mean strength"):
            build_system(config.system)

    def test_a_cell_that_runs_twice_replaces_its_class(self):
        first, second = nr.register_system(duffing()), nr.register_system(duffing())
        assert SYSTEMS["duffing"] is second is not first

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (None, "Duffing.kind: got None, expected a name"),
            ("Two Words", "Duffing.kind: got 'Two Words', expected a name"),
            ("custom", "means a system given by a formula"),
            ("pendulum", "'pendulum' is Pendulum, choose another"),
        ],
    )
    def test_kinds_that_cannot_be_are_refused(self, kind, message):
        with pytest.raises(ValueError, match=message):
            nr.register_system(duffing(kind))
        assert "duffing" not in SYSTEMS

    def test_what_is_no_system_is_refused(self):
        class Plain:
            kind: ClassVar[str] = "plain"

        with pytest.raises(ValueError, match="Plain: expected a frozen dataclass, put @reg"):
            nr.register_system(Plain)
        with pytest.raises(ValueError, match="Plain: expected a frozen dataclass"):
            nr.register_system(dataclass(Plain))
        with pytest.raises(ValueError, match="Plain: has no dof, hamiltonian, known_quantities, expected"):
            nr.register_system(dataclass(frozen=True)(Plain))

        @dataclass(frozen=True)
        class Field:
            kind: str = "field"

        with pytest.raises(ValueError, match=r"Field\.kind: is a field, expected the class"):
            nr.register_system(Field)


class TestMeasures:
    def test_the_measures_of_configurations_are_registered(self):
        assert {"ball": nr.Ball(), "box": nr.Box(), "gaussian": nr.Gaussian()} == MEASURES
        assert all(isinstance(measure, GroupMeasure) for measure in MEASURES.values())

    def test_one_more_is_one_class(self):
        @register_measure
        @dataclass(frozen=True)
        class Narrow(nr.Gaussian):
            kind: ClassVar[str] = "narrow"
            scale: float = 0.1

        assert MEASURES["narrow"] == Narrow()

    @pytest.mark.parametrize(("kind", "message"), [(None, "got None"), ("ball", "'ball' is Ball")])
    def test_kinds_that_cannot_be_are_refused(self, kind, message):
        with pytest.raises(ValueError, match=message):
            register_measure(dataclass(frozen=True)(type("Other", (nr.Box,), {"kind": kind})))
