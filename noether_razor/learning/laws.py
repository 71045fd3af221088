"""The laws of Noether charges under a learning rule, exact for any minibatch noise, one step at a time.

q_n are parameters, Delta_n = q_n - q_{n-1}, g_n gradients with <g_n, xi> = 0, xi(q) = A q or b. A quadratic
charge is Q = q^T A q, a linear one u = b . q. Its forms are D_n = Delta_n^T A Delta_n and
E_n = <A Delta_n, g_{n-1}>; the momentum charge is C_n = <pi_n, xi(q_n)>. Entries of the arrays are charges,
or charges at several steps.
"""

from typing import Any, NamedTuple

from .rules import LearningRule


class At(NamedTuple):
    """A charge of q_n and of q_{n-1}, and D_n; at step 0, where nothing has moved, value, value and 0."""

    value: Any
    before: Any
    kinetic: Any

    def across(self, quadratic: bool) -> Any:
        """q_n^T A q_{n-1}, or b . q_{n-1}."""
        return (self.value + self.before - self.kinetic) / 2 if quadratic else self.before


class Clock(NamedTuple):
    """eta_n, eta_{n-1} (any positive number at step 0), and whether n > 0."""

    rate: Any
    rate_before: Any
    moving: Any


def next_value(
    rule: LearningRule,
    quadratic: bool,
    clock: Clock,
    at: At,
    decayed: At,
    kinetic: Any,
    lag: Any = 0.0,
    pull: Any = 0.0,
) -> Any:
    """The charge of q_{n+1}.

    `decayed` is `at` with every entry of A or b multiplied by its weight decay. `kinetic` is D_{n+1}, `lag`
    is E_n (of clipped gradients; Nesterov alone needs it). `pull` is what a symmetry that is not exact adds:
    (1 + nu beta) <g_n, xi(q_n)> - nu beta <g_{n-1}, xi(q_{n-1})>, nu = 1 for Nesterov and else 0.
    """
    beta = rule.momentum * clock.rate / clock.rate_before * clock.moving
    ahead, kept = (rule.momentum if rule.nesterov else 0.0), 1 - rule.dampening
    across = decayed.across(quadratic) * clock.moving
    if rule.decoupled:
        force = decayed.value - rule.momentum * across
    else:
        force = kept * ((1 + ahead) * decayed.value - ahead * across)
    force = force + kept * pull
    moved = at.value + beta * (at.value - at.before)
    if not quadratic:
        return moved - clock.rate * force
    return moved + kinetic + beta * at.kinetic - 2 * clock.rate * (force - ahead * kept * lag)


def turning(rule: LearningRule, quadratic: bool, clock: Clock, at: At, decayed: At, lag: Any) -> Any:
    """<pi_{n-1}, xi(q_n) - xi(q_{n-1})> of a rule that is not adaptive, from the forms of the step alone."""
    if not quadratic or not rule.momentum:
        return 0.0 * at.kinetic
    # k <q_{n-1}, A Delta_n>
    drag = (decayed.value - decayed.before - decayed.kinetic) / 2
    found = -at.kinetic / clock.rate_before
    if rule.decoupled:
        found = found - drag
    if rule.nesterov:
        kept = 1 - rule.dampening
        found = (found - kept * (lag + (0.0 if rule.decoupled else drag))) / rule.momentum
    return found * clock.moving


class MomentumBudget(NamedTuple):
    """What changes a momentum charge in a step: C_n - C_{n-1} is the sum of the three.

    dissipation: (beta - 1) C_{n-1}. kinetic: beta <pi_{n-1}, xi(q_n) - xi(q_{n-1})>, the part by which the
    learning rule breaks the symmetry. explicit: a k <q_n, xi(q_n)>, by which weight decay does.
    """

    dissipation: Any
    kinetic: Any
    explicit: Any

    @property
    def total(self) -> Any:
        """Their sum."""
        return self.dissipation + self.kinetic + self.explicit


def momentum_budget(
    rule: LearningRule, momentum: Any, turned: Any, decayed: Any, pull: Any = 0.0
) -> MomentumBudget:
    """The budget of step n from C_{n-1}, `turning` and the charge of q_n with its weight decays; `pull` is
    <g_n, xi(q_n)> (of clipped gradients) where the symmetry is not exact.
    """
    kept = 1 - rule.dampening
    return MomentumBudget(
        (rule.momentum - 1) * momentum,
        rule.momentum * turned,
        kept * (pull + (0.0 if rule.decoupled else decayed)),
    )
