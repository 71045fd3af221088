"""Formulas typed by a user, read by a whitelist over Python's syntax tree; no text is ever run as code."""

import ast
import difflib
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, NoReturn

import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Float

from ..typing import Scalar, State

FUNCTIONS = ("sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh")

# Bounds that no physical formula meets, checked before anything is computed: no text can cost much.
_LONGEST_TEXT = 4000
_DEEPEST_BRACKET = 50
_DEEPEST_TREE = 200
_LARGEST_NUMBER = 1e100
_LARGEST_EXPONENT = 12
_LARGEST_DEGREE = 100

_OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}

_Tree = tuple[Any, ...]
"""("number", Fraction), ("name", str), ("negative", a), (function, a), (+-*/, a, b), ("**", a, Fraction)."""


class FormulaError(ValueError):
    """A text that is no formula; one line says where (column, from 1), what was got and what is expected."""


def canonical_names(dof: int) -> tuple[str, ...]:
    """The names q1, .., qn, p1, .., pn of the coordinates of a state, positions first."""
    return tuple(f"{letter}{i + 1}" for letter in "qp" for i in range(dof))


def parse_formula(
    text: str, names: Sequence[str], parameters: Mapping[str, float] | None = None
) -> "Formula":
    """Read a scalar function of the variables `names`, in the order of the state; `Formula` has the grammar.

    `parameters` are named constants. Raises FormulaError.
    """
    return Formula(text, tuple(names), tuple(sorted((parameters or {}).items())))


@dataclass(frozen=True)
class Formula:
    """A scalar function of a state, written by hand: f(x) = `text` in the variables `names`.

    Grammar: variables, parameters, ``pi``, decimal numbers, ``+ - * /``, brackets, powers ``**`` with a
    constant exponent from -12 to 12 (also fractional; made of numbers and parameters) and the functions sqrt,
    exp, log, sin, cos, tan, sinh, cosh and tanh of one argument. ``^`` means ``**`` and binds like it:
    ``-q1^2`` is -(q1^2). Raises FormulaError.
    """

    text: str
    names: tuple[str, ...]
    parameters: tuple[tuple[str, float], ...] = ()
    _tree: _Tree = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_names(self.names, self.parameters)
        object.__setattr__(self, "_tree", _Reader(self.text, self.names, dict(self.parameters)).read())

    def __call__(self, state: State) -> Scalar:
        """f(x) in the precision of `state`, differentiable; not finite where the formula is not defined.

        Raises ValueError when `state` has not one entry a variable.
        """
        if state.shape != (len(self.names),):
            expected = f"expected a state of {len(self.names)} entries"
            raise ValueError(f"formula {_short(self.text)}: {expected}, got shape {state.shape}")
        values = dict(zip(self.names, state, strict=True)) | dict(self.parameters) | {"pi": math.pi}
        return jnp.asarray(_evaluate(self._tree, values, _jax_function, float, _plain), state.dtype)

    @cached_property
    def expression(self) -> sympy.Expr:
        """The formula in sympy, as written (``.doit()`` simplifies); variables and parameters are symbols."""
        symbols = {name: sympy.Symbol(name) for name in (*self.names, *dict(self.parameters))}
        # Evaluated, a formula of one line can keep sympy busy for minutes, and exp(exp(1000)) for ever.
        with sympy.evaluate(False):
            return _evaluate(self._tree, symbols | {"pi": sympy.pi}, _sympy_function, _rational, _rational)

    def addends(self) -> tuple[str, ...]:
        """The terms that it is a sum of, as formulas without constant factors and without constants."""
        symbols = {name: sympy.Symbol(name) for name in (*self.names, *dict(self.parameters))}
        found = []
        with sympy.evaluate(False):
            for tree in _addends(self._tree):
                found.append(
                    str(_evaluate(tree, symbols | {"pi": sympy.pi}, _sympy_function, _rational, _rational))
                )
        return tuple(dict.fromkeys(found))

    def quadratic(self) -> tuple[Float[np.ndarray, "dim dim"], Float[np.ndarray, " dim"], float]:
        """The symmetric A (2n, 2n), b (2n,) and constant of a polynomial x^T A x / 2 + b^T x + constant.

        Raises FormulaError when the formula is not written as a polynomial of degree at most 2.
        """
        dim = len(self.names)
        values = {name: _Polynomial({(i,): Fraction(1)}) for i, name in enumerate(self.names)}
        constants = dict(self.parameters) | {"pi": math.pi}
        values |= {name: _Polynomial.number(_exact(value)) for name, value in constants.items()}
        try:
            number = _Polynomial.number
            polynomial = _evaluate(self._tree, values, _polynomial_function, number, _plain)
            terms = {indices: float(coefficient) for indices, coefficient in polynomial.terms.items()}
        except (_NotPolynomialError, ArithmeticError, ValueError) as error:
            raise FormulaError(
                f"formula {_short(self.text)}: expected a polynomial of degree at most 2"
            ) from error
        matrix, vector, constant = np.zeros((dim, dim)), np.zeros(dim), 0.0
        for indices, coefficient in terms.items():
            match indices:
                case (i, j):
                    matrix[i, j] += coefficient
                    matrix[j, i] += coefficient
                case (i,):
                    vector[i] = coefficient
                case _:
                    constant = coefficient
        return matrix, vector, constant


def _short(text: str) -> str:
    """`text` quoted on one line, its tail cut off where it is long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _check_names(names: tuple[str, ...], parameters: tuple[tuple[str, float], ...]) -> None:
    everything = [*names, *(name for name, _ in parameters)]
    for name in everything:
        if everything.count(name) > 1:
            raise FormulaError(
                f"the name {name!r} is given twice, to variables or parameters; each needs its own"
            )
        if name == "pi" or name in FUNCTIONS:
            raise FormulaError(
                f"the name {name!r} is taken by the formula language; rename the variable or parameter"
            )
    for name, value in parameters:
        if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
            raise FormulaError(
                f"the parameter name {name!r} cannot be used; expected letters, digits, _, no keyword"
            )
        if not math.isfinite(value):
            raise FormulaError(f"the parameter {name!r} must be a finite number, got {value!r}")


class _Part(NamedTuple):
    """A part of a formula: its tree, its value if constant, a bound on its degree (numbers count as 1)."""

    tree: _Tree
    value: float | None
    degree: int


class _Reader:
    """Turns the text of one formula into a checked tree; every refusal names a column."""

    def __init__(self, text: str, names: tuple[str, ...], parameters: dict[str, float]):
        self.text, self.names, self.parameters = text, names, parameters
        self.constants = parameters | {"pi": math.pi}

    def fail(self, where: ast.expr | int, message: str) -> NoReturn:
        column = where if isinstance(where, int) else self.columns[where.col_offset]
        raise FormulaError(f"formula {_short(self.text)}: column {column + 1}: {message}")

    def source(self, node: ast.expr) -> str:
        start, end = node.col_offset, node.end_col_offset or node.col_offset
        last = self.columns[end] if end < len(self.columns) else len(self.text)
        return self.text[self.columns[start] : last].strip()

    def read(self) -> _Tree:
        self.check_text()
        # With quotes and comments refused above, ^ can only be the operator. It must be ** before Python
        # parses it, for Python's own ^ binds more loosely than +. `columns` leads from the parsed text back
        # to the user's.
        parts = [(i, "**" if c == "^" else " " if c.isspace() else c) for i, c in enumerate(self.text)]
        while parts[0][1] == " ":
            parts.pop(0)
        self.columns = [i for i, characters in parts for _ in characters]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                root = ast.parse("".join(characters for _, characters in parts), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            offset = min(max((getattr(error, "offset", None) or 1) - 1, 0), len(self.columns) - 1)
            column = self.columns[offset]
            got = f"cannot read on at {_short(self.text[column : column + 20])}"
            expected = "expected one operator + - * / ** between two terms (products are written 2*q1)"
            self.fail(column, f"{got}; {expected}")
        self.check_depth(root)
        return self.part(root).tree

    def check_text(self) -> None:
        if not self.text.strip():
            raise FormulaError("the formula is empty; expected something like 'p1**2/2 + q1**2/2'")
        if len(self.text) > _LONGEST_TEXT:
            raise FormulaError(
                f"formula {_short(self.text)}: {len(self.text)} characters, at most {_LONGEST_TEXT} are read"
            )
        if strange := re.search(r"[^A-Za-z0-9_.+\-*/^(), \t\r\n]", self.text):
            got = f"the character {strange.group()!a} is not part of a formula"
            hint = " (write only the right-hand side)" if strange.group() == "=" else ""
            self.fail(strange.start(), f"{got}{hint}; expected names, numbers, + - * / ** ( )")
        opened: list[int] = []
        for column, character in enumerate(self.text):
            if character == "(":
                opened.append(column)
            elif character == ")":
                if not opened:
                    self.fail(column, "')' closes nothing; expected a '(' before it")
                opened.pop()
            if len(opened) > _DEEPEST_BRACKET:
                self.fail(column, f"brackets nest deeper than {_DEEPEST_BRACKET}")
        if opened:
            self.fail(opened[-1], "'(' is never closed; expected a ')'")

    def check_depth(self, root: ast.expr) -> None:
        """Refuse trees that recursion could not walk; level by level, so without recursion."""
        level: list[ast.AST] = [root]
        for _ in range(_DEEPEST_TREE):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        if level:
            raise FormulaError(
                f"formula {_short(self.text)}: more than {_DEEPEST_TREE} operations inside one another"
            )

    def part(self, node: ast.expr) -> _Part:
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name():
                return self.name(node)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.part(node.operand)
            case ast.UnaryOp(op=ast.USub()):
                operand = self.part(node.operand)
                value = None if operand.value is None else -operand.value
                return _Part(("negative", operand.tree), value, operand.degree)
            case ast.BinOp(op=ast.Pow()):
                return self.power(node)
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return self.operation(node, _OPERATORS[type(node.op)])
            case ast.Call():
                return self.call(node)
            case _:
                got = _short(self.source(node))
                self.fail(node, f"got {got}; expected only names, numbers, + - * / ** and functions")

    def number(self, node: ast.Constant) -> _Part:
        written = self.source(node)
        # The pattern keeps out True, None, ..., 1j, 0x10 and 1_000.
        if not re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", written):
            self.fail(node, f"got {_short(written)}; expected a decimal number")
        value = float(written)
        if value != 0 and not 1 / _LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
            expected = f"expected 0 or {1 / _LARGEST_NUMBER} to {_LARGEST_NUMBER}"
            self.fail(node, f"the number {_short(written)} is out of range; {expected}")
        return _Part(("number", _exact(value)), value, 1)

    def name(self, node: ast.Name) -> _Part:
        if node.id in FUNCTIONS:
            self.fail(node, f"the function {node.id} has no argument; write {node.id}(...)")
        if node.id not in self.names and node.id not in self.constants:
            self.fail(node, f"unknown name {node.id!r}; {_expected(node.id, [*self.names, *self.constants])}")
        return _Part(("name", node.id), self.constants.get(node.id), 1)

    def operation(self, node: ast.BinOp, symbol: str) -> _Part:
        left, right = self.part(node.left), self.part(node.right)
        if symbol == "/" and right.value == 0:
            self.refuse_zero(node.right)
        value = None
        if left.value is not None and right.value is not None:
            value = self.constant(node, _COMPUTE[symbol], left.value, right.value)
        degree = max(left.degree, right.degree) if symbol in "+-" else left.degree + right.degree
        return _Part((symbol, left.tree, right.tree), value, self.bounded(node, degree))

    def power(self, node: ast.BinOp) -> _Part:
        exponent = self.exponent(node.right)
        if abs(exponent) > _LARGEST_EXPONENT:
            got = f"the exponent {_short(self.source(node.right))}"
            expected = f"expected one from -{_LARGEST_EXPONENT} to {_LARGEST_EXPONENT}"
            self.fail(node.right, f"{got} is too large; {expected}")
        base = self.part(node.left)
        value = None
        if base.value is not None:
            value = self.constant(node, operator.pow, base.value, _plain(exponent))
        degree = base.degree * max(1, math.ceil(abs(exponent)))
        return _Part(("**", base.tree, exponent), value, self.bounded(node, degree))

    def exponent(self, node: ast.expr) -> Fraction:
        """The exact value of a constant exponent; it may hold no power, so that nothing large is computed."""
        match node:
            case ast.Constant():
                return self.number(node).tree[1]
            case ast.Name() if node.id in self.parameters:
                return _exact(self.parameters[node.id])
            case ast.UnaryOp(op=ast.UAdd()):
                return self.exponent(node.operand)
            case ast.UnaryOp(op=ast.USub()):
                return -self.exponent(node.operand)
            case ast.BinOp() if type(node.op) in _OPERATORS:
                left, right = self.exponent(node.left), self.exponent(node.right)
                if isinstance(node.op, ast.Div) and right == 0:
                    self.refuse_zero(node.right)
                return _COMPUTE[_OPERATORS[type(node.op)]](left, right)
            case _:
                got = f"the exponent {_short(self.source(node))}"
                expected = "expected numbers, parameters, + - * / (powers of powers need brackets)"
                self.fail(node, f"{got} is not constant; {expected}")

    def call(self, node: ast.Call) -> _Part:
        if not isinstance(node.func, ast.Name):
            self.fail(node.func, f"{_short(self.source(node.func))} is no function; write products with *")
        name = node.func.id
        if name in self.names or name in self.constants:
            self.fail(node.func, f"{name!r} is no function; write a product as {name}*(...)")
        if name not in FUNCTIONS:
            self.fail(node.func, f"unknown function {name!r}; {_expected(name, FUNCTIONS)}")
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            self.fail(node, f"got {_short(self.source(node))}; {name} takes exactly one argument")
        argument = self.part(node.args[0])
        value = None if argument.value is None else self.constant(node, getattr(math, name), argument.value)
        return _Part((name, argument.tree), value, argument.degree)

    def constant(self, node: ast.expr, compute: Callable[..., Any], *values: int | float) -> float:
        """The value of a constant part, refused where it is no finite real number: log(-1), exp(1e4)."""
        try:
            value = compute(*values)
        except (ArithmeticError, ValueError):
            value = None
        if not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(node, f"{_short(self.source(node))} is no finite real number")
        return float(value)

    def refuse_zero(self, node: ast.expr) -> NoReturn:
        self.fail(node, f"{_short(self.source(node))} is zero; expected a divisor that is not")

    def bounded(self, node: ast.expr, degree: int) -> int:
        if degree > _LARGEST_DEGREE:
            got = f"products and powers make degree {degree} of {_short(self.source(node))}"
            self.fail(node, f"{got}; expected at most {_LARGEST_DEGREE}")
        return degree


def _expected(got: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    listed = ", ".join(known) if len(known) <= 16 else f"{', '.join(known[:3])}, .., {', '.join(known[-3:])}"
    return f"expected one of {listed}" + (f"; did you mean {close[0]!r}?" if close else "")


def _evaluate(
    tree: _Tree,
    values: Mapping[str, Any],
    function: Callable[[str, Any], Any],
    number: Callable[[Fraction], Any],
    exponent: Callable[[Fraction], Any],
) -> Any:
    """Compute a tree in any arithmetic with Python's operators: JAX, sympy, polynomials."""

    def walk(tree: _Tree) -> Any:
        match tree:
            case ("number", value):
                return number(value)
            case ("name", name):
                return values[name]
            case ("negative", part):
                return -walk(part)
            case ("**", base, power):
                return walk(base) ** exponent(power)
            case (name, argument):
                return function(name, walk(argument))
            case (symbol, left, right):
                return _COMPUTE[symbol](walk(left), walk(right))

    return walk(tree)


def _addends(tree: _Tree) -> Iterator[_Tree]:
    """The trees that it is a sum of, without constant factors."""
    match tree:
        case ("+" | "-", left, right):
            yield from _addends(left)
            yield from _addends(right)
        case ("negative", part):
            yield from _addends(part)
        case ("*", left, right) if _constant(left):
            yield from _addends(right)
        case ("*" | "/", left, right) if _constant(right):
            yield from _addends(left)
        case _ if not _constant(tree):
            yield tree


def _constant(tree: _Tree) -> bool:
    """Whether it has no variables."""
    if tree[0] == "name":
        return tree[1] == "pi"
    return all(_constant(part) for part in tree[1:] if isinstance(part, tuple))


def _exact(value: float) -> Fraction:
    """The shortest decimal that is `value` in float64: 0.1 is 1/10 here, as the user meant it."""
    return Fraction(repr(float(value)))


def _plain(value: Fraction) -> int | float:
    """An int where `value` is one: JAX then multiplies, which is right at zero and below."""
    return value.numerator if value.denominator == 1 else float(value)


def _rational(value: Fraction) -> sympy.Expr:
    return sympy.Rational(value.numerator, value.denominator)


def _sympy_function(name: str, argument: Any) -> Any:
    return getattr(sympy, name)(argument)


def _jax_function(name: str, argument: Any) -> Any:
    # Constant parts stay Python floats, so that the state alone decides the precision.
    return getattr(math if isinstance(argument, float) else jnp, name)(argument)


class _NotPolynomialError(Exception):
    """A formula that is not written as a polynomial of degree at most 2."""


@dataclass(frozen=True)
class _Polynomial:
    """A polynomial of degree at most 2, {sorted indices of the variables: coefficient}."""

    terms: dict[tuple[int, ...], Fraction]

    @classmethod
    def number(cls, value: Fraction) -> "_Polynomial":
        return cls({(): value})

    def constant(self) -> Fraction:
        if any(self.terms[indices] for indices in self.terms if indices):
            raise _NotPolynomialError
        return self.terms.get((), Fraction(0))

    def __add__(self, other: "_Polynomial") -> "_Polynomial":
        both = self.terms.keys() | other.terms.keys()
        return _Polynomial(
            {key: self.terms.get(key, Fraction(0)) + other.terms.get(key, Fraction(0)) for key in both}
        )

    def __neg__(self) -> "_Polynomial":
        return _Polynomial({indices: -coefficient for indices, coefficient in self.terms.items()})

    def __sub__(self, other: "_Polynomial") -> "_Polynomial":
        return self + -other

    def __mul__(self, other: "_Polynomial") -> "_Polynomial":
        terms: dict[tuple[int, ...], Fraction] = {}
        for (left, a), (right, b) in product(self.terms.items(), other.terms.items()):
            if not (a and b):
                continue
            indices = tuple(sorted(left + right))
            if len(indices) > 2:
                raise _NotPolynomialError
            terms[indices] = terms.get(indices, Fraction(0)) + a * b
        return _Polynomial(terms)

    def __truediv__(self, other: "_Polynomial") -> "_Polynomial":
        return self * _Polynomial.number(1 / other.constant())

    def __pow__(self, exponent: int | float) -> "_Polynomial":
        if not isinstance(exponent, int) or exponent < 0 or exponent > 2:
            return _Polynomial.number(Fraction(math.pow(self.constant(), exponent)))
        power = _Polynomial.number(Fraction(1))
        for _ in range(exponent):
            power = power * self
        return power


def _polynomial_function(name: str, argument: _Polynomial) -> _Polynomial:
    return _Polynomial.number(Fraction(getattr(math, name)(float(argument.constant()))))
