"""Features that a person can read: monomials, and monomials times waves."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Terms(NamedTuple):
    """K functions w prod_i y_i^e_i cos(f . y - phase): exponents e (K, dim), frequencies f (K, dim) and
    phases (K,), all 0 for monomials, and weights w (K,).
    """

    exponents: Int[np.ndarray, "K dim"]
    frequencies: Float[np.ndarray, "K dim"]
    phases: Float[np.ndarray, " K"]
    weights: Float[np.ndarray, " K"]

    def chosen(self, rows: Int[np.ndarray, " L"]) -> "Terms":
        """Some of them."""
        return Terms(*(part[rows] for part in self))

    def in_units(self, scales: Float[np.ndarray, " dim"]) -> "Terms":
        """The same functions of y, given those of y / scales."""
        with np.errstate(over="ignore"):  # of values of 1e90 a fourth power is none, and its weight 0
            weights = self.weights / np.prod(scales**self.exponents, axis=1)
        return Terms(self.exponents, self.frequencies / scales, self.phases, weights)

    def values(self, y: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch K"]:
        """All of them."""
        waves = np.cos(y @ self.frequencies.T - self.phases) if self.frequencies.any() else 1.0
        return self.weights * _powers(y, self.exponents) * waves

    def slopes(self, y: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch dim K"]:
        """Their gradients."""
        lower = np.maximum(self.exponents[None] - np.eye(y.shape[-1], dtype=int)[:, None], 0)
        powers = np.stack([_powers(y, e) * k for e, k in zip(lower, self.exponents.T, strict=True)], axis=-2)
        if self.frequencies.any():
            angles = (y @ self.frequencies.T - self.phases)[..., None, :]
            whole = _powers(y, self.exponents)[..., None, :]
            powers = powers * np.cos(angles) - whole * self.frequencies.T * np.sin(angles)
        return self.weights * powers

    def written(self, number: int, variables: Sequence[str]) -> str:
        """One of them without its weight, as q1^2*cos(q2 - 2*q3)."""
        exponents, frequencies, phase, _ = (part[number].tolist() for part in self)
        parts = [
            variable if power == 1 else f"{variable}^{power}"
            for variable, power in zip(variables, exponents, strict=True)
            if power
        ]
        wave = ""
        for frequency, variable in zip(frequencies, variables, strict=True):
            if frequency:
                size = f"{abs(frequency):.6g}"
                before = (" - ", " + ") if wave else ("-", "")
                wave += before[frequency > 0] + ("" if size == "1" else f"{size}*") + variable
        return "*".join([*parts, f"{'sin' if phase else 'cos'}({wave})"] if wave else parts)


def _powers(
    states: Float[np.ndarray, "*batch dim"], exponents: Int[np.ndarray, "K dim"]
) -> Float[np.ndarray, "*batch K"]:
    """Monomials at states, by products: powers of negative numbers cost more."""
    found = np.ones((*states.shape[:-1], len(exponents)))
    for i in range(states.shape[-1]):
        power = np.ones(states.shape[:-1])
        for e in range(1, int(exponents[:, i].max(initial=0)) + 1):
            power = power * states[..., i]
            found[..., exponents[:, i] == e] *= power[..., None]
    return found
