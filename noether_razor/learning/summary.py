"""The numbers of a tracked run: how well charges follow their laws, and what they say of learning rate and
decay.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from .laws import momentum_budget
from .prediction import (
    Order,
    angular_steps,
    effective_learning_rate,
    largest_error,
    predict_charge,
    settling_steps,
    steady_angle,
    suggest,
)
from .report import SymmetryReport
from .rules import LearningRule
from .symmetries import Charged
from .tracking import BROKEN, why_broken
from .training import Series

WANTED_ANGLES = (0.01, 0.03, 0.1)
"""Angles a step, in radians, for which a decay is suggested."""


def predicted_values(rule: LearningRule, series: Series, family: int, quadratic: bool, order: Order) -> Any:
    """The charges of a family from the start on, as predicted in that order."""
    if order == "exact" or rule.adaptive:
        return series.predicted(family)
    start = series.values(family)[0]
    return predict_charge(rule, start, series.kinetic(family), order, quadratic=quadratic)


def angles_of(series: Series, family: int) -> Float[np.ndarray, "steps units"]:
    """The angle of each step of the vectors of a scale family, in radians."""
    return angular_steps(series.values(family), series.kinetic(family))


def scales(report: SymmetryReport) -> list[int]:
    """The numbers of families of scale symmetries, among those followed: they have a norm and a direction."""
    return [k for k, family in enumerate(report.charges) if getattr(family, "kind", "") == "scale"]


def budget_of(
    rule: LearningRule, series: Series, report: SymmetryReport, family: int
) -> dict[str, np.ndarray]:
    """The parts of the momentum budget of each step, summed over the units of a family, and its total.

    The kinetic part is what is left of the measured change: for exact symmetries it is the learning rule's.
    """
    momentum = np.asarray(series.charges[family].momentum, float)
    before = np.concatenate([np.zeros_like(momentum[:1]), momentum[:-1]])
    # At parameters before each step.
    values = series.values(family)[:-1]
    parts = momentum_budget(rule, before, 0.0, rule.decay * values)
    pull = (1 - rule.dampening) * np.asarray(series.charges[family].pull, float)
    kinetic = momentum - before - parts.dissipation - parts.explicit - pull
    return {
        "dissipation": parts.dissipation.sum(axis=1),
        "kinetic symmetry breaking": kinetic.sum(axis=1),
        "explicit breaking": (parts.explicit + 0 * values + pull).sum(axis=1),
        "change of the charge": (momentum - before).sum(axis=1),
    }


def summarise_charges(
    rule: LearningRule, series: Series, report: SymmetryReport, *, order: Order = "exact"
) -> dict[str, Any]:
    """The contents of charges.json: rule, families, effective rates, angles, suggestions and warnings."""
    families = [_family(rule, series, k, family, order) for k, family in enumerate(report.charges)]
    # Of the largest of all: where a charge is zero by the law, its own size is rounding.
    largest = max(float(np.abs(charge.momentum).max()) for charge in series.charges)
    for entry in families:
        entry["momentum_error"] /= max(largest, 1e-300)
    warnings = [
        f"gradients break {entry['broken']} of {entry['count']} symmetries by more than {BROKEN:.0%}, up to "
        f"{entry['breaking']:.0%}: {entry['worst']}; {why_broken(family)}"
        for entry, family in zip(families, report.charges, strict=True)
        if entry["broken"]
    ]
    return {
        "rule": {
            "momentum": rule.momentum,
            "dampening": rule.dampening,
            "decay": rule.decay,
            "decoupled": rule.decoupled,
            "nesterov": rule.nesterov,
            "adaptive": rule.adaptive,
        },
        "order": order,
        "loss": [float(series.loss[0]), float(series.loss[-1])],
        "families": families,
        "scale": _scale(rule, series, report),
        "warnings": warnings,
    }


def _family(rule: LearningRule, series: Series, k: int, family: Charged, order: Order) -> dict[str, Any]:
    charge, values = series.charges[k], series.values(k)
    largest = np.maximum(np.asarray(charge.scale[-1], float), 1e-300)
    breaking = np.asarray(charge.breaking)
    momenta = np.asarray(charge.momentum_predicted) - np.asarray(charge.momentum)
    entry = {
        "name": family.name,
        "kind": getattr(family, "kind", "linear"),
        "count": family.count,
        "start": [float(values[0].min()), float(values[0].max())],
        "end": [float(values[-1].min()), float(values[-1].max())],
        "violation": float(np.asarray(charge.violation).max()),
        "momentum_error": float(np.abs(momenta).max()),
        "breaking": float(breaking.max()),
        "broken": int((breaking > BROKEN).any(axis=0).sum()),
        "worst": family.label(int(breaking.max(axis=0).argmax())),
        "error": None,
    }
    if not rule.adaptive:
        found = predicted_values(rule, series, k, family.quadratic, order)
        entry["error"] = largest_error(found, values, largest)
    return entry


def _scale(rule: LearningRule, series: Series, report: SymmetryReport) -> dict[str, Any] | None:
    """Of all scale-invariant vectors: effective rates at the end, and angles against the steady one."""
    chosen = scales(report)
    if not chosen:
        return None
    angles = np.concatenate([angles_of(series, k) for k in chosen], axis=1)
    last = angles[-max(1, len(angles) // 4) :]
    norms = np.concatenate([series.values(k)[-1] for k in chosen])
    entry: dict[str, Any] = {"angle": float(np.sqrt(np.mean(last**2))), "steady_angle": None, "suggest": []}
    if rule.adaptive:
        return entry
    rates = effective_learning_rate(rule, norms, len(angles) - 1)
    entry["effective_rate"] = [float(rates.min()), float(np.median(rates)), float(rates.max())]
    rate = float(rule.rate(0))
    entry["suggest"] = [
        str(suggest(angle, momentum=rule.momentum, learning_rate=rate)) for angle in WANTED_ANGLES
    ]
    if rule.constant and rule.decay:
        entry |= {"steady_angle": steady_angle(rule), "settling_steps": settling_steps(rule)}
    return entry
