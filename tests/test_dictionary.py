"""A quantity is a combination of terms: any functions of the state, known by name."""

import json
from collections.abc import Iterator
from unittest.mock import patch

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from exact_trajectories import linear_motion, noisy
from scipy.integrate import solve_ivp

from noether_razor.discovery import along, data_answer
from noether_razor.invariants import (
    DICTIONARIES,
    Analysis,
    Dictionary,
    FunctionDictionary,
    Monomials,
    Motion,
    Term,
    analyse,
    conserved_space,
    fourier,
    quadratic,
    register_dictionary,
)
from noether_razor.invariants.monomials import monomials
from noether_razor.reporting import answer_html, symmetry_text
from noether_razor.trajectories import Trajectories

TURN = 2 * np.pi
NONE = np.zeros((0, 2, 2)), np.zeros((0, 2))
"""No quantities were learned."""
STATES = np.random.default_rng(0).normal(size=(7, 4))


def of_expressions(names: tuple[str, ...], *written: str) -> FunctionDictionary:
    """Terms of x, y, .. by name: their expression and JAX function are one."""
    known = {"x^2": lambda x: x[0] ** 2, "x*y": lambda x: x[0] * x[1], "1/(x^2+y^2)": inverse_square}
    symbols = sympy.symbols(names)
    terms = tuple(Term(name, known[name](symbols)) for name in written)
    return FunctionDictionary(
        family="some",
        variables=names,
        terms=terms,
        function=lambda x: jnp.stack([known[name](x) for name in written]),
    )


def inverse_square(x):
    return 1 / (x[0] ** 2 + x[1] ** 2)


def pendulum(
    share: float, count: int = 12, rows: int = 60, seed: int = 0, gravity: float = 1.0
) -> Trajectories:
    """H = p^2 / 2 - gravity cos q, from swings to full turns, noise of `share` of the spread of each
    column.
    """
    generator = np.random.default_rng(seed)
    times = 0.25 * np.arange(rows)
    states = []
    for energy in gravity * np.linspace(-0.8, 1.8, count):
        q = 0.3 * generator.normal()
        p = np.sqrt(2 * max(energy + gravity * np.cos(q), 0.05)) * generator.choice([-1, 1])
        found = solve_ivp(
            lambda _, x: [x[1], -gravity * np.sin(x[0])],
            (0, times[-1]),
            [q, p],
            t_eval=times,
            rtol=1e-10,
            atol=1e-12,
        )
        states.append(found.y.T)
    exact = Trajectories(np.tile(times, (count, 1)), np.array(states), periods=(TURN, None))
    noise = share * exact.spreads() * generator.normal(size=exact.states.shape)
    return Trajectories(exact.times, exact.states + noise, periods=exact.periods)


DICTIONARIES_TRIED = pytest.mark.parametrize(
    "dictionary",
    [
        quadratic(4),
        Monomials.of(("a", "b", "c", "d"), 3),
        fourier(("q1", "q2", "p1", "p2"), (TURN, 360.0, None, None)),
    ],
    ids=["quadratic", "cubic", "fourier"],
)


class TestTerms:
    @DICTIONARIES_TRIED
    def test_values_are_those_of_the_expressions(self, dictionary: Dictionary):
        values = dictionary.values(STATES)
        for state, row in zip(STATES, values, strict=True):
            at = dict(zip(dictionary.variables, state.tolist(), strict=True))
            expected = [float(term.expression.evalf(subs=at)) for term in dictionary.terms]  # type: ignore[arg-type]
            np.testing.assert_allclose(row, expected, rtol=1e-12, atol=1e-12)

    @DICTIONARIES_TRIED
    def test_derivatives_are_the_limits_of_differences(self, dictionary: Dictionary):
        step = 1e-5
        for i in range(4):
            ahead, behind = STATES + step * np.eye(4)[i], STATES - step * np.eye(4)[i]
            slopes = dictionary.slopes(STATES, i)
            limit = (dictionary.values(ahead) - dictionary.values(behind)) / (2 * step)
            np.testing.assert_allclose(slopes, limit, atol=1e-8)
            assert not np.abs(slopes).max(axis=0)[~dictionary.reads[:, i]].max(initial=0.0)
            for j in range(4):
                limit = (dictionary.slopes(ahead, j) - dictionary.slopes(behind, j)) / (2 * step)
                np.testing.assert_allclose(dictionary.bends(STATES, i, j), limit, atol=1e-8)

    @pytest.mark.parametrize("degree", [1, 2, 3])
    def test_monomials_of_moved_states_are_combinations(self, degree):
        dictionary = Monomials.of(("x", "y"), degree)
        shift, scales, states = np.array([3.0, -0.5]), np.array([2.0, 0.1]), STATES[:, :2]
        back = dictionary.moved(-shift / scales, 1 / scales)
        change = dictionary.moved(shift, scales)
        np.testing.assert_allclose(change @ back, np.eye(len(dictionary)), atol=1e-9)
        constants = dictionary.values(states) - dictionary.values((states - shift) / scales) @ change.T
        np.testing.assert_allclose(constants - constants[0], 0, atol=1e-9)

    def test_quadratic_monomials_stand_in_the_order_of_matrices_and_vectors(self):
        assert [term.name for term in quadratic(2).terms] == ["x1", "x2", "x1^2", "x1*x2", "x2^2"]
        assert len(quadratic(6)) == len(monomials(6)) == 27
        assert quadratic(2).quadratic and not Monomials.of(("x", "y"), 3).quadratic

    def test_waves_are_written_in_the_units_of_the_angle(self):
        names = [term.name for term in fourier(("a", "p"), (360.0, None)).terms]
        assert names[:4] == ["p", "p^2", "cos(pi*a/180)", "sin(pi*a/180)"]
        names = [term.name for term in fourier(("a", "p"), (TURN, None)).terms]
        assert {"cos(a)", "sin(2*a)", "p*cos(2*a)"} <= set(names) and "a" not in names
        # Without angles it is the quadratic one.
        assert len(fourier(("q1", "q2", "p1", "p2"), ())) == 14

    def test_polynomials_of_angles_are_not_usable(self):
        names, periods = ("q1", "q2", "p1", "p2"), (TURN, None, None, None)
        dictionary, moving = DICTIONARIES["quadratic"](names, periods), np.ones(4, bool)
        usable = dictionary.usable(STATES, moving, periods)
        assert usable.tolist() == [0 not in m for m in monomials(4)]
        assert fourier(names, periods).usable(STATES, moving, periods).all()
        moving[3] = False
        assert not dictionary.usable(STATES, moving, periods)[[3, 10, 12, 13]].any()

    def test_terms_that_cannot_be_are_refused(self):
        x, y = sympy.symbols("x y")
        with pytest.raises(ValueError, match=r"term y of dictionary mine has .'y'., expected some of x, p"):
            FunctionDictionary(
                family="mine", variables=("x", "p"), terms=(Term.of(y),), function=lambda state: state[:1]
            )
        with pytest.raises(ValueError, match="x stands there twice"):
            FunctionDictionary(
                family="mine", variables=("x", "p"), terms=(Term.of(x),) * 2, function=lambda state: state
            )
        assert Term.of(x + y**2).name == "(x + y^2)"


class TestRegistry:
    @pytest.fixture(autouse=True)
    def registry(self) -> Iterator[None]:
        with patch.dict(DICTIONARIES):
            yield

    def test_one_more_is_one_function(self):
        @register_dictionary("cubic")
        def cubic(names, periods):
            return Monomials.of(names, 3)

        data = linear_motion(np.eye(2), 0, 8, 40)
        space = conserved_space(data, dictionary="cubic")
        assert DICTIONARIES["cubic"] is cubic and len(space.ratios) == 9
        assert space.rank == 1

    def test_names_that_cannot_be_are_refused(self):
        with pytest.raises(ValueError, match="got dictionary 'Two Words', expected a name of small letters"):
            register_dictionary("Two Words")
        with pytest.raises(ValueError, match="dictionary 'fourier' is fourier, choose another name"):
            register_dictionary("fourier")(lambda names, periods: quadratic(2))

    def test_those_that_do_not_fit_are_refused(self):
        data = linear_motion(np.eye(2), 0, 3, 5)
        with pytest.raises(ValueError, match="got dictionary 'fourrier', expected one of fourier, quadratic"):
            conserved_space(data, dictionary="fourrier")
        with pytest.raises(ValueError, match=r"has variables x1, x2, expected those .*, q1, p1"):
            conserved_space(data, dictionary=quadratic(2))

    def test_a_term_that_is_not_finite_is_named(self):
        data = linear_motion(np.eye(2), 0, 3, 5)
        data.states[0, 2] = 0.0
        dictionary = of_expressions(data.names, "x^2", "1/(x^2+y^2)")
        with pytest.raises(ValueError, match=r"term 1/\(x\^2\+y\^2\) is not finite at 1 rows"):
            conserved_space(data, dictionary=dictionary)


class TestMotion:
    def test_functions_say_of_quadratics_what_monomials_do(self):
        """The noise of second order comes of JAX's Hessians there, at every row; the frame is another."""
        data = noisy(1, linear_motion(np.diag([1.0, 1.3, 1.0, 1.3]), 0, 12, 40), 1e-3)
        every = monomials(4)
        known = quadratic(4)
        symbols = sympy.symbols(data.names)
        same = FunctionDictionary(
            family="same",
            variables=data.names,
            terms=tuple(Term.of(sympy.Mul(*(symbols[i] for i in m))) for m in every),
            function=lambda x: jnp.stack([jnp.prod(x[jnp.array(m)]) for m in every]),
        )
        assert not same.quadratic and len(same) == len(known)
        first, second = conserved_space(data), conserved_space(data, dictionary=same)
        np.testing.assert_allclose(first.ratios, second.ratios, rtol=1e-5)
        rows = np.random.default_rng(0).normal(size=(3, 14))
        levels = [space.motion.noise_variances(space.motion.rows(rows)) for space in (first, second)]
        np.testing.assert_allclose(levels[0], levels[1], rtol=1e-9, atol=1e-12)
        assert (first.rank, first.decided) == (second.rank, second.decided) == (2, True)

    def test_noise_is_what_it_makes_of_a_function(self):
        """The variance of cos(q) and p cos(q) at one state, of many noisy copies of it: to second order."""
        dictionary, size = fourier(("q1", "p1"), (TURN, None)), 0.15
        at = np.array([0.05, 0.4])
        states = at + size * np.random.default_rng(0).normal(size=(200_000, 2))
        data = Trajectories(np.arange(200_000.0)[None], states[None], periods=(TURN, None))
        motion = Motion.of(data, size**2, dictionary)
        rows = motion.rows(np.eye(len(dictionary)))
        expected = np.var(dictionary.values(states), axis=0)
        found = np.diag(rows @ motion.noise_matrix(np.ones(len(states))) @ rows.T) / len(states)
        first_order = np.sum([np.mean((slope @ rows.T) ** 2, axis=0) for slope in motion.slopes], axis=0)
        names = [term.name for term in dictionary.terms]
        for name in ("cos(q1)", "p1*cos(q1)", "sin(q1)", "p1^2"):
            k = names.index(name)
            assert found[k] == pytest.approx(expected[k], rel=0.05)
        # At the bottom of the well the first order alone would be twice of it.
        k = names.index("cos(q1)")
        assert first_order[k] > 1.6 * expected[k]

    def test_rows_and_quantities_are_inverse(self):
        data = pendulum(0.01)
        for dictionary in (None, "fourier"):
            motion = Motion.of(data, dictionary=dictionary)
            rows = np.random.default_rng(0).normal(size=(3, motion.values.shape[1]))
            np.testing.assert_allclose(motion.rows(motion.quantities(rows)), rows, atol=1e-9)


@pytest.fixture(scope="module")
def found() -> Analysis:
    return analyse(*NONE, pendulum(0.01), dictionary="fourier")


class TestPendulum:
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.03])
    def test_its_energy_is_the_one_thing_conserved(self, share):
        space = conserved_space(pendulum(share), dictionary="fourier")
        assert (space.rank, space.staying, len(space.drifting)) == (1, 1, 0) and space.decided
        (row,) = space.motion.quantities(space.conserved)
        names = [term.name for term in space.motion.dictionary.terms]
        expected = [{"p1^2": 0.5, "cos(q1)": -1.0}.get(name, 0.0) for name in names]
        np.testing.assert_allclose(row / (2 * row[names.index("p1^2")]), expected, atol=0.6 * share + 1e-4)

    def test_its_formula_is_that_of_a_textbook(self, found: Analysis):
        (quantity,) = found.quantities
        q, p = sympy.symbols("q1 p1")
        assert quantity.text == "p1^2 - 2*cos(q1)"
        assert quantity.expression == p**2 - 2 * sympy.cos(q) == found.expressions()[0]
        assert (found.rank, found.independent, found.generating) == (1, 1, (0,))
        assert found.algebra.name == "not computed for this family" and found.closes
        states = np.random.default_rng(0).normal(size=(5, 2))
        expected = states[:, 1] ** 2 - 2 * np.cos(states[:, 0])
        np.testing.assert_allclose(quantity.values(states), expected, rtol=1e-12)
        with pytest.raises(ValueError, match="is of the family fourier, it has no matrix"):
            _ = quantity.matrix
        with pytest.raises(ValueError, match="is of the family fourier, it has no matrix"):
            found.matrices()

    def test_it_is_written_and_printed(self, found: Analysis):
        symmetry = json.loads(json.dumps(found.to_json(), allow_nan=False))
        (entry,) = symmetry["quantities"]
        assert (symmetry["family"], symmetry["decided"], symmetry["data"]["terms"]) == ("fourier", True, 10)
        assert (entry["A"], entry["b"], entry["formula"]) == (None, None, "p1^2 - 2*cos(q1)")
        assert entry["coefficients"] == {"p1^2": 1.0, "cos(q1)": -2.0} and not entry["errors"]
        measured = entry["measured"]["cos(q1)"]
        assert abs(measured["value"] + 2) < 4 * measured["error"] < 0.1
        first, *lines = symmetry_text(symmetry).splitlines()
        assert first == "1 conserved quantity among 10 terms (fourier)"
        assert lines[0].startswith("  C1 = p1^2 - 2*cos(q1)  drift below 0.")
        assert "coefficient of cos(q1): " in lines[0]
        assert "  algebra: not computed for this family" in lines
        assert any("1 combination of terms stays constant" in line for line in lines)

    def test_its_page_shows_the_formula_and_no_flow(self, found: Analysis):
        page = answer_html(found.to_json() | {"along": None})
        assert "<mi>cos</mi><mo>&#8289;</mo><mo>(</mo>" in page
        assert "Only combinations among 10 terms (fourier) are looked for" in page
        assert "belong together" not in page

    def test_it_is_drawn_along_trajectories(self, found: Analysis):
        drawn = along(found, pendulum(0.0))
        assert drawn is not None and len(drawn.times) == 4
        (curves,) = drawn.values
        assert len(curves) == 4 and max(np.abs(curve).max() for curve in curves) < 1e-6

    def test_a_hamiltonian_is_recognised_and_bracketed(self):
        def hamiltonian(x):
            return x[1] ** 2 / 2 - jnp.cos(x[0])

        found = analyse(*NONE, pendulum(0.01), dictionary="fourier", hamiltonian=hamiltonian)
        (quantity,) = found.quantities
        assert quantity.note == "twice the energy H" and found.energy is not None
        assert quantity.bracket is not None and quantity.bracket < 1e-3
        other = analyse(
            *NONE, pendulum(0.01), dictionary="fourier", hamiltonian=lambda x: x[1] ** 2 / 2 + jnp.sin(x[0])
        )
        assert other.energy is None and (other.quantities[0].bracket or 0) > 0.1

    def test_the_errors_of_coefficients_are_true(self):
        """A pendulum of no simple length, from many files."""
        pulls = []
        for seed in range(8):
            data = pendulum(0.01, seed=seed, gravity=1.2345)
            (quantity,) = analyse(*NONE, data, dictionary="fourier").quantities
            assert quantity.text.startswith("p1^2 - 2.4")
            value, error = quantity.formula.row()[2], quantity.formula.errors
            pulls.append((value + 2.469) / next(iter(error.values())))
        assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 1.7

    def test_beside_an_oscillator_there_are_two(self):
        """Of another dimension, where monomials and waves stand together, and products mean nothing."""
        swings, waves = pendulum(0.0), linear_motion(np.eye(2), 0, 12, 60, 0.25)
        states = np.stack([swings.states, waves.states], axis=3).reshape(12, 60, 4)
        exact = Trajectories(swings.times, states, periods=(TURN, None, None, None))
        noise = 0.01 * exact.spreads() * np.random.default_rng(0).normal(size=states.shape)
        data = Trajectories(exact.times, states + noise, periods=exact.periods)
        found = data_answer(data, dictionary="fourier")
        assert {quantity.text for quantity in found.quantities} == {"p1^2 - 2*cos(q1)", "q2^2 + p2^2"}
        assert found.independent == 2

    def test_quantities_of_degree_two_are_no_part_of_it(self):
        with pytest.raises(ValueError, match="got 1 quantities of degree <= 2 for the dictionary fourier"):
            analyse(np.eye(2)[None], np.zeros((1, 2)), pendulum(0.01), dictionary="fourier")

    def test_without_its_waves_nothing_is(self):
        assert conserved_space(pendulum(0.01)).staying == 0
