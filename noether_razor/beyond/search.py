"""From trajectories to what a library of terms conserves: the verb of this room."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Float

from ..exact_evidence import Evidence, ReadableHamiltonian
from ..formula import parse_formula
from ..formula.parse import canonical_names
from ..invariants import ConservedSpace, conserved_space, noise_estimate
from ..invariants.found import FEW_TERMS
from ..thinning import evenly
from ..threads import on_one_thread
from ..trajectories import Trajectories, fit_scale
from ..typing import Hamiltonian
from .brackets import Brackets, brackets_of, verdict
from .by_hamiltonian import library_hamiltonian, listed_by_hamiltonian
from .ceiling import Ceiling, ceiling
from .commuting import ROUNDING, commuting, hidden_bracket
from .evidence import evidence_of_found, of_degree_two
from .library import Library
from .listed import Listed
from .options import LibraryError, LibraryOptions
from .proposals import libraries
from .result import Beyond, LibraryHamiltonian, Searched
from .shooting import LOST_ENERGY, Attempt, Fitted, ShotHamiltonian, shot_hamiltonian
from .spaces import SNR, LibrarySpace, most_telling
from .surfaces import surface_algebra

UNDECIDED = "no verdict, the data do not decide how many are conserved"
"""What is said of integrability then."""
FREEDOMS = 2
"""Degrees of freedom up to which the evidence of what is found is computed."""
MOST_ROWS, LONGEST = 6000, 200
"""Rows that are used, and of one trajectory where there are more."""
Noise = float | Float[np.ndarray, " dim"] | None


class _Route(NamedTuple):
    """What is found in one way in one library, and what keeps it from deciding how many there are; `moves`:
    whether anything changes along trajectories beyond noise. `hidden`: the 95 % limit of {C, H} over
    |grad C| |grad H| that errors of H hide, 0 where none do or H was not asked.
    """

    listed: Listed
    library: Searched
    legend: Mapping[str, str]
    doubts: tuple[str, ...]
    moves: bool = True
    hidden: float = 0.0

    @property
    def clear(self) -> bool:
        return not self.doubts

    @property
    def counts(self) -> tuple[int, int]:
        """Linear and independent."""
        return len(self.listed.quantities), self.listed.independent

    @property
    def notes(self) -> list[str]:
        """What errors of H hide."""
        most = f"{100 * self.hidden:.2g} % of |grad C| |grad H|"
        return [f"errors of H leave room for {{C, H}} of up to {most} (95 %)"] if self.hidden else []


@on_one_thread
def conserved_library(
    data: Trajectories,
    *,
    terms: Sequence[str] = (),
    degree: int | None = None,
    most_terms: int | None = None,
    noise_variance: Noise = None,
    readable: ReadableHamiltonian | None = None,
    evidence: bool = False,
) -> Beyond:
    """What trajectories conserve among the terms of libraries: polynomials, waves of angles, functions of
    distances and differences, and the formulas `terms`.

    Two ways are taken. The null space in units of the noise (`conserved_space`) says which combinations are
    constant along trajectories. And where a Hamiltonian with few terms explains the motion to its noise
    (`shot_hamiltonian`), the combinations that commute with it are conserved, whatever the noise hides of
    them. Where both decide how many there are, they must agree. Independent ones are chosen by the rank of
    gradients, the simplest first; brackets are written as polynomials in the quantities; and the growth of
    the tangent map of H, or of `readable` where none is found, says how many can exist. `degree` and
    `most_terms` are those of `LibraryOptions`, `noise_variance` is that of the states, estimated where None.
    With `evidence`, that of each independent quantity is computed for up to two degrees of freedom, by the
    fit of H, but for those of degree <= 2 where `readable` is given, whose fit has theirs: it takes about as
    long as all the rest.
    Raises `LibraryError` for terms that do not serve and for a library that is too large, ValueError for
    velocities without masses.
    """
    begun = time.process_time()
    given = {} if most_terms is None else {"most_terms": most_terms}
    options = LibraryOptions(tuple(terms), degree, **given)
    data.require_canonical()
    data = _few(data)
    constant, searched = _by_trajectories(data, options, noise_variance)
    attempt, commute = _by_hamiltonian(constant, data, options, noise_variance)
    chosen = _together(_confirmed(constant, data, attempt), commute)
    notes = [*_notes(data, attempt), *chosen.notes]
    found = _answer(chosen, data, attempt.hamiltonian, readable)
    if evidence and attempt.fitted is not None and not found.undecided and data.dof <= FREEDOMS:
        asked = _not_judged(chosen.listed, data, readable)
        found = replace(found, evidence=_evidence(chosen.listed, asked, attempt.fitted, data, notes))
    return replace(
        found,
        searched=_with(searched, found.library),
        notes=tuple(notes),
        seconds=time.process_time() - begun,
    )


def _by_hamiltonian(
    constant: _Route, data: Trajectories, options: LibraryOptions, noise_variance: Noise
) -> tuple[Attempt, _Route | None]:
    """H as a formula and what commutes with it, or why there is none."""
    if not constant.moves:
        return Attempt(None, "nothing moves along trajectories beyond noise"), None
    try:
        # Smoothed motion may come nearer to a singular term than noisy rows allow.
        every = libraries(data, np.zeros(data.states.shape[2]), options)
        found = shot_hamiltonian(data, every)
        shot = found.hamiltonian
        return found, None if shot is None else commuting_route(shot, data, every, noise_variance)
    except Exception as error:  # whatever this fails of, trajectories have their own answer
        return Attempt(None, f"{type(error).__name__}: {error}"), None


def _confirmed(constant: _Route, data: Trajectories, attempt: Attempt) -> _Route:
    """With a doubt of quantities beyond degree two that no H confirms: near walls and in close passes terms
    that resemble each other along the motion take the place of the true ones, and so do those of a library
    that does not hold these, where coefficients are no simple numbers. And of an energy where a friction is
    seen: noise hides a slow loss.
    """
    if attempt.hamiltonian is not None:
        return constant
    listed = constant.listed
    bold = _beyond_two(listed, data)
    if attempt.why == LOST_ENERGY and listed.energy_row is not None:
        return constant._replace(doubts=(*constant.doubts, f"the fit of H says that {LOST_ENERGY}"))
    if attempt.lost and bold:
        named = ", ".join(listed.names[k] for k in bold)
        doubt = f"no fit of H converged that could confirm the terms of {named}"
        return constant._replace(doubts=(*constant.doubts, doubt))
    named = ", ".join(listed.names[k] for k in bold if listed.quantities[k].formula.errors)
    if not named:
        return constant
    doubt = f"no H confirms the terms of {named}: they may approximate others (--term adds some)"
    return constant._replace(doubts=(*constant.doubts, doubt))


def _not_judged(parts: Listed, data: Trajectories, readable: ReadableHamiltonian | None) -> list[int]:
    """The independent quantities without those that the fit of `readable` has judged: of degree <= 2."""
    return list(parts.generating) if readable is None else _beyond_two(parts, data)


def _beyond_two(parts: Listed, data: Trajectories) -> list[int]:
    """The independent quantities that are no polynomials of degree <= 2."""
    return [k for k in parts.generating if not of_degree_two(str(parts.quantities[k].expression), data)]


def _evidence(
    parts: Listed, asked: Sequence[int], fitted: Fitted, data: Trajectories, notes: list[str]
) -> Evidence | None:
    """That of the quantities `asked`, by the fit of H; what it fails of is among the `notes`."""
    if not asked:
        return None
    rows = {parts.names[k]: parts.quantities[k].row for k in asked}
    try:
        return evidence_of_found(fitted, parts.library, rows, data)
    except Exception as error:  # whatever this fails of costs this part alone
        notes.append(f"no evidence: {type(error).__name__}: {error}")
        return None


def _few(data: Trajectories) -> Trajectories:
    """Of many rows the first of so many trajectories that it takes seconds."""
    if int(data.lengths.sum()) <= MOST_ROWS:
        return data
    short = data.first(max(LONGEST, MOST_ROWS // len(data)))
    many = len(short) * MOST_ROWS // int(short.lengths.sum())
    return short[evenly(len(short), many)] if 0 < many < len(short) else short


def _with(searched: Sequence[Searched], own: Searched) -> tuple[Searched, ...]:
    """The libraries that were searched, with what the answer says of its own."""
    others = [one for one in searched if one.label != own.label]
    if len(others) == len(searched):
        return (*searched, own)
    return tuple(own if one.label == own.label else one for one in searched)


def _by_trajectories(
    data: Trajectories, options: LibraryOptions, noise_variance: Noise
) -> tuple[_Route, tuple[Searched, ...]]:
    """What is constant along trajectories in the library that shows most, and all that were searched."""
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
    own = most_telling(spaces)
    found = Listed.by_trajectories(own.readable())
    doubts = [*_doubts(own, found), *_readings(data, noise_variance, [one.space for one in spaces], own)]
    linear = len(found.quantities)
    library = replace(
        own.searched(), linear=linear, independent=found.independent, clear=not doubts, why="; ".join(doubts)
    )
    # Of the library to believe, what the answer says: by the terms that are needed.
    searched = (*(library if one is own else one.searched() for one in spaces), *failed)
    more = [
        f"among {one.terms} terms ({one.label}) {one.independent} may be independent: {one.why}"
        for one in searched
        if not one.clear and one.independent > found.independent
    ]
    return _Route(found, library, own.library.legend, (*doubts, *more), own.space.moves), searched


def _readings(
    data: Trajectories, noise_variance: Noise, spaces: Sequence[ConservedSpace], own: LibrarySpace
) -> list[str]:
    """What others than its own library see of the readings, which is so for all; few terms see most."""
    with suppress(np.linalg.LinAlgError, ValueError):
        spaces = [conserved_space(data, noise_variance=noise_variance), *spaces]
    every = {text: None for one in spaces for text in one.readings if text not in own.space.readings}
    return list(every)


def _doubts(own: LibrarySpace, found: Listed) -> list[str]:
    """What keeps the data alone from deciding how many there are in a library."""
    described = [found.described(k) for k in found.generating]
    doubts = list(own.doubts([found.quantities[k].change.hidden for k in found.generating]))
    faint = [one.name for one in described if one.snr < SNR]
    if faint:
        doubts.append(f"the noise of {', '.join(faint)} is more than a fifth of the spread")
    longest = max((len(one.formula.errors) for one in found.quantities), default=0)
    if longest > max(FEW_TERMS, own.library.dim) and not own.space.turns:
        doubts.append(
            "trajectories end before the motion turns: any flow keeps some long formulas constant so far"
        )
    return doubts


def commuting_route(
    shot: ShotHamiltonian, data: Trajectories, every: Sequence[Library], noise_variance: Noise
) -> _Route | None:
    """What commutes with H in the library that holds most of it; None where no library can be asked."""
    scale, routes = fit_scale(data), []
    for library in every:
        found = commuting(library, shot, data.points(), scale)
        try:
            listed = listed_by_hamiltonian(library, found, shot, data, noise_variance)
        except (np.linalg.LinAlgError, ValueError):
            # Terms that are not finite at noisy rows.
            continue
        doubts = () if found.clear else ("errors of H leave open how many commute with it",)
        counts = len(listed.quantities), listed.independent
        own = Searched(library.label, len(library), library.largest, *counts, not doubts, "; ".join(doubts))
        routes.append(_Route(listed, own, library.legend, doubts))
    # One that tells, unless another holds more that commute; of equals one that has the terms of H, then the
    # plainest, which comes first.
    most = max((one.counts[1] for one in routes), default=0)
    best = max(
        routes,
        key=lambda one: (one.counts[1] == most, one.clear, one.listed.energy_row is not None),
        default=None,
    )
    if best is None:
        return None
    formulas = np.array([best.listed.quantities[k].row for k in best.listed.generating])
    limit = hidden_bracket(best.listed.library, formulas, shot, data.points(), scale)
    best = best._replace(hidden=limit if limit > ROUNDING else 0.0)
    if not best.clear or best.counts[1] >= 2 * data.dof - 1:
        return best
    # A library that does not tell may hold more than one that does.
    more = [
        f"among {one.library.terms} terms ({one.library.label}) {one.library.why}"
        for one in routes
        if not one.clear
    ]
    return best._replace(doubts=tuple(more))


def _together(constant: _Route, commute: _Route | None) -> _Route:
    """The route to believe; with a doubt where both decide and differ."""
    if commute is None:
        return constant
    alike = constant.library.label == commute.library.label
    if not commute.clear:
        if not (constant.clear and alike and constant.counts[1] > commute.counts[1]):
            return constant
        doubt = (
            f"{constant.counts[1]} independent ones are constant along trajectories to within noise, but H "
            f"as it was measured changes all but {commute.counts[1]} of them slowly"
        )
        return constant._replace(doubts=(doubt,))
    # Combinations of products may be constant by chance; of independent ones both must see as many.
    fewer = alike and constant.counts[1] < commute.counts[1]
    if constant.clear and (fewer or constant.counts[1] > commute.counts[1]):
        one, other = constant.counts, commute.counts
        doubt = (
            f"{one[0]} combinations ({one[1]} independent) are constant along trajectories, and {other[0]} "
            f"({other[1]}) commute with H"
        )
        return constant._replace(doubts=(doubt,))
    return commute


def _answer(
    route: _Route, data: Trajectories, shot: ShotHamiltonian | None, readable: ReadableHamiltonian | None
) -> Beyond:
    """All that is to say of what was found."""
    parts = route.listed
    quantities = tuple(parts.described(k) for k in range(len(parts.quantities)))
    members = parts.members()
    found = brackets_of(members) if quantities else Brackets((), (), 0, 0)
    energy = parts.hamiltonian or _from_exact(readable)
    if shot is not None:
        energy = library_hamiltonian(shot)
    limit, why = _ceiling(parts, data, shot, readable)
    most = limit.most
    doubts = list(route.doubts)
    if most is not None and parts.independent > most:
        doubts.append(
            f"{parts.independent} are found and only {most} can exist: neighbouring motions separate"
        )
    said = verdict(
        parts.independent,
        found.involution,
        data.dof,
        hamiltonian=energy is not None,
        decided=not doubts and parts.independent == most,
    )
    return Beyond(
        library=replace(route.library, clear=not doubts, why="; ".join(doubts)),
        searched=(),
        dof=data.dof,
        linear=len(quantities),
        independent=parts.independent,
        ceiling=most,
        ceiling_note=why,
        exponents=tuple(tuple(one) for one in limit.exponents.tolist()),
        hamiltonian=energy,
        quantities=quantities,
        brackets=found.table,
        relations=found.relations,
        poisson_rank=found.poisson_rank,
        involution=found.involution,
        verdict=UNDECIDED if doubts else said,
        undecided=tuple(doubts),
        legend=route.legend,
        algebra="" if doubts or not quantities else surface_algebra(members, found.relations),
    )


def _from_exact(readable: ReadableHamiltonian | None) -> LibraryHamiltonian | None:
    """The Hamiltonian of the exact evidence."""
    if readable is None:
        return None
    pairs = {term.text: (term.coefficient, term.error) for term in readable.terms}
    return LibraryHamiltonian(readable.text(), pairs, None, "exact evidence")


def _ceiling(
    parts: Listed, data: Trajectories, shot: ShotHamiltonian | None, readable: ReadableHamiltonian | None
) -> tuple[Ceiling, str]:
    """How many can exist, and where that is from, or why it is not known."""
    dof = len(parts.motion.scales) // 2

    def known(most: int | None, why: str) -> tuple[Ceiling, str]:
        return Ceiling(most, np.zeros((0, dof)), 0.0), why

    if dof == 1:
        return known(1, "one degree of freedom has one at most")
    if parts.independent >= 2 * dof - 1:
        return known(2 * dof - 1, f"{dof} degrees of freedom have {2 * dof - 1} at most")
    if shot is not None:
        hamiltonian = _function(shot.library, shot.coefficients)
    else:
        hamiltonian = _function(parts.library, parts.energy_row) or _exact_function(readable)
    if hamiltonian is None:
        return known(None, "no Hamiltonian is known to follow")
    try:
        found = ceiling(
            hamiltonian, parts.states, parts.motion.scales, angles=parts.motion.trajectories.angles()
        )
    except Exception as error:  # whatever the integration fails of costs the ceiling alone
        return known(None, f"{type(error).__name__}: {error}")
    if found.most is None:
        return found, found.why
    return found, (
        f"by the growth of neighbouring motions from {len(found.exponents)} states of the data over "
        f"{found.time:.3g} {data.time_unit or 'units of time'}; chaos that is slower than that is not seen"
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


def _notes(data: Trajectories, attempt: Attempt) -> list[str]:
    """The time on which conservation was tested, and what is to say of H."""
    longest = float(np.median([times[-1] - times[0] for times, _ in data.segments()]))
    unit = data.time_unit or "units of time"
    notes = [f"conservation was tested along trajectories of {longest:.3g} {unit}"]
    if attempt.hamiltonian is None:
        notes.append(f"no Hamiltonian as a formula: {attempt.why}")
    elif attempt.fitted is not None and attempt.fitted.runner_up:
        notes.append(f"H is the shortest description of the motion: {attempt.fitted.runner_up}")
    return notes
