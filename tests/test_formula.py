"""Formulas typed by a user: what they mean, what is refused, and what a system given by one conserves."""

import contextlib
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.formula import FormulaError, parse_formula
from noether_razor.formula.parse import FUNCTIONS, Formula, canonical_names
from noether_razor.phase_space import poisson_bracket
from noether_razor.quantities import QuadraticQuantities, quadratic_form, unitary_quantities
from noether_razor.systems import CustomSystem, NBody, Oscillators

NAMES = canonical_names(2)
STATE = np.array([0.7, -0.4, 0.3, 1.1])


def value(text: str, **parameters: float) -> float:
    with jax.enable_x64(True):
        return float(parse_formula(text, NAMES, parameters)(jnp.asarray(STATE)))


# --- what a formula means ---


@pytest.mark.parametrize(
    "text",
    [
        "p1**2/2 + p2**2/2 + (q1**2 + q2**2)**2/4",
        "q1*p2 - q2*p1",
        "p1^2/(2*m) - k/sqrt(q1^2 + q2^2 + 0.25)",
        "(q1**2 + 1)**(-3/2) + (q1**2 + 1)**0.3 + q2**-3",
        "exp(-q1) * sin(2*pi*q2) + log(1 + p1**2)*tan(p2/k)",
        "sinh(q1) - cosh(q2)*tanh(p1) + cos(p2 - 0.5e-1)",
        "(q1 + 2*q2)**k / m^k - -p1",
        "1e-3 + .5*q1 + 2.*p1 - sqrt(2)",
    ],
)
def test_values_and_gradients_are_those_of_sympy(text):
    formula = parse_formula(text, NAMES, {"k": 2.0, "m": 1.7})
    symbols: dict[str, Any] = {name: sympy.Symbol(name) for name in (*NAMES, "k", "m")}
    numbers = list(zip(symbols.values(), [*STATE.tolist(), 2.0, 1.7], strict=True))
    functions = {name: getattr(sympy, name) for name in (*FUNCTIONS, "pi")}
    expected = eval(text.replace("^", "**"), symbols | functions)
    with jax.enable_x64(True):
        got, gradient = jax.value_and_grad(formula)(jnp.asarray(STATE))
    for expression in (expected, formula.expression):
        derivatives = [float(expression.diff(symbols[name]).subs(numbers)) for name in NAMES]
        np.testing.assert_allclose(got, float(expression.subs(numbers)), rtol=1e-13)
        np.testing.assert_allclose(gradient, derivatives, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_numpys(name):
    with jax.enable_x64(True):
        got = parse_formula(f"{name}(q1)", NAMES)(jnp.asarray(STATE))
    np.testing.assert_allclose(got, getattr(np, name)(STATE[0]), rtol=1e-14)


signed = st.builds(
    lambda minus, term: minus + term,
    st.sampled_from(["", "", "-"]),
    st.sampled_from(["q1", "q2", "p1", "3", "0.5"]),
)
powers = st.builds(
    lambda base, power: base + power, signed, st.sampled_from(["", "", "^2", "**3", "^-1", "^ -2", "**1.0"])
)
chains = st.builds(
    lambda first, rest: first + "".join(operator + term for operator, term in rest),
    powers,
    st.lists(st.tuples(st.sampled_from([" + ", "-", "*", "/", " / "]), powers), max_size=6),
)
nested = st.builds(lambda a, operator, b: f"({a}){operator}({b})", chains, st.sampled_from("+-*"), chains)


@given(chains | nested)
@settings(max_examples=60, deadline=None)
def test_precedence_is_pythons_with_the_hat_as_power(text):
    expected = eval(text.replace("^", "**"), dict(zip(NAMES, STATE.tolist(), strict=True)))
    assert value(text) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_powers_bind_as_in_mathematics():
    q1, q2 = STATE[0], STATE[1]
    assert value("-q1^2") == pytest.approx(-(q1**2))
    assert value("2*q1^2 + q2") == pytest.approx(2 * q1**2 + q2)
    assert value("q1^-1") == pytest.approx(1 / q1)
    assert value("q1^(1/2)") == pytest.approx(math.sqrt(q1))
    assert value("q1^1/2") == pytest.approx(q1 / 2)
    assert value("q1\n + q2") == pytest.approx(q1 + q2)


def test_integer_powers_are_right_at_zero_and_below():
    formula = parse_formula("q1**3 + q2**4 + p1**2", NAMES)
    assert jax.grad(formula)(jnp.array([0.0, -1.0, 0.0, 0.0])).tolist() == [0.0, -4.0, 0.0, 0.0]


@pytest.mark.parametrize("text", ["q1**2.5 + sqrt(2)*pi*p1/3", "1", "k*pi", "exp(1)^2*q1 + 2/3"])
def test_precision_follows_the_state(text):
    formula = parse_formula(text, NAMES, {"k": 0.1})
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        single, double = (jax.jit(formula)(jnp.asarray(STATE, dtype)) for dtype in (jnp.float32, jnp.float64))
        assert (single.dtype, double.dtype, double.shape) == (jnp.float32, jnp.float64, ())
        numbers = zip(map(sympy.Symbol, (*NAMES, "k")), [*STATE.tolist(), 0.1], strict=True)
        expected = float(formula.expression.subs(list(numbers)))
        np.testing.assert_allclose(double, expected, rtol=1e-15)


def test_formulas_are_values():
    first = parse_formula("k*q1 + c", NAMES, {"k": 1.0, "c": 2.0})
    second = parse_formula("k*q1 + c", NAMES, {"c": 2.0, "k": 1.0})
    assert first == second and hash(first) == hash(second) and first.text == "k*q1 + c"
    assert first != parse_formula("k*q1 + c", NAMES, {"k": 1.0, "c": 3.0})
    assert "k*q1 + c" in repr(first)


def test_own_variable_names():
    formula = parse_formula("omega*x_1*p_x", ["x_1", "p_x"], {"omega": 2.0})
    assert float(formula(jnp.array([3.0, 5.0]))) == 30.0
    with pytest.raises(ValueError, match=r"2 entries, got shape \(4,\)"):
        formula(jnp.ones(4))


# --- polynomials of degree at most 2 ---


def test_quadratic_of_angular_momentum():
    matrix, vector, constant = parse_formula("q1*p2 - q2*p1", NAMES).quadratic()
    expected = np.zeros((4, 4))
    expected[0, 3] = expected[3, 0] = 1
    expected[1, 2] = expected[2, 1] = -1
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(vector, 0)
    assert constant == 0


@pytest.mark.parametrize(
    "text",
    [
        "(q1 - 2*p2 + k)**2/3 - sqrt(2)*q2*(p1 - 1)",
        "-(q1 + q2)*(p1 - 3)/-k + pi^2 + exp(1)^-2",
        "(q1 + 1)**1 + q2**0 + (q1 - q1)*p1*p2*q2",
        "0.1*p1 + 1e-3*p1^2 - (k - 5)^(1/3)*q1",
        "7",
    ],
)
def test_quadratic_is_the_formula(text):
    formula = parse_formula(text, NAMES, {"k": 6.5})
    matrix, vector, constant = formula.quadratic()
    np.testing.assert_array_equal(matrix, matrix.T)
    for state in np.random.default_rng(0).normal(size=(3, 4)):
        with jax.enable_x64(True):
            got = formula(jnp.asarray(state))
        np.testing.assert_allclose(state @ matrix @ state / 2 + vector @ state + constant, got, rtol=1e-13)


@pytest.mark.parametrize(
    "text",
    [
        "q1**3",
        "q1*q2*p1",
        "sin(q1)",
        "1/q1",
        "sqrt(q1**2)",
        "q1**0.5",
        "q1^-1",
        "(q1 + p1)**12",
        "1/(q1-q1)",
        "q1*1e99*1e99*1e99*1e99",
    ],
)
def test_quadratic_refuses_everything_else(text):
    with pytest.raises(FormulaError, match="degree at most 2"):
        parse_formula(text, NAMES).quadratic()


# --- what is refused ---

REFUSED = {
    "unknown name": ("q1 + q3", "column 6", "unknown name 'q3'"),
    "a hint": ("omga*q1", "column 1", "did you mean 'omega'"),
    "unknown function": ("q1 + sinn(q1)", "column 6", "did you mean 'sin'"),
    "import": ("__import__('os').system('x')", "column 12", "not part of a formula"),
    "import without quotes": ("__import__(q1)", "column 1", "unknown function"),
    "builtin": ("open(q1)", "column 1", "unknown function"),
    "attribute": ("q1.real", "column 1", "got 'q1.real'"),
    "dunder attribute": ("q1.__class__", "column 1", "got"),
    "method": ("q1.conj()", "column 1", "is no function"),
    "subscript": ("q1[0]", "column 3", "'['"),
    "lambda": ("lambda: q1", "column 7", "':'"),
    "comprehension": ("[q1 for q1 in p1]", "column 1", "'['"),
    "generator": ("sin(q1 for q1 in p1)", "column", "expected"),
    "string": ("'q1'", "column 1", "not part of a formula"),
    "double quotes": ('"q1"', "column 1", "not part of a formula"),
    "walrus": ("(q1 := 2)", "column 5", "':'"),
    "equation": ("H = q1", "column 3", "right-hand side"),
    "keyword argument": ("sin(x=q1)", "column 6", "'='"),
    "no argument": ("1 + sin()", "column 5", "exactly one argument"),
    "two arguments": ("sin(q1, p1)", "column 1", "exactly one argument"),
    "starred": ("sin(*q1)", "column 1", "exactly one argument"),
    "double starred": ("sin(**q1)", "column 1", "exactly one argument"),
    "bare function": ("q1*sin", "column 4", "write sin(...)"),
    "called variable": ("q1(p1)", "column 1", "write a product"),
    "called number": ("2(q1)", "column 1", "write products with *"),
    "called bracket": ("(q1)(p1)", "column 2", "write a product"),
    "implicit product": ("2q1", "column 1", "2*q1"),
    "side by side": ("q1 p1", "column 4", "expected one operator"),
    "True": ("q1 + True", "column 6", "decimal number"),
    "None": ("None", "column 1", "decimal number"),
    "ellipsis": ("...", "column 1", "decimal number"),
    "complex": ("1j*q1", "column 1", "decimal number"),
    "hexadecimal": ("0x10", "column 1", "decimal number"),
    "underscored": ("1_000*q1", "column 1", "decimal number"),
    "huge number": ("1e999*q1", "column 1", "out of range"),
    "tiny number": ("1e-300*q1", "column 1", "out of range"),
    "long number": ("9" * 3000, "column 1", "out of range"),
    "comparison": ("q1 < p1", "column 4", "'<'"),
    "identity": ("q1 is p1", "column 1", "got 'q1 is p1'"),
    "and": ("q1 and p1", "column 1", "got 'q1 and p1'"),
    "not": ("not q1", "column 1", "got 'not q1'"),
    "condition": ("q1 if p1 else 0", "column 1", "got"),
    "floor division": ("q1//p1", "column 1", "got 'q1//p1'"),
    "modulo": ("q1 % p1", "column 4", "'%'"),
    "matrix product": ("q1 @ p1", "column 4", "'@'"),
    "tuple": ("q1, p1", "column 1", "got"),
    "comment": ("q1 # two", "column 4", "'#'"),
    "two statements": ("q1; p1", "column 3", "';'"),
    "backslash": ("q1 + \\\n p1", "column 6", "not part of a formula"),
    "null byte": ("q1\0", "column 3", "not part of a formula"),
    "mathematical letters": ("\U0001d42a1", "column 1", "not part of a formula"),
    "superscript": ("q1²", "column 3", "not part of a formula"),
    "minus sign": ("q1 \u2212 p1", "column 4", "not part of a formula"),
    "right to left": ("q1\u202e", "column 3", "not part of a formula"),
    "greek": ("ω*q1", "column 1", "not part of a formula"),
    "variable exponent": ("q1**p1", "column 5", "not constant"),
    "function exponent": ("q1**sqrt(4)", "column 5", "not constant"),
    "large exponent": ("q1**13", "column 5", "from -12 to 12"),
    "enormous exponent": ("q1**(1e99*1e99*1e99*1e99)", "column 6", "from -12 to 12"),
    "nested powers": ("9**9**9", "column 4", "not constant"),
    "nested powers with hats": ("9^9^9^9^9", "column 3", "not constant"),
    "powers of powers": ("((q1**12)**12)**12", "column 2", "at most 100"),
    "powers of large numbers": ("((1e99**2)**2)**2", "column", "no finite real number"),
    "many factors": ("q1*" * 200 + "q1", "", "operations inside one another"),
    "zero divisor": ("q1/(2 - 2)", "column 5", "is zero"),
    "zero divisor in an exponent": ("q1**(1/0)", "column 8", "is zero"),
    "zero to a negative power": ("0**-1", "column 1", "no finite real number"),
    "logarithm of zero": ("q1 + log(0)", "column 6", "no finite real number"),
    "root of a negative": ("sqrt(-2)*q1", "column 1", "no finite real number"),
    "complex power": ("(-8)**(1/3)", "column 1", "no finite real number"),
    "overflow": ("exp(exp(exp(9)))", "column", "no finite real number"),
    "open bracket": ("(q1 + (p1)", "column 1", "never closed"),
    "closed bracket": ("q1) + (p1", "column 3", "closes nothing"),
    "empty": ("", "", "empty"),
    "blank": (" \n\t", "", "empty"),
    "only an operator": ("*", "column 1", "expected one operator"),
    "too long": ("q1 + " * 2000 + "q1", "", "at most 4000"),
    "deep brackets": ("(" * 500 + "q1" + ")" * 500, "column 51", "deeper than 50"),
    "deep minus signs": ("-" * 3900 + "q1", "", ""),
    "deep sums": ("q1+" * 900 + "q1", "", "operations inside one another"),
}


@pytest.mark.parametrize(("text", "column", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_where_and_why_on_one_line(text, column, reason):
    start = time.perf_counter()
    with pytest.raises(FormulaError) as caught:
        parse_formula(text, NAMES, {"omega": 1.0})
    assert time.perf_counter() - start < 1
    message = str(caught.value)
    assert column in message and reason in message
    assert message.isprintable() and len(message) < 400


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"q1": 1.0}, "twice"),
        ({"pi": 3.0}, "taken"),
        ({"sin": 3.0}, "taken"),
        ({"lambda": 1.0}, "cannot be used"),
        ({"a b": 1.0}, "cannot be used"),
        ({"k": math.nan}, "finite number"),
    ],
)
def test_bad_parameters_are_refused(parameters, reason):
    with pytest.raises(FormulaError, match=reason):
        parse_formula("q1", NAMES, parameters)


def check_harmless(text: str) -> None:
    """The text is refused or usable, in every form, without delay."""
    start = time.perf_counter()
    try:
        formula = parse_formula(text, NAMES, {"k": 1.5})
    except FormulaError as error:
        assert str(error).isprintable()
    else:
        assert formula.expression is not None
        with contextlib.suppress(FormulaError):
            formula.quadratic()
        assert jax.eval_shape(formula, jax.ShapeDtypeStruct((4,), jnp.float32)).shape == ()
    assert time.perf_counter() - start < 2


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_is_harmless(text):
    check_harmless(text)


pieces = [
    "q1",
    "p2",
    "k",
    "pi",
    "2",
    "0.5",
    "1e30",
    "12",
    "(",
    ")",
    "(",
    ")",
    "+",
    "-",
    "*",
    "/",
    "**",
    "^",
    "exp(",
    "log(",
    "sqrt(",
]
odd_pieces = [
    " ",
    ",",
    ".",
    "_",
    "e",
    "1e",
    "if ",
    " in ",
    "not ",
    "lambda ",
    "0x",
    "\n",
    "1j",
    "**-",
    "(q1-q1)",
]


@given(st.lists(st.sampled_from(pieces + odd_pieces), max_size=60).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_text_that_resembles_a_formula_is_harmless(text):
    check_harmless(text)


trees = st.recursive(
    st.sampled_from(["q1", "p2", "(q1-q1)", "k", "pi", "2", "0.37", "1e30", "7e-40"]),
    lambda part: st.one_of(
        st.builds(lambda a, operator, b: f"({a}{operator}{b})", part, st.sampled_from("+-*/"), part),
        st.builds(lambda name, a: f"{name}({a})", st.sampled_from(FUNCTIONS), part),
        st.builds(
            lambda a, power: f"({a})^{power}",
            part,
            st.sampled_from(["2", "-2", "(1/3)", "0.123456789", "-11.7", "k"]),
        ),
    ),
    max_leaves=20,
)


@pytest.mark.filterwarnings("ignore:overflow")  # float32 has no 1e60
@given(trees)
@settings(max_examples=150, deadline=None)
def test_formulas_of_nonsense_are_harmless(text):
    # Evaluated, sympy needs minutes for some of these.
    check_harmless(text)


# --- what a system given by a formula conserves ---


def flattened(quantities: QuadraticQuantities) -> np.ndarray:
    matrices, vectors = (
        np.asarray(quantities.symmetric_matrices(), float),
        np.asarray(quantities.vectors[...], float),
    )
    return np.hstack([matrices.reshape(len(matrices), -1), vectors])


def assert_same_space(got: QuadraticQuantities | None, expected: QuadraticQuantities) -> None:
    """Equal dimension, and all principal angles between the two spaces zero."""
    assert got is not None and got.count == expected.count
    bases = [np.linalg.qr(flattened(quantities).T)[0] for quantities in (got, expected)]
    # Their sines: cosines could not tell angles below 1e-8.
    assert np.linalg.norm(bases[1] - bases[0] @ (bases[0].T @ bases[1]), 2) < 1e-9


CHARGED = quadratic_form(
    2,  # the guiding centre (X, Y), its products, and the rotation about the origin, in a field of strength 1
    [
        {(0,): 0.5, (3,): 1.0},
        {(1,): 0.5, (2,): -1.0},
        {(0, 0): 0.25, (0, 3): 1.0, (3, 3): 1.0},
        {(1, 1): 0.25, (1, 2): -1.0, (2, 2): 1.0},
        {(0, 1): 0.25, (0, 2): -0.5, (1, 3): 0.5, (2, 3): -1.0},
        {(0, 3): 1.0, (1, 2): -1.0},
    ],
)


def springs_ring() -> QuadraticQuantities:
    """u(2) of the two equal modes e1, e2 beside the centre of mass, P and P^2."""
    e1, e2 = np.array([1, -1, 0]) / math.sqrt(2), np.array([1, 1, -2]) / math.sqrt(6)
    total = np.r_[np.zeros(3), np.ones(3)]
    omega = math.sqrt(3)
    q = [np.r_[e, np.zeros(3)] * math.sqrt(omega) for e in (e1, e2)]
    p = [np.r_[np.zeros(3), e] / math.sqrt(omega) for e in (e1, e2)]
    pairs = [(0, 0), (0, 1), (1, 1)]
    matrices = [np.outer(q[i], q[j]) + np.outer(p[i], p[j]) for i, j in pairs]
    matrices += [np.outer(q[0], p[1]) - np.outer(q[1], p[0]), np.outer(total, total), np.zeros((6, 6))]
    vectors = np.zeros((6, 6))
    vectors[-1] = total
    return QuadraticQuantities(jnp.asarray(np.stack(matrices)), jnp.asarray(vectors))


ANGULAR_MOMENTUM = [{(0, 3): 1.0, (1, 2): -1.0}]
KINETIC = "(p1**2 + p2**2)/2"


def known(name: str) -> tuple[CustomSystem, QuadraticQuantities]:
    match name:
        case "isotropic":
            return CustomSystem(2, f"{KINETIC} + (q1^2 + q2^2)/2"), unitary_quantities(2)
        case "isotropic in space":
            return CustomSystem(3, "(p1^2 + p2^2 + p3^2 + q1^2 + q2^2 + q3^2)/2"), unitary_quantities(3)
        case "anisotropic":
            system = CustomSystem(2, "(p1^2 + q1^2)/2 + w*(p2^2 + q2^2)/2", {"w": math.sqrt(2)})
            return system, Oscillators((1.0, math.sqrt(2))).known_quantities()
        case "two equal of three":
            system = CustomSystem(3, "(p1^2 + q1^2 + p2^2 + q2^2)/2 + sqrt(2)*(p3^2 + q3^2)/2")
            return system, Oscillators((1.0, 1.0, math.sqrt(2))).known_quantities()
        case "opposite signs":
            return CustomSystem(2, "(p1^2 + q1^2)/2 - (p2^2 + q2^2)/2"), Oscillators(
                (1.0, -1.0)
            ).known_quantities()
        case "central force":
            return CustomSystem(2, f"{KINETIC} + log(1 + q1**2 + q2**2)"), quadratic_form(2, ANGULAR_MOMENTUM)
        case "central force in space":
            rotations = [{(i, j + 3): 1.0, (j, i + 3): -1.0} for i, j in ((0, 1), (0, 2), (1, 2))]
            return CustomSystem(3, "(p1^2 + p2^2 + p3^2)/2 + log(1 + q1^2 + q2^2 + q3^2)"), quadratic_form(
                3, rotations
            )
        case "Kepler":
            return CustomSystem(2, f"{KINETIC} - 1/sqrt(q1^2 + q2^2)"), quadratic_form(2, ANGULAR_MOMENTUM)
        case "charged particle":
            return CustomSystem(2, "((p1 + B*q2/2)^2 + (p2 - B*q1/2)^2)/2", {"B": 1.0}), CHARGED
        case "springs ring":
            potential = "((q1 - q2)^2 + (q2 - q3)^2 + (q3 - q1)^2)/2"
            return CustomSystem(3, f"(p1^2 + p2^2 + p3^2)/2 + {potential}"), springs_ring()
        case "two bodies":
            system = CustomSystem(4, "(p1^2 + p2^2 + p3^2 + p4^2)/2 - 1/sqrt((q1 - q3)^2 + (q2 - q4)^2 + 1)")
            return system, NBody(masses=(1.0, 1.0)).known_quantities()
        case "only in a ball":
            return CustomSystem(2, f"{KINETIC} - sqrt(1 - q1^2 - q2^2)"), quadratic_form(2, ANGULAR_MOMENTUM)
        case _:
            raise KeyError(name)


COUNTS = {
    "isotropic": 4,
    "isotropic in space": 9,
    "anisotropic": 2,
    "two equal of three": 5,
    "opposite signs": 4,
    "central force": 1,
    "central force in space": 3,
    "Kepler": 1,
    "charged particle": 6,
    "springs ring": 6,
    "two bodies": 7,
    "only in a ball": 1,
}


@pytest.mark.parametrize("name", COUNTS)
def test_known_quantities_are_those_found_by_hand(name):
    with jax.enable_x64(True):
        system, expected = known(name)
        got = system.known_quantities()
        assert expected.count == COUNTS[name]
        assert_same_space(got, expected)


@pytest.mark.parametrize(
    ("dof", "formula"),
    [
        (1, "p1^2/2 - cos(q1)"),
        (1, "p1^2/2 - q1^2/2 + q1^4/4"),
        (2, f"{KINETIC} + (q1^2 + q2^2)/2 + q1^2*q2 - q2^3/3"),
        (2, f"{KINETIC} + q1^4 + q2^4"),
        (1, "p1^2/2 + sqrt(q1)"),
        (1, "p1^2/2 + q1^2/2 + 1e-6*q1^4"),
    ],
    ids=["pendulum", "Duffing", "Henon-Heiles", "quartic", "half line", "weak quartic"],
)
def test_systems_that_conserve_nothing_of_degree_two(dof, formula):
    assert CustomSystem(dof, formula).known_quantities() is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=8, deadline=None)
def test_quadratic_hamiltonians_agree_with_linear_algebra(seed, rank):
    # For H = x^T B x / 2: {C, H} = 0 exactly when A J B - B J A = 0 and B J b = 0.
    factors = np.random.default_rng(seed).integers(-2, 3, (rank, 4))
    matrix = factors.T @ factors
    symplectic = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    symmetric = [
        np.outer(a, b) + np.outer(b, a)
        for a, b in [(np.eye(4)[i], np.eye(4)[j]) for i in range(4) for j in range(i, 4)]
    ]
    brackets = np.stack([(a @ symplectic @ matrix - matrix @ symplectic @ a).ravel() for a in symmetric])
    expected = 14 - np.linalg.matrix_rank(brackets) - np.linalg.matrix_rank(matrix)
    terms = [f"({matrix[i, j]})*{NAMES[i]}*{NAMES[j]}/2" for i in range(4) for j in range(4)]
    quantities = CustomSystem(2, " + ".join(terms)).known_quantities()
    assert quantities is not None and quantities.count == expected


def test_brackets_with_the_hamiltonian_vanish():
    with jax.enable_x64(True):
        system, _ = known("charged particle")
        quantities = system.known_quantities()
        assert quantities is not None
        for k in range(quantities.count):
            bracket = poisson_bracket(lambda x, k=k: quantities(x)[k], system.hamiltonian)
            assert abs(bracket(jnp.asarray(STATE))) < 1e-12


def test_the_basis_is_readable():
    with jax.enable_x64(True):
        quantities = CustomSystem(2, f"{KINETIC} + (q1^2 + q2^2)/2").known_quantities()
    assert quantities is not None
    readable = quadratic_form(
        2,
        [
            {(0, 0): 1.0, (2, 2): 1.0},
            {(0, 1): 1.0, (2, 3): 1.0},
            {(0, 3): 1.0, (1, 2): -1.0},
            {(1, 1): 1.0, (3, 3): 1.0},
        ],
    )
    np.testing.assert_array_equal(quantities.matrices[...], readable.matrices[...])
    np.testing.assert_array_equal(quantities.vectors[...], 0)


def test_the_precision_of_the_process_is_left_alone():
    quantities = CustomSystem(1, "(p1^2 + q1^2)/2").known_quantities()
    assert quantities is not None and quantities.matrices.dtype == jnp.float32
    assert not jax.config.read("jax_enable_x64")


def test_a_hamiltonian_that_is_not_finite_says_where():
    with pytest.raises(ValueError, match=r"finite at only 0 of .* not at q1 = .*, p1 = "):
        CustomSystem(1, "p1^2/2 + log(-1 - q1^2)").known_quantities()


@pytest.mark.parametrize("formula", ["p1^2/2 + q1^2 + 1e-11*q1^4", "p1^2/(2*1e-27) + q1^2"])
def test_what_float64_cannot_tell_is_an_error(formula):
    with pytest.raises(ValueError, match="units"):
        CustomSystem(1, formula).known_quantities()


def test_custom_systems_are_values_and_check_their_formula():
    first, second = (
        CustomSystem(1, "k*q1 + c*p1", parameters)
        for parameters in ({"k": 1.0, "c": 2.0}, {"c": 2.0, "k": 1.0})
    )
    assert first == second and hash(first) == hash(second)
    assert isinstance(first.parsed, Formula)
    assert float(first.hamiltonian(jnp.array([3.0, 4.0]))) == 11.0
    with pytest.raises(FormulaError, match="unknown name 'q2'"):
        CustomSystem(1, "q1 + q2")
    with pytest.raises(ValueError, match="dof"):
        CustomSystem(0, "1")


def test_known_quantities_of_three_degrees_of_freedom_take_about_a_second():
    system, _ = known("central force in space")
    jax.clear_caches()
    start = time.perf_counter()
    system.known_quantities()
    assert time.perf_counter() - start < 3
