"""Comparing sets of generators as linear spaces, never vector by vector."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..quadratic_forms import Quadratics
from .quadratic import QuadraticQuantities


def flat_generators(quantities: QuadraticQuantities) -> Float[np.ndarray, "K size"]:
    """The rows vec[J A_k, J b_k], one a quantity: generators without their constant last row; size = 2n (2n +
    1).
    """
    generators = np.asarray(quantities.generators(), dtype=np.float64)
    return generators[:, :-1, :].reshape(quantities.count, -1)


def singular_directions(
    quantities: QuadraticQuantities,
) -> tuple[Float[np.ndarray, " rank"], Float[np.ndarray, "rank size"]]:
    """Singular values and right singular vectors of the stacked generators: what was learned, whatever its
    basis.

    The number of large values is the number of independent symmetries used; their vectors span the learned
    algebra.
    """
    _, values, directions = np.linalg.svd(flat_generators(quantities), full_matrices=False)
    return values, directions


def direction_quantities(directions: Float[np.ndarray, "rank size"]) -> Quadratics:
    """The quantities whose flat generators vec[J A, J b] are the rows, without constants."""
    dim = round((np.sqrt(1 + 4 * directions.shape[1]) - 1) / 2)
    generators = directions.reshape(len(directions), dim, dim + 1)
    position, momentum = np.split(generators, 2, axis=1)
    gradients = np.concatenate([-momentum, position], axis=1)
    return Quadratics(gradients[:, :, :-1], gradients[:, :, -1], np.zeros(len(directions)))


class GeneratorPair(NamedTuple):
    """A learned direction, (2n, 2n + 1), its singular value, and its projection on the known generators (None
    where these are not known), scaled so that the largest learned entry is 1.
    """

    value: float
    learned: Float[np.ndarray, "dim augmented"]
    known: Float[np.ndarray, "dim augmented"] | None


def nearest_generators(
    quantities: QuadraticQuantities, known: QuadraticQuantities | None
) -> list[GeneratorPair]:
    """The learned directions as generators [J A | J b], strongest first, each beside the nearest true one."""
    basis = None if known is None else _span(known)
    pairs = []
    for value, direction in zip(*singular_directions(quantities), strict=True):
        scaled = direction / np.abs(direction).max()
        matrix = scaled.reshape(2 * quantities.dof, -1)
        sign = _sign(matrix)
        nearest = None if basis is None else sign * (basis.T @ (basis @ scaled)).reshape(matrix.shape)
        pairs.append(GeneratorPair(float(value), sign * matrix, nearest))
    return pairs


def _span(known: QuadraticQuantities) -> Float[np.ndarray, "rank size"]:
    """An orthonormal basis of the space of the known generators."""
    _, values, basis = np.linalg.svd(flat_generators(known), full_matrices=False)
    return basis[values > 1e-8 * values[0]]


def _sign(generator: Float[np.ndarray, "dim augmented"]) -> float:
    """The sign of a singular vector is arbitrary: an energy (trace of A not small) is made positive, and the
    largest entry of anything else.
    """
    position, momentum = np.split(generator[:, :-1], 2)
    dof = len(position)
    trace = np.trace(position[:, dof:]) - np.trace(momentum[:, :dof])
    if abs(trace) > 1e-3 * np.abs(generator).max():
        return float(np.sign(trace))
    return float(np.sign(generator.flat[np.abs(generator).argmax()]))


def alignment(
    directions: Float[np.ndarray, "rank size"], known: QuadraticQuantities
) -> Float[np.ndarray, " rank"]:
    """Length of the projection of each unit vector v / |v| on the span of the known generators: 1 is inside,
    0 orthogonal.
    """
    lengths = np.linalg.norm(directions, axis=1)
    projections = np.linalg.norm(directions @ _span(known).T, axis=1)
    return np.minimum(1.0, projections / np.maximum(lengths, np.finfo(np.float64).tiny))


def principal_cosines(
    directions: Float[np.ndarray, "rank size"], known: QuadraticQuantities
) -> Float[np.ndarray, " angles"]:
    """Cosines of the principal angles between the span of the known generators and that of as many leading
    `directions` (orthonormal rows, strongest first), largest first: all 1 where the two spaces are the same.
    """
    basis = _span(known)
    return np.minimum(1.0, np.linalg.svd(directions[: len(basis)] @ basis.T, compute_uv=False))
