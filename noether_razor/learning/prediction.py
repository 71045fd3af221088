"""Charges of a whole run in closed form, and what they say of effective learning rates and angular steps.

All of it computes in float64 on the CPU. Rules are those with one average of gradients and a position law
(not Adam or Lion); mu = 1 - beta throughout.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import expm

from .laws import At, Clock, momentum_budget, next_value, turning
from .rules import LearningRule, OptimiserError

Order = Literal["exact", "2", "1"]


def predict_charge(
    rule: LearningRule,
    start: Float[np.ndarray, "*units"] | float,
    kinetic: Float[np.ndarray, "steps *units"],
    order: Order = "exact",
    *,
    lag: Float[np.ndarray, "steps *units"] | None = None,
    quadratic: bool = True,
) -> Float[np.ndarray, "points *units"]:
    """A charge after 0, 1, ... steps, from its `start` and the squared steps `kinetic`, D_1, D_2, ...

    order exact: the law of positions itself; at a constant rate by the roots of its characteristic equation,
    else step by step. Nesterov also needs `lag`, E_1, E_2, ... order 2: the second-order equation
    m a'' + mu a' + 2 k a = 2 m |q'|^2 of Neural Mechanics (arXiv 2012.04728), m = eta (1 + beta) / 2.
    order 1: the same without inertia. Charges of translations, with `quadratic` false, have no kinetic part;
    their decay is k instead of 2 k. Raises `OptimiserError` for a rule that has no such law.
    """
    kinetic = np.asarray(kinetic, float)
    start = np.broadcast_to(np.asarray(start, float), kinetic.shape[1:])
    if rule.adaptive:
        raise OptimiserError("positions of an adaptive optimiser follow no closed law: look at its momenta")
    if rule.nesterov and lag is None and quadratic and order == "exact":
        raise OptimiserError("the law of Nesterov's momentum needs the forms of lag besides the kinetic ones")
    if order == "exact":
        simple = rule.constant and not rule.nesterov and not rule.decoupled
        if simple:
            return _by_roots(rule, start, kinetic, quadratic)
        return _by_steps(rule, start, kinetic, lag, quadratic)
    return _continuous(rule, start, kinetic, order, quadratic)


def _by_roots(rule: LearningRule, start: Any, kinetic: Any, quadratic: bool) -> np.ndarray:
    """u_n = (G_n - beta G_{n-1}) u_0 + sum_j G_{n-1-j} S_j, S_n = D_{n+1} + beta D_n."""
    steps, beta = len(kinetic), rule.momentum
    green = green_function(rule, steps, quadratic)
    free = green - beta * np.concatenate([[0.0], green[:-1]])
    found = free.reshape(-1, *(1,) * (kinetic.ndim - 1)) * start
    if quadratic:
        source = kinetic.copy()
        source[1:] += beta * kinetic[:-1]
        length = 2 * steps
        # Products of spectra are convolutions; every charge at once.
        spectrum = np.fft.rfft(green[:-1], length).reshape(-1, *(1,) * (kinetic.ndim - 1))
        found[1:] += np.fft.irfft(spectrum * np.fft.rfft(source, length, axis=0), length, axis=0)[:steps]
    return found


def green_function(rule: LearningRule, steps: int, quadratic: bool = True) -> Float[np.ndarray, " points"]:
    """G_n = (r+^{n+1} - r-^{n+1}) / (r+ - r-) for n = 0, 1, ..., with the roots of
    r^2 - (1 + beta - 2 eta (1 - d) k) r + beta = 0: the response of a charge to a single push.
    """
    loss = (2 if quadratic else 1) * _first(rule) * (1 - rule.dampening) * rule.decay
    beta = rule.momentum
    middle = 1 + beta - loss
    apart = np.sqrt(complex(middle**2 - 4 * beta))
    upper, lower = (middle + apart) / 2, (middle - apart) / 2
    powers = np.arange(steps + 1)
    if abs(apart) < 1e-7:
        return ((powers + 1) * (middle / 2) ** powers).real
    return ((upper ** (powers + 1) - lower ** (powers + 1)) / apart).real


def _rates(rule: LearningRule, steps: Any) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(rule.rate(jnp.asarray(steps)), float)


def _first(rule: LearningRule) -> float:
    return float(_rates(rule, 0))


def _by_steps(rule: LearningRule, start: Any, kinetic: Any, lag: Any, quadratic: bool) -> np.ndarray:
    lag = np.zeros_like(kinetic) if lag is None else np.asarray(lag, float)
    steps = np.arange(len(kinetic))
    with jax.enable_x64(True):
        clocks = [np.broadcast_to(np.asarray(part), steps.shape) for part in Clock.of(rule, steps)]
    found = [start]
    at = At(start, start, np.zeros_like(start))
    momentum, push = np.zeros_like(start), np.zeros_like(start)
    for n, now in enumerate(zip(*clocks, strict=True)):
        clock, decayed = Clock(*now), At(*(rule.decay * part for part in at))
        turned = turning(rule, quadratic, clock, at, decayed, push)
        momentum = momentum + momentum_budget(rule, momentum, turned, decayed.value).total
        value = next_value(rule, quadratic, clock, at.value, kinetic[n], momentum, decayed.value)
        found.append(value)
        at, push = At(value, at.value, kinetic[n]), lag[n]
    return np.stack(found)


def _continuous(rule: LearningRule, start: Any, kinetic: Any, order: Order, quadratic: bool) -> np.ndarray:
    """By recursions over the steps, whose solutions decay, with sources constant within a step."""
    beta, mu = rule.momentum, 1 - rule.momentum
    found, slope = [start], np.zeros_like(start)
    factor = 2.0 if quadratic else 1.0
    for rate, moved in zip(_rates(rule, np.arange(len(kinetic))), kinetic * quadratic, strict=True):
        # In the time of steps m = (1 + beta) / 2. Decay beside the average counts mu times.
        loss = factor * rate * rule.decay * (mu if rule.decoupled else 1 - rule.dampening)
        inertia = (1 + beta) / 2
        if order == "1":
            half = math.exp(-loss / mu / 2)
            found.append(half**2 * found[-1] + 2 * inertia / mu * moved * half)
            continue
        matrix = np.array([[0.0, 1.0, 0.0], [-loss / inertia, -mu / inertia, 2.0], [0.0, 0.0, 0.0]])
        advance = expm(matrix)
        value = advance[0, 0] * found[-1] + advance[0, 1] * slope + advance[0, 2] * moved
        slope = advance[1, 0] * found[-1] + advance[1, 1] * slope + advance[1, 2] * moved
        found.append(value)
    return np.stack(found)


def effective_learning_rate(rule: LearningRule, squared_norm: Any, step: Any = 0) -> Any:
    """eta (1 - d) / (mu r^2), at which the direction of a scale-invariant weight of norm r learns."""
    return _rates(rule, step) * (1 - rule.dampening) / (1 - rule.momentum) / np.asarray(squared_norm, float)


def angular_steps(
    squared_norms: Float[np.ndarray, "points *units"], kinetic: Float[np.ndarray, "steps *units"]
) -> Float[np.ndarray, "steps *units"]:
    """The angles, in radians, that vectors of these squared norms turn by in each step Delta, |Delta|^2 =
    `kinetic`.
    """
    norms = np.sqrt(np.asarray(squared_norms, float))
    chord = np.clip(kinetic - np.diff(norms, axis=0) ** 2, 0, None) / (norms[1:] * norms[:-1])
    return 2 * np.arcsin(np.clip(np.sqrt(chord) / 2, 0, 1))


def steady_angle(rule: LearningRule) -> float:
    """The root mean square angle of a step, in radians, at which growth by steps and weight decay balance.

    sqrt(2 eta k / (1 + beta)) for heavy ball, for gradients that do not vanish and are independent from step
    to step. It is reached after several times `settling_steps`.
    """
    beta, loss = rule.momentum, _first(rule) * rule.decay
    if rule.adaptive:
        raise OptimiserError("the steady angle of an adaptive optimiser is not known")
    if not rule.decay:
        return 0.0
    loss *= 1 - beta if rule.decoupled else 1 - rule.dampening
    if rule.nesterov:
        # |Delta|^2 and <Delta_n, g_{n-1}> for white gradients of unit size.
        square = (1 + beta) ** 2 + beta**4 / (1 - beta**2)
        return math.sqrt(2 * loss * square / ((1 + beta) * (square - 2 * beta)))
    return math.sqrt(2 * loss / (1 + beta))


def settling_steps(rule: LearningRule) -> float:
    """The number of steps, mu / (4 eta k), in which a norm comes nearer its steady value by a factor e."""
    mu = 1 - rule.momentum
    kept = mu if rule.decoupled else 1 - rule.dampening
    loss = 4 * _first(rule) * kept * rule.decay
    return mu / loss if loss else math.inf


@dataclass(frozen=True)
class Suggestion:
    """Learning rate and weight decay, of which one was given, for a wanted angle of a step.

    product: eta k. settling: steps in which norms come nearer their steady values by a factor e.
    """

    learning_rate: float
    decay: float
    angle: float
    settling: float

    @property
    def product(self) -> float:
        """What the steady angle is made of: eta k."""
        return self.learning_rate * self.decay

    def __str__(self) -> str:
        return (
            f"learning rate {self.learning_rate:.3g} with weight decay {self.decay:.3g} (product "
            f"{self.product:.3g}): {self.angle:.3g} rad a step, settled within {3 * self.settling:.0f} steps"
        )


def suggest(
    angle: float, *, momentum: float = 0.0, learning_rate: float | None = None, decay: float | None = None
) -> Suggestion:
    """What learning rate, or what decay, makes heavy-ball SGD turn scale-invariant weights by `angle` a step.

    Give one of `learning_rate` and `decay`; their product is angle^2 (1 + beta) / 2. Raises ValueError.
    """
    if (learning_rate is None) == (decay is None):
        raise ValueError("give the learning rate or the weight decay, and the other is found")
    given = decay if learning_rate is None else learning_rate
    assert given is not None
    if not (0 < angle < 1 and 0 <= momentum < 1 and given > 0):
        raise ValueError(f"expected an angle below 1, momentum in [0, 1) and a positive {given=}")
    product = angle**2 * (1 + momentum) / 2
    rate = product / given if learning_rate is None else learning_rate
    rule = LearningRule(rate, momentum, decay=product / rate)
    return Suggestion(rate, product / rate, angle, settling_steps(rule))


@dataclass(frozen=True)
class ScalarRMSProp:
    """RMSProp with one number G for a whole vector: G <- rho G + source |g|^2, then a step of length
    `learning_rate` |g| / sqrt(G) on the sphere.

    g is the gradient at the unit vector. `G` is 2 k r^4 / eta, by which `start` begins.
    """

    learning_rate: float
    rho: float
    source: float
    ratio: float

    def start(self, squared_norm: Any) -> Any:
        """G of a weight of this squared norm."""
        return self.ratio * np.asarray(squared_norm, float) ** 2

    def squared_norm(self, average: Any) -> Any:
        """R^2 of a weight from G."""
        return np.sqrt(np.asarray(average, float) / self.ratio)


def rmsprop_equivalent(rule: LearningRule) -> ScalarRMSProp:
    """The scalar RMSProp on the sphere that SGD with weight decay is on a scale-invariant weight.

    From r^4 <- e^{-4 eta k} r^4 + 2 eta^2 |r g|^2 (arXiv 2105.02716, section 5), exact to first order in
    eta k at beta = 0. With momentum eta / mu stands for eta, which holds for gradients that are independent
    from step to step.
    """
    if rule.adaptive or rule.nesterov or rule.decoupled or not rule.decay:
        raise OptimiserError(
            "only SGD with coupled weight decay, and heavy-ball momentum, is such an RMSProp"
        )
    rate = _first(rule) * (1 - rule.dampening) / (1 - rule.momentum)
    loss = rate * rule.decay
    return ScalarRMSProp(math.sqrt(2 * loss), math.exp(-4 * loss), 4 * loss, 2 * rule.decay / rate)


def radius_from_gradients(
    rule: LearningRule,
    start: Float[np.ndarray, "*units"],
    squared_gradients: Float[np.ndarray, "steps *units"],
    *,
    persistent: bool = False,
) -> Float[np.ndarray, "points *units"]:
    """Squared norms of scale-invariant weights from |r g|^2, the squared gradients at the unit vector.

    Without momentum it is of first order in eta k. With it gradients are taken as independent from step to
    step, or as `persistent`: the source is then (1 + beta) / (1 - beta) times as large.
    """
    rms = rmsprop_equivalent(rule) if rule.decay else None
    rate = _first(rule) * (1 - rule.dampening) / (1 - rule.momentum)
    keep = rms.rho if rms else 1.0
    factor = 2 * rate**2
    if persistent:
        factor *= (1 + rule.momentum) / (1 - rule.momentum)
    found = [np.asarray(start, float) ** 2]
    for square in np.asarray(squared_gradients, float):
        found.append(keep * found[-1] + factor * math.sqrt(keep) * square)
    return np.sqrt(np.stack(found))


def largest_error(
    predicted: Float[np.ndarray, "steps *units"],
    measured: Float[np.ndarray, "steps *units"],
    scale: Float[np.ndarray, "*units"] | None = None,
) -> float:
    """The largest |predicted - measured| over time and units, as a share of the largest |measured| of each
    unit, or of `scale`: for differences of squares their sum, since what cancels would blow errors up.
    """
    size = np.abs(measured).max(axis=0) if scale is None else scale
    return float((np.abs(predicted - measured) / size).max())
