"""Canonical coordinates of a fitted form, in the columns and units of the data."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..exact_evidence.prior import covariance_root
from ..phase_space import symplectic_matrix
from ..scaling import ColumnScale
from ..trajectories.canonical import CanonicalMap, Polynomial, added, multiplied, paired_names
from .fitting import matrices_at
from .forms import ConstantForm, Form, MomentumForm
from .lagrangian import LagrangianForm

ROUNDING = 1e-12
"""Entries of a scaled matrix, and their errors, that are none."""


class Entries(NamedTuple):
    """A form with its parameters theta and their covariance."""

    form: Form
    theta: Float[np.ndarray, " K"]
    covariance: Float[np.ndarray, "K K"]


def poisson_entries(
    dof: int, entries: Entries | None, scale: ColumnScale
) -> tuple[Float[np.ndarray, "dim dim"], Float[np.ndarray, "dim dim"]]:
    """B and its standard deviations at the origin of the scale, in the units of the data; None: that of
    canonical columns.
    """
    units = np.outer(scale.scales, scale.scales) / scale.action
    if entries is None:
        return np.asarray(symplectic_matrix(dof), float), np.zeros((2 * dof, 2 * dof))
    form = entries.form
    with jax.enable_x64(True):
        theta, origin = jnp.asarray(entries.theta), jnp.zeros(2 * dof)
        matrix = np.asarray(form.matrix(origin, form.prepared(theta)))
        slopes = np.asarray(jax.jacfwd(lambda t: form.matrix(origin, form.prepared(t)))(theta))
    variance = np.einsum("ijk,kl,ijl->ij", slopes, entries.covariance, slopes)
    # Entries that are fixed have rounding errors.
    matrix = np.where(np.abs(matrix) > ROUNDING, matrix, 0.0)
    sd = np.sqrt(np.where(variance > ROUNDING**2, variance, 0.0))
    return matrix * units, sd * units


def mass_ratios(entries: Entries, scale: ColumnScale) -> tuple[tuple[float, float], ...]:
    """m_i / m_1 from the second position on, and their standard deviations, of a constant form."""
    form, theta, covariance = entries
    units = 1 / scale.pairs
    return tuple(
        (unit * (1 + form.sign_of_mass * float(theta[k])), unit * float(np.sqrt(covariance[k, k])))
        for k, unit in zip(form.of_masses, units[1:].tolist(), strict=True)
    )


def canonical_map(names: Sequence[str], entries: Entries | None, scale: ColumnScale) -> CanonicalMap:
    """Canonical coordinates of columns `names`; None, or the form that these have: the columns."""
    dim, dof = len(names), len(names) // 2
    identity = [{tuple(row): 1.0} for row in np.eye(dim, dtype=int).tolist()]
    if entries is None or not (entries.theta.any() or not scale.alike):
        return CanonicalMap.of(names, names, identity)
    form, theta, covariance = entries
    axes = covariance_root(covariance).T
    coordinates, *moved = (canonical_coordinates(form, theta + by, scale) for by in (0 * theta, *axes))
    coordinates = [
        column if _same(own, column) else own for own, column in zip(coordinates, identity, strict=True)
    ]
    momenta = paired_names("p", names[:dof], names)
    kept = [
        name if coordinate == one else f"{name}_c"
        for name, coordinate, one in zip(names[:dof], coordinates, identity, strict=False)
    ]
    return CanonicalMap.of([*kept, *momenta], names, coordinates, moved)


def _same(own: Polynomial, other: Polynomial) -> bool:
    """Whether they differ by rounding alone."""
    return own.keys() == other.keys() and all(abs(own[e] - other[e]) < 1e-12 for e in own)


def canonical_coordinates(form: Form, theta: Float[np.ndarray, " K"], scale: ColumnScale) -> list[Polynomial]:
    """Positions and momenta as polynomials in the columns, up to constants. The positions are those of the
    data, but where brackets of these do not vanish.
    """
    dim, dof = form.dim, scale.dof
    one = np.eye(dim, dtype=int)
    shifts, scales = scale.shifts, scale.scales.tolist()
    columns: list[Polynomial] = [
        {tuple(one[k].tolist()): 1 / scales[k], (0,) * dim: -shifts[k] / scales[k]} for k in range(dim)
    ]
    if isinstance(form, MomentumForm):
        found = [*columns[:dof], *_momenta(form, theta, columns)]
    else:
        assert isinstance(form, ConstantForm)
        found = [_combined(row, columns) for row in darboux(matrices_at(form, theta, np.zeros((1, dim)))[0])]
    # One factor for all products of a position and its momentum.
    units = [*scales[:dof], *(scale.action / s for s in scales[:dof])]
    back = [{e: value * unit for e, value in one.items()} for one, unit in zip(found, units, strict=True)]
    constant = (0,) * dim
    return [{e: value for e, value in one.items() if e != constant and value} for one in back]


def _combined(row: Float[np.ndarray, " dim"], columns: list[Polynomial]) -> Polynomial:
    total: Polynomial = {}
    for value, column in zip(row.tolist(), columns, strict=True):
        total = added(total, column, value)
    return total


def _momenta(
    form: MomentumForm, theta: Float[np.ndarray, " K"], columns: list[Polynomial]
) -> list[Polynomial]:
    dof = form.dof
    if isinstance(form, LagrangianForm):
        constant = (0,) * form.dim
        moving = zip(columns[dof:], form.rest, strict=True)
        columns = [*columns[:dof], *(added(column, {constant: 1.0}, rest) for column, rest in moving)]
    found = [dict(column) for column in columns[dof:]]
    for value, (exponents, (i, j), field) in zip(theta.tolist(), form.terms, strict=True):
        if not value:
            continue
        monomial: Polynomial = {(0,) * form.dim: value}
        for k, power in enumerate(exponents):
            for _ in range(power):
                monomial = multiplied(monomial, columns[k])
        if field:
            found[j] = added(found[j], multiplied(monomial, columns[i]))
            found[i] = added(found[i], multiplied(monomial, columns[j]), -1.0)
        else:
            found[i] = added(found[i], multiplied(monomial, columns[dof + j]))
            if i != j:
                found[j] = added(found[j], multiplied(monomial, columns[dof + i]))
    return found


def darboux(matrix: Float[np.ndarray, "dim dim"]) -> Float[np.ndarray, "dim dim"]:
    """D with D B D^T = J for a constant Poisson matrix B. Where positions commute they stay, and momenta are
    the velocities times their masses with the symmetric gauge of a field; else positions are changed as well.
    """
    dim, dof = len(matrix), len(matrix) // 2
    target = np.asarray(symplectic_matrix(dof), float)
    form = np.linalg.inv(matrix)
    if np.abs(form[dof:, dof:]).max(initial=0.0) < 1e-12:
        found = np.eye(dim)
        found[dof:, dof:] = -form[:dof, dof:]
        found[dof:, :dof] = -form[:dof, :dof] / 2
        return found
    # Pairs by pairs: of the first position left and the velocity that belongs to it most.
    found, left = np.zeros((dim, dim)), np.eye(dim)
    for k in range(dof):
        position = left[k]
        partner = left[dof + k] / (position @ matrix @ left[dof + k])
        found[k], found[dof + k] = position, partner
        toward_position, toward_partner = left @ matrix @ position, left @ matrix @ partner
        left = left + np.outer(toward_position, partner) - np.outer(toward_partner, position)
    assert np.allclose(found @ matrix @ found.T, target, atol=1e-6)
    return found
