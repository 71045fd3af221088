"""Trajectories that run away are drawn again and counted; too many are an error that names the scale."""

import jax
import numpy as np
import pytest

from noether_razor.app.config import ConfigError, build_problem, load_config
from noether_razor.systems import CustomSystem, InitialStates
from noether_razor.trajectories import EscapeError, simulate

SHIPPED = (
    "isotropic incommensurate two_equal_one_other opposite_signs central_plane central_space uniform_field "
    "ring two_bodies pendulum duffing henon_heiles quartic"
)
CUBIC = CustomSystem(1, "(p1**2 + q1**2) / 2 - q1**3 / 3")


def drawn(scale: float, energy_below: float | None = None):
    return simulate(
        CUBIC,
        jax.random.key(0),
        trajectories=40,
        transitions=20,
        dt=0.5,
        initial=InitialStates(scale, scale, energy_below=energy_below),
    )


def test_a_few_are_redrawn_and_counted():
    with pytest.warns(UserWarning, match=r"\d of 4\d trajectories left the bound 300: redrawn"):
        data = drawn(0.3)
    assert len(data) == 40 and np.abs(data.states).max() < 300


def test_many_are_an_error_that_names_the_scales():
    with pytest.raises(
        EscapeError, match=r"bound 2000, choose smaller scales .* 2 \(positions\) and 2 \(momenta\)"
    ):
        drawn(2.0)


def test_energies_may_be_kept_below_a_barrier():
    data = drawn(0.3, energy_below=0.1)
    energies = jax.vmap(CUBIC.hamiltonian)(data.states[:, 0].astype(np.float32))  # type: ignore[arg-type]
    assert float(energies.max()) < 0.1
    with pytest.raises(EscapeError, match="have an energy below -100"):
        drawn(0.3, energy_below=-100.0)


def test_a_config_that_escapes_is_bad_input(tmp_path):
    path = tmp_path / "cubic.toml"
    path.write_text(
        "[system]\nkind = 'custom'\ndof = 1\nhamiltonian = '(p1**2 + q1**2)/2 - q1**3/3'\n"
        "initial_scale_q = 5.0\n"
        "[data]\ntransitions = 30\ndt = 1.0\n"
    )
    with pytest.raises(ConfigError, match=r"system\.initial_scale_q.*choose smaller scales"):
        build_problem(load_config(path))


@pytest.mark.parametrize("name", SHIPPED.split())
def test_shipped_systems_need_only_a_system(name):
    config = load_config(f"configs/systems/{name}.toml")
    base = load_config("configs/systems/base.toml")
    assert config.model_copy(update={"system": base.system}) == base
