"""A space of quantities becomes formulas as a physicist writes them, with no digit more than is known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from exact_trajectories import linear_motion, noisy, oscillations
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.invariants import QuantityFormula, quadratic
from noether_razor.invariants.formulas import Part, reduced, sparse_basis
from noether_razor.invariants.monomials import coefficients, monomials
from noether_razor.invariants.pairs import pair_statistics
from noether_razor.invariants.rounding import rounded
from noether_razor.invariants.simple_numbers import SimpleNumber, Surd, simple_expression, simple_number
from noether_razor.quantities import QuadraticQuantities, unitary_quantities
from noether_razor.systems import NBody


def rows_of(quantities: QuadraticQuantities) -> np.ndarray:
    return coefficients(
        np.asarray(quantities.matrices[...], float), np.asarray(quantities.vectors[...], float)
    )


def mixed(seed: int, rows: np.ndarray, error: float = 0.0) -> np.ndarray:
    """Another basis of the space, with errors of all coefficients."""
    random = np.random.default_rng(seed)
    rows = np.linalg.qr(random.normal(size=(len(rows), len(rows))))[0] @ rows
    return rows + error * random.normal(size=rows.shape)


def written(values: dict[tuple[int, ...], float], names: tuple[str, ...], **errors: float) -> QuantityFormula:
    every = monomials(len(names))
    row = np.array([values.get(monomial, 0.0) for monomial in every])
    size = np.array([errors.get("".join(map(str, monomial)).join("__"), 0.0) for monomial in every])
    simple = {j: Fraction(row[j]).limit_denominator(12) for j in np.flatnonzero(size == 0).tolist()}
    return QuantityFormula.of(row, size, simple, names, ("",) * len(names))


ROOT_2, GOLDEN = Surd(Fraction(0), Fraction(1), 2), Surd(Fraction(1, 2), Fraction(1, 2), 5)


class TestSparseBasis:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("error", [0.0, 0.01])
    def test_of_oscillators_is_the_textbook_one(self, seed, error):
        found, _ = reduced(sparse_basis(mixed(seed, rows_of(unitary_quantities(3)), error)))
        assert sorted((np.abs(found) > 0.2).sum(axis=1)) == [2] * 9
        np.testing.assert_allclose(np.abs(found[np.abs(found) > 0.2]), 1, atol=20 * error + 1e-6)

    def test_of_bodies_keeps_momenta_their_products_and_rotations_apart(self):
        known = rows_of(NBody(masses=(1.0, 1.0)).known_quantities())
        found, at = reduced(sparse_basis(mixed(0, known)))
        assert sorted((np.abs(found) > 1e-6).sum(axis=1)) == [2, 2, 3, 3, 4, 4, 4]
        np.testing.assert_allclose(found[:, at], np.eye(7), atol=1e-9)

    @given(st.integers(0, 2**32 - 1), st.integers(1, 6))
    @settings(max_examples=20, deadline=None)
    def test_spans_the_same_space(self, seed, count):
        rows = np.random.default_rng(seed).normal(size=(count, 14))
        found, _ = reduced(sparse_basis(rows))
        spanned = np.linalg.qr(rows.T)[0]
        np.testing.assert_allclose(found @ spanned @ spanned.T, found, atol=1e-6 * np.abs(found).max())
        assert np.linalg.matrix_rank(found) == count

    def test_does_not_depend_on_the_basis_given(self):
        known = rows_of(NBody(masses=(1.0, 2.0)).known_quantities())
        first, second = (reduced(sparse_basis(mixed(seed, known)))[0] for seed in (0, 1))
        np.testing.assert_allclose(first, second, atol=1e-6)


class TestRounding:
    def test_of_single_numbers(self):
        assert simple_number(0.501, 1e-3) == Fraction(1, 2)
        assert simple_number(-2.999, 0.003) == -3
        assert simple_number(0.003, 0.002) is None
        # So close to 7/5 by chance as likely as not.
        assert simple_number(1.405, 0.02) is None

    @pytest.mark.parametrize("variance", [1e-6, 1e-3])
    def test_finds_exact_coefficients_of_learned_ones_and_leaves_others(self, variance):
        data = noisy(1, oscillations(0, [1.0, 2**0.5]), variance)
        statistics = pair_statistics(quadratic(4), data, np.full(4, variance))
        energy = coefficients(np.diag([1, 2**0.5, 1, 2**0.5])[None], np.zeros((1, 4)))
        learned = mixed(0, energy, 1e-4)
        found = rounded(learned, np.array([4]), statistics, np.ones(14))
        # q2^2 and p2^2, of the other conserved quantity: how much of it there is, data do not say.
        left = [j for j in range(14) if j not in found.simple[0]]
        assert len(left) == 2
        np.testing.assert_allclose(found.values[0, left], 2**0.5, atol=0.01)
        assert (found.errors[0, left] > 0).all()

    def test_does_not_round_where_drift_forbids(self):
        data = noisy(1, linear_motion(np.diag([1.0, 0.96])), 1e-5)
        statistics = pair_statistics(quadratic(2), data, np.full(2, 1e-5))
        energy = coefficients(np.diag([1, 0.96])[None], np.zeros((1, 2)))
        found = rounded(energy, np.array([2]), statistics, np.ones(5))
        assert found.values[0, 4] == pytest.approx(0.96, abs=3e-3)
        assert 4 not in found.simple[0]

    def test_errors_cover_the_truth(self):
        """Coefficients as data correct them are off by one error, whatever they were learned as."""
        truth, variance, pulls = np.array([0, 0, 1, 0, 0.7123]), 1e-3, []
        exact = linear_motion(np.diag([1.0, 0.7123]), count=80)
        for seed in range(20):
            data = noisy(seed, exact, variance)
            statistics = pair_statistics(quadratic(2), data, np.full(2, variance))
            learned = truth + 0.01 * np.random.default_rng(seed).normal(size=5)
            found = rounded(learned[None], np.array([2]), statistics, np.ones(5))
            np.testing.assert_array_equal(found.values[0, [0, 1, 3]], 0)
            pulls.append((found.values[0, 4] - 0.7123) / found.errors[0, 4])
        assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5

    def test_data_decide_which_small_terms_there_are(self):
        """An offset of 0.3 or 0.02 is seen, one that noise hides is not; as learned they look alike."""
        for offset, seen in ((0.3, True), (0.02, True), (0.0005, False)):
            motion = linear_motion(np.eye(2), count=80, length=40)
            data = noisy(1, replace(motion, states=motion.states + np.array([offset, 0.0])), 1e-3)
            statistics = pair_statistics(quadratic(2), data, np.full(2, 1e-3))
            learned = np.array([-2 * offset + 0.01, 0.02, 1.0, -0.015, 1.01])
            found = rounded(learned[None], np.array([2]), statistics, np.ones(5))
            assert found.values[0, 0] == pytest.approx(-2 * offset, abs=5e-3)
            assert (found.values[0, 0] != 0) == seen
            np.testing.assert_array_equal(found.values[0, [1, 3]], 0)
            assert abs(found.values[0, 4] - 1) <= 3.5 * found.errors[0, 4]

    def test_what_stands_at_the_pivot_of_another_quantity_is_free_and_simple(self):
        data = noisy(1, oscillations(0, [1.0, 2**0.5]), 1e-5)
        statistics = pair_statistics(quadratic(4), data, np.full(4, 1e-5))
        first, second = coefficients(
            np.array([np.diag([1.0, 0, 1, 0]), np.diag([0.0, 1, 0, 1])]), np.zeros((2, 4))
        )
        at = np.array([4, 8])
        assert first[4] and second[8]
        found = rounded(np.array([first + 0.4951 * second, second]), at, statistics, np.ones(14))
        assert found.simple[0][8] == Fraction(1, 2) and len(found.simple[0]) == 14
        # What was chosen was not measured, and 0 is no term.
        assert 4 not in found.measured[0] and 8 not in found.measured[0]
        assert all(found.simple[0][j] for j in found.measured[0])

    def test_what_is_negligible_in_the_units_of_the_data_is_no_term(self):
        """Momenta of 10^34: at the pivot of p1 + p2 a square may have 10^12 of it, which is nothing."""
        scales, data = np.array([1e11, 1e11, 1e34, 1e34]), oscillations(0, [1.0, 2.0])
        data = replace(data, states=data.states * scales)
        statistics = pair_statistics(quadratic(4), data, 1e-6 * scales**2)
        units = np.array([1 / np.prod(scales[list(m)]) for m in monomials(4)])
        momentum, square = np.zeros((2, 14))
        momentum[2:4] = 1.0
        square[monomials(4).index((2, 2))] = square[monomials(4).index((3, 3))] = 1.0
        square[2] = 1e-22
        at = np.array([2, monomials(4).index((2, 2))])
        found = rounded(np.array([momentum, square]) * units, at, statistics, units)
        assert found.values[1, 2] == 0 and found.simple[1][2] == 0
        np.testing.assert_array_equal(found.values[[0, 1], at], 1.0)


class TestNames:
    @pytest.mark.parametrize("number", [ROOT_2, GOLDEN, Surd(Fraction(0), Fraction(-1, 2), 2)])
    def test_surds_are_named_where_they_are_sure(self, number):
        value = float(number)
        error = 1.9e-4 * abs(value)
        assert simple_number(value + error, error) == number
        assert simple_number(value, 5e-3) is None
        assert simple_number(value + 8 * error, error) != number

    def test_a_number_and_its_inverse_are_as_simple(self):
        assert simple_number(4.004, 0.004) == 4
        assert simple_number(0.25025, 0.00025) == Fraction(1, 4)
        assert simple_number(4.004, 0.008) is simple_number(0.25025, 0.0005) is None

    @given(st.integers(0, 2**32 - 1), st.floats(-6, -1))
    @settings(max_examples=50, deadline=None)
    def test_names_are_of_either_sign_and_within_the_error(self, seed, exponent):
        value, error = np.random.default_rng(seed).choice([1.0, 2.0, 1.5, 2**0.5, 0.7]), 10**exponent
        name, opposite = simple_number(value, value * error), simple_number(-value, value * error)
        assert (name is None) == (opposite is None)
        if name is not None and opposite is not None:
            assert float(name) == -float(opposite)
            assert abs(float(name) - value) <= 3.5 * value * error

    @pytest.mark.parametrize("law", ["log-uniform", "uniform"])
    @pytest.mark.parametrize("decade", [-5, -4, -3, -2])
    def test_arbitrary_numbers_seldom_get_a_name(self, law, decade):
        random = np.random.default_rng(0)
        numbers = {
            "log-uniform": 10 ** random.uniform(-1, 1, 20_000),
            "uniform": random.uniform(0.1, 10, 20_000),
        }[law]
        errors = numbers * 10 ** random.uniform(decade, decade + 1, len(numbers))
        measured = numbers + errors * random.normal(size=len(numbers))
        named = [simple_number(*pair) is not None for pair in zip(measured, errors, strict=True)]
        assert np.mean(named) <= 0.01

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            *[(1.0, 1e-2), (2.0, 3e-3), (0.5, 3e-3), (3.0, 1e-3), (1 / 3, 1e-3), (4.0, 1e-3), (0.25, 1e-3)],
            *[(1.5, 1e-3), (2 / 3, 1e-3), (2**0.5, 5e-4), (0.5**0.5, 5e-4), (3**0.5, 3e-4)],
            *[(0.75, 3e-4), (4 / 3, 3e-4), (5 / 3, 3e-4), ((1 + 5**0.5) / 2, 2e-4)],
        ],
    )
    def test_simple_numbers_are_named_once_their_error_is_small(self, value, error):
        random = np.random.default_rng(0)
        for size in (error, error / 3, error / 10):
            measured = value * (1 + size * random.normal(size=1000))
            names = [simple_number(number, value * size) for number in measured]
            right = [name is not None and float(name) == pytest.approx(value) for name in names]
            assert np.mean(right) >= 0.99
            assert sum(name is not None for name in names) == sum(right)

    @given(
        st.sampled_from([1.0, 2.0, 0.25, 1.5, 0.75, 7.0, 2**0.5, 3**0.5]),
        st.floats(-6, -1),
        st.floats(0, 3.4),
    )
    @settings(max_examples=100, deadline=None)
    def test_of_a_simple_number_the_error_alone_decides(self, value, exponent, away):
        error = value * 10**exponent
        centre = simple_number(value, error)
        named = {simple_number(value + sign * away * error, error) for sign in (-1, 1)}
        if centre is not None:
            assert named == {centre}
        else:
            assert not {float(name) for name in named if name is not None} & {value}

    @pytest.mark.parametrize("value", [np.pi, 22 / 7 - 3e-4, np.e, 1.643, 1.425, 2.3456])
    @pytest.mark.parametrize("error", [3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4])
    def test_other_numbers_keep_their_decimals(self, value, error):
        assert simple_number(value, error * value) is None

    def test_in_sympy(self):
        assert simple_expression(GOLDEN) == (1 + sympy.sqrt(5)) / 2
        assert simple_expression(Fraction(-2, 3)) == sympy.Rational(-2, 3)


class TestFormula:
    names = ("q1", "q2", "p1", "p2")

    def test_is_written_as_in_a_textbook(self):
        assert written({(0, 3): -1, (1, 2): 1}, self.names).text() == "q1*p2 - q2*p1"
        assert written({(0, 0): 1, (2, 2): 1, (1, 1): -1, (3, 3): -1}, self.names).text() == (
            "q1^2 + p1^2 - q2^2 - p2^2"
        )
        assert written({(2,): 1, (1,): -0.5}, self.names).text() == "2*p1 - q2"
        assert written({(0, 0): -0.5, (2, 2): -0.25}, self.names).text() == "2*q1^2 + p1^2"

    def test_has_as_many_digits_as_are_known(self):
        formula = written({(0, 0): 1.0, (2, 2): 1.41421356}, self.names, _22_=0.01)
        assert formula.text() == "q1^2 + 1.414*p1^2"
        assert formula.errors == {(2, 2): 0.01}

    def test_in_sympy_and_latex_is_the_same_function(self):
        formula = written({(0, 3): 1, (1, 2): -1, (2,): 1 / 3}, self.names)
        q1, q2, p1, p2 = sympy.symbols("q1 q2 p1 p2")
        assert sympy.expand(formula.expression() - (p1 + 3 * q1 * p2 - 3 * q2 * p1)) == 0
        assert "p_{1}" in formula.latex()

    def test_names_surds(self):
        terms: dict[Part, SimpleNumber | float] = {(0, 0): Fraction(1), (2, 2): ROOT_2, (1, 1): GOLDEN}
        formula = QuantityFormula.of_terms(terms, {}, self.names, ("",) * 4)
        q1, q2, p1 = sympy.symbols("q1 q2 p1")
        assert formula.text() == "2*q1^2 + 2*sqrt(2)*p1^2 + (1 + sqrt(5))*q2^2"
        expected = 2 * q1**2 + 2 * sympy.sqrt(2) * p1**2 + (1 + sympy.sqrt(5)) * q2**2
        assert sympy.expand(formula.expression() - expected) == 0
        assert r"\sqrt{2}" in formula.latex()
        np.testing.assert_allclose(formula.row()[[4, 11, 8]], [2, 8**0.5, 1 + 5**0.5])

    def test_uses_the_names_and_units_of_the_data(self):
        formula = QuantityFormula.of(
            np.array([0, 0, 1.0, 0, 0]),
            np.zeros(5),
            {2: Fraction(1)},
            ("theta", "L"),
            ("rad", "kg m^2/s"),
        )
        assert (formula.text(), formula.unit()) == ("theta^2", "(rad)^2")

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=20, deadline=None)
    def test_keeps_the_quantity_up_to_a_factor(self, seed):
        random = np.random.default_rng(seed)
        row = random.integers(-3, 4, size=14) / random.integers(1, 5, size=14)
        row[0] = 1.0
        simple = {j: Fraction(value).limit_denominator(12) for j, value in enumerate(row)}
        formula = QuantityFormula.of(row, np.zeros(14), simple, self.names, ("",) * 4)
        np.testing.assert_allclose(formula.row() * (row[0] / formula.row()[0]), row)


class TestMeasured:
    names = ("q1", "q2", "p1", "p2")

    def formula(self, terms, errors, measured):
        return QuantityFormula.of_terms(terms, errors, self.names, ("",) * 4, measured)

    def test_stands_beside_the_names(self):
        formula = self.formula(
            {(0, 0): Fraction(1), (2, 2): Fraction(1), (1, 1): Fraction(2), (3, 3): ROOT_2},
            {},
            {(2, 2): (1.00021, 3.2e-4), (1, 1): (2.00031, 4.4e-4), (3, 3): (1.414241, 3.1e-5)},
        )
        assert formula.text() == "q1^2 + p1^2 + 2*q2^2 + sqrt(2)*p2^2"
        assert formula.measured_text() == (
            "coefficient of p1^2: 1.0002 ± 0.0003, of q2^2: 2.0003 ± 0.0004, of p2^2: 1.41424 ± 0.00003"
        )
        assert formula.measured_text(1) == "coefficient of p1^2: 1.0002 ± 0.0003, ..."

    def test_of_decimals_has_no_name(self):
        formula = self.formula({(0, 0): Fraction(1), (1, 1): 1.6432}, {(1, 1): 4e-3}, {})
        assert formula.measured_text() == "coefficient of q2^2: 1.643 ± 0.004"
        assert formula.measurements()[1, 1].name is None

    def test_follows_the_factor_of_the_formula(self):
        formula = self.formula({(0, 3): Fraction(-1), (1, 2): Fraction(1, 2)}, {}, {(1, 2): (0.5004, 2e-4)})
        assert formula.text() == "2*q1*p2 - q2*p1"
        assert formula.measured == {(1, 2): (pytest.approx(-1.0008), pytest.approx(4e-4))}
        assert formula.measured_text() == "coefficient of q2*p1: -1.0008 ± 0.0004"

    def test_has_the_name_of_its_size(self):
        inverse = Surd(Fraction(1, 2), Fraction(-1, 2), 5)
        terms = {(0, 0): Fraction(1), (1, 1): inverse, (2, 2): 1.3, (3, 3): Fraction(-2, 3)}
        formula = self.formula(terms, {(2, 2): 0.01}, {(1, 1): (-0.61804, 2e-5), (3, 3): (-0.6668, 2e-4)})
        assert formula.text() == "q1^2 + 1.3*p1^2 - (-1/2 + sqrt(5)/2)*q2^2 - (2/3)*p2^2"
        assert formula.measurements()[3, 3] == ("2/3", -0.6668, 2e-4)
        assert formula.measured_text() == (
            "coefficient of p1^2: 1.30 ± 0.01, of q2^2: -0.61804 ± 0.00002, of p2^2: -0.6668 ± 0.0002"
        )

    def test_without_an_error_is_none(self):
        terms = {(0, 0): Fraction(1), (1, 1): 1.6432}
        assert not self.formula(terms, {(1, 1): 0.0}, {}).measurements()

    def test_of_nothing_is_empty(self):
        assert self.formula({(0, 0): Fraction(1)}, {}, {}).measured_text() == ""
