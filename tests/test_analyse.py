"""Quantities with the errors of learning become the right rank, formulas and algebra."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from exact_trajectories import linear_motion, noisy
from scipy.integrate import solve_ivp

from noether_razor.invariants import Analysis, analyse
from noether_razor.invariants.energy import energy_in
from noether_razor.invariants.found import _of_its_own
from noether_razor.invariants.monomials import coefficients, monomials, quadratic_parts
from noether_razor.reporting import symmetry_section, symmetry_text
from noether_razor.systems import CustomSystem
from noether_razor.trajectories import Trajectories

NOISE = 1e-3
QUIET = 1e-7
ROOT = 2**0.5
# Quadratic systems of the suite: H, rank, algebra, functionally independent.
SYSTEMS = {
    "isotropic 2": ("(q1**2 + q2**2 + p1**2 + p2**2) / 2", 4, "u(2)", 3),
    "frequencies 1, sqrt 2": ("(q1**2 + p1**2 + sqrt(2) * (q2**2 + p2**2)) / 2", 2, "u(1)^2", 2),
    "frequencies 1, 1, sqrt 2": (
        "(q1**2 + p1**2 + q2**2 + p2**2 + sqrt(2) * (q3**2 + p3**2)) / 2",
        5,
        "u(2)+u(1)",
        4,
    ),
    "signs + -": ("(q1**2 - q2**2 + p1**2 - p2**2) / 2", 4, "u(1,1)", 3),
    "uniform field": (
        "((p1 + q2 / 2)**2 + (p2 - q1 / 2)**2) / 2",
        6,
        "(sl(2,R) semidirect heisenberg)+u(1)",
        3,
    ),
    "ring of 3 springs": (
        "(p1**2 + p2**2 + p3**2 + (q1 - q2)**2 + (q2 - q3)**2 + (q3 - q1)**2) / 2",
        6,
        "u(2)+R^2",
        4,
    ),
}


def system_of(name: str) -> CustomSystem:
    formula = SYSTEMS[name][0]
    return CustomSystem(3 if "q3" in formula else 2, formula)


def exact(system: CustomSystem) -> tuple[np.ndarray, np.ndarray]:
    known = system.known_quantities()
    assert known is not None
    return np.asarray(known.matrices[...], float), np.asarray(known.vectors[...], float)


def motion(system: CustomSystem, variance: float = NOISE, seed: int = 0) -> Trajectories:
    hessian = system.parsed.quadratic()[0]
    return noisy(seed + 1, linear_motion(hessian, seed, count=80, length=40), variance)


def learned(
    quantities: tuple[np.ndarray, np.ndarray], seed: int, *, error: float, unused: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """The quantities as training leaves them: in any basis, of unequal sizes, with errors of coefficients,
    and directions that were not used.
    """
    random = np.random.default_rng(seed)
    dim = quantities[1].shape[1]
    rows = np.linalg.svd(coefficients(*quantities), full_matrices=False)[2]
    size = rows.shape[1]
    rows = rows + error / np.sqrt(size) * random.normal(size=rows.shape)
    mixing = np.linalg.qr(random.normal(size=(len(rows), len(rows))))[0] * random.uniform(0.3, 2, len(rows))
    weak = 0.02 * random.normal(size=(unused, size)) / np.sqrt(size)
    return quadratic_parts(np.concatenate([mixing @ rows, weak]), dim)


def oblate(seed: int) -> Trajectories:
    """20 orbits about an earth with a quadrupole of 1e-3, without noise."""
    random = np.random.default_rng(seed)
    times = np.linspace(0, 0.7 * 2 * np.pi * 1.5**1.5, 60)

    def motion(_, state):
        place, velocity = state[:3], state[3:]
        size = np.linalg.norm(place)
        squeezed = np.array([1.0, 1.0, 3.0]) - 5 * (place[2] / size) ** 2
        return np.concatenate([velocity, -place / size**3 - 1.5e-3 / size**5 * place * squeezed])

    states = []
    for _ in range(20):
        axis, eccentricity = random.uniform(1.1, 2), random.uniform(0, 0.3)
        place = random.normal(size=3)
        place *= axis * (1 - eccentricity) / np.linalg.norm(place)
        velocity = random.normal(size=3)
        velocity -= place * (velocity @ place) / (place @ place)
        speed = np.sqrt((1 + eccentricity) / (axis * (1 - eccentricity)))
        velocity *= speed / np.linalg.norm(velocity)
        start = np.concatenate([place, velocity])
        states.append(solve_ivp(motion, (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-12).y.T)
    return Trajectories(np.tile(times, (20, 1)), np.array(states))


@pytest.fixture(scope="module")
def oscillators() -> Analysis:
    system = system_of("isotropic 2")
    return analyse(
        *learned(exact(system), 0, error=0.02),
        motion(system, QUIET),
        noise_variance=QUIET,
        hamiltonian=system.hamiltonian,
    )


class TestFound:
    @pytest.mark.parametrize("name", SYSTEMS)
    @pytest.mark.parametrize("error", [0.01, 0.03])
    def test_space_and_algebra_survive_the_errors_of_learning(self, name, error):
        _, rank, algebra, independent = SYSTEMS[name]
        system = system_of(name)
        found = analyse(*learned(exact(system), 1, error=error), motion(system), noise_variance=NOISE)
        assert (found.rank, found.algebra.name, found.independent) == (rank, algebra, independent)
        assert found.space.rank == found.learned == rank and found.space.decided and found.closes
        rows = coefficients(*found.matrices())
        truth = np.linalg.qr(coefficients(*exact(system)).T)[0]
        parallel = np.linalg.norm(rows @ truth, axis=1) / np.linalg.norm(rows, axis=1)
        np.testing.assert_array_less(0.999, parallel)

    @pytest.mark.parametrize("name", ["ring of 3 springs", "uniform field", "isotropic 2"])
    @pytest.mark.parametrize("error", [0.01, 0.03, 0.06])
    def test_formulas_hold_only_terms_that_data_support(self, name, error):
        system = system_of(name)
        # So little noise that 1/6 is sure.
        data = motion(system, QUIET, seed=2)
        found = analyse(*learned(exact(system), 0, error=error), data, noise_variance=QUIET)
        assert found.rank == SYSTEMS[name][1]
        assert not any(quantity.formula.errors for quantity in found.quantities)
        rows, truth = coefficients(*found.matrices()), np.linalg.qr(coefficients(*exact(system)).T)[0]
        np.testing.assert_allclose(rows @ truth @ truth.T, rows, atol=1e-5)

    def test_terms_that_only_follow_a_perturbation_are_not_needed(self):
        """L about an oblate earth, less than a turn: about its axis it is conserved; the rest is not, nor are
        combinations of 20 terms that change a little less.
        """
        angular = np.zeros((3, 6, 6))
        for matrix, (i, j) in zip(angular, [(0, 1), (0, 2), (1, 2)], strict=True):
            matrix[i, 3 + j] = matrix[3 + j, i] = 1
            matrix[j, 3 + i] = matrix[3 + i, j] = -1
        for seed in (0, 1):
            data = oblate(seed)
            found = analyse(*learned((angular, np.zeros((3, 6))), 0, error=0.01), data, noise_variance=0.0)
            assert [quantity.formula.text() for quantity in found.quantities] == ["q1*p2 - q2*p1"]

    @pytest.mark.parametrize("coupling", [3e-3, 3e-4])
    def test_a_small_term_that_exact_data_need_is_kept(self, coupling):
        hessian = np.diag([1.0, 2.0, 1.0, 1.0])
        hessian[0, 1] = hessian[1, 0] = coupling
        data = linear_motion(hessian, 0, count=20, length=60)
        energy = hessian[None], np.zeros((1, 4))
        found = analyse(*learned(energy, 0, error=0.01, unused=0), data, noise_variance=0.0)
        (quantity,) = found.quantities
        assert (0, 1) in quantity.formula.coefficients
        assert quantity.matrix[0, 1] / quantity.matrix[0, 0] == pytest.approx(coupling, rel=1e-2)

    @pytest.mark.parametrize("offset", [0.3, 0.02])
    def test_terms_of_a_shifted_system_are_kept(self, offset):
        shifted = np.eye(2)[None], np.array([[-offset, 0.0]])
        data = linear_motion(np.eye(2), 0, count=80, length=40)
        moved = noisy(1, Trajectories(data.times, data.states + np.array([offset, 0.0])), NOISE)
        found = analyse(*learned(shifted, 0, error=0.02), moved, noise_variance=NOISE)
        (quantity,) = found.quantities
        assert quantity.vector[0] / quantity.matrix[0, 0] == pytest.approx(-offset, abs=5e-3)
        assert set(quantity.formula.coefficients) == {(0,), (0, 0), (1, 1)}

    def test_frequencies_are_named_where_the_energy_holds_them(self):
        system = system_of("frequencies 1, sqrt 2")
        found = analyse(
            *learned(exact(system), 0, error=0.02),
            motion(system, QUIET),
            noise_variance=QUIET,
            hamiltonian=system.hamiltonian,
        )
        energy = found.expressions()[1]
        assert energy.has(sympy.sqrt(2)) and not energy.has(sympy.Float)
        q1, q2 = sympy.symbols("q1 q2")
        ratio = sympy.expand(energy).coeff(q2, 2) / sympy.expand(energy).coeff(q1, 2)
        assert sympy.simplify(ratio - sympy.sqrt(2)) == 0
        off = CustomSystem(2, "(q1**2 + p1**2 + 1.425 * (q2**2 + p2**2)) / 2")
        found = analyse(*exact(off), motion(off), noise_variance=NOISE, hamiltonian=off.hamiltonian)
        assert found.energy is not None
        assert not any(expression.has(sympy.sqrt(2)) for expression in found.expressions())

    @pytest.mark.parametrize("name", ["isotropic 2", "signs + -", "uniform field"])
    def test_space_and_algebra_do_not_depend_on_symplectic_coordinates_and_units(self, name):
        system = system_of(name)
        data, quantities = motion(system, 1e-4), learned(exact(system), 2, error=0.01)
        random = np.random.default_rng(3)
        symmetric = random.normal(size=(4, 4))
        symplectic = np.kron([[0.0, 1.0], [-1.0, 0.0]], np.eye(2))
        small = 0.5 * symplectic @ (symmetric + symmetric.T) / np.linalg.norm(symmetric, 2) / 1024
        change = np.linalg.matrix_power(np.eye(4) + small + small @ small / 2, 1024)
        position = 10.0 ** random.uniform(-2, 2, 2)
        # x = change @ y, and units of y.
        change = change * np.concatenate([position, 30.0 / position])
        moved = Trajectories(data.times, data.states @ np.linalg.inv(change).T)
        matrices, vectors = quantities
        inverse = np.linalg.inv(change)
        # Unequal noise on correlated columns: the largest variance of each is a bound that does no harm here.
        noise = 1e-4 * np.sum(inverse**2, axis=1)
        found = analyse(change.T @ matrices @ change, vectors @ change, moved, noise_variance=noise)
        assert (found.rank, found.algebra.name) == SYSTEMS[name][1:3]

    def test_false_directions_are_left_out(self):
        system = CustomSystem(2, "(p1**2 + p2**2) / 2 + (q1**2 + sqrt(2) * q2**2) / 2")
        false = np.array([np.diag([1.0, 1.0, 0.0, 0.0])]), np.zeros((1, 4))
        truth = exact(system)
        both = np.concatenate([truth[0], false[0]]), np.concatenate([truth[1], false[1]])
        mixing = np.random.default_rng(0).normal(size=(3, 3))
        found = analyse(
            np.tensordot(mixing, both[0], axes=1), mixing @ both[1], motion(system), noise_variance=NOISE
        )
        assert (found.rank, found.algebra.name) == (2, "u(1)^2")
        assert (len(found.strengths), found.learned) == (3, 2)

    def test_nothing_is_a_real_answer(self):
        false = np.array([np.diag([1.0, 1.0, 0.0, 0.0]), np.diag([1.0, 0.0, 0.0, 2.0])]), np.zeros((2, 4))
        found = analyse(*false, motion(system_of("isotropic 2")), noise_variance=NOISE)
        assert found.to_json()["quantities"] == []
        assert (found.rank, found.algebra.name, found.independent) == (0, "trivial", 0)
        text = symmetry_text(found.to_json())
        assert text.startswith("no conserved quantities of degree <= 2 were learned\n")
        # All four are there: the data show what was not learned.
        assert "model: learned 0 of the 4 quantities that" in text

    def test_brackets_and_products_complete_what_was_learned(self):
        system = system_of("isotropic 2")
        su2 = exact(system)
        pair = [k for k in range(4) if np.count_nonzero(su2[0][k]) == 4][:2]
        found = analyse(su2[0][pair], su2[1][pair], motion(system), noise_variance=NOISE)
        assert (found.rank, found.learned, found.space.rank) == (3, 3, 4)
        text = symmetry_text(found.to_json())
        assert text.startswith("3 conserved quantities") and "model: learned 3 of the 4 quantities" in text

        free = CustomSystem(2, "(p1**2 + p2**2) / 2")
        momenta = np.zeros((2, 4, 4)), np.eye(4)[2:]
        found = analyse(*momenta, motion(free), noise_variance=NOISE)
        assert (found.rank, found.independent, found.algebra.name) == (5, 2, "R^5")
        assert sorted(quantity.note for quantity in found.quantities) == ["", "", "C1*C2", "C1^2", "C2^2"]

    def test_the_energy_is_a_candidate_where_what_was_learned_only_implies_it(self):
        system = system_of("isotropic 2")
        matrices, vectors = exact(system)
        # su(2) is transitive on the spheres of constant energy.
        traceless = matrices - np.trace(matrices, axis1=1, axis2=2)[:, None, None] * np.eye(4) / 4
        without = analyse(traceless, vectors, motion(system), noise_variance=NOISE)
        found = analyse(
            traceless, vectors, motion(system), noise_variance=NOISE, hamiltonian=system.hamiltonian
        )
        assert (without.rank, without.algebra.name) == (3, "su(2)")
        assert (found.rank, found.algebra.name) == (4, "u(2)")
        assert found.energy is not None

    def test_what_commutes_with_the_hamiltonian_is_a_candidate(self):
        system = system_of("signs + -")
        # The two rotations determine H up to a function of two variables; boosts are left for H to tell.
        rotations = np.stack([np.diag([1.0, 0, 1, 0]), np.diag([0, 1.0, 0, 1])])

        def rank_and_name(hamiltonian):
            found = analyse(
                rotations, np.zeros((2, 4)), motion(system), noise_variance=NOISE, hamiltonian=hamiltonian
            )
            return found.rank, found.algebra.name

        assert rank_and_name(system.hamiltonian) == (4, "u(1,1)")
        # Of an H of higher degree nothing is taken up that the data do not conserve.
        quartic = CustomSystem(2, "(p1**2 + p2**2 + q1**2 - q2**2) / 2 + q1**4 + q2**4")
        assert rank_and_name(quartic.hamiltonian)[0] == 2

    def test_what_drifts_as_its_formula_has_it_is_none_of_the_conserved(self, oscillators):
        first, second, *_ = oscillators.quantities
        both = replace(
            first.formula, coefficients={**first.formula.coefficients, **second.formula.coefficients}
        )
        mixed, motion = replace(first, formula=both, row=both.row()), oscillators.space.motion
        assert not _of_its_own(mixed, oscillators.quantities, motion)
        assert _of_its_own(first, oscillators.quantities[1:], motion)
        assert _of_its_own(first, (), motion)

    def test_works_without_noise_and_without_knowing_it(self):
        system = system_of("isotropic 2")
        quantities = learned(exact(system), 0, error=0.02)
        assert analyse(*quantities, motion(system, 0.0), noise_variance=0.0).algebra.name == "u(2)"
        assert analyse(*quantities, motion(system)).algebra.name == "u(2)"

    def test_no_quantities_and_quantities_of_zero(self):
        data = motion(system_of("isotropic 2"))
        assert analyse(np.zeros((0, 4, 4)), np.zeros((0, 4)), data, noise_variance=NOISE).rank == 0
        assert analyse(np.zeros((2, 4, 4)), np.zeros((2, 4)), data, noise_variance=NOISE).rank == 0


class TestText:
    def test_is_that_of_the_documentation(self, oscillators):
        text = symmetry_text(oscillators.to_json())
        assert text.startswith("4 conserved quantities of degree <= 2, u(2) = su(2)+u(1)\n  C1 = ")
        for part in ("q1*p2 - q2*p1", "q1*q2 + p1*p2", "q1^2 + p1^2 + q2^2 + p2^2", "twice the energy H"):
            assert part in text
        assert "functionally independent: 3" in text
        assert "algebra: u(2) = su(2)+u(1), closure error" in text
        assert "data: 4 combinations of monomials stay constant along 80 trajectories, which" in text

    def test_formulas_are_exact_where_the_truth_is(self, oscillators):
        assert all(not quantity.formula.errors for quantity in oscillators.quantities)
        assert oscillators.energy is not None and oscillators.energy.residual < 1e-3
        assert all(quantity.bracket < 1e-5 for quantity in oscillators.quantities)
        assert all(quantity.change.limit < 0.001 for quantity in oscillators.quantities)

    def test_the_energy_is_read_off_gradients(self):
        """A network's field errs by a percent at random; its values at the ends of the data add that up."""
        rng = np.random.default_rng(0)
        states = rng.normal(size=(500, 4))
        one, other = states * [1, 0, 1, 0], states * [0, 1.4, 0, 0.7]
        slopes = 0.3 * one + 2.0 * other
        slopes += 0.02 * np.sqrt(np.mean(slopes**2)) * rng.normal(size=slopes.shape)
        found = energy_in(np.stack([one, other]), slopes)
        assert found is not None and found.residual == pytest.approx(0.02, rel=0.1)
        np.testing.assert_allclose(found.weights, [0.3, 2.0], rtol=5e-3)
        assert energy_in(one[None], slopes) is None

    def test_a_hamiltonian_that_is_not_among_them_is_not_claimed(self):
        system = system_of("isotropic 2")
        found = analyse(
            *exact(system),
            motion(system),
            noise_variance=NOISE,
            hamiltonian=lambda state: jnp.sum(state**4) + state[0] * state[3],
        )
        assert found.energy is None and "energy" not in symmetry_text(found.to_json())
        assert max(quantity.bracket or 0 for quantity in found.quantities) > 0.1


class TestJson:
    def test_keeps_the_contract(self, oscillators):
        found = json.loads(json.dumps(oscillators.to_json(), allow_nan=False))
        assert found["rank"] == len(found["quantities"]) == 4
        # Whether there is a Hamiltonian is asked of a model.
        assert found["independent"] == 3 and found["hamiltonian"] is None
        assert found["decided"] is True and found["closes"] is True
        assert (found["drifting"], found["same_everywhere"]) == ([], [])
        assert (found["learned"], found["restricted"]) == (4, True)
        data = found["data"]
        assert (data["staying"], data["shown"], data["most"], data["recordings"]) == (4, 4, 79, 80)
        assert (data["rows"], data["rows_needed"]) == (3200, 3 * 14 + 80) and len(data["ratios"]) == 14
        assert {"name", "dimension", "central_extension", "closure_error", "centre", "derived_series"} <= set(
            found["algebra"]
        )
        assert found["algebra"]["killing_signature"] == [0, 3, 1]
        for quantity in found["quantities"]:
            assert np.shape(quantity["A"]) == (4, 4) and np.shape(quantity["b"]) == (4,)
            assert isinstance(quantity["drift"], float) and isinstance(quantity["formula"], str)
            assert quantity["decays"] is False and 0 <= quantity["limit"] <= quantity["hidden"] < 0.01

    def test_has_the_measured_value_of_every_coefficient_that_was_not_chosen(self, oscillators):
        (rotation,) = (q for q in oscillators.to_json()["quantities"] if q["formula"] == "q1*p2 - q2*p1")
        (measured,) = rotation["measured"].values()
        assert measured["name"] in ("1", "-1")
        assert abs(measured["value"]) == pytest.approx(1, abs=4 * measured["error"])
        assert 0 < measured["error"] < 1e-3
        text = symmetry_section(oscillators.to_json())
        assert "coefficient of q2*p1: -" in text and " ± 0.0" in text

    def test_quantities_are_their_formulas(self, oscillators):
        random = np.random.default_rng(0)
        state = random.normal(size=4)
        for quantity in oscillators.quantities:
            value = quantity.formula.expression().subs(dict(zip(oscillators.names, state, strict=True)))
            matrix, vector = quantity.matrix, quantity.vector
            assert float(value) == pytest.approx(state @ matrix @ state / 2 + vector @ state)

    def test_structure_constants_are_in_the_units_of_the_quantities(self, oscillators):
        algebra = oscillators.algebra
        first, second = (algebra.basis.matrices[k] for k in (0, 1))
        symplectic = np.kron([[0.0, 1.0], [-1.0, 0.0]], np.eye(2))
        produced = first @ symplectic @ second - second @ symplectic @ first
        expected = np.tensordot(algebra.structure_constants[0, 1], algebra.basis.matrices, axes=1)
        np.testing.assert_allclose(produced, expected, atol=1e-6)

    def test_counts_the_constant_of_a_uniform_field(self):
        system = system_of("uniform field")
        found = analyse(*exact(system), motion(system), noise_variance=NOISE).to_json()
        assert (found["rank"], found["algebra"]["dimension"]) == (6, 7)
        assert found["algebra"]["central_extension"] is True


@pytest.mark.parametrize(
    ("matrices", "vectors", "message"),
    [
        (np.eye(2)[None], np.zeros((1, 2)), "must have shapes"),
        (np.full((1, 4, 4), np.inf), np.zeros((1, 4)), "finite"),
    ],
)
def test_bad_quantities_are_refused(matrices, vectors, message):
    with pytest.raises((ValueError, TypeError), match=message):
        analyse(matrices, vectors, motion(system_of("isotropic 2")), noise_variance=NOISE)


def test_a_single_trajectory_tells_nothing():
    data = motion(system_of("isotropic 2"))[:1]
    longer = noisy(0, linear_motion(np.eye(4), 0, count=1, length=200), NOISE)
    for few, said in ((data, "too few rows"), (longer, "cannot tell from one orbit")):
        found = analyse(np.eye(4)[None], np.zeros((1, 4)), few, noise_variance=NOISE, restrict=False)
        assert found.rank == 0 and not found.to_json()["decided"]
        assert said in symmetry_text(found.to_json())


def test_monomials_are_as_many_as_quantities_need():
    assert [len(monomials(dim)) for dim in (2, 4, 6)] == [5, 14, 27]
