"""The Poisson matrix of positions and velocities, and canonical coordinates made of it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives_of_autodiff
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from test_positions import file_of

import noether_razor as nr
from noether_razor.bracket.choice import steady
from noether_razor.bracket.coordinates import canonical_coordinates, darboux
from noether_razor.bracket.fitting import constant_kinds, matrices_at
from noether_razor.bracket.forms import ConstantForm, MomentumForm, carried, momentum_form, small_inverse
from noether_razor.bracket.free_field import spectrum
from noether_razor.bracket.lagrangian import LagrangianField, lagrangian_form
from noether_razor.bracket.sources import OfPositions, Sources
from noether_razor.bracket.surface import on_surface
from noether_razor.discovery import first_words
from noether_razor.discovery.discovering import RECIPE
from noether_razor.exact_evidence.checks import Adequacy
from noether_razor.exact_evidence.fields import CanonicalField, PoissonField
from noether_razor.exact_evidence.polynomials import Polynomials
from noether_razor.exact_evidence.sums import Sum
from noether_razor.modelling import with_canonical_momenta
from noether_razor.paper.bracket import SYSTEMS, measured
from noether_razor.paper.bracket.systems import matrix_of
from noether_razor.paper.bracket.target import scored
from noether_razor.phase_space import symplectic_matrix
from noether_razor.quantities import parse_hypothesis
from noether_razor.scaling import PhaseScale
from noether_razor.trajectories import (
    CanonicalMap,
    DataFileError,
    Layout,
    Trajectories,
    fit_scale,
    load_trajectories,
    read_data_file,
    save_trajectories,
    scaled_trajectories,
)
from noether_razor.trajectories.canonical import paired_names


def draws(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


FORMS = [ConstantForm(1), ConstantForm(3), momentum_form(2, 2), momentum_form(3, 1)]


@pytest.mark.usefixtures("double_precision")
class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    def test_matrix_is_the_inverse_with_the_derivatives_of_autodiff(self, form):
        theta, state, gradient = (jnp.asarray(0.1 * draws(n)) for n in (form.size, form.dim, form.dim))

        def velocity(x, own):
            return form.matrix(x, form.prepared(own)) @ gradient

        @jax.jit
        def every(x, own):
            prepared = form.prepared(own)
            ours = form.of_state(x, gradient, prepared), form.of_parameters(x, gradient, prepared)
            return form.matrix(x, prepared), form.form(x, own), ours, jax.jacfwd(velocity, (0, 1))(x, own)

        matrix, omega, ours, theirs = every(state, theta)
        assert_allclose(matrix @ omega, np.eye(form.dim), atol=1e-12)
        assert_allclose(matrix, -matrix.T, atol=1e-12)
        for found, expected in zip(ours, theirs, strict=True):
            assert_allclose(found, expected, atol=1e-12)

    @pytest.mark.parametrize("form", FORMS[2:])
    def test_jacobi_identity(self, form):
        prepared, state = form.prepared(jnp.asarray(0.1 * draws(form.size))), jnp.asarray(draws(form.dim))
        matrix = form.matrix(state, prepared)
        slopes = jax.jit(jax.jacfwd(lambda x: form.matrix(x, prepared)))(state)
        once = jnp.einsum("ijl,lk->ijk", slopes, matrix)
        whole = once + once.transpose(1, 2, 0) + once.transpose(2, 0, 1)
        assert np.abs(once).max() > 1e-3 and np.abs(whole).max() < 1e-12

    def test_lagrangian_field_is_that_of_its_hamiltonian(self):
        form = lagrangian_form(2, 2, np.array([0.3, -0.2]), 1.3)
        potential = OfPositions(4, 4)
        field = LagrangianField(potential, form)
        parameters, state = jnp.asarray(0.1 * draws(field.size)), jnp.asarray(draws(4, seed=1))
        theta, rest = parameters[potential.size : -1], jnp.asarray(form.rest)

        def velocity(x, own):
            return field.at(x, field.prepared(own, rest))[0]

        def energy(x):
            u = form.velocities(x)
            kinetic = form.rate * u @ form.masses(x[:2], theta) @ u / 2
            return kinetic + potential.values(x) @ parameters[: potential.size]

        @jax.jit
        def every(x, own):
            prepared = field.prepared(own, rest)
            ours = field.at(x, prepared)[1], field.of_parameters(x, prepared)
            return velocity(x, own), ours, jax.jacfwd(velocity, (0, 1))(x, own)

        moved, ours, theirs = every(state, parameters)
        for found, expected in zip(ours, theirs, strict=True):
            assert_allclose(found, expected, atol=1e-12)
        rubbing = parameters[-1] * jnp.append(jnp.zeros(2), form.velocities(state))
        assert_allclose(moved, form.matrix(state, theta) @ jax.grad(energy)(state) - rubbing, atol=1e-12)

    def test_momenta_make_the_form(self):
        form = momentum_form(2, 2)
        theta, state = jnp.asarray(0.1 * draws(form.size)), jnp.asarray(draws(4, seed=1))
        scale = PhaseScale((2.0, 0.5), 0.25, 1.0, (0.0, 0.3, -1.0, 0.0))
        polynomials = canonical_coordinates(form, np.asarray(theta), scale)
        made = CanonicalMap.of(("x", "y", "p", "s"), ("x", "y", "u", "w"), polynomials)
        row = scale.states_back(np.asarray(state))
        units = np.outer(scale.scales, scale.scales) / scale.action
        assert_allclose(made.brackets(row[None])[0], form.matrix(state, theta) * units, rtol=1e-9, atol=1e-12)

    def test_richer_forms_begin_at_simpler_ones(self):
        simple, rich = momentum_form(2, 1), momentum_form(2, 3)
        theta, state = 0.1 * draws(simple.size), jnp.asarray(draws(4, seed=1))
        found = carried(rich, simple, theta)
        assert found is not None
        assert_allclose(rich.form(state, jnp.asarray(found)), simple.form(state, jnp.asarray(theta)))
        assert carried(simple, rich, found) is None and carried(ConstantForm(2), simple, theta) is None

    @pytest.mark.parametrize("dof", [1, 2, 3])
    def test_every_constant_matrix_has_canonical_coordinates(self, dof):
        form, target = ConstantForm(dof), symplectic_matrix(dof)
        for kind in constant_kinds(dof).values():
            theta = kind.basis @ (0.3 * draws(kind.size))
            matrix = matrices_at(form, theta, np.zeros((1, 2 * dof)))[0]
            found = darboux(matrix)
            assert_allclose(found @ matrix @ found.T, target, atol=1e-10)
            if kind.name != "constant":
                assert_allclose(found[:dof], np.eye(2 * dof)[:dof])

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_small_inverse(self, size):
        matrix = np.eye(size) + 0.3 * draws(size, size)
        assert_allclose(small_inverse(jnp.asarray(matrix)), np.linalg.inv(matrix), atol=1e-12)

    def test_without_parameters_the_field_is_canonical(self):
        features, form = Polynomials(4, 3), ConstantForm(2)
        c, state, rest = draws(features.size), jnp.asarray(draws(4, seed=2)), jnp.asarray([0.2, 0.1])
        canonical, field = CanonicalField(features), PoissonField(features, form)
        ours = jnp.asarray([*c, *np.zeros(form.size), 0.3])
        theirs = jnp.asarray([*c, 0.3])

        def velocity(own):
            return field.at(state, field.prepared(own, rest))[0]

        @jax.jit
        def every(own, other):
            prepared = field.prepared(own, rest)
            found = *field.at(state, prepared), field.of_parameters(state, prepared)
            return found, (*canonical.at(state, canonical.prepared(other, rest)), jax.jacfwd(velocity)(own))

        for found, expected in zip(*every(ours, theirs), strict=True):
            assert_allclose(found, expected, atol=1e-12)


def test_forms_that_a_linear_motion_preserves():
    # Two oscillators of different frequencies: a form for each; of one frequency four.
    slow, fast = np.diag([1.0, 1.0, -1.0, -1.0])[[2, 3, 0, 1]], np.zeros((4, 4))
    fast[[0, 1, 2, 3], [2, 3, 0, 1]] = [1, 1, -1, -4]
    for motion, count in ((slow, 4), (fast, 2)):
        assert spectrum(motion[None], motion[None, None]).preserved == count


def csv(path: Path, data: Trajectories) -> Path:
    rows = ["run,time," + ",".join(data.names)]
    for k, (times, states) in enumerate(data.segments()):
        rows += [
            f"{k},{t:.6g}," + ",".join(f"{x:.8g}" for x in row) for t, row in zip(times, states, strict=True)
        ]
    path.write_text("\n".join(rows) + "\n")
    return path


def from_file(tmp_path: Path, name: str, seed: int = 7) -> Trajectories:
    path = csv(tmp_path / "mine.csv", measured(SYSTEMS[name], seed))
    return load_trajectories(path, Layout(trajectory="run"))


class TestFiles:
    def test_masses(self, tmp_path):
        data = from_file(tmp_path, "masses 1, 2.7")
        assert data.bracket == "auto" and "unknown masses" in repr(data)
        found = nr.poisson_matrix(data)
        ratio, sd = found.mass_ratios[0]
        assert found.kind == "masses" and sd < 0.03 and abs(ratio - 2.7) < 4 * sd
        assert found.identifiable and found.forms == 1 and found.friction is None
        assert found.gains["canonical"] < -100 and "canonical" in found.bounded
        assert "m_q2/m_q1 = 2." in repr(found) and "p2 = 2." in repr(found)
        made = found.canonical(data)
        assert made.names == ("q1", "q2", "p1", "p2") and not made.bracket
        assert_allclose(made.states[..., 3], ratio * data.states[..., 3])
        # Velocities may stand in formulas.
        asked = parse_hypothesis("v2^2", made.names, made.other_names())
        assert_allclose(asked.matrices[0][3, 3], 2 / ratio**2)

    def test_masses_from_positions_alone(self, tmp_path):
        path = file_of(tmp_path, 0.05, 0.01)
        found = nr.poisson_matrix(read_data_file(path, Layout(positions=("x1", "x2"))).trajectories)
        ratio, sd = found.mass_ratios[0]
        assert found.kind == "masses" and abs(ratio - 2.5) < 4 * sd < 0.3

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [1, 7])
    def test_equal_oscillators_are_no_mixture(self, seed):
        """The motion preserves four matrices, so that the richest kind does not settle on one."""
        random = np.random.default_rng(seed)
        step = random.uniform(0.2, 0.5)
        times = step * np.arange(int(12 / step))
        turned = np.stack([np.cos(times), np.sin(times)]), np.stack([-np.sin(times), np.cos(times)])
        segments = []
        for _ in range(15):
            size = random.normal(size=2), random.normal(size=2)
            states = np.hstack([part.T @ np.stack(size) for part in turned])
            segments.append(
                (times, states + np.array([0.005, 0.005, 0.03, 0.03]) * random.normal(size=states.shape))
            )
        data = Trajectories.of_segments(segments, names=("x", "y", "vx", "vy"), bracket="auto")
        found = nr.poisson_matrix(data)
        assert found.kind == "canonical" and found.forms == 4 and not found.sources

    def test_the_page(self):
        page = (Path(__file__).parents[1] / "docs" / "bracket.md").read_text(encoding="utf-8")
        code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
        names: dict[str, Any] = {}
        exec(compile(code, "bracket.md", "exec"), names)
        printed = re.search(r"# (Bracket\(.*\))", code)
        assert printed is not None and printed[1] == repr(names["found"])
        assert names["canonical"].names == ("q1", "q2", "p1", "p2")

    def test_equal_masses_stay_as_they_are(self, tmp_path):
        data = from_file(tmp_path, "equal masses")
        found = nr.poisson_matrix(data)
        made = found.canonical(data)
        assert found.kind == "canonical" and found.identifiable
        assert made.names == data.names and made.canonical is not None and not made.canonical.formulas()
        assert_allclose(made.states, data.states)
        assert "equal masses" in repr(found)

    def test_errors_of_the_hamiltonian_count_those_of_the_masses(self, tmp_path):
        """Of masses that are found 2 sd too large, p2^2/(2 m) was 13 sd off."""
        data = from_file(tmp_path, "masses 1, 2.7", seed=3)
        energy = nr.evidence(nr.poisson_matrix(data).canonical(data), degree=4).hamiltonian
        assert energy is not None
        terms = [energy.functions.written(k, energy.names) for k in range(len(energy.errors))]
        truth = {"p1^2": 0.5, "p2^2": 1 / 5.4, "q1^2": 0.5, "q2^2": 0.65, "q1*q2": 0.2}
        truth |= {"q1^4": 0.2, "q2^4": 0.125, "q1^2*q2^2": 0.25}
        assert set(terms) == set(truth)
        off = energy.coefficients - [truth[term] for term in terms]
        assert (np.abs(off) < 3.5 * energy.errors).all() and (energy.errors < 0.01).all()

    def test_field_and_friction(self, tmp_path):
        data = from_file(tmp_path, "field and friction 0.05")
        found = nr.poisson_matrix(data)
        assert found.kind == "field" and abs(found.matrix[2, 3] - 1.5) < 4 * found.sd[2, 3] < 0.02
        assert found.friction is not None and abs(found.friction[0] - 0.05) < 4 * found.friction[1]
        assert "{v1, v2} = 1." in repr(found) and "damped" in repr(found)
        assert "p1 = v1 - 0.7" in repr(found)
        words = first_words(found.canonical(data), RECIPE)
        symmetry = words.to_json()
        assert symmetry["bracket"]["kind"] == "field" and "columns: m v is not canonical" in str(words)

    def test_what_is_conserved_is_written_in_columns(self, tmp_path):
        random, times = np.random.default_rng(0), np.arange(0, 6, 0.25)
        centre, size, phase = (
            random.normal(size=(12, 2)),
            random.uniform(0.3, 1.5, 12),
            random.uniform(0, 6, 12),
        )
        angle = phase[:, None] - 1.5 * times
        radius = size[:, None] / 1.5
        states = np.stack(
            [
                centre[:, :1] - radius * np.sin(angle),
                centre[:, 1:] + radius * np.cos(angle),
                size[:, None] * np.cos(angle),
                size[:, None] * np.sin(angle),
            ],
            axis=2,
        )
        states += 0.005 * random.normal(size=states.shape)
        data = Trajectories.from_arrays(times, states, names=("x", "y", "vx", "vy"), masses="unknown")
        made = with_canonical_momenta(data)
        assert made.canonical is not None
        answer = made.canonical.answer
        # The centre and the turning do not interact: there are two matrices, and this is said.
        assert answer["kind"] == "field" and answer["n_forms"] == 2 and not answer["identifiable"]
        found = first_words(made, RECIPE)
        assert found.rank == 6
        columns = [entry["in_columns"] for entry in found.to_json()["quantities"]]
        assert any("vx" in text and "y" in text and "^" not in text and "*" in text for text in columns)
        assert "in columns" in str(found)

    def test_a_constraint_leaves_the_matrix_open(self):
        random, times = np.random.default_rng(0), np.arange(0, 4, 0.2)
        angle = random.uniform(-1, 1, (12, 1)) * np.cos(times + random.uniform(0, 6, (12, 1)))
        rate = np.gradient(angle, times, axis=1)
        states = np.stack([np.sin(angle), -np.cos(angle), rate * np.cos(angle), rate * np.sin(angle)], axis=2)
        states += 1e-3 * random.normal(size=states.shape)
        data = Trajectories.from_arrays(times, states, names=("x", "y", "vx", "vy"), masses="unknown")
        assert on_surface(scaled_trajectories(data, fit_scale(data)))
        found = nr.poisson_matrix(data)
        assert found.kind == "unknown" and "surface" in repr(found) and not found.adequate
        assert_allclose(found.canonical(data).states, data.states)

    def test_one_degree_of_freedom_and_a_column_that_does_not_move(self):
        def duffing(states):
            return np.stack([states[:, 1], -states[:, 0] - states[:, 0] ** 3], axis=1)

        system = SYSTEMS["equal masses"]._replace(
            field=duffing, starts=lambda random, count: 0.7 * random.normal(size=(count, 2))
        )
        data = measured(system, 0)
        assert nr.poisson_matrix(data).kind == "canonical"
        still = np.stack([data.states[..., 0], np.ones(data.times.shape), data.states[..., 1]], axis=2)
        still = np.concatenate([still, np.zeros((*data.times.shape, 1))], axis=2)
        found = nr.poisson_matrix(Trajectories.from_arrays(data.times, still, masses="unknown"))
        assert found.kind == "unknown" and "does not move" in found.why

    def test_a_kind_may_be_asked_for(self, tmp_path):
        data = from_file(tmp_path, "field 1.5")[:8]
        found = nr.poisson_matrix(data, "canonical")
        assert found.kind == "unknown" and "canonical" in found.why
        with pytest.raises(ValueError, match="kind: got 'fields', did you mean field"):
            nr.poisson_matrix(data, "fields")

    def test_units_change_nothing(self):
        """Scales that were rounded to powers of two moved the evidence by half a nat, and by hundreds of what
        is far behind.
        """
        data = measured(SYSTEMS["field 1.5"], 0)[:6]
        length, time = 3.7, 1.3
        states = data.states * np.repeat([length, length / time], 2)
        other = nr.poisson_matrix(replace(data, states=states, times=data.times * time))
        found = nr.poisson_matrix(data)
        assert found.kind == other.kind == "field"
        for name in ("natural", "canonical", "masses"):
            assert other.gains[name] == pytest.approx(found.gains[name], abs=0.01)
        assert_allclose(other.mass_ratios, found.mass_ratios, rtol=1e-6)
        # {v, v} is a rate.
        for ours, theirs in ((found.matrix, other.matrix), (found.sd, other.sd)):
            assert theirs[2, 3] * time == pytest.approx(ours[2, 3], rel=1e-5)

    def test_noise_that_grows_with_the_time_is_no_fit(self):
        good = Adequacy(1.0, None, 1.01, "")
        assert steady(good) == good and not steady(good._replace(growth=1.05)).adequate

    @pytest.mark.slow
    def test_a_force_that_has_no_energy_is_no_mass_matrix(self):
        """0.04 (-y, x) beside a trap: a mass matrix takes it up to first order, and follows 8 rows so."""
        system = SYSTEMS["equal masses"]

        def moved(states):
            found = system.field(states)
            found[:, 2:] += 0.04 * np.stack([-states[:, 1], states[:, 0]], axis=1)
            return found

        data = measured(system._replace(field=moved, runs=40), 0)
        found = nr.poisson_matrix(data, "natural")
        assert found.kind == "unknown" and "whole trajectories" in found.why

    def test_units_of_one_column_change_nothing(self):
        """A mass matrix is symmetric in scaled columns, whatever units a length and an angle have."""
        masses = np.array([[1.6, 0.3], [0.3, 0.5]])

        def moved(states):
            q, v = np.split(states, 2, axis=1)
            return np.concatenate([v, np.linalg.solve(masses, -(q + q**3).T).T], axis=1)

        data = measured(SYSTEMS["equal masses"]._replace(field=moved), 0)[:8]
        fine = np.array([1e3, 1.0, 1e3, 1.0])
        found = nr.poisson_matrix(data)
        other = nr.poisson_matrix(replace(data, states=data.states * fine))
        assert found.kind == other.kind == "natural"
        ours, sd = (matrix / np.outer(fine, fine) * 1e6 for matrix in (other.matrix, other.sd))
        assert_allclose(ours, found.matrix, rtol=2e-3, atol=1e-3)
        assert_allclose(sd, found.sd, rtol=0.1, atol=1e-6)
        inverse = np.linalg.inv(masses)[1] * masses[0, 0]
        assert np.all(np.abs(ours[1, 2:] - inverse) < 4 * sd[1, 2:])
        # As m_2/m_1 in the units of the columns.
        assert other.mass_ratios[0][0] == pytest.approx(found.mass_ratios[0][0] * 1e6, rel=1e-2)

    def test_velocities_are_refused_where_momenta_are_needed(self, tmp_path):
        data = from_file(tmp_path, "field 1.5")
        for verb in (nr.evidence, nr.conserved_library):
            with pytest.raises(ValueError, match="velocities without masses: find canonical momenta first"):
                verb(data)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("law", ["1/r", "log(r)"])
def test_forces_towards_points_have_the_derivatives_of_autodiff(law):
    centres, stretches = np.array([[2.0, 0.3], [-1.0, 1.5]]), np.array([1.0, 0.5])
    features = Sum.of(OfPositions(4, 3), Sources(4, law, centres, stretches))
    state, c = jnp.asarray(draws(4)), jnp.asarray(draws(features.size, seed=1))
    assert_derivatives_of_autodiff(features, state, c)
    sources: Any = features.parts[1]
    forces = sources.forces(np.asarray(state)[None, :2])[0]
    assert_allclose(features.parts[1].slopes_of_all(state)[:2, ::3], forces, atol=1e-12)
    moved = Sources(4, law, centres + 1e-4, stretches)
    ours, theirs = (np.asarray(one.values(state)).reshape(2, 3) for one in (features.parts[1], moved))
    assert_allclose(theirs[:, 0] - ours[:, 0], 1e-4 * ours[:, 1:].sum(axis=1), rtol=1e-3)


@pytest.mark.slow
def test_a_frame_that_turns_with_the_moon():
    """Orbits about the Earth: the rate of the frame, and where Earth and Moon are."""
    mass, random = 0.01215, np.random.default_rng(5)

    def field(_, state):
        x, y, u, v = state
        earth, moon = np.hypot(x + mass, y) ** 3, np.hypot(x - 1 + mass, y) ** 3
        pull = (1 - mass) / earth + mass / moon
        offset = (1 - mass) * mass / earth - mass * (1 - mass) / moon
        return [u, v, x + 2 * v - pull * x - offset, y - 2 * u - pull * y]

    paths, times = [], np.arange(0, 3, 0.05)
    for _ in range(24):
        r, angle = random.uniform(0.3, 0.55), random.uniform(0, 2 * np.pi)
        speed = np.sqrt(1 / r) * random.uniform(0.85, 1.1) - r
        x, y = np.cos(angle), np.sin(angle)
        start = [r * x - mass, r * y, -speed * y, speed * x]
        paths.append(solve_ivp(field, (0, 3), start, t_eval=times, rtol=1e-10, atol=1e-12).y.T)
    names = ("x", "y", "vx", "vy")
    data = Trajectories.from_arrays(times, paths, names=names, masses="unknown")
    found = nr.poisson_matrix(data)
    assert found.kind == "field" and abs(found.matrix[2, 3] - 2) < 1e-4
    assert [law for law, _ in found.sources] == ["1/r", "1/r"]
    assert_allclose([place for _, place in found.sources], [[-mass, 0], [1 - mass, 0]], atol=2e-3)
    assert "rotates at half this rate, 1.0" in repr(found)


class TestMaps:
    momenta = CanonicalMap.of(
        ("x", "y", "p_x", "p_y"),
        ("x", "y", "u", "w"),
        [
            {(1, 0, 0, 0): 1.0},
            {(0, 1, 0, 0): 1.0},
            {(0, 0, 1, 0): 1.0, (0, 3, 0, 0): -0.5},
            {(0, 0, 0, 1): 2.0, (2, 0, 0, 1): 1.0},
        ],
    )
    linear = CanonicalMap.of(("x", "p_x"), ("x", "v"), [{(1, 0): 1.0}, {(0, 1): 3.0, (1, 0): 0.5}])

    def test_there_and_back(self):
        states = draws(5, 7, 4)
        assert_allclose(self.momenta.rows(self.momenta.states(states)), states)
        assert_allclose(self.linear.rows(self.linear.states(states[..., :2])), states[..., :2])

    def test_formulas(self):
        assert self.momenta.formulas() == {"p_x": "u - 0.5*y^3", "p_y": "2*w + x^2*w"}
        assert self.linear.formulas() == {"p_x": "3*v + 0.5*x"}
        assert self.momenta.other_names() == {}
        assert_allclose(self.linear.other_names()["v"], [-0.5 / 3, 1 / 3])
        matrix = np.array([[0.0, 0.0], [0.0, 2.0]])
        assert self.linear.in_columns(matrix, np.zeros(2)) == "9*v^2 + 3*x*v + 0.25*x^2"

    def test_what_cancels_to_within_the_errors_of_a_map_is_not_written(self):
        momenta = [{(0, 0, 1, 0): 1.0, (0, 1, 0, 0): -0.75}, {(0, 0, 0, 1): 1.0, (1, 0, 0, 0): 0.75}]
        coordinates = [{(1, 0, 0, 0): 1.0}, {(0, 1, 0, 0): 1.0}, *momenta]
        turned = CanonicalMap.of(("x", "y", "p_x", "p_y"), ("x", "y", "vx", "vy"), coordinates)
        vector = np.array([0.0, 0.7500003, 1.0, 0.0])
        assert turned.in_columns(np.zeros((4, 4)), vector) == "vx"
        assert turned.in_columns(np.outer(vector, vector), np.zeros(4)) == "0.5*vx^2"
        assert turned.in_columns(np.zeros((4, 4)), np.array([0.0, 0.2, 1.0, 0.0])) == "vx - 0.55*y"

    def test_brackets(self):
        state = np.array([[0.5, 0.4, 1.0, -0.3]])
        found = self.momenta.brackets(state)[0]
        # dp_y/dx - dp_x/dy
        turned = 2 * 0.5 * -0.3 + 1.5 * 0.4**2
        field = turned * np.array([[0.0, 1.0], [-1.0, 0.0]])
        assert_allclose(found, matrix_of(np.diag([1.0, 2.25]), field), atol=1e-12)

    def test_names(self):
        assert paired_names("p", ("q1", "x"), ("q1", "x", "v1", "p_x")) == ("p1", "p_x_")

    def test_files_keep_it(self, tmp_path):
        times = np.tile(np.arange(3.0), (2, 1))
        own = replace(self.momenta, answer={"kind": "form"}, changes=(0.1 * self.momenta.coefficients,))
        data = Trajectories(times, draws(2, 3, 4), names=own.names, canonical=own)
        save_trajectories(tmp_path / "a.npz", data)
        made = read_data_file(tmp_path / "a.npz").trajectories.canonical
        assert (
            made is not None
            and made.formulas() == self.momenta.formulas()
            and made.answer == {"kind": "form"}
        )
        assert_allclose(made.errors, 0.1 * np.abs(own.coefficients))
        with np.load(tmp_path / "a.npz") as arrays:
            damaged = dict(arrays)
        for name in (
            "canonical_exponents",
            "canonical_coefficients",
            "canonical_changes",
            "canonical_answer",
        ):
            np.savez(tmp_path / "b.npz", **{**damaged, name: np.zeros(3)})
            with pytest.raises(DataFileError, match=r"b\.npz"):
                read_data_file(tmp_path / "b.npz")
        raw = Trajectories(times, draws(2, 3, 4), bracket="field")
        save_trajectories(tmp_path / "a.npz", raw)
        assert read_data_file(tmp_path / "a.npz").trajectories.bracket == "field"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"bracket": "fields"}, "bracket: got 'fields', did you mean field"),
        ({"bracket": "field", "masses": (1.0,)}, "velocities without masses"),
    ],
)
def test_layouts_that_cannot_be_meant(options, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        Layout(**options)


def test_a_bracket_is_not_looked_for_among_momenta(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("time,q1,p1\n0,1,2\n1,2,3\n")
    with pytest.raises(DataFileError, match="the file gives momenta"):
        read_data_file(path, Layout(bracket="field"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems(name):
    row, found = scored(SYSTEMS[name], 3)
    assert not row["wrong"], found
    assert row["right"] and row["error"] < 0.06, found
    assert row["seconds"] < 120


@pytest.mark.slow
def test_masses_of_wide_swings():
    """The form of degree 4 that a weak form is nearest to is almost singular at the largest angles."""
    row, found = scored(SYSTEMS["double pendulum, 1 rad"], 5)
    assert found.kind == "form" and row["masses"] < 0.03


def test_the_form_of_pendula_has_no_field():
    form = momentum_form(3, 1)
    assert isinstance(form, MomentumForm)
    fields = [term for term in form.terms if term.field]
    # 3 planes x (1, q1, q2, q3), without the divergence of one.
    assert len(fields) == 3 * 4 - 1
