"""Which Poisson matrix the data ask for: the simplest kind that fits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..exact_evidence.built_in import Comparison
from ..exact_evidence.checks import NEGLIGIBLE, Adequacy, adequacy, expected_noise
from ..exact_evidence.choice import DictionaryError, first_dictionary
from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.hamiltonian import needed_terms
from ..exact_evidence.polynomials import Polynomials, polynomial_count
from ..exact_evidence.shooting import HOPELESS, FitError, Problem
from ..exact_evidence.sums import Sum
from ..scaling import PhaseScale
from ..trajectories import Trajectories
from .fitting import UNKNOWN, Fitted, Kind, Setup, constant_kinds
from .forms import MomentumForm, momentum_form
from .sources import OfPositions, found_sources

WORTH = 10.0
"""Nats of a kind with more freedom from which it is taken."""
SAME = 3.0
"""Standard deviations up to which an entry is that of a simpler kind: the evidence of two fits may differ by
more than an entry tells, where their variances of H ended at different maxima.
"""
VANISHING, UNSURE = 20.0, 0.3
"""Scaled entries of a matrix beside that which fixes its scale, and standard deviations of them, from which
it is not taken.
"""
FORMS = ((2, 4), (4, 6))
"""Degrees of forms in the positions, and of the Hamiltonians with them."""
STEADY = 1.03
"""Noise with whole trajectories over that of short pieces, up to which a form is rich enough."""
SMOOTH = {2: 8, 3: 5}
"""Degrees of polynomials of the positions beside forces towards points, by degrees of freedom."""
MOST_TERMS = 300
"""Terms of a Hamiltonian and of a form together."""
MOST_DOF = 3
"""Degrees of freedom up to which forms that change with the position are tried."""

Tell = Callable[[str], None]


class Attempt(NamedTuple):
    """A kind with its fit, or by how many nats at least it fell behind another before it was given up; and
    whether it fits the data to within their noise, None where this was not asked. `exact`: residuals are
    negligible, whatever the noise is. `failed`: why there is no fit.
    """

    kind: Kind
    fitted: Fitted | None
    behind: float
    checked: Adequacy | None
    exact: bool = False
    failed: str = ""

    @property
    def usable(self) -> bool:
        """Whether it fits, as far as it matters."""
        return self.checked is not None and (self.checked.adequate or self.exact)


@dataclass
class Search:
    """Attempts on scaled trajectories, by the name of the kind. `rest` is the scaled velocity of the origin,
    from the velocity that is zero in the units of the data, `stretches` the scales of the positions.
    """

    data: Trajectories
    rest: Float[np.ndarray, " dof"]
    stretches: Float[np.ndarray, " dof"]
    tell: Tell
    attempts: dict[str, Attempt] = field(default_factory=dict)
    chosen: Attempt | None = None
    setup: Setup | None = None
    why: str = ""

    def run(self, kind: str) -> None:
        """Find the simplest kind that fits, or fit the `kind` asked for; "auto" asks for none."""
        every = constant_kinds(self.data.dof)
        for features in self.dictionaries():
            if kind == "form" or self.chosen is not None:
                break
            # What follows the first is costly, and given up early.
            first = self.setup is None or kind != "auto"
            expected = None if first else expected_noise(self.data)
            self.setup = Setup(self.data, Problem.of(features, self.data, self.rest), expected=expected)
            if kind == "auto":
                self.constant(self.setup, every)
            else:
                self.take(self.attempt(self.setup, every[kind]))
        if self.chosen is None and kind in ("auto", "form"):
            self.changing()

    def dictionaries(self) -> Iterator[LinearFeatures]:
        """Those of constant matrices: a richer H is simpler than a form that changes with the position, and a
        force towards a point simpler than a rich polynomial.
        """
        try:
            first = first_dictionary(self.data, PhaseScale.identity(self.data.dof), None, "polynomials")
        except DictionaryError:
            return
        yield first
        if isinstance(first, Polynomials):
            if self.setup is not None and (dof := self.data.dof) in SMOOTH:
                self.tell("forces towards points")
                if (sources := found_sources(self.setup.windows, self.stretches)) is not None:
                    plain, smooth = Polynomials(2 * dof, 2), OfPositions(2 * dof, SMOOTH[dof])
                    yield Sum.of(plain, sources)
                    yield Sum.of(plain, smooth, sources)
            richer = Polynomials(first.dim, first.degree + (2 if self.data.dof > 1 else 4))
            if richer.size <= MOST_TERMS:
                yield richer

    def attempt(
        self, setup: Setup, kind: Kind, rival: Fitted | None = None, near: Sequence[Fitted] = ()
    ) -> Attempt:
        """The fit of one kind, checked where it is not far behind a `rival`; it may begin at that, or at fits
        `near`.
        """
        self.tell(f"the Poisson matrix: {kind.name}")
        try:
            alike = rival is not None and consistent(kind, rival)
            # What is nearly the same is not hopeless beside residuals that are negligible.
            first = None if rival is None or (alike and self.negligible(rival)) else rival.fit
            found = setup.fitted(kind, first, near if rival is None else [rival, *near])
            behind = 0.0
            if rival is not None:
                found = self.better(setup, kind, found, rival)
                behind = rival.fit.log_evidence - found.fit.log_evidence
            fitted, close = Comparison(found.problem, found.fit), behind < HOPELESS or alike
            checked = adequacy(fitted, self.data, keep_back=False) if close else None
            made = Attempt(kind, found, behind, checked, self.negligible(found))
        except (FitError, np.linalg.LinAlgError) as error:
            made = Attempt(kind, None, getattr(error, "behind", np.inf), None, failed=str(error))
        self.attempts[kind.name] = made
        return made

    def negligible(self, found: Fitted) -> bool:
        """Whether its residuals do not matter, whatever the noise is."""
        least = (NEGLIGIBLE * self.data.spreads()) ** 2
        return bool(found.fit.converged and np.all(found.fit.point.noise < least))

    def better(self, setup: Setup, kind: Kind, found: Fitted, rival: Fitted) -> Fitted:
        """Where a simpler kind falls behind, it may be at another maximum: that from the rival is tried."""
        if found.fit.log_evidence > rival.fit.log_evidence or kind.form != rival.kind.form:
            return found
        try:
            again = setup.refitted(kind, rival)
        except (FitError, np.linalg.LinAlgError):
            return found
        rank = [(one.fit.converged, one.fit.log_evidence) for one in (again, found)]
        return again if rank[0] > rank[1] else found

    def take(self, attempt: Attempt) -> None:
        if attempt.usable:
            self.chosen = attempt

    def constant(self, setup: Setup, kinds: dict[str, Kind]) -> None:
        """Where "natural" fits, the simplest kind that is no worse; where it does not settle, as where the
        motion preserves many matrices, the simplest that does; else all entries of the matrix.
        """
        richest = kinds["natural"] if kinds["natural"].size else kinds["canonical"]
        natural = self.attempt(setup, richest)
        simpler = [kind for kind in kinds.values() if kind.size < natural.kind.size]
        if not natural.usable or natural.fitted is None:
            settled = natural.fitted is not None and natural.fitted.fit.converged
            tried = [] if settled else [self.attempt(setup, kind) for kind in simpler]
            self.chosen = simplest(tried)
            if self.chosen is None and kinds["constant"].size and not isinstance(setup.features, Sum):
                self.mixed(self.attempt(setup, kinds["constant"]))
            return
        better = self.setup = setup.along(natural.fitted)
        tried = [natural, *(self.attempt(better, kind, natural.fitted) for kind in simpler)]
        self.chosen = simplest(tried, natural.fitted)

    def mixed(self, attempt: Attempt) -> None:
        """Take all entries of a matrix where they are known, and that which fixes the scale is not small."""
        if not attempt.usable or attempt.fitted is None:
            return
        if np.abs(attempt.fitted.theta).max() > VANISHING:
            self.why = "the first position and velocity do not belong together: are columns swapped?"
        elif np.sqrt(np.diag(attempt.fitted.covariance)).max() > UNSURE:
            self.why = "there are too few rows to know the entries of a matrix"
        else:
            self.chosen = attempt

    def changing(self) -> None:
        """Masses and fields that depend on the position, with the terms that the data need."""
        dof = self.data.dof
        plain = replace(self.data, periods=())
        # A rich form that the weak form is nearest to may be singular at the edge of the data.
        near: list[Fitted] = []
        for degree, power in FORMS if dof <= MOST_DOF else ():
            form = momentum_form(dof, degree)
            if polynomial_count(2 * dof, power) + form.size > MOST_TERMS:
                continue
            problem = Problem.of(Polynomials(2 * dof, power), plain, self.rest)
            setup = self.setup = Setup(plain, problem, expected=expected_noise(plain))
            whole = self.attempt(setup, Kind("form", form, np.eye(form.size)), near=near)
            near += [whole.fitted] if whole.fitted is not None else []
            if not whole.usable or whole.fitted is None:
                continue
            found = self.plainer(setup.along(whole.fitted), whole, form)
            if self.chosen is None or log_evidence(found) > log_evidence(self.chosen) + WORTH:
                self.chosen = found
            self.attempts[self.chosen.kind.name] = self.chosen
            if whole.checked is None or (whole.checked.growth or 1.0) < STEADY:
                return

    def plainer(self, setup: Setup, whole: Attempt, form: MomentumForm) -> Attempt:
        """The same with only the terms of the form that the data need, where this is no worse; named after
        what is left.
        """
        fitted = whole.fitted
        assert fitted is not None
        kept = needed_terms(fitted.theta, fitted.covariance, np.full(form.size, UNKNOWN))
        changing = any(any(term.exponents) for term, one in zip(form.terms, kept, strict=True) if one)
        name = "form" if changing else "natural" if kept.any() else "canonical"
        again = self.attempt(setup, Kind(name, form, np.eye(form.size)[:, kept]), fitted)
        return again if again.usable and again.behind < 0 else whole


def simplest(tried: Sequence[Attempt], richest: Fitted | None = None) -> Attempt | None:
    """Of those that fit, the simplest that is no worse than the best, or that `richest` is consistent with;
    None where none fits.
    """
    able = [one for one in tried if one.usable]
    best = max(map(log_evidence, able), default=-np.inf)
    near = [
        one
        for one in able
        if log_evidence(one) > best - WORTH or (richest is not None and consistent(one.kind, richest))
    ]
    return min(near, key=lambda one: (one.kind.size, -log_evidence(one)), default=None)


def consistent(kind: Kind, richer: Fitted) -> bool:
    """Whether a fit with more freedom leaves what `kind` fixes where it is, to within its errors."""
    if kind.form != richer.kind.form:
        return False
    fixed = richer.kind.basis.any(axis=1) & ~kind.basis.any(axis=1)
    errors = np.sqrt(np.diag(richer.covariance))
    return bool(np.all(np.abs(richer.theta[fixed]) < np.maximum(SAME * errors[fixed], NEGLIGIBLE)))


def log_evidence(attempt: Attempt) -> float:
    """That of its fit."""
    return -np.inf if attempt.fitted is None else attempt.fitted.fit.log_evidence
