"""A space of quantities becomes formulas as a physicist writes them, with no digit more than is known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from exact_trajectories import linear_motion, noisy, oscillations
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.analysis._drift import pair_statistics
from noether_razor.analysis._formulas import QuantityFormula, reduced, sparse_basis
from noether_razor.analysis._monomials import coefficients, monomials, quadratic_parts
from noether_razor.analysis._rounding import rounded
from noether_razor.analysis._simple_numbers import Surd, simple_expression, simple_number
from noether_razor.conserved import QuadraticQuantities, unitary_quantities
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
        assert simple_ratio(0.501, 1e-3) == Fraction(1, 2)
        assert simple_ratio(-2.99, 0.01) == -3
        assert simple_ratio(0.003, 0.002) == 0
        assert simple_ratio(2**0.5, 1e-4) is None
        # So close to 7/5 by chance as likely as not.
        assert simple_ratio(1.405, 0.02) is None

    @pytest.mark.parametrize("variance", [1e-6, 1e-3])
    def test_finds_exact_coefficients_of_learned_ones_and_leaves_others(self, variance):
        data = noisy(1, oscillations(0, [1.0, 2**0.5]), variance)
        statistics = pair_statistics(*quadratic_parts(np.eye(14), 4), data, np.full(4, variance))
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
        statistics = pair_statistics(*quadratic_parts(np.eye(5), 2), data, np.full(2, 1e-5))
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
            statistics = pair_statistics(*quadratic_parts(np.eye(5), 2), data, np.full(2, variance))
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
            statistics = pair_statistics(*quadratic_parts(np.eye(5), 2), data, np.full(2, 1e-3))
            learned = np.array([-2 * offset + 0.01, 0.02, 1.0, -0.015, 1.01])
            found = rounded(learned[None], np.array([2]), statistics, np.ones(5))
            assert found.values[0, 0] == pytest.approx(-2 * offset, abs=5e-3)
            assert (found.values[0, 0] != 0) == seen
            np.testing.assert_array_equal(found.values[0, [1, 3, 4]], [0, 0, 1])

    def test_what_stands_at_the_pivot_of_another_quantity_is_free_and_simple(self):
        data = noisy(1, oscillations(0, [1.0, 2**0.5]), 1e-3)
        statistics = pair_statistics(*quadratic_parts(np.eye(14), 4), data, np.full(4, 1e-3))
        first, second = coefficients(
            np.array([np.diag([1.0, 0, 1, 0]), np.diag([0.0, 1, 0, 1])]), np.zeros((2, 4))
        )
        at = np.array([4, 8])
        assert first[4] and second[8]
        found = rounded(np.array([first + 0.4951 * second, second]), at, statistics, np.ones(14))
        assert found.simple[0][8] == Fraction(1, 2) and len(found.simple[0]) == 14


class TestNames:
    @pytest.mark.parametrize("number", [ROOT_2, GOLDEN, Surd(Fraction(0), Fraction(-1, 2), 2)])
    def test_surds_are_named_where_they_are_sure(self, number):
        value = float(number)
        assert simple_number(value + 5e-4, 5e-4) == number
        assert simple_number(value, 5e-3) is None
        assert simple_number(value + 4e-3, 5e-4) != number

    def test_a_ratio_as_near_as_a_surd_leaves_no_name(self):
        # 3 sqrt(2) = 4.243 and 17/4.
        assert simple_number(4.247, 2e-3) is None

    def test_a_number_and_its_inverse_are_as_simple(self):
        assert simple_ratio(3.99, 0.03) == 4
        assert simple_ratio(-3.99, 0.03) == -4
        assert simple_ratio(3.99, 0.09) is None

    @pytest.mark.parametrize("error", [1e-2, 1e-3, 1e-4])
    def test_arbitrary_numbers_seldom_pass_for_surds(self, error):
        random = np.random.default_rng(0)
        numbers = random.uniform(0.2, 4, 2000) + error * random.normal(size=2000)
        named = [simple_number(number, error) for number in numbers]
        assert np.mean([isinstance(name, Surd) for name in named]) < 0.05
        assert np.mean([name is not None for name in named]) < 0.25

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
        terms = {(0, 0): Fraction(1), (2, 2): ROOT_2, (1, 1): GOLDEN}
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
