"""The laws of Noether charges under a learning rule, exact for any minibatch noise, one step at a time.

q_n are parameters, Delta_n = q_n - q_{n-1}, g_n gradients with <g_n, xi> = 0, xi(q) = A q or b. A quadratic
charge is Q = q^T A q, a linear one u = b . q. Its forms are D_n = Delta_n^T A Delta_n and
E_n = <A Delta_n, g_{n-1}>; the momentum charge is C_n = <pi_n, xi(q_n)>. Entries of the arrays are charges,
or charges at several steps.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from .rules import LearningRule


class At(NamedTuple):
    """A charge of q_n and of q_{n-1}, and D_n; at step 0, where nothing has moved, value, value and 0."""

    value: Any
    before: Any
    kinetic: Any


class Clock(NamedTuple):
    """eta_n, eta_{n-1} (1 where the parameters did not move), and whether they moved; `LearningRule.share` at
    both.
    """

    rate: Any
    rate_before: Any
    moving: Any
    share: Any = 1.0
    share_before: Any = 1.0

    @classmethod
    def of(cls, rule: LearningRule, step: Any) -> "Clock":
        """At the number of a step, or of several."""
        before = jnp.maximum(jnp.asarray(step) - 1, 0)
        rate_before = rule.rate(before)
        moving = (step > 0) & (rate_before != 0)
        return cls(
            rule.rate(step),
            jnp.where(moving, rate_before, 1.0),
            moving,
            rule.share(step),
            rule.share(before),
        )


def next_value(
    rule: LearningRule,
    quadratic: bool,
    clock: Clock,
    value: Any,
    kinetic: Any,
    momentum: Any,
    decayed: Any,
) -> Any:
    """The charge of q_{n+1} from that of q_n, D_{n+1} and C_n: Q - 2 eta <step, A q_n> + D. `decayed` is the
    charge of q_n with every entry of A or b multiplied by its weight decay.
    """
    force = momentum
    if rule.nesterov:
        entered = 0.0 if rule.decoupled else (1 - rule.dampening) * decayed
        force = rule.momentum * momentum + entered
    if rule.decoupled:
        force = force + clock.share * decayed
    moved = clock.rate * force
    return value - 2 * moved + kinetic if quadratic else value - moved


def turning(rule: LearningRule, quadratic: bool, clock: Clock, at: At, decayed: At, lag: Any) -> Any:
    """<pi_{n-1}, xi(q_n) - xi(q_{n-1})> of a rule that is not adaptive, from the forms of the step alone.

    `decayed` is `at` with every entry of A multiplied by its weight decay, `lag` is E_n (of clipped
    gradients; Nesterov alone needs it).
    """
    if not quadratic or not rule.momentum:
        return 0.0 * at.kinetic
    # k <q_{n-1}, A Delta_n>
    drag = (decayed.value - decayed.before - decayed.kinetic) / 2
    found = -at.kinetic / clock.rate_before
    if rule.decoupled:
        found = found - clock.share_before * drag
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
