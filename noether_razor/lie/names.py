"""The name of a Lie algebra of quantities of degree <= 2, from its structure and its action on phase space.

"+" is a direct sum. u(1) is a commuting rotation (elliptic: diagonalisable with imaginary spectrum), R any
other commuting direction (translation, shear, hyperbolic). One canonical name each:

- so(2), alias u(1): a single rotation that turns q and p alike, with one frequency, as often of + as of -
  Krein sign.
- u(1)^a+R^b, alias so(2)^a+R^b: abelian.
- so(n), n >= 3: by vector action. By spinor action the same algebras are su(2) (n = 3, alias sp(1)) and su(4)
  (n = 6).
- su(p,q), sl(n,R), sp(2n,R), sl(2,C), so(4,1): simple. Aliases: sl(2,R) is su(1,1), so(2,1), sp(2,R); sl(2,C)
  so(3,1); sp(4,R) so(3,2); su(2,2) so(4,2); sl(4,R) so(3,3); so(4) su(2)+su(2).
- u(p,q), alias su(p,q)+u(1): with a central rotation of what su(p,q) acts on.
- gl(n,R), alias sl(n,R)+R: with a central hyperbolic element. gl(2,R) and u(1,1) are isomorphic and differ in
  that.
- heisenberg(n), alias h(n): n pairs {q, p} = 1 and the constant.
- se(n), aliases e(n), so(n) semidirect R^n: rotations and translations.
- sl(2,R) semidirect heisenberg, aliases sl(2,R) semidirect h(1), jacobi(1): every quantity of degree <= 2 of
one pair q, p. With n pairs sp(2n,R) semidirect heisenberg(n), alias jacobi(n).
- free(d), alias so(d) semidirect (R^d+S^2 R^d), d = 2, 3: translations P_a, their products P_a P_b, one
angular momentum.
- n-body(d), alias free(d)+so(d): free(d) and the internal angular momentum; P_a, P_a P_b, L and L_cm.
- aff(1): the algebra [x, y] = y.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Float

from .structure import Structure, Subspace, UndecidedError, commuting_action, simple_ideals

Generators = Float[np.ndarray, "_ dim dim"]
"""Affine generators [[J A, J b], [0, 0]]."""


@dataclass(frozen=True)
class Recognition:
    """The canonical name of an algebra, its other names, and the names of the simple ideals it contains."""

    name: str
    aliases: tuple[str, ...]
    simple_ideals: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """A direct summand by name.

    `support`, (2n + 1, m) orthonormal, spans what a simple summand acts on. `defining`: it acts like su(p,q),
    sl(n,R) do on their own vectors, so that a central element may extend it to u(p,q), gl(n,R).
    """

    name: str
    aliases: tuple[str, ...] = ()
    dimension: int = 0
    support: Float[np.ndarray, "dim m"] | None = None
    defining: bool = False


@dataclass(frozen=True)
class _Centre:
    """The centre: its part in [g, g] (`inner`), a complement of that (`outer`), and what acts how."""

    inner: Subspace
    outer: Subspace
    elliptic: Subspace
    hyperbolic: Subspace


def recognise(algebra: Structure, generators: Float[np.ndarray, "d dim dim"], noise: float) -> Recognition:
    """Names an algebra from its structure and its action on phase space.

    `generators` (d, 2n + 1, 2n + 1) are the affine maps by which the elements act, `noise` is the size of
    their errors; a constant, whose generator is zero, must be the last element. The algebra is the direct sum
    of the semisimple part of the centraliser of its radical, of the centre outside [g, g], and of the rest.
    Raises UndecidedError where a summand is not in the list of names or the numbers do not decide.
    """
    reductive = algebra.centraliser(algebra.radical)
    semisimple = algebra.product(reductive, reductive)
    ideals = [part @ semisimple for part in simple_ideals(algebra.restricted(semisimple))]
    parts = [_simple_part(algebra.restricted(ideal), _act(ideal, generators)) for ideal in ideals]

    centre = _centre(algebra, generators, noise)
    rest = algebra.centraliser(semisimple)
    rest = algebra.kernel(rest @ centre.outer.T, rest)
    if len(semisimple) + len(centre.outer) + len(rest) != algebra.dimension:
        raise UndecidedError("its direct summands do not add up")
    remainder = algebra.restricted(rest)
    names = [part.name for part in parts]
    names += [abstract_name(remainder.levi.restricted(ideal)) for ideal in simple_ideals(remainder.levi)]

    rotations = len(algebra.span(np.concatenate([centre.elliptic, centre.inner]))) - len(centre.inner)
    others = len(centre.outer) - rotations
    parts = _merge_so4(parts, algebra.resolution)
    parts, used = _extend(parts, _act(centre.elliptic, generators), "su(", "u(", "u(1)", noise)
    rotations -= used
    parts, used = _extend(parts, _act(centre.hyperbolic, generators), "sl(", "gl(", "R", noise)
    others -= used
    parts.sort(key=lambda part: (-part.dimension, part.name))

    vector_rotation = rotations == len(centre.elliptic) == 1 and _rotates_vectors(
        _act(centre.elliptic, generators)[0], algebra.ratio
    )
    translations = _translations(remainder)
    if translations:
        # The square of the momentum, central and outside [g, g], belongs to the products of translations.
        if not others:
            raise UndecidedError("translations and their products without the square of the momentum")
        others -= 1
        internal = next((part for part in parts if part.name == "so(3)"), None)
        if translations == 2 and vector_rotation:
            rotations = 0
            parts.insert(0, _n_body_part(2))
        elif translations == 3 and internal is not None:
            parts.remove(internal)
            parts.insert(0, _n_body_part(3))
        else:
            d = translations
            parts.insert(0, _Part(f"free({d})", (f"so({d}) semidirect (R^{d}+S^2 R^{d})",)))
    elif remainder.dimension:
        parts.insert(0, _nonreductive_part(remainder))

    if algebra.dimension == 1 and vector_rotation:
        parts, rotations = [_Part("so(2)", ("u(1)",))], 0
    if rotations:
        parts.append(_Part(_power("u(1)", rotations), (_power("so(2)", rotations),)))
    if others:
        parts.append(_Part(_power("R", others)))
    return Recognition(*_sum(parts), tuple(names))


def _act(elements: Subspace, generators: Generators) -> Generators:
    return np.einsum("ad,dij->aij", elements, generators)


def _centre(algebra: Structure, generators: Generators, noise: float) -> _Centre:
    centre = algebra.centre
    inner = algebra.kernel(centre @ algebra.complement(algebra.derived).T, centre)
    has_constant = not generators[-1].any()
    acting = algebra.kernel(centre[:, -1:], centre) if has_constant else centre
    action = commuting_action(_act(acting, generators), noise, algebra.ratio)
    return _Centre(
        inner=inner,
        outer=algebra.kernel(centre @ inner.T, centre),
        elliptic=action.elliptic @ acting,
        hyperbolic=action.hyperbolic @ acting,
    )


def _power(name: str, exponent: int) -> str:
    return name if exponent == 1 else f"{name}^{exponent}"


def _sum(parts: list[_Part]) -> tuple[str, tuple[str, ...]]:
    """The name of a direct sum, and its other names."""
    if len(parts) == 1:
        return parts[0].name, parts[0].aliases

    def joined(summands: list[str]) -> str:
        return "+".join(f"({name})" if " " in name else name for name in summands)

    names = [part.name for part in parts]
    others = [
        joined([*names[:at], alias, *names[at + 1 :]])
        for at, part in enumerate(parts)
        for alias in part.aliases
        if "+" not in alias
    ]
    return joined(names), tuple(dict.fromkeys(others))


def _rotates_vectors(generator: Float[np.ndarray, "dim dim"], ratio: float) -> bool:
    """Whether an elliptic generator turns q and p alike: one frequency, as often of + as of - Krein sign.

    In the plane q1 p2 - q2 p1 has the signs + and -, two oscillators q^2 + p^2 have + and +.
    """
    dof = len(generator) // 2
    linear = generator[:-1, :-1]
    frequencies = np.abs(np.linalg.eigvals(linear))
    frequencies = frequencies[frequencies > 0.05 * frequencies.max()]
    # A = -J (J A) swaps the blocks of the generator J A.
    form = np.concatenate([-linear[dof:], linear[:dof]])
    form = np.linalg.eigvalsh((form + form.T) / 2)
    form = form[np.argsort(-np.abs(form))[: len(frequencies)]]
    return bool(frequencies.min() > (1 - ratio) * frequencies.max() and np.sum(np.sign(form)) == 0)


def abstract_name(ideal: Structure) -> str:
    """The name of a simple algebra as its dimension and Killing signature tell it, else its invariants."""
    positive, negative, _ = ideal.killing_signature
    signature = (positive, negative)
    if ideal.dimension == 3:
        return "so(3)" if positive == 0 else "sl(2,R)"
    exceptional = {(3, 3): "sl(2,C)", (6, 4): "sp(4,R)", (0, 10): "so(5)", (4, 6): "so(4,1)"}
    if signature in exceptional:
        return exceptional[signature]
    n = isqrt(ideal.dimension + 1)
    # su(4,3) shares dimension and signature with sl(5,C); from n = 11 on dimensions of other series coincide.
    if n * n == ideal.dimension + 1 and n <= 10 and signature != (24, 24):
        forms = {
            (2 * (n - q) * q, n * n - 1 - 2 * (n - q) * q): f"su({n - q},{q})" for q in range(1, n // 2 + 1)
        }
        forms[0, n * n - 1] = f"su({n})"
        forms[(n * n + n - 2) // 2, (n * n - n) // 2] = f"sl({n},R)"
        if signature in forms:
            return forms[signature]
    return f"simple of dimension {ideal.dimension}, Killing signature {list(ideal.killing_signature)}"


_SIMPLE_ALIASES = {
    "su(2)": ("sp(1)",),
    "sl(2,R)": ("su(1,1)", "so(2,1)", "sp(2,R)"),
    "sl(2,C)": ("so(3,1)",),
    "sp(4,R)": ("so(3,2)",),
    "su(2,2)": ("so(4,2)",),
    "sl(4,R)": ("so(3,3)",),
    "so(4)": ("su(2)+su(2)",),
}


def _simple_part(ideal: Structure, generators: Generators) -> _Part:
    """A simple ideal by name and action, `generators` of shape (dimension, 2n + 1, 2n + 1)."""
    columns, size, _ = np.linalg.svd(np.concatenate(generators, axis=1), full_matrices=False)
    support = columns[:, size > np.clip(10 * ideal.resolution, 0.0, 0.3) * size.max() / 3]
    inside = support.T @ generators @ support
    name = abstract_name(ideal)
    defining = name.startswith("su(") or (name.startswith("sl(") and name.endswith(",R)"))
    if ideal.dimension == 3:
        spins = _twice_spins(ideal, inside)
        defining = spins == {1}
        if name == "so(3)" and any(spin % 2 for spin in spins):
            name = "su(2)"
    elif not ideal.killing_signature[0]:
        n = (1 + isqrt(1 + 8 * ideal.dimension)) // 2
        if n * (n - 1) == 2 * ideal.dimension and _acts_on_vectors(n, inside, ideal.ratio):
            name, defining = f"so({n})", False
        elif name == "su(4)" and support.shape[1] % 8:
            raise UndecidedError("a summand is so(6) by neither vector nor spinor action")
    else:
        n = support.shape[1]
        # No other simple algebra of that dimension acts on so few coordinates.
        if n * (n + 1) == 2 * ideal.dimension and n >= 6:
            name = f"sp({n},R)"
    if name.startswith("simple"):
        raise UndecidedError(f"a summand is {name}")
    return _Part(name, _SIMPLE_ALIASES.get(name, ()), ideal.dimension, support, defining)


def _twice_spins(ideal: Structure, generators: Generators) -> set[int]:
    """Twice the weights of a three-dimensional simple algebra on phase space, against 2 on itself."""
    elements = np.random.default_rng(0).normal(size=(20, 3))
    elements /= np.linalg.norm(elements, axis=1, keepdims=True)
    # Far from the null cone of the Killing form, where eigenvalues are ill-conditioned.
    element = max(elements, key=lambda x: abs(x @ ideal.killing_form @ x))
    unit = np.abs(np.linalg.eigvals(ideal.adjoint(element))).max() / 2
    weights = np.abs(np.linalg.eigvals(np.einsum("k,kij->ij", element, generators))) / unit
    if np.any(np.abs(weights - np.rint(weights)) > 0.2):
        raise UndecidedError("the weights of a three-dimensional simple ideal are not clearly half-integers")
    return {int(weight) for weight in np.rint(weights)}


def _acts_on_vectors(n: int, generators: Generators, ratio: float) -> bool:
    """Whether a compact algebra of the dimension of so(n) acts on copies of R^n as rotations do.

    Then a generic element has n // 2 frequencies, each 2 x copies times, and zero `copies` times when n is
    odd.
    """
    copies, left_over = divmod(generators.shape[1], n)
    if left_over:
        return False
    for coefficients in np.random.default_rng(0).normal(size=(20, len(generators))):
        frequencies = np.sort(np.abs(np.linalg.eigvals(np.einsum("k,kij->ij", coefficients, generators))))
        zero, frequencies = np.split(frequencies, [copies * (n % 2)])
        groups = frequencies.reshape(n // 2, 2 * copies)
        lowest = np.concatenate([[0.0], groups[:, 0]])
        spread = np.max(np.ptp(groups, axis=1), initial=zero.max(initial=0.0))
        if spread < ratio * np.diff(lowest).min():
            return True
    return False


def _merge_so4(parts: list[_Part], resolution: float) -> list[_Part]:
    """Two su(2) that act as spinors on the same space are so(4) acting on vectors."""
    for at, first in enumerate(parts):
        for second in parts[at + 1 :]:
            spinors = first.name == second.name == "su(2)" and first.defining and second.defining
            if spinors and _same(first, second, resolution):
                rest = [part for part in parts if part is not first and part is not second]
                return [
                    _Part("so(4)", _SIMPLE_ALIASES["so(4)"], 6, first.support),
                    *_merge_so4(rest, resolution),
                ]
    return parts


def _same(first: _Part, second: _Part, resolution: float) -> bool:
    assert first.support is not None and second.support is not None
    if first.support.shape != second.support.shape:
        return False
    apart = second.support - first.support @ (first.support.T @ second.support)
    return bool(np.linalg.norm(apart, 2) < np.clip(10 * resolution, 1e-5, 0.3))


def _extend(
    parts: list[_Part], central: Generators, simple: str, extended: str, summand: str, noise: float
) -> tuple[list[_Part], int]:
    """Joins central elements to the simple parts they act on, su(p,q) to u(p,q), and counts those used.

    Only where there is an independent one for every such part: else they stay summands of their own.
    """
    threshold = max(10 * noise, 1e-6)
    new: dict[int, _Part] = {}
    images = [np.zeros((len(central), 0))]
    for at, part in enumerate(parts):
        name = "su(1,1)" if part.name == "sl(2,R)" and simple == "su(" else part.name
        if part.defining and part.support is not None and name.startswith(simple):
            image = (part.support.T @ central @ part.support).reshape(
                len(central), part.support.shape[1] ** 2
            )
            if np.linalg.norm(image) > threshold:
                new[at] = _Part(name.replace(simple, extended), (f"{name}+{summand}",), part.dimension)
                images.append(image)
    independent = np.sum(np.linalg.svd(np.concatenate(images, axis=1), compute_uv=False) > threshold)
    if independent < len(new):
        return parts, 0
    return [new.get(at, part) for at, part in enumerate(parts)], len(new)


def _n_body_part(dimension: int) -> _Part:
    return _Part(f"n-body({dimension})", (f"free({dimension})+so({dimension})",))


def _translations(algebra: Structure) -> int:
    """The d for which an algebra without other summands is free(d) less its central P^2, or 0."""
    if algebra.dimension == 5 and algebra.levi.dimension == 0:
        frequencies = _turning(algebra)
        doubled = (
            frequencies is not None
            and abs(frequencies[1] - 2 * frequencies[0]) < algebra.ratio * frequencies[1]
        )
        return 2 if doubled else 0
    vectors_and_squares = (
        algebra.dimension == 11
        and algebra.levi.killing_signature == (0, 3, 0)
        and algebra.is_abelian(algebra.radical)
        and abs(_index_ratio(algebra) - 6) < 0.4
    )
    return 3 if vectors_and_squares else 0


def _turning(algebra: Structure) -> Float[np.ndarray, " m"] | None:
    """Ascending frequencies of an element that turns an abelian [g, g], all the rest; else None."""
    derived = algebra.derived
    if len(derived) != algebra.dimension - 1 or not algebra.is_abelian(derived):
        return None
    spectrum = np.linalg.eigvals(algebra.bracket(algebra.complement(derived), derived)[0] @ derived.T)
    if np.abs(spectrum.real).max() > algebra.ratio * np.abs(spectrum).max():
        return None
    return np.sort(np.abs(spectrum.imag))[::2]


def _index_ratio(algebra: Structure) -> float:
    """The Casimir trace of the semisimple part on the abelian radical over that on itself.

    For so(3) on eight dimensions without trivial part: 6 on vectors and traceless squares, 1 on spinors, 5 on
    spin 3/2.
    """
    lifts = algebra.complement(algebra.radical)
    on_radical = algebra.bracket(lifts, algebra.radical) @ algebra.radical.T
    traces = np.einsum("iab,jba->ij", on_radical, on_radical)
    return float(np.trace(np.linalg.solve(algebra.levi.killing_form, traces)) / len(lifts))


def nonreductive_name(algebra: Structure) -> str:
    """The name of an algebra without abelian and semisimple summands, or `UndecidedError`."""
    return _nonreductive_part(algebra).name


def _nonreductive_part(algebra: Structure) -> _Part:
    """Names an algebra without abelian and semisimple summands, or raises UndecidedError."""
    levi, radical = algebra.levi, algebra.radical
    if algebra.dimension == 2:
        return _Part("aff(1)")
    if len(algebra.derived) == len(algebra.centre) == 1:
        n = algebra.dimension // 2
        return _Part(f"heisenberg({n})", (f"h({n})",))
    if algebra.dimension == 3 and levi.dimension == 0 and _turning(algebra) is not None:
        return _Part("se(2)", ("e(2)", "so(2) semidirect R^2"))
    n = len(radical)
    compact = levi.killing_signature == (0, levi.dimension, 0)
    if n >= 3 and compact and 2 * levi.dimension == n * (n - 1) and algebra.is_abelian(radical):
        # A compact algebra acts on R^n inside so(n), here faithfully, and has its dimension.
        return _Part(f"se({n})", (f"e({n})", f"so({n}) semidirect R^{n}"))
    inside = algebra.restricted(radical)
    n = len(radical) // 2
    if levi.dimension == n * (2 * n + 1) and len(inside.derived) == len(inside.centre) == 1:
        # It acts faithfully on the other 2n dimensions and keeps their bracket: inside sp(2n,R), and has its
        # dimension.
        if n == 1:
            return _Part("sl(2,R) semidirect heisenberg", ("sl(2,R) semidirect h(1)", "jacobi(1)"))
        return _Part(f"sp({2 * n},R) semidirect heisenberg({n})", (f"jacobi({n})",))
    raise UndecidedError("it is not in the list of names")
