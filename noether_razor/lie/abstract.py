"""The structure and name of a Lie algebra that is given by its structure constants alone."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from .names import abstract_name, nonreductive_name
from .structure import Structure, UndecidedError, simple_ideals

_EXACT = 1e-13


@dataclass(frozen=True)
class AbstractAlgebra:
    """A Lie algebra up to isomorphism.

    `name` is a direct sum: simple ideals, R^k for a centre outside the derived algebra, and the rest by name;
    where the rest has none (`named` is false) it says what its Levi factor and its radical are. `aliases` are
    other names. The series list dimensions up to and with the first that repeats; `killing_signature` counts
    positive, negative and zero eigenvalues.
    """

    dimension: int
    name: str
    named: bool
    centre: int
    derived_series: tuple[int, ...]
    lower_central_series: tuple[int, ...]
    killing_signature: tuple[int, int, int]
    radical_dimension: int
    aliases: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


def abstract_algebra(constants: Float[np.ndarray, "d d d"], *, error: float = _EXACT) -> AbstractAlgebra:
    """The algebra with [e_i, e_j] = sum_k f_ijk e_k for an orthonormal basis, `error` the size of the errors
    of f. Raises ValueError where f is not antisymmetric or breaks the Jacobi identity by more than a
    thousand errors.
    """
    dimension = len(constants)
    if not dimension:
        return AbstractAlgebra(0, "trivial", True, 0, (0, 0), (0, 0), (0, 0, 0), 0)
    scale = max(float(np.linalg.norm(constants.reshape(dimension, -1), 2)), 1e-300)
    if scale <= 10 * error:
        structure = Structure(np.zeros_like(constants), error, 1e-6)
    else:
        small = error / scale
        structure = Structure(constants / scale, small, max(3 * small, min(0.03, 10 * np.sqrt(small))))
        _require_algebra(structure)
    facts = {
        "dimension": dimension,
        "centre": len(structure.centre),
        "derived_series": structure.derived_series,
        "lower_central_series": structure.lower_central_series,
        "killing_signature": structure.killing_signature,
        "radical_dimension": len(structure.radical),
    }
    try:
        thresholds = structure.resolution * np.array([0.5, 1.0, 2.0])
        names = {_name(replace(structure, resolution=float(value))) for value in thresholds}
    except UndecidedError as reason:
        return AbstractAlgebra(name=f"not named: {reason}", named=False, **facts)
    if len(names) > 1:
        return AbstractAlgebra(name="not named: its name depends on the threshold", named=False, **facts)
    (name, aliases, named) = names.pop()
    return AbstractAlgebra(name=name, named=named, aliases=aliases, **facts)


def _require_algebra(structure: Structure) -> None:
    f = structure.constants
    twice = np.einsum("ijm,mkl->ijkl", f, f, optimize=True)
    jacobi = np.abs(twice + twice.transpose(1, 2, 0, 3) + twice.transpose(2, 0, 1, 3)).max()
    asymmetry = np.abs(f + f.transpose(1, 0, 2)).max()
    if max(jacobi, asymmetry) > max(1000 * structure.error, 1e-9):
        raise ValueError(
            "the constants are those of no Lie algebra: antisymmetry or the Jacobi identity fails"
        )


def _name(algebra: Structure) -> tuple[str, tuple[str, ...], bool]:
    """Its name, other names, and whether every summand has one."""
    reductive = algebra.centraliser(algebra.radical)
    semisimple = algebra.product(reductive, reductive)
    ideals = [part @ semisimple for part in simple_ideals(algebra.restricted(semisimple))]
    simple = [abstract_name(algebra.restricted(ideal)) for ideal in ideals]
    centre = algebra.centre
    outer = algebra.kernel(centre @ _inside_derived(algebra, centre).T, centre)
    rest = algebra.centraliser(semisimple)
    rest = algebra.kernel(rest @ outer.T, rest) if len(outer) else rest
    if len(semisimple) + len(outer) + len(rest) != algebra.dimension:
        raise UndecidedError("its direct summands do not add up")
    parts, named = list(simple), True
    if len(rest):
        name, named = _rest(algebra.restricted(rest))
        alone = len(rest) == algebra.dimension
        parts.append(f"({name})" if " " in name and not alone else name)
    if len(outer):
        parts.insert(len(simple), f"R^{len(outer)}" if len(outer) > 1 else "R")
    return (
        "+".join(parts),
        _general_linear(simple, len(outer), parts[len(simple) + bool(len(outer)) :]),
        named,
    )


def _inside_derived(algebra: Structure, centre: np.ndarray) -> np.ndarray:
    return algebra.kernel(centre @ algebra.complement(algebra.derived).T, centre)


def _general_linear(simple: list[str], centre: int, rest: list[str]) -> tuple[str, ...]:
    """Gl(n,R) for sl(n,R) and one dimension of the centre each."""
    linear = [name for name in simple if name.startswith("sl(") and name.endswith(",R)")]
    if not linear or centre < len(linear):
        return ()
    parts = [name.replace("sl(", "gl(") if name in linear else name for name in simple]
    left = centre - len(linear)
    parts += [f"R^{left}" if left > 1 else "R"] if left else []
    return ("+".join([*parts, *rest]),)


def _rest(algebra: Structure) -> tuple[str, bool]:
    """The name of an algebra without simple or abelian summands; else what it is made of."""
    derived = algebra.derived
    if len(derived) == algebra.dimension - 1 and algebra.is_abelian(derived):
        action = algebra.bracket(algebra.complement(derived), derived)[0] @ derived.T
        factor = np.trace(action) / len(derived)
        if np.abs(action - factor * np.eye(len(derived))).max() <= algebra.ratio * abs(factor):
            # One element that scales all others alike.
            return ("aff(1)" if len(derived) == 1 else f"R semidirect R^{len(derived)}"), True
    try:
        return nonreductive_name(algebra), True
    except UndecidedError:
        pass
    series = ", ".join(map(str, algebra.derived_series))
    levi = algebra.levi
    if not levi.dimension:
        return f"solvable of dimension {algebra.dimension}, derived series {series}", False
    factors = "+".join(abstract_name(levi.restricted(ideal)) for ideal in simple_ideals(levi))
    return (
        f"{factors} semidirect a radical of dimension {len(algebra.radical)}, derived series {series}",
        False,
    )
