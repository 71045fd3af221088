"""That quantities beyond degree two are learned from random starts: minutes, so marked slow."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "learned_families.py"
spec = importlib.util.spec_from_file_location("learned_families", SCRIPT)
assert spec is not None and spec.loader is not None
families = importlib.util.module_from_spec(spec)
spec.loader.exec_module(families)


@pytest.mark.slow
def test_the_angular_momentum_of_a_quartic_well_is_learned_among_polynomials_of_degree_four() -> None:
    found = families.learn("central")
    assert found["at the start"][0] < 0.8
    assert found["learned"][0] > 0.9 and found["of each"][0][0] > 0.72


@pytest.mark.slow
def test_the_energy_of_a_pendulum_is_learned_as_a_network() -> None:
    found = families.learn("pendulum")
    assert found["at the start"][0] < 0.8
    assert found["learned"][0] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_cubic_pair_of_a_resonance_is_learned_among_all_cubics(seed: int) -> None:
    found = families.learn("resonance", [f"seed={seed}"])
    assert found["pair at the start"][0] < 0.4
    assert found["pair"][0] > 0.95
