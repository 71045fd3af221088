"""Curved sheets and digits: our embedding beside others, on points that took no part in any choice."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ..claims import AtLeast, AtMost, Claim, Verdict
from ..seeded_target import Column, Measured
from .baselines import NEIGHBOURS, Embedded, explained, families, ours, trustworthiness, tuned

OURS = "VME"
SHEETS = {"S-curve": 0.05, "swiss roll": 0.3}
"""The noise of each."""
TRAIN, TEST = 1000, 400
DIGITS_TRAIN, DIGITS_COLUMNS = 1200, 20
SHEET_COLUMNS = (
    Column("trustworthiness", "trustworthiness", "{:.4f}"),
    Column("continuity", "continuity", "{:.4f}"),
    Column("r2", "R2", "{:.4f}"),
    Column("below_floor", "R2 below that of the true sheet", "{:.4f}"),
    Column("rank", "rank correlation of distances", "{:.4f}"),
    Column("seconds", "CPU s", "{:.0f}"),
)
DIGIT_COLUMNS = (
    Column("trustworthiness", "trustworthiness", "{:.4f}"),
    Column("continuity", "continuity", "{:.4f}"),
    Column("r2", "R2", "{:.4f}"),
    Column("accuracy", "10-NN", "{:.3f}"),
    Column("seconds", "CPU s", "{:.0f}"),
)


def run_sheets(seed: int, quick: bool) -> Measured:
    """Both sheets of one seed."""
    rows: dict[str, dict[str, float]] = {}
    notes: dict[str, Any] = {}
    for name in SHEETS:
        points, truth, noise = sheet(name, seed)
        train, test = points[:TRAIN], points[TRAIN:]
        if quick:
            train = train[:150]

        def measure(
            found: Embedded, test: np.ndarray = test, truth: np.ndarray = truth, noise: float = noise
        ):
            facts = _faithful(found, test)
            facts["rank"] = _rank_correlation(found.test, truth[TRAIN:])
            if found.back is not None:
                # The nearest point of the true sheet leaves the noise in one direction of the three.
                facts["below_floor"] = 1 - noise**2 / float(test.var(axis=0).sum()) - facts["r2"]
            return facts

        found, told = _compare(train, test, seed, measure, quick)
        rows |= {f"{name}: {method}": facts for method, facts in found.items()}
        notes |= {f"{name}: {method}": setting for method, setting in told.items()}
    return Measured(rows, notes)


def sheet(name: str, seed: int) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 2"], float]:
    """Noisy points of a sheet, their coordinates by arc length, and the noise."""
    from sklearn import datasets

    noise = SHEETS[name]
    make = datasets.make_s_curve if name == "S-curve" else datasets.make_swiss_roll
    points, t = make(TRAIN + TEST, noise=noise, random_state=seed)
    # The roll's radius is the angle itself, so that its arc length is that of Archimedes' spiral.
    arc = t if name == "S-curve" else (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2
    return points, np.stack([arc, points[:, 1]], axis=1), noise


def run_digits(seed: int, quick: bool) -> Measured:
    """The 1797 digits that scikit-learn ships, on 20 principal components, in two dimensions."""
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    data: Any = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.data))
    points, labels = data.data[order], data.target[order]
    count = 200 if quick else DIGITS_TRAIN
    # The components are those of the training points.
    mean = points[:count].mean(axis=0)
    axes = np.linalg.svd(points[:count] - mean, full_matrices=False)[2][:DIGITS_COLUMNS]
    points = (points - mean) @ axes.T
    train, test = points[:count], points[DIGITS_TRAIN:]

    def measure(found: Embedded) -> dict[str, float]:
        classifier = KNeighborsClassifier(NEIGHBOURS).fit(found.train, labels[:count])
        return _faithful(found, test) | {
            "accuracy": float(classifier.score(found.test, labels[DIGITS_TRAIN:]))
        }

    return Measured(*_compare(train, test, seed, measure, quick))


def _compare(
    train: np.ndarray, test: np.ndarray, seed: int, measure: Any, quick: bool
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    started = time.process_time()
    found, model = ours(train, test, seed, dim=2, quick=quick)
    rows = {OURS: measure(found) | {"seconds": time.process_time() - started}}
    facts = model.diagnostics_
    chosen = ("chart", "neighbours", "degree", "stiffness", "noise")
    settings: dict[str, Any] = {OURS: {key: facts[key] for key in chosen}}
    for name, family in families(2, seed, quick=quick).items():
        started = time.process_time()
        other, setting = tuned(family, train, test, seed)
        rows[name] = measure(other) | {"seconds": time.process_time() - started}
        settings[name] = setting
    return rows, settings


def _faithful(found: Embedded, test: np.ndarray) -> dict[str, float]:
    facts = {
        "trustworthiness": trustworthiness(test, found.test),
        "continuity": trustworthiness(found.test, test),
    }
    return facts if found.back is None else facts | {"r2": explained(test, found.back)}


def _rank_correlation(coordinates: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's, of the distances between all pairs."""
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    found: Any = spearmanr(pdist(coordinates), pdist(truth))
    return float(found.statistic)


SHEET_CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for name in SHEETS
    for claim in (
        AtLeast("trustworthiness", f"{name}: {OURS}", 0.998),
        AtLeast("rank", f"{name}: {OURS}", 0.99),
        AtMost("below_floor", f"{name}: {OURS}", 0.001),
        AtMost("seconds", f"{name}: {OURS}", 60.0),
    )
)
DIGIT_CLAIMS: tuple[Claim, ...] = (
    AtLeast("trustworthiness", OURS, 0.98),
    AtLeast("r2", OURS, 0.75),
    AtLeast("accuracy", OURS, 0.94),
    AtMost("seconds", OURS, 60.0),
)


def aims(rows: Mapping[str, Any]) -> list[Verdict]:
    """What would be better still: UMAP's continuity and accuracy with an explicit map back."""
    return [
        claim.judge(rows, {})
        for claim in (AtLeast("continuity", OURS, 0.97), AtLeast("accuracy", OURS, 0.97))
    ]
