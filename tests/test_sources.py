"""Data from independent sources, each by way of a CSV: the planets, N bodies by rebound, stars by galpy."""

import importlib.util
import re
import sys
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from noether_razor.app.config import Config, load_config, read_data
from noether_razor.app.runs import discover_config, discover_run
from noether_razor.discovery import RunFolder
from noether_razor.invariants import conserved_space
from noether_razor.invariants.monomials import coefficients
from noether_razor.quantities import QuadraticQuantities, angular_momentum, quadratic_form
from noether_razor.trajectories import Layout, Trajectories, read_data_file

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
CONFIG = ROOT / "configs" / "planets" / "planets.toml"


def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


planets = module("scripts/planets.py")


def read(path: Path) -> Trajectories:
    return read_data_file(path, Layout.beside(path))[0]


class Kepler:
    """Four planets on ellipses like those of the inner ones about a Sun that drifts, in the units and axes of
    the ephemeris.
    """

    AU, jalpha, jomega = 1.5e8, 2415020.0, 2469807.0
    GM = 2.9591e-4
    # Semi-major axis, eccentricity, inclination, node, perihelion.
    ELEMENTS: ClassVar = {
        "mercury": (0.387, 0.206, 0.122, 0.84, 0.51),
        "venus": (0.723, 0.007, 0.059, 1.34, 0.96),
        "earthmoon": (1.0, 0.017, 0.0, 0.0, 1.80),
        "mars": (1.524, 0.093, 0.032, 0.86, 5.00),
    }

    def position_and_velocity(self, name: str, tdb: Any) -> tuple[np.ndarray, np.ndarray]:
        position, velocity = np.outer([1e6, 2e6, 3e6], 1 + 0 * tdb), np.zeros((3, len(tdb)))
        if name != "sun":
            from_sun, along = self._from_sun(*self.ELEMENTS[name], tdb)
            axes = planets.ecliptic(np.eye(3))
            position, velocity = position + self.AU * axes.T @ from_sun, self.AU * axes.T @ along
        return position, velocity

    def _from_sun(self, a: float, e: float, i: float, node: float, w: float, tdb: Any) -> Any:
        motion = np.sqrt(self.GM / a**3)
        mean = motion * (tdb - self.jalpha)
        anomaly = mean
        for _ in range(30):
            anomaly = mean + e * np.sin(anomaly)
        rate, b = motion / (1 - e * np.cos(anomaly)), np.sqrt(1 - e**2)
        plane = a * np.array([np.cos(anomaly) - e, b * np.sin(anomaly)])
        speed = a * rate * np.array([-np.sin(anomaly), b * np.cos(anomaly)])
        turn = rotation(node, 2) @ rotation(i, 0) @ rotation(w, 2)
        return turn[:, :2] @ plane, turn[:, :2] @ speed


def rotation(angle: float, axis: int) -> np.ndarray:
    first, second = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def write_planets(folder: Path, ephemeris: Any, *words: str) -> Trajectories:
    arguments = planets.parse([*words, "--out", str(folder / "planets.csv")])
    planets.write(ephemeris, arguments)
    return read(arguments.out)


def test_vectors_are_turned_into_the_plane_of_the_ecliptic():
    pole = np.array([[0.0], [-np.sin(planets.OBLIQUITY)], [np.cos(planets.OBLIQUITY)]])
    np.testing.assert_allclose(planets.ecliptic(pole), [[0], [0], [1]], atol=1e-15)
    assert np.linalg.det(planets.ecliptic(np.eye(3))) == pytest.approx(1)


def test_windows_hold_an_orbit_or_what_fits_between_them():
    short = planets.window_times(0.0, 100.0, 8.0, 4, 5)
    np.testing.assert_allclose(short[1], [25, 27, 29, 31, 33])
    long = planets.window_times(0.0, 100.0, 80.0, 4, 6)
    assert long[-1, -1] == 100.0 and long[0, -1] == 25.0


def test_the_file_holds_states_from_the_sun_in_named_units(tmp_path):
    data = write_planets(
        tmp_path, Kepler(), "--windows", "2", "--points", "9", "--planets", "earthmoon", "mars"
    )
    assert data.names == ("x", "y", "z", "m_vx", "m_vy", "m_vz") and data.states.shape == (4, 9, 6)
    assert data.units[0] == "au" and data.units[3] == "mass au/day" and data.time_unit == "day"
    radius = np.linalg.norm(data.states[:, :, :3], axis=2)
    np.testing.assert_allclose(radius[:2], 1.0, atol=0.0171)
    # Vis-viva: the Sun's own place and the axes are taken away.
    speed = np.linalg.norm(data.states[:, :, 3:], axis=2)
    np.testing.assert_allclose(
        speed**2, Kepler.GM * (2 / radius - 1 / np.array([[1], [1], [1.524], [1.524]]))
    )
    assert np.abs(data.states[:2, :, 2]).max() < 1e-12


def supports_exactly(data: Trajectories, known: QuadraticQuantities) -> None:
    """As many combinations of monomials are conserved as are known, and the known ones are."""
    matrices, vectors = np.asarray(known.symmetric_matrices(), float), np.asarray(known.vectors[...], float)
    rows = coefficients(matrices, vectors)
    asked = conserved_space(data, rows)
    assert asked.rank == len(rows)
    found = conserved_space(data)
    assert found.rank == found.staying == len(rows) and found.decided


def test_such_orbits_tell_the_three_angular_momenta_and_nothing_else(tmp_path):
    supports_exactly(write_planets(tmp_path, Kepler()), angular_momentum(1, 3))


def test_the_snippet_of_the_page_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    write_planets(tmp_path / "runs", Kepler(), "--windows", "4")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(block, "sources.md", "exec"), {})
    assert "3 conserved of degree <= 2" in capsys.readouterr().out


def test_the_configuration_is_for_that_file():
    config = load_config(CONFIG)
    assert config.data.file == str(planets.parse([]).out)
    assert config.inference.noise_variance == "learned" and config.data.held_out > 0


def test_from_the_pole_of_the_ecliptic_they_tell_one_angular_momentum(tmp_path):
    write_planets(tmp_path, Kepler())
    data, _ = read_data(load_config(CONFIG, [f"data.file={tmp_path / 'planets.csv'}"]))
    assert data.names == ("x", "y", "m_vx", "m_vy")
    supports_exactly(data, angular_momentum(1, 2))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--planets", "moon"], "--planets: unknown moon, expected some of mercury"),
        (["--planets", "mars", "mars"], "--planets: got one twice in mars mars"),
        (["--windows", "0"], "at least 1 window of 2 points is needed, got 0 of 41"),
        (["--points", "1"], "got 12 of 1"),
    ],
)
def test_arguments_that_make_no_file(words, part, capsys):
    with pytest.raises(SystemExit) as stopped:
        planets.parse(words)
    assert stopped.value.code == 2 and part in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["planets"])
    monkeypatch.setitem(sys.modules, "de421", None)
    with pytest.raises(SystemExit) as stopped:
        planets.main()
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and message.count("\n") == 1 and "noether-razor[ephemeris]" in message


@pytest.fixture(scope="module")
def ephemeris() -> Any:
    jplephem = pytest.importorskip("jplephem")
    return jplephem.Ephemeris(pytest.importorskip("de421"))


@pytest.mark.slow
def test_the_planets_tell_the_three_angular_momenta_and_nothing_else(tmp_path, ephemeris):
    supports_exactly(write_planets(tmp_path, ephemeris), angular_momentum(1, 3))


@pytest.mark.slow
def test_with_the_outer_planets_the_radius_hardly_changes(tmp_path, ephemeris):
    eight = [name for name in planets.PERIODS if name != "pluto"]
    data = write_planets(tmp_path, ephemeris, "--planets", *eight)
    radius = coefficients(np.diag([2.0, 2, 2, 0, 0, 0])[None], np.zeros((1, 6)))
    space = conserved_space(data)
    assert space.drift.change(space.motion.rows(radius)[0]).change < 0.1


def n_body_quantities(masses: tuple[float, ...]) -> QuadraticQuantities:
    """P_x, P_y, their products, L, and the angular momentum of the centre of mass, times the whole mass."""
    dof = 2 * len(masses)
    x, y, px, py = (range(first, first + dof, 2) for first in (0, 1, dof, dof + 1))
    momenta = [dict.fromkeys(((k,) for k in axis), 1.0) for axis in (px, py)]
    products = [dict.fromkeys(product(a, b), 1.0) for a, b in ((px, px), (px, py), (py, py))]
    own = dict.fromkeys(zip(x, py, strict=True), 1.0) | dict.fromkeys(zip(y, px, strict=True), -1.0)
    centre = {(i, j): mass for i, mass in zip(x, masses, strict=True) for j in py}
    centre |= {(i, j): -mass for i, mass in zip(y, masses, strict=True) for j in px}
    return quadratic_form(dof, [*momenta, *products, own, centre])


@pytest.mark.slow
@pytest.mark.parametrize("masses", [(1.0, 0.5), (1.0, 0.8, 0.5)])
def test_bodies_of_rebound_tell_momentum_angular_momentum_and_that_of_their_centre(tmp_path, masses):
    pytest.importorskip("rebound")
    module("docs/examples/rebound_csv.py").write(tmp_path / "bodies.csv", masses)
    supports_exactly(read(tmp_path / "bodies.csv"), n_body_quantities(masses))


@pytest.mark.slow
def test_stars_of_galpy_tell_the_angular_momentum_about_the_axis_and_nothing_else(tmp_path):
    pytest.importorskip("galpy")
    module("docs/examples/galpy_csv.py").write(tmp_path / "stars.csv")
    supports_exactly(read(tmp_path / "stars.csv"), quadratic_form(3, [{(0, 4): 1.0, (1, 3): -1.0}]))


SMALLER = ("network.width=64", "evaluation.nll_stderr=0.5")
"""Changes to the recipe that make minutes of it on two cores."""


def discovers_the_rotation(config: Config, folder: Path) -> None:
    """One conserved quantity, whose values on the data are those of q1 p2 - q2 p1."""
    found = discover_run(config, RunFolder(folder)).to_json()
    assert found["rank"] == found["data"]["shown"] == 1
    assert found["algebra"]["name"].startswith(("so(2)", "u(1)"))
    states = read_data(config).trajectories.points()
    a, b = (np.array(found["quantities"][0][key]) for key in ("A", "b"))
    values = np.einsum("pi,ij,pj->p", states, a, states) / 2 + states @ b
    q, p = np.split(states, 2, axis=1)
    rotation = q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]
    assert abs(np.corrcoef(values, rotation)[0, 1]) > 0.99


@pytest.mark.slow
def test_discover_finds_the_angular_momentum_of_the_planets(tmp_path, ephemeris):
    write_planets(tmp_path, ephemeris)
    config = load_config(CONFIG, [f"data.file={tmp_path / 'planets.csv'}", *SMALLER])
    discovers_the_rotation(config, tmp_path / "run")


@pytest.mark.slow
def test_discover_finds_the_angular_momentum_of_the_stars(tmp_path):
    pytest.importorskip("galpy")
    module("docs/examples/galpy_csv.py").write(tmp_path / "stars.csv")
    discovers_the_rotation(discover_config(tmp_path / "stars.csv", overrides=SMALLER), tmp_path / "run")
