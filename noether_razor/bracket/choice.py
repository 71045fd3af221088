"""Which Poisson matrix the data ask for: the simplest kind that fits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from ..exact_evidence.built_in import Comparison
from ..exact_evidence.checks import NEGLIGIBLE, UNSETTLED, Adequacy, adequacy, expected_noise, grown
from ..exact_evidence.choice import DictionaryError, first_dictionary
from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.hamiltonian import needed_terms
from ..exact_evidence.polynomials import Polynomials
from ..exact_evidence.shooting import HOPELESS, FitError, Problem
from ..exact_evidence.sums import Sum
from ..scaling import ColumnScale, PhaseScale
from ..trajectories import Trajectories
from .fitting import OF_ONE_MASS, UNKNOWN, Fitted, Kind, Setup, constant_kinds
from .forms import MomentumForm, Term
from .lagrangian import lagrangian_form
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
FORMS = ((2, 6), (4, 8), (6, 10))
"""Degrees in the positions of masses and fields, and of the potentials with them."""
STEADY = 1.03
"""Noise with whole trajectories over that of short pieces, up to which a fit is good: of right ones it is
0.997 to 1.01.
"""
SMOOTH = {2: 8, 3: 5}
"""Degrees of polynomials of the positions beside forces towards points, by degrees of freedom."""
MOST_TERMS = 300
"""Terms of a Hamiltonian and of a form together."""
FIRST = 4
"""Degree of a form up to which one is tried that begins at no simpler one."""
LEFT_OUT, SURELY = 3, 12.0
"""Terms of a form that are tried to leave out, the least needed ones, up to so many standard deviations: the
posterior of one choice of terms does not know of others that do as well.
"""
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

    def terms(self) -> list[Term]:
        """Those of its form that are free."""
        form, free = self.kind.form, np.flatnonzero(self.kind.basis.any(axis=1)).tolist()
        return [form.terms[k] for k in free] if isinstance(form, MomentumForm) else []

    @property
    def usable(self) -> bool:
        """Whether it fits, as far as it matters."""
        return self.checked is not None and (self.checked.adequate or self.exact)


@dataclass
class Search:
    """Attempts on trajectories in the coordinates of `scale`, by the name of the kind."""

    data: Trajectories
    scale: ColumnScale
    tell: Tell
    attempts: dict[str, Attempt] = field(default_factory=dict)
    chosen: Attempt | None = None
    setup: Setup | None = None
    why: str = ""

    def run(self, kind: str) -> None:
        """Find the simplest kind that fits, or fit the `kind` asked for; "auto" asks for none."""
        every = constant_kinds(self.data.dof)
        if kind == "auto" and not self.scale.alike:
            every = {name: one for name, one in every.items() if name not in OF_ONE_MASS}
        for features in self.dictionaries():
            if kind == "form" or self.chosen is not None:
                break
            # What follows the first is costly, and given up early.
            first = self.setup is None or kind != "auto"
            expected = None if first else expected_noise(self.data)
            self.setup = Setup(self.data, Problem.of(features, self.data, self.scale.rest), expected=expected)
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
                stretches = np.array(self.scale.positions) / self.scale.positions[0]
                if (sources := found_sources(self.setup.windows, stretches)) is not None:
                    plain, smooth = Polynomials(2 * dof, 2), OfPositions(2 * dof, SMOOTH[dof])
                    yield Sum.of(plain, sources)
                    yield Sum.of(plain, smooth, sources)
            richer = Polynomials(first.dim, first.degree + (2 if self.data.dof > 1 else 4))
            if richer.size <= MOST_TERMS:
                yield richer

    def attempt(
        self,
        setup: Setup,
        kind: Kind,
        rival: Fitted | None = None,
        made: Callable[[], Fitted] | None = None,
    ) -> Attempt:
        """The fit of one kind, by `made` where that is given, and checked where it is not far behind a
        `rival`, at which it may begin.
        """
        self.tell(f"the Poisson matrix: {kind.name}")
        try:
            alike = rival is not None and consistent(kind, rival)
            # What is nearly the same is not hopeless beside residuals that are negligible.
            first = None if rival is None or (alike and self.negligible(rival)) else rival.fit
            found = setup.fitted(kind, first, rival) if made is None else made()
            behind = 0.0
            if rival is not None:
                found = self.better(setup, kind, found, rival) if made is None else found
                behind = rival.fit.log_evidence - found.fit.log_evidence
            fitted, close = Comparison(found.problem, found.fit), behind < HOPELESS or alike
            checked = steady(adequacy(fitted, self.data, keep_back=False)) if close else None
            result = Attempt(kind, found, behind, checked, self.negligible(found))
        except (FitError, np.linalg.LinAlgError) as error:
            result = Attempt(kind, None, getattr(error, "behind", np.inf), None, failed=str(error))
        self.attempts[kind.name] = result
        return result

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
            # A kind with less freedom fits no better, unless the search for this one went astray.
            settled = natural.checked is not None and natural.checked.why != UNSETTLED
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
        for degree, power in FORMS if dof <= MOST_DOF else ():
            form = lagrangian_form(dof, degree, self.scale.rest, self.scale.rate)
            potential = OfPositions(2 * dof, power)
            # The richest takes long, and has fitted no better by itself: it follows another.
            if potential.size + form.size > MOST_TERMS or (degree > FIRST and self.chosen is None):
                break
            setup = Setup(
                plain, Problem.of(potential, plain, self.scale.rest), expected=expected_noise(plain)
            )
            self.setup = self.setup or setup
            kind, poorer = Kind("form", form, np.eye(form.size)), self.chosen and self.chosen.fitted
            whole = self.attempt(
                setup, kind, made=None if poorer is None else partial(setup.extended, kind, poorer)
            )
            if not whole.usable or whole.fitted is None:
                continue
            found = self.plainer(setup.along(whole.fitted), whole, form)
            if self.chosen is not None and log_evidence(found) < log_evidence(self.chosen):
                self.attempts[self.chosen.kind.name] = self.chosen
                return
            self.chosen = self.attempts[found.kind.name] = found
            if not any(sum(term.exponents) == degree for term in found.terms()):
                return

    def plainer(self, setup: Setup, attempt: Attempt, form: MomentumForm) -> Attempt:
        """The same with only the terms of the form that the data need. Others go by the posterior, as long as
        this is no worse; then one by one where a fit without is no worse, for one term less to choose.
        """
        fitted = attempt.fitted
        assert fitted is not None
        free = fitted.kind.basis.any(axis=1)
        kept = needed_terms(fitted.theta, fitted.covariance, np.where(free, UNKNOWN, 0.0))
        if kept.sum() < free.sum():
            again = self.with_terms(setup, fitted, kept)
            if again.usable and again.behind < 0:
                return self.plainer(setup, again, form)
        errors = np.sqrt(np.diag(fitted.covariance)) + ~free
        sizes = np.where(free, np.abs(fitted.theta) / errors, np.inf)
        for k in np.argsort(sizes)[: min(LEFT_OUT, int(np.sum(sizes < SURELY)))].tolist():
            again = self.with_terms(setup, fitted, free & (np.arange(form.size) != k))
            if again.usable and again.behind < np.log(form.size):
                return self.plainer(setup, again, form)
        return attempt

    def with_terms(self, setup: Setup, fitted: Fitted, kept: Bool[np.ndarray, " K"]) -> Attempt:
        """The fit with some terms of the form, named after what they are."""
        form = fitted.kind.form
        assert isinstance(form, MomentumForm)
        kind = Kind("form", form, np.eye(form.size)[:, kept])
        if not any(any(form.terms[k].exponents) for k in np.flatnonzero(kept).tolist()):
            kind = kind._replace(name="natural" if kept.any() or not self.scale.alike else "canonical")
        return self.attempt(setup, kind, fitted, partial(setup.refitted, kind, fitted))


def steady(checked: Adequacy) -> Adequacy:
    """The same, stricter: a matrix may take up forces that have no energy, and follow short pieces so."""
    if not checked.adequate or checked.growth is None or checked.growth < STEADY:
        return checked
    return checked._replace(why=grown(checked.growth))


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
