"""All linear symmetries xi = L W + W R + T of a model's layers, their Lie algebra and their charges."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..lie import abstract_algebra
from ..null_space import null_space
from .naming import layer_of, named_together
from .report import LinearAlgebra, SymmetryReport, counted
from .symmetries import Arrays, SymmetryError, flat_parameters

EXACT, QUASI = 1e-11, 1e-6
"""Singular values, as shares of the largest, of exact symmetries and up to which one is a quasi-symmetry."""


class LinearRow(NamedTuple):
    """G W^T, W^T G and G of every layer in one row, as a share of |g|; `total` is |g|^2."""

    entries: Float[Array, "*rows features"]
    total: Float[Array, "*rows"]


@dataclass(frozen=True)
class Layer:
    """A weight as a matrix with `inputs` rows, the last of them its bias if it has one, and `outputs`
    columns.
    """

    kernel: str
    bias: str | None
    inputs: int
    outputs: int

    def matrix(self, arrays: Mapping[str, Any]) -> Float[Array, "inputs outputs"]:
        rows = arrays[self.kernel].reshape(-1, self.outputs)
        if self.bias is None:
            return rows
        return jnp.concatenate([rows, arrays[self.bias].reshape(1, self.outputs)])

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.inputs**2, self.outputs**2, self.inputs * self.outputs

    @property
    def name(self) -> str:
        return layer_of(self.kernel)


@dataclass(frozen=True)
class LinearFeatures:
    """The layers of parameters of certain shapes."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, params: Any) -> "LinearFeatures":
        """Kernels with the bias beside them; arrays of one axis that are no bias are layers of one input."""
        shapes = {path: tuple(jnp.shape(leaf)) for path, leaf in flat_parameters(params).items()}
        layers, used = [], set()
        for path, shape in shapes.items():
            if len(shape) < 2 or path.rpartition(".")[2] == "bias":
                continue
            beside = f"{path.rpartition('.')[0]}.bias".lstrip(".")
            bias = beside if beside in shapes and shape[-len(shapes[beside]) :] == shapes[beside] else None
            # Heads: the kernel of an output has them first, others last.
            split = len(shape) - 1
            if bias is not None:
                split = len(shape) - len(shapes[bias])
            elif len(shape) == 3:
                split = 2 if layer_of(path).split(".")[-1] == "out" else 1
            inputs, outputs = math.prod(shape[:split]), math.prod(shape[split:])
            layers.append(Layer(path, bias, inputs + (bias is not None), outputs))
            used |= {path, bias}
        for path, shape in shapes.items():
            if path not in used and shape:
                layers.append(Layer(path, None, 1, math.prod(shape)))
        return cls(tuple(layers))

    @property
    def count(self) -> int:
        return sum(sum(layer.sizes) for layer in self.layers)

    def row(self, params: Any, gradients: Any) -> LinearRow:
        """The features of one gradient; it may be compiled."""
        q, g = flat_parameters(params), flat_parameters(gradients)
        parts = []
        for layer in self.layers:
            weight, slope = layer.matrix(q), layer.matrix(g)
            parts += [slope @ weight.T, weight.T @ slope, slope]
        total = sum((jnp.sum(part**2) for part in g.values()), jnp.zeros(()))
        return LinearRow(jnp.concatenate([part.reshape(-1) for part in parts]) / jnp.sqrt(total), total)

    def generators(self, vectors: Float[np.ndarray, "k features"]) -> "list[Generators]":
        """The matrices L, R and T of each layer for each row."""
        found, start = [], 0
        for layer in self.layers:
            left, right, shift = layer.sizes
            parts = np.split(vectors[:, start : start + left + right + shift], [left, left + right], axis=1)
            i, o = layer.inputs, layer.outputs
            found.append(
                Generators(parts[0].reshape(-1, i, i), parts[1].reshape(-1, o, o), parts[2].reshape(-1, i, o))
            )
            start += left + right + shift
        return found

    def trivial(self) -> Float[np.ndarray, "layers features"]:
        """L = 1, R = -1 of each layer, which moves nothing; orthonormal."""
        found = []
        for k in range(len(self.layers)):
            parts = []
            for at, layer in enumerate(self.layers):
                on = float(at == k)
                parts += [
                    on * np.eye(layer.inputs).ravel(),
                    -on * np.eye(layer.outputs).ravel(),
                    np.zeros(layer.sizes[2]),
                ]
            vector = np.concatenate(parts)
            found.append(vector / np.linalg.norm(vector))
        return np.stack(found)


class Generators(NamedTuple):
    """L, R and T of one layer, a generator each row."""

    left: Float[np.ndarray, "k inputs inputs"]
    right: Float[np.ndarray, "k outputs outputs"]
    shift: Float[np.ndarray, "k inputs outputs"]


def linear_symmetries(features: LinearFeatures, table: LinearRow) -> SymmetryReport:
    """The symmetries that a table of features shows. Raises `SymmetryError` where it has too few rows."""
    if len(table.entries) < features.count:
        raise SymmetryError(
            f"{features.count} features need as many rows, got {len(table.entries)}: ask for rows="
            f"{features.count + 40}, or for method slices"
        )
    null, spectrum, _ = null_space(np.asarray(table.entries), EXACT)
    trivial = features.trivial()
    basis = _without(null, trivial)
    constants, closure = _structure(features, basis, trivial)
    found = LinearAlgebra(
        algebra=abstract_algebra(constants, error=max(1e-13, closure)),
        structure_constants=constants,
        closure_error=closure,
        charges=len(_symmetric(features, basis)),
        blocks=_blocks(features, basis),
    )
    strengths = spectrum[(spectrum > EXACT) & (spectrum <= QUASI)]
    notes = (f"{len(strengths)} quasi-symmetries of strengths {_range(strengths)}",) if len(strengths) else ()
    return SymmetryReport(
        method="linear",
        exact=(),
        quasi=(),
        no_effect=(),
        trivial=len(trivial),
        dimensions={"linear": len(null)},
        unnamed={},
        spectra={"linear": spectrum},
        counts={"linear": counted(len(null), len(trivial), len(basis), len(strengths), 0)},
        rows=len(table.entries),
        features=features.count,
        notes=notes,
        algebra=found,
        followed=_followed(features, basis),
    )


def _range(values: np.ndarray) -> str:
    return f"{values.min():.1e} to {values.max():.1e}"


def _without(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is left of the span of rows without orthonormal `others`, which it has."""
    left = rows - (rows @ others.T) @ others
    _, size, basis = np.linalg.svd(left, full_matrices=False)
    return basis[size > 0.5]


def _structure(
    features: LinearFeatures, basis: np.ndarray, trivial: np.ndarray
) -> tuple[Float[np.ndarray, "d d d"], float]:
    """Structure constants in an orthonormal basis modulo what is trivial, and the share of brackets outside.

    [xi_a, xi_b] has L = [L_b, L_a], R = [R_a, R_b] and T = L_b T_a + T_a R_b - L_a T_b - T_b R_a.
    """
    parts = []
    for left, right, shift in features.generators(basis):
        ab = np.einsum("aij,bjk->abik", left, left)
        parts.append(ab.transpose(1, 0, 2, 3) - ab)
        ab = np.einsum("aij,bjk->abik", right, right)
        parts.append(ab - ab.transpose(1, 0, 2, 3))
        ab = np.einsum("bij,ajk->abik", left, shift) + np.einsum("aij,bjk->abik", shift, right)
        parts.append(ab - ab.transpose(1, 0, 2, 3))
    d = len(basis)
    brackets = np.concatenate([part.reshape(d, d, -1) for part in parts], axis=2)
    brackets -= (brackets @ trivial.T) @ trivial
    constants = brackets @ basis.T
    outside = np.linalg.norm(brackets - constants @ basis)
    size = np.linalg.norm(brackets)
    return constants, float(outside / size) if size > 1e-12 else 0.0


def _symmetric(features: LinearFeatures, basis: np.ndarray) -> np.ndarray:
    """The part of the span whose L and R are symmetric: gradients of functions, which gradient flow
    conserves.
    """
    skew = [
        (part - part.transpose(0, 2, 1)).reshape(len(basis), -1)
        for left, right, _ in features.generators(basis)
        for part in (left, right)
    ]
    return _kernel(np.concatenate(skew, axis=1), basis)


def _kernel(images: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The part of the span of `basis` where a linear map of its rows vanishes."""
    if not len(basis):
        return basis
    short = max(0, len(images) - images.shape[1])
    directions, size, _ = np.linalg.svd(np.pad(images, ((0, 0), (0, short))), full_matrices=False)
    return directions[:, size <= 1e-8].T @ basis


def _blocks(features: LinearFeatures, basis: np.ndarray) -> tuple[tuple[str, int], ...]:
    """How many dimensions move one layer alone, two of them and no fewer, and all others."""
    layers = features.layers
    parts = []
    for left, right, shift in features.generators(basis):
        # What moves nothing, L = c and R = -c, is not counted as a part of it.
        i, o = left.shape[1], right.shape[1]
        centre = (np.trace(left, axis1=1, axis2=2) - np.trace(right, axis1=1, axis2=2)) / (i + o)
        left = left - centre[:, None, None] * np.eye(i)
        right = right + centre[:, None, None] * np.eye(o)
        parts.append(np.concatenate([part.reshape(len(basis), -1) for part in (left, right, shift)], axis=1))
    found: list[tuple[str, int]] = []
    inside: dict[tuple[int, ...], np.ndarray] = {}
    for size in (1, 2):
        for chosen in itertools.combinations(range(len(layers)), size):
            others = [part for k, part in enumerate(parts) if k not in chosen]
            images = np.concatenate(others, axis=1) if others else np.zeros((len(basis), 1))
            space = _kernel(images, basis)
            known = [part for key, part in inside.items() if set(key) < set(chosen) and len(part)]
            new = len(space) - (np.linalg.matrix_rank(np.concatenate(known), tol=1e-6) if known else 0)
            inside[chosen] = space
            if new:
                found.append((named_together([layers[k].name for k in chosen]), int(new)))
    total = sum(count for _, count in found)
    if total < len(basis):
        found.append(("several layers", len(basis) - total))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class LinearSymmetry:
    """Generators xi = L W + W R with symmetric L and R, whose charges are quadratic, or xi = T."""

    name: str
    layers: tuple[Layer, ...]
    generators: tuple[Generators, ...] = field(repr=False)
    quadratic: bool

    @property
    def count(self) -> int:
        return len(self.generators[0].shift)

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for layer in self.layers for path in (layer.kernel, layer.bias) if path is not None)

    @property
    def weights(self) -> tuple[float, ...]:
        return (1.0,) * len(self.paths)

    def check(self, params: Arrays) -> None:
        """Raise `SymmetryError` where it does not fit the shapes of flat parameters."""
        for layer in self.layers:
            missing = [path for path in (layer.kernel, layer.bias) if path is not None and path not in params]
            if missing:
                raise SymmetryError(f"{self.name}: the parameters have no {missing[0]}")
            size = math.prod(jnp.shape(params[layer.kernel]))
            if size != (layer.inputs - (layer.bias is not None)) * layer.outputs:
                raise SymmetryError(
                    f"{self.name}: {layer.kernel} has {size} entries, not those it was found for"
                )

    def _moved(self, arrays: Arrays) -> list[Array]:
        """Xi at each layer, a generator each row."""
        moved = []
        for layer, (left, right, shift) in zip(self.layers, self.generators, strict=True):
            if self.quadratic:
                weight = layer.matrix(arrays)
                moved.append(left @ weight + jnp.einsum("io,kop->kip", weight, right))
            else:
                moved.append(jnp.asarray(shift))
        return moved

    def _along(self, first: Arrays, moved: list[Array]) -> Float[Array, "parts units"]:
        rows = []
        for layer, direction in zip(self.layers, moved, strict=True):
            product = (layer.matrix(first) * direction).sum(axis=2)
            if layer.bias is None:
                rows.append(product.sum(axis=1))
            else:
                rows += [product[:, :-1].sum(axis=1), product[:, -1]]
        return jnp.stack(rows)

    def forms(self, first: Arrays, second: Arrays) -> Float[Array, "parts units"]:
        """<first, A second> for every array and generator."""
        return self._along(first, self._moved(second))

    def sums(self, first: Arrays) -> Float[Array, "parts units"]:
        """<first, T> for every array and generator."""
        return self._along(first, self._moved(first))

    def squared(self, first: Arrays) -> Float[Array, " units"]:
        """|first|^2 on all layers."""
        total = sum((jnp.sum(layer.matrix(first) ** 2) for layer in self.layers), jnp.zeros(()))
        return jnp.broadcast_to(total, (self.count,))

    def squared_generator(self, params: Arrays) -> Float[Array, " units"]:
        """|xi(q)|^2 of each generator."""
        return sum((jnp.sum(part**2, axis=(1, 2)) for part in self._moved(params)), jnp.zeros(self.count))

    def label(self, unit: int) -> str:
        """One generator in words."""
        return f"{self.name}, generator {unit}"

    def __str__(self) -> str:
        return f"{self.name} ({self.count} generators)"


def _followed(features: LinearFeatures, basis: np.ndarray) -> tuple[LinearSymmetry, ...]:
    """The charges that have a law: of symmetric L and R without T, and of T alone."""
    charges = _symmetric(features, basis)
    found = []
    for name, quadratic in (("quadratic charges", True), ("linear charges", False)):
        if not len(charges):
            continue
        parts = features.generators(charges)
        images = [
            part.reshape(len(charges), -1)
            for left, right, shift in parts
            for part in ((shift,) if quadratic else (left, right))
        ]
        chosen = _kernel(np.concatenate(images, axis=1), charges)
        if len(chosen):
            found.append(LinearSymmetry(name, features.layers, tuple(features.generators(chosen)), quadratic))
    return tuple(found)
