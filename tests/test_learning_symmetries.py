"""Symmetries are found without being told: dimensions, names, Lie algebras, charges; and none where none
is.
"""

import inspect
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from sklearn.datasets import load_digits

from noether_razor.learning import (
    FeatureRecorder,
    Member,
    Symmetry,
    SymmetryError,
    SymmetryReport,
    find_symmetries,
    read_charges,
    track_charges,
)
from noether_razor.lie import abstract_algebra


class Dense(nnx.Module):
    """Layers of these widths, of which the first `normalised` are followed by batch normalisation."""

    def __init__(self, *widths: int, activation: Any = nnx.relu, normalised: int = 0, epsilon: float = 0.0):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List(nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(widths))
        self.norms = nnx.List(
            nnx.BatchNorm(width, epsilon=epsilon, use_running_average=False, rngs=rngs)
            for width in widths[1 : 1 + normalised]
        )
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        for k, layer in enumerate(self.layers):
            x = layer(x)
            if k < len(self.norms):
                x = self.norms[k](x)
            if k < len(self.layers) - 1:
                x = self.activation(x)
        return x


class Attention(nnx.Module):
    """One head with keys of 2 and values of 3 numbers, then a readout."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)

        def linear(a: int, b: int) -> nnx.Linear:
            return nnx.Linear(a, b, use_bias=False, rngs=rngs)

        self.query, self.key, self.value = linear(4, 2), linear(4, 2), linear(4, 3)
        self.out, self.read = linear(3, 4), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        weights = jax.nn.softmax(self.query(x) @ self.key(x).mT, axis=-1)
        return self.read(jnp.tanh(x + weights @ self.out(self.value(x))).mean(axis=-2))


class Convolutional(nnx.Module):
    """Two convolutions, the first normalised, and a dense layer on the flattened image."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first = nnx.Conv(1, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, epsilon=0.0, use_running_average=False, rngs=rngs)
        self.second = nnx.Conv(3, 2, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(2 * 4 * 4, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.avg_pool(nnx.relu(self.norm(self.first(x[..., None]))), (2, 2), (2, 2))
        x = nnx.relu(self.second(x))
        return self.dense(x.reshape(len(x), -1))


class Residual(nnx.Module):
    """Layer normalisation inside a residual block and before the readout."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.embed, self.read = nnx.Linear(5, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)
        self.norms = nnx.List(nnx.LayerNorm(4, epsilon=0.0, rngs=rngs) for _ in range(2))
        self.inner, self.outer = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embed(x)
        x = x + self.outer(nnx.relu(self.inner(self.norms[0](x))))
        return self.read(self.norms[1](x))


def loss(model: Any, batch: Any) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()


def data(*shape: int, labels: int = 3, count: int = 8) -> list[Any]:
    rng = np.random.default_rng(3)
    return [(rng.normal(size=(32, *shape)), rng.integers(0, labels, 32)) for _ in range(count)]


def digits(count: int = 14, size: int = 128) -> list[Any]:
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    return [(x[i] / 16, y[i]) for i in (rng.choice(len(x), size, False) for _ in range(count))]


def families(found: tuple[Symmetry, ...]) -> dict[str, int]:
    return {family.name: family.count for family in found}


DIGITS = (64, 24, 24, 16, 16, 10)
DIGITS_NAMES = {
    "scale of layer 0 (kernel)": 24,
    "scale of layer 1 (kernel)": 24,
    "rescaling between layers.1 and norms.0": 24,
    "rescaling between layers.2 and norms.1": 24,
    "rescaling between layers 2 and 3": 16,
    "rescaling between layers 3 and 4": 16,
    "common shift of the outputs of layer 4 by each input": 16,
    "common shift of all of layers.4.bias": 1,
}


def assert_digits(found: SymmetryReport) -> None:
    assert found.features == 420
    assert found.dimensions == {"diagonal": 184, "translation": 73}
    assert found.unnamed == {"diagonal": 0, "translation": 0} and found.trivial == 5
    assert families(found.exact) == DIGITS_NAMES and not found.quasi
    for kind, dimension in found.dimensions.items():
        values = np.sort(found.spectra[kind])
        assert values[dimension - 1] < 1e-14 and values[dimension] > 1e-6
    idle = {str(part) for part in found.no_effect}
    assert idle == {"layers.0.bias", "layers.1.bias", "layers.0.kernel, slices 0, 32, 39 along axis 0"}


@pytest.mark.slow
def test_digits_from_perturbed_parameters():
    assert_digits(find_symmetries(Dense(*DIGITS, normalised=2), loss, digits()))


@pytest.mark.slow
def test_an_epsilon_makes_quasi_symmetries_of_known_strength():
    found = find_symmetries(Dense(*DIGITS, normalised=2, epsilon=1e-5), loss, digits())
    assert found.dimensions == {"diagonal": 136, "translation": 73}
    assert families(found.quasi) == {f"scale of layer {k} (kernel)": 24 for k in (0, 1)}
    strengths = np.array([family.breaking for family in found.quasi])
    assert strengths.min() > 1e-9 and strengths.max() < 1e-3
    assert "broken by up to" in str(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.1), optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(0.02, 0.9))]
)
@pytest.mark.usefixtures("double_precision")
def test_digits_from_one_run(optimizer):
    model = Dense(*DIGITS, normalised=2)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params, rest = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, rest))
    recorder = FeatureRecorder(params)

    def step(carry, batch):
        params, state = carry
        gradients = jax.grad(lambda at: loss(nnx.merge(graph, at, rest, copy=True), batch))(params)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), recorder(params, gradients)

    batches = jax.tree.map(lambda *parts: jnp.stack(parts), *digits(count=880))
    rows = jax.jit(lambda carry: jax.lax.scan(step, carry, batches)[1])((params, optimizer.init(params)))
    found = recorder.report(rows)
    assert found.dimensions == {"diagonal": 184, "translation": 73}
    assert families(found.exact) == DIGITS_NAMES and not found.quasi


LINEAR = {
    "relu": (Dense(6, 5, 4, 3), (6,), 17, 15),
    "linear": (Dense(6, 4, 3, activation=lambda x: x), (6,), 28, 16),
    "gelu": (Dense(6, 5, 3, activation=nnx.gelu), (6,), 9, 7),
    "leaky relu": (Dense(6, 5, 3, activation=nnx.leaky_relu), (6,), 14, 12),
    "attention": (Attention(), (5, 4), 21, 15),
}


class TestLinear:
    @pytest.mark.parametrize(
        "name",
        [
            *(pytest.param(k, marks=pytest.mark.slow) for k in ("linear", "leaky relu")),
            "relu",
            "gelu",
            "attention",
        ],
    )
    def test_dimensions_and_charges(self, name):
        model, shape, dimension, charges = LINEAR[name]
        found = find_symmetries(model, loss, data(*shape), method="linear")
        assert found.algebra is not None
        assert (found.algebra.dimension, found.algebra.charges) == (dimension, charges)
        assert found.algebra.closure_error < 2e-14
        values = np.sort(found.spectra["linear"])
        null = found.dimensions["linear"]
        assert null == dimension + found.trivial and values[null - 1] < 1e-14 and values[null] > 1e-6
        if name == "attention":
            algebra = found.algebra.algebra
            assert algebra.name == "sl(3,R)+sl(2,R)+R^2+(R semidirect R^7)"
            assert algebra.aliases == ("gl(3,R)+gl(2,R)+(R semidirect R^7)",)
            assert algebra.derived_series == (21, 18, 11, 11) and algebra.centre == 2
            assert dict(found.algebra.blocks) == {"read": 8, "key and query": 4, "out and value": 9}
        if name == "gelu":
            # A smooth activation has no rescaling: what is left is the softmax's.
            assert dict(found.algebra.blocks) == {"layer 1": 9}
            assert found.algebra.algebra.name == "R semidirect R^8"

    @pytest.mark.slow
    def test_digits_principal_components(self):
        x, y = load_digits(return_X_y=True)
        x = (x - x.mean(axis=0)) / 16
        x = x @ np.linalg.svd(x, full_matrices=False)[2][:16].T
        rng = np.random.default_rng(0)
        batches = [(x[i], y[i]) for i in (rng.choice(len(x), 32, False) for _ in range(40))]
        found = find_symmetries(Dense(16, 12, 12, 10), loss, batches, method="linear")
        assert found.features == 1505 and found.algebra is not None
        assert (found.algebra.dimension, found.algebra.charges) == (47, 38)

    def test_few_rows_are_refused(self):
        with pytest.raises(SymmetryError, match="234 features need as many rows"):
            find_symmetries(LINEAR["relu"][0], loss, data(6), method="linear", rows=20)

    @pytest.mark.slow
    @pytest.mark.usefixtures("double_precision")
    def test_their_charges_follow_the_law(self):
        """Of gl(4) between two linear layers, quadratic forms that mix units."""
        model, shape, *_ = LINEAR["linear"]
        found = find_symmetries(model, loss, data(*shape), method="linear")
        assert [family.count for family in found.charges] == [11, 5]
        graph, params = nnx.split(model, nnx.Param)
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        tracked = track_charges(
            optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05, 0.9)), found.charges
        )
        state = tracked.init(params)

        @jax.jit
        def step(params, state, batch):
            gradients = jax.grad(lambda at: loss(nnx.merge(graph, at), batch))(params)
            updates, state = tracked.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        for n in range(61):
            params, state = step(params, state, data(*shape)[n % 8])
        for one in read_charges(state, found.charges):
            assert one.charge.violation.max() < 1e-12


class TestSlices:
    def test_convolutions(self):
        found = find_symmetries(Convolutional(), loss, data(8, 8), rows=70)
        assert families(found.exact) == {
            "scale of first (kernel)": 3,
            "rescaling between norm and second": 3,
            "rescaling between dense and second": 2,
            "common shift of the outputs of dense by each input": 32,
            "common shift of all of dense.bias": 1,
        }
        assert [part.path for part in found.no_effect] == ["first.bias"]
        (flat,) = (family for family in found.exact if family.name == "rescaling between dense and second")
        flattened = next(member for member in flat.members if member.path == "dense.kernel")
        assert flattened.units == (0, 1) * 16
        # Families that were written down come back.
        kept = json.loads(json.dumps(found.to_json()))
        assert replace(found, exact=(), quasi=()).with_families(kept).exact == found.exact
        # Rows that are too few for all features do not keep single units from being told.
        assert found.unnamed == {"diagonal": None, "translation": None}

    @pytest.mark.slow
    def test_residual_blocks_and_layer_normalisation(self):
        found = find_symmetries(Residual(), loss, data(5))
        exact = families(found.exact)
        # Up to the rescaling between inner and outer, which stands beside it, these are one.
        scales = [name for name in exact if name.startswith("scale of all of embed")]
        assert [exact.pop(name) for name in scales] == [1]
        assert scales[0].split(" (")[0].endswith(("embed and outer", "embed, inner and outer"))
        assert exact == {
            "rescaling between inner and outer": 6,
            "rescaling between inner and norms.0": 4,
            "rescaling between norms.1 and read": 4,
            "common shift of the outputs of embed by each input": 5,
            "common shift of the outputs of outer by each input": 6,
            "common shift of all of embed.bias": 1,
            "common shift of all of outer.bias": 1,
            "common shift of the outputs of read by each input": 4,
            "common shift of all of read.bias": 1,
        }

    @pytest.mark.slow
    def test_heads(self):
        class Heads(nnx.Module):
            def __init__(self) -> None:
                rngs = nnx.Rngs(0)
                self.attention = nnx.MultiHeadAttention(
                    num_heads=2, in_features=4, qkv_features=6, decode=False, deterministic=True, rngs=rngs
                )
                self.read = nnx.Linear(4, 3, rngs=rngs)

            def __call__(self, x: jax.Array) -> jax.Array:
                return self.read(jnp.tanh(x + self.attention(x)).mean(axis=-2))

        found = find_symmetries(Heads(), loss, data(5, 4))
        # JAX computes logits of attention in float32, which shows or not.
        assert families((*found.exact, *found.quasi)) == {
            "rescaling between attention.key and attention.query": 6,
            "rescaling between attention.out and attention.value": 6,
            "common shift of the outputs of read by each input": 4,
            "common shift of all of read.bias": 1,
        }
        assert max(max(family.breaking) for family in found.quasi or found.exact) < 1e-6

    @pytest.mark.parametrize("broken", ["gelu", pytest.param("penalty", marks=pytest.mark.slow)])
    def test_none_is_found_where_none_is(self, broken):
        model = Dense(6, 5, 4, 3, activation=nnx.gelu if broken == "gelu" else nnx.relu)

        def penalised(model, batch):
            return loss(model, batch) + sum(jnp.sum(layer.kernel[...] ** 4) for layer in model.layers[1:])

        found = find_symmetries(model, loss if broken == "gelu" else penalised, data(6))
        assert not found.quasi
        expected = {"common shift of all of layers.2.bias": 1}
        if broken == "gelu":
            expected["common shift of the outputs of layer 2 by each input"] = 4
        assert families(found.exact) == expected

    def test_a_tree_of_parameters_will_do(self):
        """As a Linen model has it."""
        params = {
            f"Dense_{k}": {"kernel": np.ones((a, b)), "bias": np.zeros(b)}
            for k, (a, b) in enumerate([(4, 3), (3, 2)])
        }

        def of(params, batch):
            x = nnx.relu(batch[0] @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
            x = x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
            return optax.softmax_cross_entropy_with_integer_labels(x, batch[1]).mean()

        found = find_symmetries(params, of, data(4, labels=2))
        assert families(found.exact)["rescaling between Dense_0 and Dense_1"] == 3
        assert "rescaling between Dense_0 and Dense_1 (3 units)" in str(found)

    def test_what_cannot_be_searched_is_refused(self):
        model = Dense(4, 3, 2)
        with pytest.raises(SymmetryError, match="at least one batch"):
            find_symmetries(model, loss, [])
        with pytest.raises(SymmetryError, match="not finite"):
            find_symmetries(
                model, lambda model, batch: jnp.nan * loss(model, batch), data(4, labels=2), rows=2
            )
        with pytest.raises(SymmetryError, match="does not depend"):
            find_symmetries(model, lambda model, batch: jnp.zeros(()), data(4), rows=2)
        with pytest.raises(SymmetryError, match="slices, linear, got 'slice'"):
            inspect.unwrap(find_symmetries)(model, loss, data(4), method="slice")  # type: ignore[arg-type]
        with pytest.raises(SymmetryError, match=r"no gradient in float64.*scalar"):
            find_symmetries(model, lambda model, batch: model(batch[0]), data(4), rows=2)

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({}, "there are no parameters"),
            ({"a": jnp.ones(2), "n": jnp.arange(3)}, "n: holds int"),
            ({"a": jnp.ones(2, jnp.complex64)}, "a: holds complex64"),
            (linen.Dense(3), "got Dense, expected an array"),
        ],
    )
    def test_parameters_that_are_no_real_arrays_are_refused(self, params, words):
        with pytest.raises(SymmetryError, match=words):
            find_symmetries(params, lambda params, batch: jnp.zeros(()), data(4))

    def test_layers_that_round_to_less_are_searched_in_float64(self):
        class Rounded(nnx.Module):
            def __init__(self) -> None:
                rngs = nnx.Rngs(0)
                self.first = nnx.Linear(4, 3, dtype=jnp.bfloat16, rngs=rngs)
                self.last = nnx.Linear(3, 2, dtype=jnp.bfloat16, rngs=rngs)

            def __call__(self, x: jax.Array) -> jax.Array:
                return self.last(nnx.relu(self.first(x)))

        model = Rounded()
        found = find_symmetries(model, loss, data(4, labels=2), rows=60)
        assert {family.name: family.count for family in found.exact}["rescaling between first and last"] == 3
        assert model.first.dtype == jnp.bfloat16 and not found.quasi

    def test_arrays_without_names_have_some(self):
        def of(params, batch):
            logits = nnx.relu(batch[0] @ params[0]) @ params[1]
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

        rng = np.random.default_rng(0)
        params = [jnp.asarray(rng.normal(size=shape)) for shape in ((4, 3), (3, 2))]
        found = find_symmetries(params, of, data(4, labels=2), rows=60)
        assert [str(family) for family in found.exact] == [
            "rescaling between parts 0 and 1 (3 units)",
            "common shift of the outputs of part 1 by each input (3 units)",
        ]

    def test_rows_in_float32_say_so(self):
        params = {"a": jnp.ones((2, 2), jnp.float32)}
        recorder = FeatureRecorder(params)
        found = recorder.report([recorder(params, {"a": jnp.full((2, 2), n + 1.0)}) for n in range(4)])
        assert "float32" in found.notes[0]


class TestFitting:
    @pytest.mark.parametrize(
        ("member", "words"),
        [
            (Member("layers.0.kernel", (-1,)), "no axes"),
            (Member("layers.0.kernel", (1, 1)), "no axes"),
            (Member("layers.0.kernel", (1,), units=(0, 1, 2, 3, 9)), "units beyond 0 to 4"),
            (Member("layers.9.kernel", (1,)), "no layers.9.kernel"),
            (Member("layers.0.kernel", (2,)), "no axes"),
            (Member("layers.0.kernel", (0,)), "has 6 slices"),
            (Member("layers.0.kernel", (0,), units=(0, 1)), "has 6 slices"),
        ],
    )
    def test_a_symmetry_that_does_not_fit_is_refused_in_one_sentence(self, member, words):
        params = nnx.state(Dense(6, 5, 3), nnx.Param)
        tracked = track_charges(optax.sgd(0.1), [Symmetry("scale", "wrong", (member,), 5)])
        with pytest.raises(SymmetryError, match=words) as refused:
            tracked.init(params)
        assert "\n" not in str(refused.value) and "wrong" in str(refused.value)

    def test_what_is_no_symmetry_is_refused(self):
        member = Member("layers.0.kernel", (1,))
        for symmetries in ("scale", [member], find_symmetries):
            with pytest.raises(SymmetryError, match="expected a list of symmetries"):
                inspect.unwrap(track_charges)(optax.sgd(0.1), symmetries)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="whole number"):
            track_charges(optax.sgd(0.1), [], every=0)
        with pytest.raises(SymmetryError, match="wrong: expected a kind"):
            Symmetry("scale", "wrong", (), 5).check({"w": jnp.ones(5)})


class TestNamesOfAlgebras:
    def constants(self, *matrices: np.ndarray) -> np.ndarray:
        """Of an orthogonal basis of a matrix algebra."""
        basis = np.stack([m / np.linalg.norm(m) for m in matrices])
        brackets = np.einsum("aij,bjk->abik", basis, basis)
        return np.einsum("abik,cik->abc", brackets - brackets.transpose(1, 0, 2, 3), basis)

    def test_general_linear_affine_and_solvable(self):
        unit = np.eye(9).reshape(9, 3, 3)
        full = abstract_algebra(self.constants(*unit))
        assert full.name == "sl(3,R)+R" and full.aliases == ("gl(3,R)",) and full.named
        rotations = [unit[3 * i + j] - unit[3 * j + i] for i, j in ((0, 1), (0, 2), (1, 2))]
        assert abstract_algebra(self.constants(*rotations)).name == "so(3)"
        upper = abstract_algebra(self.constants(*(unit[3 * i + j] for i in range(3) for j in range(i, 3))))
        assert upper.name.startswith("R+(solvable of dimension 5") and not upper.named
        scaling = abstract_algebra(self.constants(unit[8], unit[2], unit[5]))
        assert scaling.name == "R semidirect R^2"
        assert abstract_algebra(np.zeros((3, 3, 3))).name == "R^3"
        assert abstract_algebra(np.zeros((0, 0, 0))).name == "trivial"

    def test_constants_of_no_algebra_are_refused(self):
        with pytest.raises(ValueError, match="Jacobi"):
            abstract_algebra(np.random.default_rng(0).normal(size=(3, 3, 3)))
