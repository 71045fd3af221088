"""From trajectories to what a library of terms conserves: the verb of this room."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import sympy
from jaxtyping import Float

from ..exact_evidence import ReadableHamiltonian
from ..exact_evidence.hamiltonian import with_error
from ..formula import parse_formula
from ..formula.parse import canonical_names
from ..invariants import FoundQuantity, noise_estimate
from ..invariants.energy import energy_multiple
from ..invariants.found import FEW_TERMS, QuantityMaker
from ..invariants.on_states import DEPENDENT, independence
from ..invariants.spans import listed
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import Hamiltonian
from .brackets import MOST_POINTS, Brackets, Members, brackets_of, verdict
from .ceiling import ceiling
from .energy import EnergyFit, energy_fit
from .library import Library
from .options import LibraryError, LibraryOptions
from .proposals import libraries
from .result import Beyond, LibraryHamiltonian, LibraryQuantity, Searched
from .spaces import SNR, LibrarySpace, most_telling

UNDECIDED = "no verdict, the data do not decide how many are conserved"
"""What is said of integrability then."""
AMPLIFIED, LEAST_DEPENDENT = 8.0, 0.02
"""By how much errors of coefficients may be larger in gradients, and the share of the largest singular value
of these up to which others are nothing, however small the errors.
"""
MOST_ROWS, LONGEST = 6000, 200
"""Rows that are used, and of one trajectory where there are more."""


def conserved_library(
    data: Trajectories,
    *,
    terms: Sequence[str] = (),
    degree: int | None = None,
    most_terms: int | None = None,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    readable: ReadableHamiltonian | None = None,
) -> Beyond:
    """What trajectories conserve among the terms of libraries: polynomials, waves of angles, functions of
    distances and differences, and the formulas `terms`.

    The null space in units of the noise (`conserved_space`) says which combinations are conserved, for each
    library that the data suggest; the one that shows most is taken. Of these, independent ones are chosen by
    the rank of gradients, the simplest first; the combination that moves the data is the Hamiltonian;
    brackets are written as polynomials in the quantities; and the growth of the tangent map of H, or of
    `readable` where none is found, says how many can exist. `degree` and `most_terms` are those of
    `LibraryOptions`, `noise_variance` is that of the states, estimated where None. Raises `LibraryError` for
    terms that do not serve and for a library that is too large.
    """
    begun = time.process_time()
    given = {} if most_terms is None else {"most_terms": most_terms}
    options = LibraryOptions(tuple(terms), degree, **given)
    data = _few(data)
    noise = (
        noise_estimate(data).variance if noise_variance is None else np.asarray(noise_variance, np.float64)
    )
    spaces, failed = [], []
    for library in libraries(data, np.broadcast_to(noise, data.states.shape[2:]), options):
        try:
            spaces.append(LibrarySpace.of(data, library, noise_variance))
        except (np.linalg.LinAlgError, ValueError) as error:
            failed.append(Searched(library.label, len(library), library.largest, 0, 0, False, str(error)))
    if not spaces:
        raise LibraryError("; ".join(f"{one.label}: {one.why}" for one in failed))
    chosen = most_telling(spaces)
    found = _answer(chosen, data, readable)
    # Of the library to believe, what the answer says: by the terms that are needed.
    searched = (*(found.library if one is chosen else one.searched() for one in spaces), *failed)
    more = [one for one in searched if not one.clear and one.independent > found.independent]
    doubts = [
        f"among {one.terms} terms ({one.label}) {one.independent} may be independent: {one.why}"
        for one in more
    ]
    return replace(
        found,
        verdict=UNDECIDED if doubts else found.verdict,
        searched=searched,
        undecided=(*found.undecided, *doubts),
        seconds=time.process_time() - begun,
    )


def _few(data: Trajectories) -> Trajectories:
    """Of many rows the first of so many trajectories that it takes seconds."""
    if int(data.lengths.sum()) <= MOST_ROWS:
        return data
    short = data.first(max(LONGEST, MOST_ROWS // len(data)))
    many = len(short) * MOST_ROWS // int(short.lengths.sum())
    return short[evenly(len(short), many)] if 0 < many < len(short) else short


class _Listed:
    """The quantities of a space as they are listed, simplest first, with H among them where it is found."""

    def __init__(self, own: LibrarySpace):
        self.own, self.library, self.motion = own, own.library, own.space.motion
        self.states = self.motion.trajectories.points()
        make, (rows, _, _) = QuantityMaker(own.space), listed(own.space, None)
        quantities, _ = make.quantities(rows, None)
        # By the rows before they are rounded: errors of what is rounded would move the data elsewhere.
        exact = rows * make.units
        self.energy = energy_fit(self.motion, exact)
        if self.energy is not None:
            some = self.states[evenly(len(self.states), MOST_POINTS)]
            on_states = self.energy.on_states(self.library, exact, some)
            quantities, _ = make.quantities(rows, on_states)
        self.quantities = sorted(quantities, key=self.order)
        rows = np.array([one.row for one in self.quantities]).reshape(-1, len(self.library))
        none = np.zeros((0, len(self.library)))
        # Gradients of what depends on others differ by the errors of coefficients.
        self.sizes = self.motion.own_sizes
        off = max((AMPLIFIED * self.error(one) for one in self.quantities), default=0.0)
        dependent = float(np.clip(off, LEAST_DEPENDENT, DEPENDENT))
        self.independent, self.generating = independence(self.motion, list(rows), none, dependent)
        self.names = _names(self.quantities)
        self.hamiltonian_row = None if self.energy is None else self.energy.row(exact)

    def order(self, one: FoundQuantity) -> tuple[int, int]:
        """Grade, then number of terms."""
        used = np.flatnonzero(one.row).tolist()
        return max((self.library.grades[k] for k in used), default=0), len(used)

    def error(self, one: FoundQuantity) -> float:
        """The relative error of the coefficients, of terms of unit spread."""
        size = float(np.linalg.norm(one.row * self.sizes))
        return float(np.linalg.norm(self.errors(one) * self.sizes)) / max(size, np.finfo(float).tiny)

    def errors(self, one: FoundQuantity) -> Float[np.ndarray, " M"]:
        """Standard errors of all coefficients, before simple numbers took their place."""
        found, place = np.zeros(len(self.library)), {term: k for k, term in enumerate(self.library.terms)}
        for term, measured in one.formula.measurements().items():
            found[place[term]] = measured.error  # type: ignore[index]
        return found

    def members(self) -> Members:
        """The quantities at some states, for brackets."""
        some = self.states[evenly(len(self.states), MOST_POINTS)]
        rows = np.array([one.row for one in self.quantities])
        slopes = [self.library.slopes(some, i) @ rows.T for i in range(some.shape[1])]
        scales = self.motion.scales
        return Members(
            names=self.names,
            values=self.library.values(some) @ rows.T,
            gradients=np.stack(slopes, axis=2) * scales,
            errors=np.array([self.error(one) for one in self.quantities]),
            generating=self.generating,
            action=float(scales[0] * scales[len(scales) // 2]),
        )

    def note(self, number: int) -> str:
        """What else a quantity is."""
        if self.names[number] != "H" or self.energy is None or self.hamiltonian_row is None:
            return self.quantities[number].note
        weight = _projected(self.hamiltonian_row * self.sizes, self.quantities[number].row * self.sizes)
        return energy_multiple(
            1 / weight, max(_weight_error(self.energy), self.error(self.quantities[number]))
        )

    def typical_noise(self, row: Float[np.ndarray, "one M"]) -> float:
        """The variance of the noise by the rows that say most: its harmonic mean."""
        levels = self.motion.noise_variances(row)[:, 0] + float(self.motion.floors(row)[0])
        return float(1 / np.mean(1 / np.maximum(levels, np.finfo(float).tiny)))

    def described(self, number: int) -> LibraryQuantity:
        """One of them, typed."""
        one, motion = self.quantities[number], self.motion
        row = motion.rows(one.row[None])
        within = motion.deviations(motion.recording) @ row[0]
        noise = float(motion.noise_variances(row).mean()) * (1 - motion.recordings / len(within))
        spread, change = one.change.spread, one.change
        return LibraryQuantity(
            name=self.names[number],
            formula=one.text,
            expression=str(one.expression),
            latex=one.formula.latex(),
            coefficients={one.formula.keyed(part): float(v) for part, v in one.formula.coefficients.items()},
            stderr={
                one.formula.keyed(part): float(m.error) for part, m in one.formula.measurements().items()
            },
            generator=number in self.generating,
            ratio=float(np.mean(within**2)) / max(noise, motion.floor**2 * spread**2, np.finfo(float).tiny),
            snr=float(min(spread**2 / max(self.typical_noise(row), 1e-18 * spread**2), 1e18)),
            bracket=one.bracket,
            drift=float(change.change),
            limit=float(change.limit),
            note=self.note(number),
        )


def _answer(own: LibrarySpace, data: Trajectories, readable: ReadableHamiltonian | None) -> Beyond:
    """All that is to say of one library."""
    parts = _Listed(own.readable())
    quantities = tuple(parts.described(k) for k in range(len(parts.quantities)))
    hidden = [parts.quantities[k].change.hidden for k in parts.generating]
    doubts = list(own.doubts(hidden))
    faint = [one.name for one in quantities if one.generator and one.snr < SNR]
    if faint:
        doubts.append(f"the noise of {', '.join(faint)} is more than a fifth of the spread")
    if _local(own, parts.quantities):
        doubts.append(
            "trajectories end before the motion turns: any flow keeps some long formulas constant so far"
        )
    found = brackets_of(parts.members()) if quantities else Brackets((), (), 0, 0)
    energy = _hamiltonian(parts) or _from_exact(readable)
    most, why = _ceiling(parts, readable)
    if most is not None and parts.independent > most:
        doubts.append(
            f"{parts.independent} are found and only {most} can exist: neighbouring motions separate"
        )
    clear = not doubts
    return Beyond(
        library=replace(own.searched(), independent=parts.independent, clear=clear, why="; ".join(doubts)),
        searched=(),
        dof=data.dof,
        linear=len(quantities),
        independent=parts.independent,
        ceiling=most,
        ceiling_note=why,
        hamiltonian=energy,
        quantities=quantities,
        brackets=found.table,
        relations=found.relations,
        poisson_rank=found.poisson_rank,
        involution=found.involution,
        verdict=UNDECIDED
        if doubts
        else verdict(
            parts.independent,
            found.involution,
            data.dof,
            hamiltonian=energy is not None,
            decided=clear and parts.independent == most,
        ),
        undecided=tuple(doubts),
        legend=own.library.legend,
        notes=_notes(data),
    )


def _local(own: LibrarySpace, quantities: Sequence[FoundQuantity]) -> bool:
    """Whether formulas are long and trajectories arcs that do not turn."""
    longest = max((len(one.formula.errors) for one in quantities), default=0)
    return longest > max(FEW_TERMS, own.library.dim) and not own.space.turns


def _names(quantities: Sequence[FoundQuantity]) -> tuple[str, ...]:
    """H for the energy, else C1, C2, .."""
    return tuple("H" if "energy H" in one.note else f"C{k}" for k, one in enumerate(quantities, 1))


def _hamiltonian(parts: _Listed) -> LibraryHamiltonian | None:
    """H as a formula, where it is a combination of what is conserved."""
    if parts.energy is None or parts.hamiltonian_row is None:
        return None
    listed_energy = next((k for k, name in enumerate(parts.names) if name == "H"), None)
    pairs: dict[str, tuple[float, float]] = {}
    if listed_energy is not None:
        one = parts.quantities[listed_energy]
        # The listed formula is a multiple of H: its weight is that of the whole.
        weight = float(_projected(parts.hamiltonian_row * parts.sizes, one.row * parts.sizes))
        share = _weight_error(parts.energy)
        for k in np.flatnonzero(one.row).tolist():
            value = weight * one.row[k]
            own = abs(weight) * parts.errors(one)[k]
            pairs[parts.library.terms[k].name] = (float(value), float(np.hypot(own, share * value)))
    else:
        row = parts.hamiltonian_row
        kept = np.abs(row * parts.sizes) > 1e-3 * np.abs(row * parts.sizes).max()
        share = _weight_error(parts.energy)
        for k in np.flatnonzero(kept).tolist():
            pairs[parts.library.terms[k].name] = (float(row[k]), float(share * abs(row[k])))
    return LibraryHamiltonian(_formula(pairs), pairs, parts.energy.chi2_dof, "trajectories")


def _projected(target: np.ndarray, along: np.ndarray) -> float:
    return float(target @ along / max(along @ along, np.finfo(float).tiny))


def _weight_error(energy: EnergyFit) -> float:
    """The relative error of the scale of H."""
    used = energy.weights != 0
    share = energy.errors[used] / np.abs(energy.weights[used])
    return float(share.min()) if used.any() else 0.0


def _formula(pairs: dict[str, tuple[float, float]]) -> str:
    """As 0.500(1) p1^2 - 1.000(2) cos(q1)."""
    text = ""
    for name, (value, error) in pairs.items():
        term = f"{with_error(abs(value), error)} {name}"
        text += (" - " if value < 0 else " + ") + term if text else ("-" if value < 0 else "") + term
    return text


def _from_exact(readable: ReadableHamiltonian | None) -> LibraryHamiltonian | None:
    """The Hamiltonian of the exact evidence."""
    if readable is None:
        return None
    pairs = {term.text: (term.coefficient, term.error) for term in readable.terms}
    return LibraryHamiltonian(readable.text(), pairs, None, "exact evidence")


def _ceiling(parts: _Listed, readable: ReadableHamiltonian | None) -> tuple[int | None, str]:
    """How many can exist, and where that is from, or why it is not known."""
    dof = len(parts.motion.scales) // 2
    if dof == 1:
        return 1, "one degree of freedom has one at most"
    if parts.independent >= 2 * dof - 1:
        return 2 * dof - 1, f"{dof} degrees of freedom have {2 * dof - 1} at most"
    hamiltonian = _function(parts.library, parts.hamiltonian_row) or _exact_function(readable)
    if hamiltonian is None:
        return None, "no Hamiltonian is known to follow"
    try:
        found = ceiling(
            hamiltonian, parts.states, parts.motion.scales, angles=parts.motion.trajectories.angles()
        )
    except Exception as error:  # whatever the integration fails of costs the ceiling alone
        return None, f"{type(error).__name__}: {error}"
    if found is None:
        return None, "motions of H from the data are not bounded, or cannot be followed"
    return (
        found.most,
        f"by the growth of neighbouring motions from {len(found.exponents)} states of the data",
    )


def _function(library: Library, row: Float[np.ndarray, " M"] | None) -> Hamiltonian | None:
    """H as a differentiable function, from its terms; None without any."""
    if row is None:
        return None
    names = canonical_names(library.dim // 2)
    symbols = {
        sympy.Symbol(own): sympy.Symbol(name) for own, name in zip(library.variables, names, strict=True)
    }
    used = np.flatnonzero(row).tolist()
    parts = [f"({float(row[k])!r})*({library.terms[k].expression.xreplace(symbols)})" for k in used]
    return parse_formula(" + ".join(parts), names)


def _exact_function(readable: ReadableHamiltonian | None) -> Hamiltonian | None:
    if readable is None:
        return None
    if readable.friction:
        return None
    return readable.function()


def _notes(data: Trajectories) -> tuple[str, ...]:
    """The time on which conservation was tested."""
    longest = float(np.median([times[-1] - times[0] for times, _ in data.segments()]))
    return (
        f"conservation was tested along trajectories of {longest:.3g} {data.time_unit or 'units of time'}",
    )
