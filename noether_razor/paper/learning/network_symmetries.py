"""Symmetries of networks that are found from gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

from ...learning import Classifier, NetworkShape, cross_entropy, digits, find_symmetries
from ...reporting import symmetry_spectrum_figure
from ..claims import Verdict
from .experiment import Numbers, below

SEARCHED = NetworkShape("mlp", (24, 24, 16, 16), ("batch", "batch", "none", "none"), epsilon=0.0)
SMALL = {
    "relu 6-5-4-3": ((5, 4), "relu", 17, 15),
    "linear 6-4-3": ((4,), "linear", 28, 16),
    "gelu 6-5-3": ((5,), "gelu", 9, 7),
    "leaky relu 6-5-3": ((5,), "leaky_relu", 14, 12),
}


def _search(shape: NetworkShape, seed: int, quick: bool) -> Any:
    data = digits()
    model = Classifier(shape, data.features, data.classes, rngs=nnx.Rngs(seed))
    rows = data.batches(14, 128, seed)
    batches = [(data.inputs[some], data.labels[some]) for some in rows]
    return find_symmetries(
        model, cross_entropy, batches, rows=40 if quick else None, key=jax.random.key(seed)
    )


def run_symmetries(seed: int, quick: bool) -> dict[str, Any]:
    """Dimensions of what is found, exactly and with an epsilon, and algebras of small networks."""
    numbers: Numbers = {}
    exact = _search(SEARCHED, seed, quick)
    broken = _search(replace(SEARCHED, epsilon=1e-5), seed, quick)
    for called, report in (("epsilon 0", exact), ("epsilon 1e-5", broken)):
        for kind, dimension in report.dimensions.items():
            numbers[f"{called}: {kind} dimensions"] = dimension
            numbers[f"{called}: unnamed, {kind}"] = report.unnamed[kind] or 0
        numbers[f"{called}: quasi-symmetries"] = sum(family.count for family in report.quasi)
    rng = np.random.default_rng(seed)
    batches = [(rng.normal(size=(32, 6)), rng.integers(0, 3, 32)) for _ in range(8)]
    for name, (layers, activation, _, _) in SMALL.items():
        shape = NetworkShape("mlp", layers, ("none",) * len(layers), activation)
        model = Classifier(shape, 6, 3, rngs=nnx.Rngs(seed))
        found = find_symmetries(model, cross_entropy, batches, method="linear", key=jax.random.key(seed))
        assert found.algebra is not None
        numbers[f"{name}: dimension"] = found.algebra.dimension
        numbers[f"{name}: charges"] = found.algebra.charges
        numbers[f"{name}: closure error"] = found.algebra.closure_error
    drawn = {
        "spectra": {kind: list(map(float, values)) for kind, values in broken.spectra.items()},
        "counts": {kind: dict(found) for kind, found in broken.counts.items()},
    }
    return {"numbers": numbers, "series": drawn}


def judge_symmetries(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """All dimensions are those of theory, on every seed."""
    expected = {
        "epsilon 0: diagonal dimensions": 184,
        "epsilon 0: translation dimensions": 73,
        "epsilon 0: unnamed, diagonal": 0,
        "epsilon 1e-5: diagonal dimensions": 136,
        "epsilon 1e-5: translation dimensions": 73,
        "epsilon 1e-5: quasi-symmetries": 48,
    }
    for name, (_, _, dimension, charges) in SMALL.items():
        expected |= {f"{name}: dimension": dimension, f"{name}: charges": charges}
    verdicts = [
        Verdict(
            f"{key} is {value}",
            set(table[key]) == {value},
            f"found {', '.join(f'{number:g}' for number in sorted(set(table[key])))}",
        )
        for key, value in expected.items()
    ]
    return [*verdicts, *(below(table, f"{name}: closure error", 2e-14) for name in SMALL)]


def draw_symmetries(series: Mapping[str, Any], numbers: Any) -> Figure:
    """The spectra with an epsilon."""
    del numbers
    return symmetry_spectrum_figure(series["spectra"], series["counts"])
