"""Formulas of symmetry.json as MathML; nothing in them is evaluated."""

import ast
import re
import warnings
from collections.abc import Sequence
from html import escape

LOWER = "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi"
UPPER = "Gamma Delta Theta Lambda Pi Sigma Phi Psi Omega"
GREEK: dict[str, str] = dict(
    zip(f"{LOWER} omega {UPPER}".split(), "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΠΣΦΨΩ", strict=True)
)
TIMES = '<mo lspace="0.1em" rspace="0.1em">&#8290;</mo>'
MINUS = "<mo>&#8722;</mo>"
FUNCTIONS = {"sin", "cos", "tan", "exp", "log", "sinh", "cosh", "tanh"}
OPERATORS = {ast.Add: "<mo>+</mo>", ast.Sub: MINUS, ast.Mult: TIMES}


class _UnreadableError(ValueError):
    """A text that is no formula as symmetry.json has them."""


def formula_mathml(text: str, names: Sequence[str]) -> str:
    """A formula such as q1*p2 - q2*p1 as a MathML element, in the order in which it is written; as escaped
    text where it cannot be read. `names` are those of the coordinates, any text.
    """
    try:
        row = _part(_tree(text, names), names)
    except (_UnreadableError, SyntaxError, ValueError, MemoryError, RecursionError):
        return f"<code>{escape(text)}</code>"
    return f"<math><mrow>{row}</mrow></math>"


def _tree(text: str, names: Sequence[str]) -> ast.expr:
    """The syntax tree of a formula, in which the k-th coordinate is called _k."""
    if len(text) > 4000 or any(re.fullmatch(r"[\d.eE+-]*", name) for name in names):
        raise _UnreadableError
    numbers = {name: k for k, name in enumerate(names)}
    longest = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    # A name is not part of a longer word; what is no word can stand anywhere.
    found = re.compile(rf"(?<!\w)({longest})(?!\w)|\^" if longest else r"\^")
    placed = found.sub(lambda at: f" _{numbers[at[1]]} " if at[0] in numbers else "**", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(placed.strip(), mode="eval").body


def _part(node: ast.expr, names: Sequence[str]) -> str:
    match node:
        case ast.Name(id=name) if re.fullmatch(r"_\d+", name):
            return name_mathml(names[int(name[1:])])
        case ast.Constant(value=value) if type(value) in (int, float):
            return number_mathml(ast.unparse(node))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return MINUS + _inside(operand, names, ast.Add, ast.Sub)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            base = _inside(left, names, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
            if base.startswith("<msub>") and base.count("<msub>") == 1:
                inside = base.removeprefix("<msub>").removesuffix("</msub>")
                return f"<msubsup>{inside}<mrow>{_part(right, names)}</mrow></msubsup>"
            return f"<msup><mrow>{base}</mrow><mrow>{_part(right, names)}</mrow></msup>"
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            return f"<mfrac><mrow>{_part(left, names)}</mrow><mrow>{_part(right, names)}</mrow></mfrac>"
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            # A sign before a product is read as one before its first factor.
            signed = isinstance(left, ast.UnaryOp)
            first = _part(left, names) if signed else _inside(left, names, ast.Add, ast.Sub)
            return first + TIMES + _inside(right, names, ast.Add, ast.Sub)
        case ast.BinOp(op=ast.Add() | ast.Sub() as operation, left=left, right=right):
            second = _inside(right, names, ast.Add, ast.Sub)
            return _part(left, names) + OPERATORS[type(operation)] + second
        case ast.Name(id="pi"):
            return "<mi>π</mi>"
        case ast.Call(func=ast.Name(id="sqrt"), args=[inside], keywords=[]):
            return f"<msqrt>{_part(inside, names)}</msqrt>"
        case ast.Call(func=ast.Name(id=name), args=[inside], keywords=[]) if name in FUNCTIONS:
            written = f"<mo>(</mo>{_part(inside, names)}<mo>)</mo>"
            return f"<mrow><mi>{name}</mi><mo>&#8289;</mo>{written}</mrow>"
    raise _UnreadableError


def _inside(node: ast.expr, names: Sequence[str], *weaker: type) -> str:
    """A part in brackets where it would otherwise be read with what is around it."""
    written = _part(node, names)
    if isinstance(node, ast.UnaryOp) or (isinstance(node, ast.BinOp) and isinstance(node.op, weaker)):
        return f"<mrow><mo>(</mo>{written}<mo>)</mo></mrow>"
    return written


def number_mathml(text: str) -> str:
    """A decimal number; 1e-05 as 1 · 10^-5."""
    mantissa, _, exponent = text.lower().partition("e")
    if not exponent:
        return f"<mn>{escape(text)}</mn>"
    power = str(int(exponent)).replace("-", "&#8722;")
    return f"<mn>{escape(mantissa)}</mn><mo>&#183;</mo><msup><mn>10</mn><mn>{power}</mn></msup>"


def name_mathml(name: str) -> str:
    """The name of a coordinate; q1, p_x and theta_2 with an index."""
    found = re.fullmatch(r"([A-Za-z]+?)(?:_([A-Za-z0-9]+)|([0-9]+))", name)
    if found is None:
        return f"<mi>{escape(GREEK.get(name, name))}</mi>"
    base, index = found[1], found[2] or found[3]
    kind = "mn" if index.isdigit() else "mi"
    return f"<msub><mi>{escape(GREEK.get(base, base))}</mi><{kind}>{escape(index)}</{kind}></msub>"
