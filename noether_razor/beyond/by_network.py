"""Quantities that a learned Hamiltonian suggests where H is in no library; trajectories check them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..exact_evidence.start import Windows
from ..formula import parse_formula
from ..invariants import noise_estimate
from ..invariants.formulas import reduced, sparse_basis
from ..invariants.on_states import OnStates
from ..trajectories import Trajectories, fit_scale, scaled_trajectories
from ..typing import Hamiltonian
from .by_hamiltonian import Row, listed_rows
from .commuting import BracketForms
from .library import Library
from .options import LibraryOptions
from .proposals import libraries
from .result import LibraryQuantity

MOST_WINDOWS = 500
"""Windows of held-out trajectories that the error of H is measured on."""
WORST = 0.1
"""Relative error of its field from which a learned H suggests nothing."""
CHANGES = 0.1
"""The 95 % limit of the change along trajectories, over the spread, up to which a suggestion stays."""
DEPENDENT = 0.2
"""R.m.s. share of a gradient that is not one of known quantities, from which a suggestion is new."""
MOST_SUGGESTED = 6
SMALL = 0.025
"""Coefficients below this share of the largest, by gradients, are errors of H."""


class Suggested(NamedTuple):
    """What a learned Hamiltonian suggests, and the relative error of its field on held-out trajectories."""

    quantities: tuple[LibraryQuantity, ...]
    error: float


def suggested(
    data: Trajectories,
    hamiltonian: Hamiltonian,
    held_out: Trajectories,
    known: Sequence[str],
    options: LibraryOptions,
    noise_variance: float | None = None,
) -> Suggested:
    """The combinations of terms of a library whose bracket with a learned `hamiltonian`, in the units of the
    data, is no larger than the error of that, and which the drift test does not see to change.

    The error is that of changes over windows of two steps of `held_out`, which is larger than that of the
    gradient of H where noise is. `known` are formulas of what is conserved: functions of these are left out.
    """
    error = field_error(held_out, hamiltonian)
    if not error < WORST:
        return Suggested((), error)
    noise = noise_estimate(data).variance if noise_variance is None else np.asarray(noise_variance)
    energies = OnStates.of(hamiltonian, data.points())
    old = [_gradients(text, data, energies.states) for text in known]
    best: tuple[LibraryQuantity, ...] = ()
    for library in libraries(data, np.broadcast_to(noise, data.states.shape[2:]), options):
        found = _in_library(library, data, energies, error, noise_variance, old)
        best = found if len(found) > len(best) else best
    named = (
        replace(one, name=f"N{k}", generator=False, note="suggested by the learned Hamiltonian")
        for k, one in enumerate(best, 1)
    )
    return Suggested(tuple(named), error)


def field_error(data: Trajectories, hamiltonian: Hamiltonian) -> float:
    """R.m.s. difference between changes over two steps and those by the field of H along smoothed
    trajectories, over the r.m.s. of these changes, in scaled coordinates.
    """
    scale = fit_scale(data)
    windows = Windows.of(scaled_trajectories(data, scale).segments(), exact=False).some(MOST_WINDOWS)
    states = scale.states_back(windows.points)
    gradients = np.asarray(jax.jit(jax.vmap(jax.grad(hamiltonian)))(jnp.asarray(states, jnp.float32)))
    scaled = np.asarray(gradients, np.float64) * scale.scales / scale.energy
    position, momentum = np.split(scaled.reshape(*windows.spans.shape, -1), 2, axis=2)
    field = np.concatenate([momentum, -position], axis=2)
    moved = np.einsum("wn,wni->wi", windows.spans, field).reshape(-1)
    off = np.sqrt(np.mean((moved - windows.changes) ** 2))
    return float(off / max(np.sqrt(np.mean(windows.changes**2)), np.finfo(float).tiny))


def _in_library(
    library: Library,
    data: Trajectories,
    energies: OnStates,
    error: float,
    noise_variance: float | None,
    old: Sequence[Float[np.ndarray, "points dim"]],
) -> tuple[LibraryQuantity, ...]:
    """Suggestions among the terms of one library that are new and do not change."""
    scales = fit_scale(data).scales
    found = BracketForms.of(library, energies.states, energies.gradients, scales)
    basis = found.simplest(error)
    rank = len(basis)
    if not 0 < rank <= MOST_SUGGESTED + len(old):
        return ()
    rows, at = reduced(sparse_basis(basis))
    rows = rows / rows[np.arange(rank), at][:, None]
    rows = np.where(np.abs(rows) > max(SMALL, 2 * error) * np.abs(rows).max(axis=1, keepdims=True), rows, 0.0)
    ratio = found.units[at][:, None] / found.units
    made = [
        Row(row * size, np.diag((error * size) ** 2), pivot)
        for row, size, pivot in zip(rows, ratio, at.tolist(), strict=True)
        if row[pivot]  # below its error the term that a row is written by has gone
    ]
    if not made:
        return ()
    try:
        listed = replace(
            listed_rows(library, made, found.units, data, noise_variance, energies), source="network"
        )
    except (np.linalg.LinAlgError, ValueError):
        # Terms that are not finite at noisy rows.
        return ()
    kept, known = [], list(old)
    for k, one in enumerate(listed.quantities):
        slopes = [listed.library.slopes(energies.states, i) @ one.row for i in range(len(scales))]
        gradient = np.stack(slopes, axis=1)
        if one.change.limit <= CHANGES and _new(gradient * scales, [other * scales for other in known]):
            kept.append(listed.described(k))
            known.append(gradient)
    return tuple(kept)


def _new(gradient: Float[np.ndarray, "points dim"], known: Sequence[Float[np.ndarray, "points dim"]]) -> bool:
    """Whether a gradient is none of the known ones at most states."""
    left = gradient
    if known:
        span = np.linalg.qr(np.stack(known, axis=2))[0]
        left = gradient - np.einsum("tik,tjk,tj->ti", span, span, gradient)
    return bool(np.linalg.norm(left) > DEPENDENT * np.linalg.norm(gradient))


def _gradients(
    text: str, data: Trajectories, states: Float[np.ndarray, "points dim"]
) -> Float[np.ndarray, "points dim"]:
    formula = parse_formula(text, data.names)
    return np.asarray(jax.jit(jax.vmap(jax.grad(formula)))(jnp.asarray(states, jnp.float32)), np.float64)
