"""Whether a fit in progress has learned anything yet."""

from collections.abc import Callable

import numpy as np

from ..inference import Posterior, Rows, likelihood_of
from .fitting import Report
from .optimiser import Training

EARLY = 0.2
"""Share of the steps after which a fit must predict better than that nothing moves."""


class NotLearnedError(FloatingPointError):
    """A fit that was ended because it learned nothing."""


def no_motion_nll(data: Rows, noise_variance: float | None = None) -> float:
    """NLL / N of predicting that nothing moves: every target is the state that its row begins with.

    n log(2 pi s) + n m / s for a mean squared change m of a coordinate, with sigma^2 = s; None: the best,
    s = m.
    """
    moves = likelihood_of(data).moves(data)
    change = max(float(np.mean(moves**2)), np.finfo(np.float64).tiny)
    variance = change if noise_variance is None else noise_variance
    return moves.shape[1] / 2 * float(np.log(2 * np.pi * variance) + change / variance)


def early_check(
    posterior: Posterior, data: Rows, training: Training, *, share: float = EARLY
) -> Callable[[Report], str]:
    """The `should_stop` of `fit` that ends a hopeless one: from `share` of the steps on it asks for two
    reports in succession, of which one may be a spike, whose NLL / N is above that of no motion.
    """
    fixed = None if training.learn_noise_variance else float(posterior.noise_variance())
    bar, before = no_motion_nll(data, fixed), -np.inf

    def should_stop(report: Report) -> str:
        nonlocal before
        # `not <=`: what is not finite has not learned.
        worse = not min(before, report.nll) <= bar
        before = report.nll if report.step >= share * training.steps else -np.inf
        if not worse or before == -np.inf:
            return ""
        return (
            f"nothing learned after {report.step} of {training.steps} steps: NLL / N is {report.nll:.4g}, "
            f"but predicting no motion at all gives {bar:.4g}"
        )

    return should_stop
