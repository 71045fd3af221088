"""Where a fit begins: the integral form of Hamilton's equations along smoothed trajectories."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline, make_smoothing_spline

from ..thinning import evenly
from .features import LinearFeatures
from .prior import Prior

NODES = 4
"""Gauss-Legendre nodes a window of two steps."""
MOST_WINDOWS = 4000
"""Windows that are used, spread evenly over all."""
SMOOTHINGS = 10.0 ** np.arange(-4.0, 5.0)
"""Weights of the curvature that are tried, in units of the cube of the usual step."""
TRIED = 6
"""Trajectories that choose among them."""


class Start(NamedTuple):
    """The coefficients (P,), their prior variances and the variance of residuals that the windows leave; the
    smoothed states of each trajectory.
    """

    coefficients: Float[np.ndarray, " P"]
    variances: Float[np.ndarray, " groups"]
    smoothed: list[Float[np.ndarray, "time dim"]]


Segments = Sequence[tuple[Float[np.ndarray, " _"], Float[np.ndarray, "_ dim"]]]
"""Times (time,) and states (time, dim) of each trajectory."""


class WeakForm(NamedTuple):
    """A linear regression of c: changes (rows,) over windows are design (rows, P) times c; the smoothed
    states of each trajectory.
    """

    design: Float[np.ndarray, "rows P"]
    changes: Float[np.ndarray, " rows"]
    smoothed: list[Float[np.ndarray, "time dim"]]


class Windows(NamedTuple):
    """What a weak form takes of trajectories: states at the nodes of all windows, and the weights of these;
    the states at both ends, and all smoothed ones.
    """

    points: Float[np.ndarray, "nodes dim"]
    spans: Float[np.ndarray, "windows each"]
    ends: Float[np.ndarray, "windows 2 dim"]
    smoothed: list[Float[np.ndarray, "time dim"]]

    @classmethod
    def of(cls, segments: Segments, *, exact: bool) -> "Windows":
        """Of two steps each, along smoothing splines, or interpolating ones where the states are `exact`."""
        smoothing = None if exact else _smoothing(segments)
        curves = [_curve(t, x, smoothing) for t, x in segments]
        windows = [
            (k, i, min(i + 2, len(t) - 1)) for k, (t, _) in enumerate(segments) for i in range(len(t) - 1)
        ]
        chosen = np.array(windows[:: max(1, len(windows) // MOST_WINDOWS)])
        nodes, shares = np.polynomial.legendre.leggauss(NODES)
        points, ends, spans = [], [], []
        for k in np.unique(chosen[:, 0]).tolist():
            begin, end = segments[k][0][chosen[chosen[:, 0] == k, 1:].T]
            middle, half = ((begin + end) / 2)[:, None], ((end - begin) / 2)[:, None]
            points.append(curves[k]((middle + half * nodes).reshape(-1)))
            ends.append(np.stack([curves[k](begin), curves[k](end)], axis=1))
            spans.append(half * shares)
        smoothed = [curve(times) for curve, (times, _) in zip(curves, segments, strict=True)]
        return cls(np.concatenate(points), np.concatenate(spans), np.concatenate(ends), smoothed)

    @property
    def changes(self) -> Float[np.ndarray, " rows"]:
        """Over windows."""
        return (self.ends[:, 1] - self.ends[:, 0]).reshape(-1)

    def some(self, most: int) -> "Windows":
        """At most so many of them, spread evenly over all."""
        if most >= len(self.spans):
            return self
        kept, nodes = evenly(len(self.spans), most), self.spans.shape[1]
        dim = self.points.shape[1]
        points = self.points.reshape(-1, nodes, dim)[kept].reshape(-1, dim)
        return Windows(points, self.spans[kept], self.ends[kept], self.smoothed)

    def regression(
        self, features: LinearFeatures, matrices: Float[np.ndarray, "#nodes dim dim"] | None = None
    ) -> WeakForm:
        """x(t_k+2) - x(t_k) = int B grad phi(x(t))^T c dt, with the Poisson `matrices` B at the nodes, or one
        for all; by default J.

        The splines' own error makes the coefficients smaller; they are a start and no more.
        """
        gradients = features.gradients(self.points)
        if matrices is not None:
            field = matrices @ gradients
        else:
            dof = features.dim // 2
            field = np.concatenate([gradients[:, dof:], -gradients[:, :dof]], axis=1)
        field = field.reshape(*self.spans.shape, features.dim, features.size)
        design = np.einsum("wn,wnip->wip", self.spans, field).reshape(-1, features.size)
        return WeakForm(design, self.changes, self.smoothed)


def weak_start(features: LinearFeatures, segments: Segments, *, exact: bool) -> Start:
    """Coefficients of H from scaled trajectories by their weak form, with a prior chosen by evidence."""
    form = Windows.of(segments, exact=exact).regression(features)
    prior = Prior.of(np.eye(features.size), features.groups)
    found = ridge(form.design, form.changes, prior)
    return Start(found.mean, found.variances, form.smoothed)


class Ridge(NamedTuple):
    """The posterior of a linear regression, with the variances of prior and residuals at a maximum of the
    evidence.
    """

    mean: Float[np.ndarray, " P"]
    covariance: Float[np.ndarray, "P P"]
    variances: Float[np.ndarray, " groups"]
    noise: float


def ridge(design: Float[np.ndarray, "rows P"], values: Float[np.ndarray, " rows"], prior: Prior) -> Ridge:
    """Linear regression with the variances of prior and residuals at a maximum of the evidence."""
    normal, pull = design.T @ design, design.T @ values
    noise, variances = float(values @ values) / len(values), np.ones(prior.count)
    mean, covariance = np.zeros(len(pull)), np.zeros(normal.shape)
    for _ in range(20):
        variances = prior.variances(variances, normal / noise, pull / noise, rounds=5, jump=False)
        covariance = np.linalg.inv(normal / noise + prior.precision(variances))
        mean = covariance @ pull / noise
        used = float(np.sum(covariance * normal)) / noise
        left = values - design @ mean
        updated = max(float(left @ left) / max(len(values) - used, 1.0), 1e-24)
        if abs(np.log(updated / noise)) < 0.01:
            break
        noise = updated
    return Ridge(mean, covariance, variances, noise)


def _curve(
    times: np.ndarray, states: np.ndarray, smoothing: np.ndarray | None
) -> Callable[[Any], np.ndarray]:
    """The states as a function of time."""
    if smoothing is None or len(times) < 5:
        return make_interp_spline(times, states, k=min(3, len(times) - 1))
    columns = [
        make_smoothing_spline(times, column, lam=weight)
        for column, weight in zip(states.T, smoothing, strict=True)
    ]
    return lambda at: np.stack([column(at) for column in columns], axis=-1)


def _smoothing(segments: Segments) -> Float[np.ndarray, " dim"]:
    """The weight of the curvature for each column that predicts every other row best from those between."""
    long = [(t, x) for t, x in segments if len(t) >= 11]
    step = float(np.median(np.concatenate([np.diff(t) for t, _ in segments])))
    dim = segments[0][1].shape[1]
    if not long:
        return np.full(dim, 1e-2 * step**3)
    chosen = [long[i] for i in evenly(len(long), TRIED)]
    errors = np.zeros((len(SMOOTHINGS), dim))
    for t, x in chosen:
        for row, weight in enumerate(SMOOTHINGS):
            curve = _curve(t[::2], x[::2], np.full(dim, weight * step**3))
            errors[row] += np.sum((curve(t[1:-1:2]) - x[1:-1:2]) ** 2, axis=0)
    return SMOOTHINGS[errors.argmin(axis=0)] * step**3
