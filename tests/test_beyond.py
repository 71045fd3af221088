"""Conserved quantities beyond degree two: libraries, counts, brackets, ceilings, and what is refused."""

import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from test_cli import assert_bad_input, run

import noether_razor as nr
from noether_razor.app.config import ConfigError, load_config
from noether_razor.app.runs import discover_config, discover_run
from noether_razor.beyond import Beyond, Library, LibraryError, LibraryOptions, ceiling, libraries, suggested
from noether_razor.beyond.brackets import Brackets, Members, brackets_of, verdict
from noether_razor.beyond.by_hamiltonian import gauged_rows, listed_by_hamiltonian
from noether_razor.beyond.by_network import field_error
from noether_razor.beyond.commuting import commuting
from noether_razor.beyond.evidence import formula_terms, question_of
from noether_razor.beyond.features import LibraryFeatures
from noether_razor.beyond.listed import hamiltonian_text
from noether_razor.beyond.search import commuting_route
from noether_razor.beyond.shooting import ShotHamiltonian, shot_hamiltonian
from noether_razor.beyond.spaces import LibrarySpace
from noether_razor.beyond.surfaces import surface_algebra
from noether_razor.beyond.ties import tied
from noether_razor.discovery import RECIPE, Discovery, HypothesisError, RunFolder, first_words, with_beyond
from noether_razor.formula import parse_formula
from noether_razor.invariants.monomials import canonical_scales
from noether_razor.null_space import null_space
from noether_razor.paper import beyond as beyond_systems
from noether_razor.paper import reproduce
from noether_razor.paper.beyond import SYSTEMS
from noether_razor.paper.beyond.systems import followed
from noether_razor.reporting import answer_html, beyond_text
from noether_razor.reporting.beyond import beyond_section
from noether_razor.reporting.beyond_figures import ceiling_figure, formula_of
from noether_razor.trajectories import Trajectories, fit_scale, save_trajectories

measured = cache(beyond_systems.measured)
"""Several tests look at the same data."""
SMALL = 1e-4
"""A variance of noise that is none."""


def proposed(data: Trajectories, **options: object) -> list[Library]:
    return libraries(data, np.full(data.states.shape[2], SMALL), LibraryOptions(**options))  # type: ignore[arg-type]


def few(name: str) -> Trajectories:
    return measured(SYSTEMS[name], 0.0, 0, count=8, rows=8)


def random_data(dof: int) -> Trajectories:
    states = np.random.default_rng(0).normal(size=(4, 5, 2 * dof))
    return Trajectories(np.tile(np.arange(5.0), (4, 1)), states)


class TestLibraries:
    @pytest.mark.parametrize(
        ("name", "sizes"),
        [("pendulum", [16]), ("oscillator 1:2", [69, 40]), ("Kepler", [69, 52, 40]), ("Toda", [83, 107])],
    )
    def test_fit_the_data(self, name, sizes):
        assert [len(one) for one in proposed(measured(SYSTEMS[name], 0.01, 0))] == sizes

    @pytest.mark.parametrize("name", ["pendulum", "Kepler", "Toda", "double pendulum"])
    def test_derivatives_are_those_of_the_values(self, name):
        data = few(name)
        states, step = data.points()[::9], 1e-5
        for library in proposed(data):
            assert np.isfinite(library.values(states)).all()
            for i, move in enumerate(step * np.eye(states.shape[1])):
                slope = (library.values(states + move) - library.values(states - move)) / (2 * step)
                np.testing.assert_allclose(library.slopes(states, i), slope, rtol=1e-5, atol=1e-5)
                for j in range(i + 1):
                    bend = (library.slopes(states + move, j) - library.slopes(states - move, j)) / (2 * step)
                    np.testing.assert_allclose(library.bends(states, i, j), bend, rtol=1e-4, atol=1e-4)

    @pytest.mark.usefixtures("double_precision")
    @pytest.mark.parametrize("name", ["pendulum", "Kepler", "Toda"])
    def test_terms_are_their_formulas_and_some_can_be_chosen(self, name):
        data = few(name)
        states, library = data.points()[:3], proposed(data)[-1]
        kept = np.arange(0, len(library), 7)
        short = library.chosen(kept)
        for own, whole in (
            (short.values(states), library.values(states)),
            (short.slopes(states, 1), library.slopes(states, 1)),
            (short.bends(states, 0, 1), library.bends(states, 0, 1)),
        ):
            np.testing.assert_allclose(own, whole[:, kept], rtol=1e-12, atol=1e-14)
        for term, column in zip(short.terms, short.values(states).T, strict=True):
            formula = parse_formula(str(term.expression), data.names)
            np.testing.assert_allclose([float(formula(x)) for x in jnp.asarray(states)], column, rtol=1e-10)

    def test_distances_that_touch_zero_are_no_terms(self):
        assert not any(one.legend for one in proposed(measured(SYSTEMS["Henon-Heiles"], 0.01, 0)))

    def test_bodies_by_their_names(self):
        data = random_data(4)
        apart = data.states + np.repeat([[0, 0, 20, 20, 0, 0, 0, 0]], 5, axis=0)
        names = ("x1", "y1", "x2", "y2", "px1", "py1", "px2", "py2")
        found = proposed(Trajectories(data.times, apart, names=names))
        assert any("r12 = " in f"{k} = {v}" for one in found for k, v in one.legend.items())
        (own,) = (one for one in found if "r12" in one.legend)
        assert own.legend["r12"] == "sqrt((x1 - x2)^2 + (y1 - y2)^2)"

    def test_too_large(self):
        with pytest.raises(LibraryError, match="has 679 terms, expected at most 500"):
            proposed(random_data(7))
        assert len(proposed(random_data(7), most_terms=700)[0]) == 679
        assert len(proposed(random_data(7), degree=2)[0]) == 119


class TestUserTerms:
    def test_are_added(self):
        data = few("Kepler")
        plain, own = proposed(data)[0], proposed(data, terms=["1/sqrt(q1^2 + q2^2)"])[0]
        assert len(own) == len(plain) + 1 and own.terms[-1].name == "(1/sqrt(q1^2 + q2^2))"
        distance = np.linalg.norm(data.points()[:, :2], axis=1)
        np.testing.assert_allclose(own.values(data.points())[:, -1], 1 / distance, rtol=1e-12)

    def test_that_are_there_already_are_left_out(self):
        data = measured(SYSTEMS["Kepler"], 0.0, 0, count=10, rows=20)
        assert [len(one) for one in proposed(data, terms=["(q1 + p1)^2"])] == [
            len(one) for one in proposed(data)
        ]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("q1 + w", "unknown name 'w'"),
            ("log(q1)", "not finite at"),
            ("1/(q1 - q1)", "not finite at 64 of 64 rows"),
            ("3*2", "constant on the data"),
            ("q1**", "cannot read on"),
        ],
    )
    def test_that_do_not_serve(self, text, said):
        with pytest.raises(LibraryError, match="term") as caught:
            proposed(few("oscillator 1:2"), terms=[text])
        assert said in str(caught.value) and "\n" not in str(caught.value)

    def test_that_an_angle_does_not_allow(self):
        with pytest.raises(LibraryError, match="whole turns of an angle change it"):
            proposed(few("pendulum"), terms=["q1^2"])

    @pytest.mark.parametrize("options", [{"degree": 0}, {"most_terms": 0}])
    def test_options_out_of_range(self, options):
        with pytest.raises(LibraryError, match="got 0, expected 1 or more"):
            LibraryOptions(**options)


def truth(library: Library, name: str, states: np.ndarray) -> int:
    """How many combinations of terms the equations of motion conserve."""
    moved = SYSTEMS[name].field(states)
    along = sum(library.slopes(states, i) * moved[:, [i]] for i in range(states.shape[1]))
    return len(null_space(along / library.values(states).std(axis=0), 1e-9).basis)


class TestCounts:
    @pytest.mark.parametrize(
        ("name", "noise", "number"),
        [
            ("pendulum", 0.01, 0),
            ("pendulum", 0.03, 0),
            ("damped pendulum", 0.01, 0),
            ("damped pendulum", 0.1, 0),
            ("Sawada-Kotera", 0.03, 0),
            ("Henon-Heiles", 0.03, 0),
            ("r^4", 0.01, 0),
        ],
    )
    def test_are_those_of_the_equations(self, name, noise, number):
        data = measured(SYSTEMS[name], noise, 0)
        found = LibrarySpace.of(data, proposed(data)[number], None)
        assert found.space.rank == truth(found.library, name, data.points()[::5])
        assert found.doubts([]) == ()

    def test_of_irregular_times_and_unequal_lengths(self):
        data = measured(SYSTEMS["pendulum"], 0.01, 3)
        keep = np.random.default_rng(0).random(data.times.shape) < 0.7
        segments = [
            (t[k][: 20 + n % 8], x[k][: 20 + n % 8])
            for n, (t, x, k) in enumerate(zip(data.times, data.states, keep, strict=True))
        ]
        uneven = Trajectories.of_segments(segments, periods=data.periods)
        found = LibrarySpace.of(uneven, proposed(uneven)[0], None)
        assert (found.space.rank, found.independent, found.doubts([])) == (2, 1, ())


@pytest.fixture(scope="module")
def kepler() -> Beyond:
    return nr.conserved_library(measured(SYSTEMS["Kepler"], 0.01, 0))


class TestKepler:
    def test_counts_and_verdict(self, kepler):
        assert (kepler.linear, kepler.independent, kepler.ceiling, kepler.decided) == (4, 3, 3, True)
        assert kepler.verdict == "Liouville integrable, maximally superintegrable"
        assert (kepler.poisson_rank, kepler.involution, kepler.undecided) == (2, 2, ())
        assert [one.independent for one in kepler.searched] == [1, 3, 1]

    def test_formulas(self, kepler):
        momentum, energy, first, second = kepler.quantities
        assert momentum.formula == "q1*p2 - q2*p1"
        assert energy.name == "H" and energy.note == "the energy H"
        assert set(energy.coefficients) == {"p1^2", "p2^2", "1/r"}
        assert {frozenset(one.coefficients) for one in (first, second)} == {
            frozenset({"q1*p1*p2", "q2*p1^2", "q2/r"}),
            frozenset({"q1*p2^2", "q2*p1*p2", "q1/r"}),
        }
        assert [one.generator for one in kepler.quantities] == [True, True, True, False]
        assert kepler.legend == {"r": "sqrt(q1^2 + q2^2)"}
        for one in kepler.quantities:
            assert 0.5 < one.ratio < 1.35 and one.snr > 25 and one.bracket < 5e-3
            for value in one.coefficients.values():
                assert min(abs(abs(value) - size) for size in (0.5, 1)) < 0.02

    def test_hamiltonian(self, kepler):
        energy = kepler.hamiltonian
        assert energy.source == "shooting" and 0.6 < energy.chi2_dof < 1.3
        for term, value in {"p1^2": 0.5, "p2^2": 0.5, "1/r": -1.0}.items():
            found, error = energy.coefficients[term]
            assert abs(found - value) < max(4 * error, 1e-3) and error < 0.01

    def test_brackets(self, kepler):
        names = [one.name for one in kepler.quantities]
        table = {(names[i - 1], names[j - 1]): text for i, j, text in kepler.brackets}
        assert table["I1", "H"] == table["H", "I3"] == table["H", "I4"] == "0"
        assert {table["I1", "I3"], table["I1", "I4"]} == {"I4", "-I3"}
        assert table["I3", "I4"].replace("-", "") == "2*I1*H"
        assert kepler.algebra == "so(3)"
        assert len(kepler.relations) == 1 and kepler.relations[0].startswith("I4^2 = ")

    def test_is_written_and_read(self, kepler):
        written = json.loads(json.dumps(kepler.to_json(), allow_nan=False))
        assert Beyond.from_json(written).to_json() == kepler.to_json()
        assert written["library"]["terms"] == 52 and written["library"]["degree"] == 3
        assert (
            written["quantities"][1]["lambda"] == kepler.quantities[1].ratio and written["evidence"] is None
        )

    def test_is_printed(self, kepler):
        lines = beyond_text({"beyond": kepler.to_json()})
        assert max(map(len, lines)) <= 120
        text = " ".join(" ".join(lines).split())
        assert "three independent quantities, and no fourth can exist: Liouville integrable" in text
        assert "where r = sqrt(q1^2 + q2^2)" in text and "{I1, I3} = " in text
        assert "| Poisson bracket | value |" in beyond_section({"beyond": kepler.to_json()})
        assert repr(kepler).startswith("Beyond(4 linear, 3 independent of at most 3 among 52 terms\n")


def exact_hamiltonian(name: str, library: Library, error: float) -> ShotHamiltonian:
    """H of a system as if it were fitted to coefficients with a relative error."""
    place = {term.name: k for k, term in enumerate(library.terms)}
    known = {
        "Kepler": {"p1^2": 0.5, "p2^2": 0.5, "1/r": -1.0},
        "Kepler in space": {"p1^2": 0.5, "p2^2": 0.5, "p3^2": 0.5, "1/r": -1.0},
        "Toda": {"p1^2": 0.5, "p2^2": 0.5, "p3^2": 0.5}
        | {"exp(q1 - q2)": 1.0, "exp(-q1 + q3)": 1.0, "exp(q2 - q3)": 1.0},
        "Henon-Heiles": {"q1^2": 0.5, "q2^2": 0.5, "p1^2": 0.5, "p2^2": 0.5, "q1^2*q2": 1.0, "q2^3": -1 / 3},
    }[name]
    of = library.chosen(np.array(sorted(place[term] for term in known)))
    values = np.array([known[term.name] for term in of.terms])
    measured_as = values * (1 + error * np.random.default_rng(1).normal(size=len(values)))
    return ShotHamiltonian(of, measured_as, np.diag((error * values) ** 2), 1.0, 0.0)


class TestOutliers:
    @pytest.mark.slow
    def test_many_rows_that_jump_leave_the_count_open(self):
        """One library sees fewer of them, and none of what is conserved."""
        random, times = np.random.default_rng(4), 0.3 * np.arange(45)

        def moved(states):
            x, y, u, w = states.T
            return np.stack([u, w, -x - x * y, -1.7 * y - x**2 / 2], axis=1)

        states = followed(moved, random.uniform(-0.7, 0.7, (40, 4)), times)
        spread = states.reshape(-1, 4).std(axis=0)
        noisy = states + 0.005 * spread * random.standard_t(2, size=states.shape)
        far = random.random(states.shape) < 0.003
        noisy = np.where(far, noisy + 5 * spread * random.normal(size=states.shape), noisy)
        found = nr.conserved_library(Trajectories(np.tile(times, (40, 1)), noisy))
        assert not found.clear and any("jump away and back" in doubt for doubt in found.undecided)


class TestHamiltonian:
    @pytest.mark.parametrize("name", ["pendulum", "Kepler", "Toda"])
    def test_features_are_the_terms_with_their_derivatives(self, name):
        data = few(name)
        library, scale, states = proposed(data)[-1], fit_scale(data), data.points()[::9]
        features = LibraryFeatures.of(library, scale, states)
        scaled, scales = scale.states(states), scale.scales
        np.testing.assert_allclose(features.values_at(scaled) * features.units, library.values(states))
        with jax.enable_x64(True):
            weights = jnp.asarray(np.random.default_rng(0).normal(size=features.size))

            @jax.jit
            @jax.vmap
            def both(x):
                return features.slopes_of_all(x), features.slopes(x, features.prepared(weights)).hessian

            slopes, found = map(np.asarray, both(jnp.asarray(scaled)))
        np.testing.assert_allclose(slopes, features.gradients(scaled), rtol=1e-9, atol=1e-12)
        for i, j in np.ndindex(found.shape[1:]):
            own = library.bends(states, i, j) / features.units @ np.asarray(weights) * scales[i] * scales[j]
            np.testing.assert_allclose(found[:, i, j], own, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(("name", "linear"), [("Kepler", 4), ("Toda", 6), ("Henon-Heiles", 1)])
    @pytest.mark.parametrize("error", [1e-9, 1e-3, 5e-3])
    def test_what_commutes_with_it(self, name, linear, error):
        data = measured(SYSTEMS[name], 0.01, 0)
        library = proposed(data)[{"Kepler": 1, "Toda": 1, "Henon-Heiles": 0}[name]]
        shot = exact_hamiltonian(name, library, error)
        found = commuting(library, shot, data.points(), fit_scale(data))
        assert (found.rank, found.clear) == (linear, True)
        listed = listed_by_hamiltonian(library, found, shot, data, None)
        assert {"Kepler": 3, "Toda": 3, "Henon-Heiles": 1}[name] == listed.independent
        assert all(one.bracket < 10 * error + 1e-6 for one in listed.quantities)

    def test_errors_of_what_commutes_are_those_of_its_gauge(self):
        """What two oscillators of nearly one frequency conserve beside H depends much on it, and is fixed
        by the multiple of H that leaves no q2^2 in it.
        """
        random = np.random.default_rng(0)
        data = Trajectories(np.tile(np.arange(20) * 0.3, (10, 1)), random.normal(size=(10, 20, 4)))
        library = proposed(data)[0].chosen(np.arange(14))
        names = ["q1^2", "q1*q2", "q2^2", "p1^2", "p2^2"]
        order = sorted(names, key=[term.name for term in library.terms].index)
        truth = {"q1^2": 0.5, "q1*q2": 0.03, "q2^2": 0.53, "p1^2": 0.5, "p2^2": 0.5}
        error, places = 1e-4, [order.index(name) for name in names]

        def quantity(values):
            """Coefficients of q1^2, q1*q2, p1^2, p1*p2, p2^2, without q2^2."""
            a, b, c, one, two = np.asarray(values)[places]
            stiff, light = np.array([[2 * a, b], [b, 2 * c]]), np.diag([2 * one, 2 * two])
            x, p = stiff @ light @ stiff, light @ stiff @ light
            row = np.array([x[0, 0], 2 * x[0, 1], x[1, 1], p[0, 0], 2 * p[0, 1], p[1, 1]])
            row = row - row[2] / c * np.array([a, b, c, one, 0, two])
            return row[[0, 1, 3, 4, 5]]

        values = np.array([truth[name] for name in order])
        of = library.chosen(np.array([[t.name for t in library.terms].index(name) for name in order]))
        shot = ShotHamiltonian(of, values, np.diag(np.full(5, error**2)), 1.0, 0.0)
        found = commuting(library, shot, data.points(), fit_scale(data))
        assert found.rank == 2
        rows = gauged_rows(found, shot.covariance)
        every = [term.name for term in library.terms]
        one = next(row for row in rows if row.values[every.index("q2^2")] == 0 and row.values.any())
        at = [every.index(name) for name in ("q1^2", "q1*q2", "p1^2", "p1*p2", "p2^2")]
        assert one.pivot in at
        drawn = np.array([quantity(values + error * random.normal(size=5)) for _ in range(400)])
        drawn /= drawn[:, [at.index(one.pivot)]]
        np.testing.assert_allclose(one.values[at], drawn.mean(axis=0), atol=1e-3)
        told = np.sqrt(np.diag(one.covariance))[at]
        np.testing.assert_allclose(told, drawn.std(axis=0), rtol=0.3, atol=1e-8)

    def test_a_hamiltonian_that_is_hardly_known_decides_nothing(self):
        data = measured(SYSTEMS["Henon-Heiles"], 0.01, 0)
        library = proposed(data)[0]
        shot = exact_hamiltonian("Henon-Heiles", library, 0.5)
        assert not commuting(library, shot, data.points(), fit_scale(data)).clear

    @pytest.mark.parametrize(("error", "clear"), [(2e-4, False), (5e-4, True)])
    def test_a_library_that_does_not_tell_is_a_doubt_of_one_that_does(self, error, clear):
        """Polynomials alone hold two functions of the angular momentum, whatever a small term of H does to
        the vector of a planet.
        """
        data = measured(SYSTEMS["Kepler"], 0.03, 2)
        libraries_of = proposed(data)
        names = [term.name for term in libraries_of[1].terms]
        values = {"p1^2": 0.5, "p2^2": 0.5, "1/r": -1.0, "r": -1.7e-3}
        of = libraries_of[1].chosen(np.array(sorted(names.index(name) for name in values)))
        order = [term.name for term in of.terms]
        errors = np.array([error if name == "r" else 1e-5 for name in order])
        shot = ShotHamiltonian(of, np.array([values[name] for name in order]), np.diag(errors**2), 1.0, 0.0)
        found = commuting_route(shot, data, libraries_of, None)
        assert found is not None and found.clear == clear
        assert clear or (found.counts[1] == 2 and "errors of H leave open" in found.doubts[0])

    def test_is_found_under_noise(self):
        data = measured(SYSTEMS["pendulum"], 0.1, 0)
        shot = shot_hamiltonian(data, proposed(data)).hamiltonian
        assert shot is not None and [term.name for term in shot.library.terms] == ["p1^2", "cos(q1)"]
        off = np.abs(shot.coefficients - [0.5, -1.0])
        assert np.all(off < 3.5 * shot.errors) and np.all(shot.errors < 0.01)

    def test_the_next_library_is_named_where_it_chooses_other_terms(self):
        for name, text in (("Kepler", "polynomials of degree 4 would take"), ("Henon-Heiles", "")):
            data = measured(SYSTEMS[name], 0.01, 0)[:20]
            fitted = shot_hamiltonian(data, proposed(data)).fitted
            assert fitted is not None and text in fitted.runner_up and bool(fitted.runner_up) == bool(text)

    def test_friction_is_no_hamiltonian(self):
        data = measured(SYSTEMS["damped pendulum"], 0.01, 0)
        found = shot_hamiltonian(data, proposed(data))
        assert found.hamiltonian is None and "friction" in found.why

    @pytest.mark.slow
    def test_of_particles_that_repel_each_other(self):
        # From all terms that are near the wall, the fit does not find its way: from few it does.
        found = nr.conserved_library(calogero())
        assert [one.formula for one in found.quantities] == [
            "q1*q2 + p1*p2 - 1/(q1 - q2)^2",
            "(1/2)*q1^2 + (1/2)*q2^2 + (1/2)*p1^2 + (1/2)*p2^2 + 1/(q1 - q2)^2",
        ]
        assert found.undecided == () and {one.source for one in found.quantities} == {"hamiltonian"}

    @pytest.mark.slow
    def test_is_undecided_where_no_fit_of_H_finds_its_way(self):
        found = nr.conserved_library(calogero(2.5))
        assert found.hamiltonian is None or found.hamiltonian.source != "shooting"
        assert any("no fit of H converged" in doubt for doubt in found.undecided) and not found.decided

    @pytest.mark.slow
    def test_shows_all_laws_under_noise_that_hides_them(self):
        found = nr.conserved_library(measured(SYSTEMS["Kepler"], 0.1, 0))
        assert (found.linear, found.independent, found.decided) == (4, 3, True)
        assert {one.source for one in found.quantities} == {"hamiltonian"}
        assert found.quantities[0].formula == "q1*p2 - q2*p1"


def calogero(speed: float = 0.7) -> Trajectories:
    """Two particles on a line, in a harmonic well, that repel each other by 1 / (q1 - q2)^2, with noise."""
    random, times = np.random.default_rng(5), np.arange(40) * 0.15
    places = np.sort(random.normal(size=(50, 2))) + np.array([-0.6, 0.6])
    starts = np.concatenate([places, speed * random.normal(size=(50, 2))], axis=1)

    def field(time: float, x: np.ndarray) -> np.ndarray:
        push = 2 / (x[0] - x[1]) ** 3
        return np.array([x[2], x[3], push - x[0], -push - x[1]])

    span = (0, times[-1])
    states = np.stack([solve_ivp(field, span, x, t_eval=times, rtol=1e-10, atol=1e-12).y.T for x in starts])
    return Trajectories(np.tile(times, (50, 1)), states + 0.01 * random.normal(size=states.shape))


def planets_in_space(count: int = 20, rows: int = 20, noise: float = 0.0) -> Trajectories:
    """Ellipses of random planes about the origin, with noise of a share of the spreads."""
    random = np.random.default_rng(0)

    def field(states: np.ndarray) -> np.ndarray:
        q, p = np.split(states, 2, axis=1)
        return np.concatenate([p, -q / np.linalg.norm(q, axis=1, keepdims=True) ** 3], axis=1)

    frames = np.linalg.qr(random.normal(size=(count, 3, 3)))[0]
    axis, eccentricity = random.uniform(0.7, 1.4, count), random.uniform(0.1, 0.5, count)
    nearest = axis * (1 - eccentricity)
    speed = np.sqrt((1 + eccentricity) / nearest)
    starts = np.concatenate([nearest[:, None] * frames[:, 0], speed[:, None] * frames[:, 1]], axis=1)
    times = 0.2 * np.arange(rows)
    states = followed(field, starts, times)
    states = states + noise * states.reshape(-1, 6).std(axis=0) * random.normal(size=states.shape)
    return Trajectories(np.tile(times, (count, 1)), states)


def three_bodies(count: int, rows: int, noise: float) -> Trajectories:
    """Three masses in the plane that attract each other, from turning triangles: motions without close
    meetings.
    """
    random, masses, times = np.random.default_rng(0), np.array([1.0, 1.2, 0.8]), 0.16 * np.arange(rows)

    def parts(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions and momenta of bodies, and positions from each to each."""
        q, p = (half.reshape(*half.shape[:-1], 3, 2) for half in np.split(states, 2, axis=-1))
        return q, p, q[..., None, :, :] - q[..., :, None, :]

    def field(states: np.ndarray) -> np.ndarray:
        _, p, apart = parts(states)
        cube = (np.linalg.norm(apart, axis=-1, keepdims=True) + np.eye(3)[..., None]) ** 3
        force = np.sum(masses[:, None, None] * masses[:, None] * apart / cube, axis=2)
        return np.concatenate([p / masses[:, None], force], axis=1).reshape(-1, 12)

    def usable(paths: np.ndarray) -> np.ndarray:
        _, p, apart = parts(paths)
        distances = np.linalg.norm(apart, axis=-1)[..., [0, 0, 1], [1, 2, 2]]
        pulls = masses[[0, 0, 1]] * masses[[1, 2, 2]] / distances
        energy = np.sum(p**2 / masses[:, None], axis=(2, 3)) / 2 - pulls.sum(axis=2)
        return (distances.min(axis=(1, 2)) > 0.35) & (np.ptp(energy, axis=1) < 1e-5)

    found: list[np.ndarray] = []
    while len(found) < count:
        size = random.uniform(0.8, 1.2, (count, 1))
        angles = random.uniform(0, 2 * np.pi, (count, 1)) + np.array([0, 2, 4]) * np.pi / 3
        angles = angles + 0.25 * random.normal(size=(count, 3))
        q = np.stack([np.cos(angles), np.sin(angles)], axis=2)
        q = q * (size * (1 + 0.15 * random.normal(size=(count, 3))))[..., None]
        rate = random.choice([-1, 1], (count, 1)) * random.uniform(0.5, 0.9, (count, 1)) / size**1.5
        speed = rate[..., None] * np.stack([-q[..., 1], q[..., 0]], axis=2)
        speed = speed + 0.15 * random.normal(size=q.shape) + 0.3 * random.normal(size=(count, 1, 2))
        q = q + 0.5 * random.normal(size=(count, 1, 2))
        starts = np.concatenate([q, masses[:, None] * speed], axis=1).reshape(count, 12)
        paths = followed(field, starts, times, 20)
        found += list(paths[usable(paths)])
    states = np.array(found[:count])
    spread = states.reshape(-1, 12).std(axis=0)
    block = np.repeat([np.sqrt(np.mean(part**2)) for part in np.split(spread, 2)], 6)
    names = tuple(f"{letter}{axis}{body}" for letter in ("", "p") for body in (1, 2, 3) for axis in "xy")
    states = states + noise * block * random.normal(size=states.shape)
    return Trajectories(np.tile(times, (count, 1)), states, names=names)


LENZ = "p2*(q1*p2 - q2*p1) - q1/sqrt(q1**2 + q2**2)"
CUBIC = "p1*p2*p3 - p1*exp(q2 - q3) - p2*exp(q3 - q1) - p3*exp(q1 - q2)"


class TestThreeBodies:
    @pytest.mark.slow
    def test_all_laws_of_a_file(self, tmp_path):
        save_trajectories(tmp_path / "bodies.npz", three_bodies(200, 50, 0.01))
        found = nr.conserved_library(nr.load_trajectories(tmp_path / "bodies.npz"))
        assert (found.linear, found.independent, found.undecided) == (18, 5, ())
        assert found.hamiltonian is not None and set(found.hamiltonian.coefficients) == {
            *(f"p{axis}{body}^2" for axis in "xy" for body in (1, 2, 3)),
            *("1/r12", "1/r13", "1/r23"),
        }


class TestEvidence:
    @pytest.mark.parametrize(
        ("name", "text", "kept"),
        [
            ("Kepler", LENZ, ["p1^2", "p2^2", "1/r"]),
            # That of another mass.
            ("Kepler", LENZ.replace("- q1/", "- 2*q1/"), ["p1^2", "p2^2", "1/r"]),
            ("Kepler", LENZ.replace("- q1/", "- q1*q2/"), []),
            ("Toda", CUBIC, ["p1^2", "p2^2", "p3^2", "exp(q1 - q2)", "exp(-q1 + q3)", "exp(q2 - q3)"]),
            ("Henon-Heiles", "(p1^2 + p2^2 + q1^2 + q2^2)/2 + q1^2*q2 - q2^3/3", None),
            ("Henon-Heiles", "p1^3*q2 + q1^4 + p2^4", []),
        ],
    )
    def test_what_a_symmetry_leaves_of_a_library(self, name, text, kept):
        data = measured(SYSTEMS[name], 0.01, 0)
        library, scale = proposed(data)[0 if name == "Henon-Heiles" else 1], fit_scale(data)
        short = [term.name for term in library.terms]
        if name == "Toda":
            own = [k for k, term in enumerate(short) if "exp" in term or "^2" in term]
            library = library.chosen(np.array(own))
            short = [short[k] for k in own]
        features = LibraryFeatures.of(library, scale, data.points())
        question = question_of(text, formula_terms(text, data), scale)
        states = scale.states(data.points()[::7])
        exact, near, others = question.parts(features, states)
        every = np.concatenate([exact, near, others], axis=1)
        np.testing.assert_allclose(every.T @ every, np.eye(features.size), atol=1e-8)
        found = {short[k] for k in np.flatnonzero(np.abs(exact).max(axis=1, initial=0.0) > 1e-9)}
        if kept is None:
            assert exact.shape[1] == 1 and found == {"p1^2", "p2^2", "q1^2", "q2^2", "q1^2*q2", "q2^3"}
        else:
            assert set(kept) <= found if kept else not {"p1^2", "p2^2"} & found
        fields = question.fields(states)
        brackets = np.einsum("kri,rip->krp", fields, features.gradients(states)) @ exact
        assert np.abs(brackets).max(initial=0.0) < 1e-6 * np.abs(fields).max()

    def test_of_a_pendulum(self):
        data = measured(SYSTEMS["pendulum"], 0.01, 0)
        found = nr.evidence(data, ["p1**2/2 - cos(q1)", "p1**2/2 - 1.2*cos(q1)"])
        assert [one.verdict for one in found] == ["exact", "rejected"]
        assert found[0].gain > 10 and found[1].gain < -100
        assert found.engine == "library" and found.space is None and found.adequate and not found.withdrawn
        assert all(gain < -100 for gain in found.controls.values())
        assert "cos(q1)" in str(found) and "rank" not in repr(found)
        written = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert nr.Evidence.from_json(written).to_json() == written
        with pytest.raises(ValueError, match="known where H is a polynomial alone"):
            _ = found.rank

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("p1^3 + w", "unknown name 'w'"),
            ("log(p1)", "not finite at"),
            ("cos(q1)^2 + sin(q1)^2", "constant on the data"),
            ("q1^4", "whole turns of an angle change it"),
        ],
    )
    def test_formulas_that_cannot_be_judged(self, text, said):
        with pytest.raises(HypothesisError, match="formula") as caught:
            nr.evidence(few("pendulum"), [text])
        assert said in str(caught.value) and "\n" not in str(caught.value)

    def test_the_space_is_not_asked_about_with_them(self):
        with pytest.raises(nr.EvidenceError, match="space degree: got 3, expected 2"):
            nr.evidence(few("pendulum"), ["cos(q1)"], space_degree=3)

    @pytest.mark.slow
    @pytest.mark.parametrize("noise", [0.01, 0.03])
    @pytest.mark.parametrize(
        ("name", "true", "false"),
        [
            ("Kepler", LENZ, LENZ.replace("- q1/", "- 2*q1/")),
            ("Kepler", "q1*p2 - q2*p1", "q1*p1 + q2*p2"),
            ("oscillator 1:2", "q2*(p1^2 - q1^2) - q1*p1*p2", "q2*(p1^2 - q1^2) - 2*q1*p1*p2"),
            ("Toda", CUBIC, CUBIC.replace("p3*exp(q1 - q2)", "p3*exp(q2 - q1)")),
            (
                "Henon-Heiles",
                "(p1^2 + p2^2 + q1^2 + q2^2)/2 + q1^2*q2 - q2^3/3",
                "p1*p2 + q1*q2 + q1*q2^2 + q1^3/3",
            ),
        ],
    )
    def test_of_known_laws(self, name, true, false, noise):
        found = nr.evidence(measured(SYSTEMS[name], noise, 3), [true, false])
        assert [one.verdict for one in found] == ["exact", "rejected"]

    @pytest.mark.slow
    def test_where_h_is_in_no_library_there_is_no_verdict(self):
        with pytest.raises(nr.EvidenceError, match="no verdict can be given"):
            nr.evidence(measured(SYSTEMS["double pendulum"], 0.01, 0), ["p1^4 + p2^4"])


class TestTies:
    def test_equal_sizes_become_one(self):
        draws = np.random.default_rng(0)
        truth = np.array([0.5, 0.5, -1.0, 0.5, 0.504])
        covariance = np.diag([1e-3, 2e-3, 1e-3, 1e-3, 1e-3]) ** 2
        values = truth + np.sqrt(np.diag(covariance)) * draws.normal(size=5)
        found, left = tied(values, covariance, 2000)
        assert found[0] == found[1] == found[3] and left[0, 0] < 0.5e-6
        # The mean with weights of 1 / variance.
        weights = 1 / np.diag(covariance)[[0, 1, 3]]
        np.testing.assert_allclose(found[0], np.average(values[[0, 1, 3]], weights=weights), rtol=1e-9)
        np.testing.assert_allclose(left[0, 0], 1 / weights.sum(), rtol=1e-9)
        assert found[2] == values[2] and found[4] == values[4]

    def test_coefficients_of_unlike_units(self):
        # Positions in millimetres: the errors of some are nothing beside those of others.
        values = np.array([0.5003, 0.5001, 4.01e-7, 4.0e-7, 2.4e-6])
        covariance = np.diag([4e-4, 4e-4, 2e-9, 2e-9, 1e-8]) ** 2
        found, left = tied(values, covariance, 1500)
        assert found[0] == found[1] and found[2] == found[3] and found[4] == values[4]
        np.testing.assert_allclose(np.sqrt(np.diag(left)[[0, 2]]), [4e-4 / 2**0.5, 2e-9 / 2**0.5], rtol=1e-6)
        # A sure coefficient and unsure ones that are as large.
        sure = np.diag([1e-3, 1e-12, 1e-3]) ** 2
        found, left = tied(np.array([0.5, 0.5005, 0.5]), sure, 1500)
        np.testing.assert_allclose(found, 0.5005, rtol=1e-9)
        assert left[0, 0] < 1e-20

    def test_text(self):
        pairs = {"p1^2": (0.5, 1e-3), "p2^2": (0.5, 1e-3), "cos(q1)": (-1.0, 2e-3), "cos(q2)": (1.0, 2e-3)}
        assert hamiltonian_text(pairs) == "0.5000(10) (p1^2 + p2^2) - 1.000(2) (cos(q1) - cos(q2))"


class TestSuggestions:
    """What a learned H suggests; here one that errs by a little is written down."""

    def test_what_it_nearly_commutes_with(self):
        data = measured(SYSTEMS["Kepler"], 0.002, 0)

        def learned(x: jax.Array) -> jax.Array:
            r = jnp.sqrt(x[0] ** 2 + x[1] ** 2)
            return (x[2] ** 2 + x[3] ** 2) / 2 - 1 / r + 0.005 * x[0] * jnp.sin(x[1])

        assert 0.001 < field_error(data, learned) < 0.05
        found = suggested(data, learned, data, ["q1*p2 - q2*p1"], LibraryOptions())
        assert [one.name for one in found.quantities] == ["N1", "N2"]
        for one in found.quantities:
            assert one.source == "network" and not one.generator and one.limit < 0.1
            assert "suggested by the learned Hamiltonian" in one.note

    def test_a_bad_hamiltonian_suggests_nothing(self):
        data = measured(SYSTEMS["Kepler"], 0.002, 0)
        found = suggested(data, lambda x: x @ x / 2, data, [], LibraryOptions())
        assert found.quantities == () and found.error > 0.1


class TestSurfaces:
    def test_planets_in_space_have_the_algebra_of_rotations_in_four_dimensions(self):
        data = planets_in_space()
        library = proposed(data)[1]
        shot = exact_hamiltonian("Kepler in space", library, 1e-3)
        found = commuting(library, shot, data.points(), fit_scale(data))
        assert (found.rank, found.clear) == (7, True)
        members = listed_by_hamiltonian(library, found, shot, data, 1e-6).members()
        assert surface_algebra(members, brackets_of(members).relations) == "so(3)+so(3) = so(4)"

    @pytest.mark.slow
    def test_planets_in_space_under_noise(self):
        found = nr.conserved_library(planets_in_space(50, 40, 0.01))
        assert (found.linear, found.independent, found.decided) == (7, 5, True)
        assert found.algebra == "so(3)+so(3) = so(4)"

    def test_brackets_that_are_not_linear_have_none(self):
        data = measured(SYSTEMS["Toda"], 0.01, 0)
        library = proposed(data)[1]
        shot = exact_hamiltonian("Toda", library, 1e-3)
        found = commuting(library, shot, data.points(), fit_scale(data))
        members = listed_by_hamiltonian(library, found, shot, data, None).members()
        assert surface_algebra(members, brackets_of(members).relations) == ""


def two_oscillators(squared: float) -> Trajectories:
    """Of frequencies 1 and the root of `squared`, 40 trajectories of 41 rows with 3 % noise."""
    random, times = np.random.default_rng(1), np.linspace(0, 10, 41)
    frequencies = np.array([1.0, squared**0.5])
    sizes, phases = random.normal(size=(40, 1, 2)), random.uniform(0, 2 * np.pi, (40, 1, 2))
    angles = times[:, None] * frequencies + phases
    q, p = sizes * np.cos(angles), -sizes * frequencies * np.sin(angles)
    states = np.concatenate([q, p], axis=2)
    noise = 0.03 * states.reshape(-1, 4).std(axis=0) * random.normal(size=states.shape)
    return Trajectories(np.tile(times, (40, 1)), states + noise)


class TestAnswers:
    def test_equal_frequencies_are_equal_as_far_as_h_is_known(self):
        found = nr.conserved_library(two_oscillators(1.0), degree=2)
        assert (found.linear, found.independent, found.decided) == (4, 3, True)
        (said,) = [note for note in found.notes if note.startswith("errors of H leave room")]
        share = float(said.split(" of up to ")[1].split(" %")[0])
        # Frequencies differ by less than 0.1 %, and |{C, H}| is about half of that.
        assert 0.002 < share < 0.05

    def test_nearly_equal_frequencies_decide_nothing(self):
        # In these times phases differ by 0.01, less than the noise; H knows its coefficients to 0.0002.
        found = nr.conserved_library(two_oscillators(1.002), degree=2)
        assert found.independent == 3 and not found.clear
        assert "H as it was measured changes all but 2 of them slowly" in found.undecided[0]

    @pytest.mark.slow
    def test_a_weak_coupling_that_only_h_shows_decides_nothing(self):
        # Two quartic oscillators; 1 % noise hides that their energies change by the coupling.
        random, times = np.random.default_rng(0), np.linspace(0, 10, 41)

        def field(states: np.ndarray) -> np.ndarray:
            q, p = np.split(states, 2, axis=1)
            return np.concatenate([p, -(q**3) - 0.003 * q * q[:, ::-1] ** 2], axis=1)

        states = followed(field, random.normal(size=(60, 4)), times)
        states = states + 0.01 * states.reshape(-1, 4).std(axis=0) * random.normal(size=states.shape)
        found = nr.conserved_library(Trajectories(np.tile(times, (60, 1)), states))
        assert found.independent == 2 and "H as it was measured" in found.undecided[0]

    def test_of_a_noisy_pendulum(self):
        found = nr.conserved_library(measured(SYSTEMS["pendulum"], 0.03, 0))
        energy = found.quantities[0]
        assert set(energy.coefficients) == {"p1^2", "cos(q1)"} and found.decided
        ratio = energy.coefficients["cos(q1)"] / energy.coefficients["p1^2"]
        assert abs(ratio + 2) < 0.06
        assert (found.linear, found.independent, found.verdict) == (2, 1, "Liouville integrable")

    def test_of_what_is_lost_in_noise_is_undecided(self):
        found = nr.conserved_library(measured(SYSTEMS["pendulum"], 0.7, 0)[np.arange(3)])
        assert not found.clear and not found.decided and found.verdict.startswith("no verdict")
        assert (
            "undecided: "
            in beyond_text({"beyond": found.to_json()})[1] + beyond_text({"beyond": found.to_json()})[0]
        )

    def test_where_nothing_moves_no_hamiltonian_is_looked_for(self):
        found = nr.conserved_library(measured(SYSTEMS["pendulum"], 1.0, 0))
        nothing = "nothing moves along trajectories beyond noise"
        assert found.hamiltonian is None and nothing in found.undecided
        assert f"no Hamiltonian as a formula: {nothing}" in found.notes

    def test_term_of_the_user_is_used(self):
        # Polynomials alone do not hold the energy of this well.
        data = measured(SYSTEMS["Morse"], 0.01, 0)
        with_term = nr.conserved_library(data, terms=["exp(-q1)", "exp(-2*q1)"])
        assert with_term.decided and set(with_term.quantities[0].coefficients) == {
            "p1^2",
            "(exp(-q1))",
            "(exp(-2*q1))",
        }


class TestDiscovery:
    def test_says_it_after_the_quadratic_answer(self, tmp_path):
        data = measured(SYSTEMS["pendulum"], 0.01, 0)
        first = first_words(data, RECIPE)
        found = with_beyond(first, RECIPE, LibraryOptions())
        assert (first.rank, first.beyond, found.rank) == (0, None, 0)
        assert found.beyond is not None and found.beyond.decided and found.failed == {}
        symmetry = found.to_json()
        assert symmetry["rank"] == 0 and symmetry["beyond"]["independent"] == 1
        assert "beyond degree two, among 16 terms" in str(found)
        page = answer_html(symmetry)
        assert "<h2>Beyond degree two</h2>" in page and "no second can exist" in page
        found.save(tmp_path / "run")
        assert Discovery.load(tmp_path / "run").beyond == found.beyond

    def test_nothing_is_added_to_a_full_answer(self):
        # Two equal oscillators have three independent quantities of degree two, and no more can exist.
        angle = 0.3 * np.arange(40)
        random = np.random.default_rng(0)
        first, second = random.normal(size=(2, 30, 1, 2))
        turned = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
        momenta = -np.sin(angle)[:, None] * first + np.cos(angle)[:, None] * second
        states = np.concatenate([turned, momenta], axis=2) + 0.01 * random.normal(size=(30, 40, 4))
        data = Trajectories(np.tile(angle, (30, 1)), states)
        found = with_beyond(first_words(data, RECIPE), RECIPE, LibraryOptions())
        assert found.beyond is not None and found.beyond.decided
        assert (found.beyond.library.degree, found.beyond.independent) == (2, 3)

    def test_a_failure_costs_that_part(self):
        states = np.random.default_rng(0).normal(size=(12, 40, 14)).cumsum(axis=1)
        data = Trajectories(np.tile(np.arange(40.0), (12, 1)), states)
        found = with_beyond(first_words(data, RECIPE), RECIPE, LibraryOptions())
        assert found.beyond is None
        assert "679 terms, expected at most 500" in found.failed["beyond degree two"]

    def test_bad_input_is_refused_before_anything_is_written(self, tmp_path):
        save_trajectories(tmp_path / "data.npz", few("oscillator 1:2"))
        config = discover_config(tmp_path / "data.npz")
        folder = RunFolder(tmp_path / "run")
        for options, said in [
            (LibraryOptions(terms=("log(q1)",)), "--term 'log(q1)': not finite"),
            (LibraryOptions(degree=30), "expected at most 500"),
        ]:
            with pytest.raises(ConfigError) as caught:
                discover_run(config, folder, library=options)
            assert said in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(ConfigError, match="family: got dictionary 'libary', expected one of library"):
            discover_run(config, folder, family="libary")
        assert not folder.path.exists()

    def test_bad_input_on_the_command_line(self, tmp_path: Path):
        save_trajectories(tmp_path / "data.npz", few("oscillator 1:2"))
        assert_bad_input(
            run("discover", tmp_path / "data.npz", "--degree", "0"), "--degree: got 0, expected 1 or more"
        )


def planet_members() -> Members:
    """Kepler's quantities without errors: L, H, and both components of the vector."""
    states = measured(SYSTEMS["Kepler"], 0.0, 1, count=10, rows=10).points()
    x, y, p, s = states.T
    r, momentum = np.hypot(x, y), x * s - y * p
    zero, cube = np.zeros_like(x), r**3
    values = [momentum, p**2 / 2 + s**2 / 2 - 1 / r, s * momentum - x / r, -p * momentum - y / r]
    gradients = [
        np.stack([s, -p, -y, x], axis=1),
        np.stack([x / cube, y / cube, p, s], axis=1),
        np.stack([s**2 - y**2 / cube, -p * s + x * y / cube, -y * s, momentum + x * s], axis=1),
        np.stack([-p * s + x * y / cube, p**2 - x**2 / cube, -momentum + p * y, -p * x], axis=1),
    ]
    return Members(
        names=("L", "H", "A1", "A2"),
        values=np.stack(values, axis=1) + zero[:, None],
        gradients=np.stack(gradients, axis=1),
        errors=np.zeros(4),
        generating=(0, 1, 2),
        action=1.0,
    )


class TestBrackets:
    def test_of_kepler(self):
        found = brackets_of(planet_members())
        assert found == Brackets(
            table=(
                (1, 2, "0"),
                (1, 3, "A2"),
                (1, 4, "-A1"),
                (2, 3, "0"),
                (2, 4, "0"),
                (3, 4, "-2*L*H"),
            ),
            relations=("A2^2 = 1 - A1^2 + 2*L^2*H",),
            poisson_rank=2,
            involution=2,
        )

    @pytest.mark.parametrize(
        ("counts", "said"),
        [
            ((3, 2, 2), "Liouville integrable, maximally superintegrable"),
            ((2, 2, 2), "Liouville integrable"),
            ((4, 3, 3), "Liouville integrable, superintegrable"),
            ((1, 1, 2), "not shown to be integrable: 1 in involution, 2 are needed"),
            ((0, 0, 2), "no conserved quantity among these terms"),
        ],
    )
    def test_verdicts(self, counts, said):
        independent, involution, dof = counts
        assert verdict(independent, involution, dof, hamiltonian=True, decided=False) == said


def spread(dof: int, size: float = 1.0) -> np.ndarray:
    return size * np.random.default_rng(0).normal(size=(60, 2 * dof))


CEILINGS = [
    # None of these is a system that the rule was chosen on.
    ("(p1^2 + p2^2)/2 + q1^2*q2^2/2 + (q1^4 + q2^4)/20", 2, 1),
    ("(p1^2 + p2^2 + q1^4 + q2^6)/2", 2, 2),
    ("(p1^2 + p2^2 + p3^2 + q1^2 + q2^2 + q3^2)/2", 3, 5),
    ("(p1^2 + p2^2 + p3^2)/2 + (q1^2 + q2^2 + q3^2)^2/4", 3, 4),
    ("(p1^2 + p2^2 + p3^2 + q1^4 + 2*q2^4 + q3^4)/2", 3, 3),
    ("(p1^2 + p2^2 + p3^2)/2 + q3^2*(q1^2 + q2^2)/2 + ((q1^2 + q2^2)^2 + q3^4)/20", 3, 2),
    ("(p1^2 + p2^2 + p3^2)/2 + (q1^2*q2^2 + q2^2*q3^2 + q1^2*q3^2)/2 + (q1^4 + q2^4 + q3^4)/20", 3, 1),
]


def ceiling_of(formula: str, dof: int) -> int | None:
    names = [f"{letter}{i + 1}" for letter in "qp" for i in range(dof)]
    points = np.random.default_rng(0).normal(size=(60, 2 * dof))
    found = ceiling(parse_formula(formula, names), points, canonical_scales(points))
    return found.most


class TestCeiling:
    @pytest.mark.parametrize(("formula", "dof", "count"), CEILINGS[:1])
    def test_of_a_new_system(self, formula, dof, count):
        assert ceiling_of(formula, dof) == count

    @pytest.mark.slow
    @pytest.mark.parametrize(("formula", "dof", "count"), CEILINGS[1:])
    def test_of_more_new_systems(self, formula, dof, count):
        assert ceiling_of(formula, dof) == count

    @pytest.mark.slow
    def test_is_no_less_than_what_there_is(self):
        # A harmonic oscillator beside another one does not twist, though only both energies are conserved.
        assert ceiling_of("(p1^2 + p2^2 + 2*q1^2 + q2^4)/2", 2) == 3

    def test_is_not_known_where_motion_is_not_bounded(self):
        points = np.random.default_rng(0).normal(size=(60, 4))
        formula = parse_formula("(p1^2 + p2^2)/2 - q1^2/2 + q2^2/2", ["q1", "q2", "p1", "p2"])
        found = ceiling(formula, points, canonical_scales(points))
        assert found.most is None and "24 of 24 motions of H from the data are not bounded" in found.why

    @pytest.mark.slow
    def test_a_free_centre_of_mass_does_not_matter(self):
        # Two bodies on a line: total momentum and energy; 2 n - 1 is 3, and the centre drifts as time.
        assert ceiling_of("(p1^2 + p2^2)/2 + (q1 - q2)^4/4", 2) == 2


class TestFigures:
    @pytest.mark.usefixtures("double_precision")
    def test_the_formula_is_a_function_again(self, kepler):
        beyond = kepler.to_json()
        formula = formula_of(beyond, ("q1", "q2", "p1", "p2"))
        assert formula is not None
        state = np.array([0.3, 0.4, 1.0, 0.5])
        assert float(formula(jnp.asarray(state))) == pytest.approx(0.625 - 2.0, abs=0.02)
        assert formula_of({**beyond, "hamiltonian": None}, ("q1", "q2", "p1", "p2")) is None

    def test_the_ceiling_is_drawn(self, kepler):
        beyond = kepler.to_json()
        assert ceiling_figure({"beyond": beyond}) is None and ceiling_figure({}) is None
        grown = beyond | {"exponents": [[1.0, 0.1], [3.1, 0.2], [1.1, 1.0]], "ceiling": 1, "independent": 1}
        figure = ceiling_figure({"beyond": grown})
        assert figure is not None
        assert figure.axes[0].get_title() == "At most 1 independent quantity can exist, 1 found"
        assert len(figure.axes[0].lines) == 2


@pytest.mark.parametrize("path", sorted(Path("configs/beyond").glob("*.toml")), ids=lambda path: path.stem)
def test_configs_are_read(path):
    if path.stem == "base":
        return
    config = load_config(path)
    if path.stem.startswith("learned"):
        assert config.symmetry.family != "quadratic"
    else:
        assert (config.data.noise_on, config.data.trajectories) == ("states", 50)


def test_reproduce_writes_its_table(tmp_path):
    text = reproduce("beyond", seeds=1, budget="quick", out=tmp_path)
    rows = json.loads((tmp_path / "beyond.json").read_text())["rows"]
    assert rows["pendulum"]["right_0.01"]["mean"] == 1 and rows["all systems"]["wrong"]["mean"] == 0
    assert "| pendulum |" in text and "Smoke run" in text
    # A part that was measured is not measured again.
    kept = tmp_path / "runs" / "quick" / "beyond-pendulum-0.json"
    kept.write_text(kept.read_text().replace('"right_0.01": 1.0', '"right_0.01": 0.5'))
    assert "| 0.50 |" in reproduce("beyond", seeds=1, budget="quick", out=tmp_path)


@pytest.mark.slow
def test_what_is_claimed_holds(tmp_path):
    reproduce("beyond", seeds=3, budget="standard", out=tmp_path)
    claims = json.loads((tmp_path / "beyond.json").read_text())["claims"]
    assert claims and not [claim for claim in claims if not claim["held"]]
