"""The contents of symmetry.json for a person to read."""

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np

from ..invariants import Measurement, measured_text
from .beyond import beyond_headline, beyond_lines, failures
from .exact import disagreement, exact_sentences, exact_verdict
from .learned import learned_lines

LINE = 120
"""Characters of a printed line."""
DIFFERENCE = "a difference of lower bounds"
"""What a Delta-ELBO is."""
NO_BREAK = "\N{NO-BREAK SPACE}"
WIDEST_COLUMN = 60
"""Characters of a formula for which the others make room."""
MEASURED = 3
"""Measured coefficients without a name that are printed beside a formula."""
NOTHING = 1e-9
"""Of a mean over the largest coefficient, which is rounding."""
MOST_SAME = 6
"""Combinations that are the same everywhere, of which formulas are printed."""
MOST_READINGS = 2
"""Sentences about doubtful readings in the first line."""
COMMUTES = 0.3
"""R.m.s. of {C, H} over |grad C| |grad H| from which a good model contradicts a quantity."""
REASONS = {
    "velocities": (
        "the momenta are not canonical: part of the force is at right angles to the velocity, as in a "
        "magnetic field (p = m v + q A) or a rotating frame (p = m (v + w x r)): give velocities without "
        "masses, and canonical momenta are found from the data"
    ),
    "friction": "there is friction or driving, which no Hamiltonian in these coordinates describes",
    "coordinates": (
        "no Hamiltonian in these coordinates describes the motion; if momenta are mass times the velocity of "
        "angles or other curvilinear coordinates, give p = M(q) v instead"
    ),
    "energy": "the learned energy drifts along trajectories",
}


NOT_COMPUTED = "not computed"
"""How the name of an algebra begins that was not looked for."""
VELOCITIES = (
    "momenta were computed from velocities, and mass times velocity is not canonical in a rotating frame, in "
    "a magnetic field or for angles: without --masses canonical momenta are found from the data"
)


def symmetry_text(symmetry: Mapping[str, Any]) -> str:
    """What was found, as lines: the first says the answer and what speaks against it."""
    lines = [headline(symmetry)]
    quantities, unit = symmetry["quantities"], symmetry.get("time_unit") or "unit of time"
    if bracket := symmetry.get("bracket"):
        lines += folded(f"columns: {bracket['text']}")
    lines += _lines(quantities, limit_text, symmetry)
    if symmetry["rank"]:
        lines += about_space(symmetry)
    if (drifting := symmetry["drifting"]) and not symmetry["data"].get("unresolved"):
        lines.append(
            "slowly drifting, not counted (a weak perturbation; a coarse integrator or smoothing looks alike)"
        )
        lines += _lines(drifting, lambda entry: rate_text(entry, unit), symmetry, name="D")
    if same := symmetry["same_everywhere"]:
        lines.append("constant in the whole file: a constraint or a single orbit, the file cannot tell which")
        lines += _lines(same[:MOST_SAME], lambda entry: "", symmetry, name="", equals=True)
        if len(same) > MOST_SAME:
            lines.append(f"  and {len(same) - MOST_SAME} more")
    lines += folded(f"data: {data_text(symmetry)}")
    lines += exact_lines(symmetry)
    lines += beyond_text(symmetry)
    lines += learned_text(symmetry)
    lines += _about_model(symmetry)
    return "\n".join(lines) + "\n"


def exact_lines(symmetry: Mapping[str, Any]) -> list[str]:
    """What the exact evidence says; empty where there is none."""
    return _folded(exact_sentences(symmetry))


def beyond_text(symmetry: Mapping[str, Any]) -> list[str]:
    """What is conserved beyond degree two; empty where that was not searched."""
    return _folded(beyond_lines(symmetry))


def learned_text(symmetry: Mapping[str, Any]) -> list[str]:
    """What was learned with the bound of other families; empty where there is none."""
    return _folded(learned_lines(symmetry))


def _folded(found: Sequence[str]) -> list[str]:
    first, *more = found or [""]
    lines = folded(first)
    for line in more:
        lines += folded(line, "  ", "    ")
    return lines


def headline(symmetry: Mapping[str, Any]) -> str:
    """The answer in one line, with everything that speaks against it."""
    data, rank = symmetry["data"], symmetry["rank"]
    doubts = _doubts(symmetry)
    many = _many(rank, "conserved quantity", "conserved quantities")
    if not data["enough"]:
        said = "cannot tell what is conserved: too few rows"
    elif not data.get("moves", True):
        said = "cannot tell what is conserved: nothing moves along trajectories beyond noise"
    elif data.get("unresolved"):
        said = f"cannot tell what is conserved: {data['unresolved']}"
    elif data["recordings"] == 1:
        stay = _many(data["staying"], "combination stays", "combinations stay")
        said = f"cannot tell from one orbit: {stay} constant along it"
    elif rank and (not data["settled"] or data["staying"] > data["most"]):
        said = f"at least {many} {among(symmetry)}"
        if not data["settled"]:
            stay = _many(data["staying"], "combination stays", "combinations stay")
            said = f"cannot tell how many are conserved: {stay} constant"
    elif rank:
        sure = data["clear"] and not data["hidden"] and not data.get("local") and _sound(data)
        said = f"{'' if sure else 'undecided: '}{many} {among(symmetry)}"
    else:
        said = f"{'' if _sound(data) else 'undecided: '}no conserved quantities {among(symmetry)}"
        if data["shown"]:
            said += " were learned"
        elif data["staying"]:
            said = "cannot tell what is conserved: what stays constant has one value in the whole file"
    named = symmetry["algebra"]["name"]
    canonical = symmetry["hamiltonian"] is not False
    told = "not named" not in named and not named.startswith(NOT_COMPUTED)
    shown = data["enough"] and data.get("moves", True) and not data.get("unresolved")
    if rank and shown and symmetry["closes"] and canonical and told:
        aliases = symmetry["algebra"]["aliases"]
        with_same = f", and with what is constant in the whole file {named}"
        said += with_same if symmetry.get("with_same") else f", {named}"
        said += f" = {aliases[0]}" if aliases else ""
    if (drifting := len(symmetry["drifting"])) and not data.get("unresolved"):
        said += f"; {drifting} more {'drifts' if drifting == 1 else 'drift'} slowly"
    said = "; ".join([said, *filter(None, [beyond_headline(symmetry)]), *limits_of_file(symmetry)])
    return f"{said}; BUT {'; '.join(doubts)}" if doubts else said


def _sound(data: Mapping[str, Any]) -> bool:
    """Whether all rows may be measurements."""
    return not data.get("readings")


def of_degree_two(symmetry: Mapping[str, Any]) -> bool:
    """Whether the quantities are of degree <= 2: where nothing is said of a family they are."""
    return symmetry.get("family", "quadratic") == "quadratic"


def among(symmetry: Mapping[str, Any]) -> str:
    """Among what was looked for conserved quantities."""
    if of_degree_two(symmetry):
        return "of degree <= 2"
    return f"among {symmetry['data']['terms']} terms ({symmetry['family']})"


def limits_of_file(symmetry: Mapping[str, Any]) -> list[str]:
    """What the file cannot show, and how much more would."""
    data, rank = symmetry["data"], symmetry["rank"]
    limits = list(data.get("readings", ()))[:MOST_READINGS]
    needed = f"about {data['needed']} trajectories would be enough"
    if not data["enough"]:
        limits.append(
            f"{data['rows']} rows, but {data['rows_needed']} are needed to test all {among(symmetry)}"
        )
    elif not data.get("moves", True) or data.get("unresolved"):
        return limits
    elif data["recordings"] == 1:
        limits.append(needed)
    elif rank and data["staying"] > data["most"]:
        shown = f"{data['recordings']} trajectories can show at most {data['most']}"
        limits.append(f"{shown}, and {data['staying']} combinations stay constant; {needed}")
    elif not data["settled"]:
        limits.append(f"the count rests on a single trajectory; {needed}")
    if rank and not data["noise_told"]:
        limits.append(
            "rows are too far apart to separate noise from motion: drifts below 2 % of the spread go unseen"
        )
    if rank and data.get("local"):
        limits.append(
            "trajectories end before the motion turns: any flow keeps some long formulas constant so far"
        )
    if rank and data["hidden"]:
        limits.append(f"noise could hide a drift of 8 % of the spread in {data['hidden']} of them")
    if not data["clear"] and data["enough"]:
        limits.append(f"{'others are' if rank else 'one is'} rejected only by a narrow margin")
    return limits


def _doubts(symmetry: Mapping[str, Any]) -> list[str]:
    """What speaks against the answer."""
    rank, doubts = symmetry["rank"], []
    structure = symmetry.get("checks", {}).get("structure")
    not_canonical = symmetry["hamiltonian"] is False
    if rank and not symmetry["closes"] and not not_canonical:
        why = "some are missing or wrong"
        if structure is None and symmetry["velocities"]:
            why += ", or mass times velocity is not canonical"
        doubts.append(f"they do not close under the Poisson bracket: {why}")
    if structure is not None:
        if structure["reason"] is not None:
            doubts.append(REASONS[structure["reason"]])
            if rank:
                doubts.append(
                    "what is listed is invariant, but without a Hamiltonian it generates no symmetry"
                )
        elif structure["verdict"] == "not explained":
            doubts.append(
                "the model does not explain the motion: nothing is claimed about its Hamiltonian and symmetry"
            )
        elif structure["verdict"] == "partly explained":
            doubts.append(
                f"the model explains the motion only in part ({percent(structure['unexplained'])} is left)"
            )
        if structure["reason"] is None and symmetry["hamiltonian"] is None and symmetry["velocities"]:
            doubts.append(VELOCITIES)
        if structure["verdict"] == "explained" and not not_canonical:
            brackets = [q["bracket_with_hamiltonian"] for q in symmetry["quantities"]]
            against = [k for k, value in enumerate(brackets) if value is not None and value > COMMUTES]
            if against:
                names = ", ".join(f"C{k + 1}" for k in against)
                doubts.append(
                    f"the learned H does not conserve {names} "
                    f"({{C, H}} {percent(max(v or 0 for v in brackets))})"
                )
    elif "model" in symmetry.get("failed", {}) and symmetry["velocities"]:
        doubts.append(VELOCITIES)
    if other := disagreement(symmetry):
        doubts.append(other)
    found = (symmetry["evidence"] or {}).get("found")
    if found is not None and rank and found["verdict"] == "rejected":
        doubts.append(
            f"a model with these built in explains the data worse (Delta-ELBO {gain_text(found['gain'])})"
        )
    return doubts


def data_text(symmetry: Mapping[str, Any]) -> str:
    """What the file can and cannot show, in a sentence."""
    data = symmetry["data"]
    many = _many(data["recordings"], "trajectory", "trajectories")
    what = "monomials" if of_degree_two(symmetry) else "terms"
    stay = _many(data["staying"], f"combination of {what} stays", f"combinations of {what} stay")
    said = f"{stay} constant along {many}, which can show at most {data['most']}"
    unseen = data["staying"] - data["shown"]
    if unseen:
        said += f"; {unseen} of them {'has' if unseen == 1 else 'have'} one value in the whole file"
    if copies := data["copies"]:
        duplicates = _many(copies, "duplicate trajectory is", "duplicate trajectories are")
        said += f"; {duplicates} not counted"
    if still := data.get("still"):
        said += f"; {', '.join(still)} never {'changes' if len(still) == 1 else 'change'}"
    if shared := data.get("noise_shared"):
        said += f"; noise of {shared[0]} and {shared[1]} is shared (correlation {shared[2]:.2f})"
        if (symmetry.get("bracket") or {}).get("kind") in ("field", "natural", "constant", "form"):
            said += ", as each momentum is made of several columns"
    if (alike := data.get("rows_alike", 1)) > 1:
        said += f"; noise is correlated over about {max(2, round(alike))} rows"
    if out := data["left_out"]:
        said += f"; {_many(out, 'outlier', 'outliers')} beyond 8 times the noise left out"
    return said


def about_space(symmetry: Mapping[str, Any]) -> list[str]:
    """How many quantities are functionally independent, and the algebra that they span; empty where rows do
    not show the motion.
    """
    if symmetry["data"].get("unresolved"):
        return []
    rank, algebra = symmetry["rank"], symmetry["algebra"]
    independent = f"  functionally independent: {symmetry['independent']}"
    if symmetry["independent"] < rank:
        names = ", ".join(f"C{k + 1}" for k in symmetry["generating"])
        independent += f" ({names} generate the rest)"
    if symmetry["hamiltonian"] is False:
        return [independent]
    central = ", with a constant from the brackets" if algebra["central_extension"] else ""
    # Why an algebra has no name, and its invariants, are in symmetry.json.
    name = (
        algebra["name"].split(":")[0] + "".join(f" = {alias}" for alias in algebra["aliases"][:1]) + central
    )
    if not name.startswith(("does not close", NOT_COMPUTED)):
        name += f", closure error {algebra['closure_error']:.1%}"
    of_what = "algebra, with what is constant in the whole file" if symmetry.get("with_same") else "algebra"
    return [independent, f"  {of_what}: {name}"]


def _about_model(symmetry: Mapping[str, Any]) -> list[str]:
    lines = []
    if symmetry.get("restricted"):
        lines.append(
            f"model: learned {symmetry['learned']} of the {symmetry['data']['shown']} quantities that fresh "
            "trajectories of its system conserve; only these are listed"
        )
    elif symmetry["strengths"] and symmetry["rank"]:
        held, rank = symmetry["learned"], symmetry["rank"]
        lines.append(f"model: trained on the same data, its learned quantities span {held} of these {rank}")
    if symmetry["rank"] and elbo_fits(symmetry["evidence"]):
        lines += folded(f"Delta-ELBO ({DIFFERENCE}): {_found_text(symmetry['evidence'])}")
    lines += [f"failed: {part}: {why}" for part, why in failures(symmetry).items()]
    return lines


def elbo_fits(evidence: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fits of the Delta-ELBO in "evidence" of symmetry.json, which may hold the exact evidence too."""
    return {name: part for name, part in (evidence or {}).items() if name != "exact"}


def gain_text(gain: Mapping[str, Any]) -> str:
    """A difference of ELBOs with its error, where it has one."""
    error = "" if gain["stderr"] is None else f" ± {gain['stderr']:.0f}"
    return f"{gain['nats']:+.0f}{error} nats"


def judgement_text(judgement: Mapping[str, Any]) -> str:
    """What the bound says of quantities as a symmetry."""
    if judgement["why"]:
        return f"no evidence, {judgement['why']}"
    return f"{judgement['verdict']} by the bound"


def _found_text(evidence: Mapping[str, Any]) -> str:
    found = evidence.get("found")
    if found is None:
        return "none, there is no fit with these built in"
    return f"{gain_text(found['gain'])} with these built in, against none; {judgement_text(found)}"


def folded(text: str, first: str = "", after: str = "  ") -> list[str]:
    """As many lines as a text needs: `first` stands before the first of them, `after` before the others."""
    # A number stays with its error and its unit.
    for part in (" ± ", " %"):
        text = text.replace(part, part.replace(" ", NO_BREAK))
    lines = wrap(
        text,
        LINE,
        initial_indent=first,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _lines(
    entries: Sequence[Mapping[str, Any]],
    said: Callable[[Mapping[str, Any]], str],
    symmetry: Mapping[str, Any],
    *,
    name: str = "C",
    equals: bool = False,
) -> list[str]:
    written = [
        f"{entry['formula']} = {mean_of(entry):.6g}" if equals else str(entry["formula"]) for entry in entries
    ]
    width = max((len(text) for text in written if len(text) <= WIDEST_COLUMN), default=0)
    lines = []
    for k, (entry, text) in enumerate(zip(entries, written, strict=True)):
        label = f"{name}{k + 1}".ljust(len(f"{name}{len(entries)}")) + " = " if name else ""
        unit = f"  [{entry['unit']}]" if entry["unit"] else ""
        beside = entry["bracket_with_hamiltonian"]
        bracket = "" if beside is None else f"{{C, H}} {100 * beside:.1f} %"
        exact = exact_verdict(symmetry, entry["formula"])
        # What is exact beyond doubt stands below, with all others.
        beyond = name == "C" and exact.startswith("exact")
        against = f"exact evidence: {exact}" if exact and not beyond else ""
        other = f"in columns {columns}" if (columns := entry.get("in_columns")) else ""
        told = (other, said(entry), against, bracket, entry["note"], beside_names(entry))
        parts = [part for part in told if part]
        lines += _packed(f"  {label}{text:<{width}}{unit}", parts, indent=" " * (2 + len(label)))
    return lines


def _packed(start: str, parts: Sequence[str], indent: str) -> list[str]:
    """A formula and what is said of it, in lines that are full; a part that fits on one is not divided."""
    *lines, line = folded(start.strip(), "  ", indent) if len(start) > LINE else [start]
    between = "  "
    for part in parts:
        if len(line) + len(between) + len(part) <= LINE:
            line += between + part
        else:
            *full, line = line, *folded(part, indent, indent)
            lines += full
        between = "; "
    return [text.rstrip() for text in (*lines, line)]


def limit_text(entry: Mapping[str, Any]) -> str:
    """Up to what a quantity may drift."""
    return f"drift below {percent(entry['limit'])} of its spread (95 %)"


def measured_terms(entry: Mapping[str, Any]) -> dict[str, Measurement]:
    """What the coefficients of a formula were measured as, by their terms."""
    return {term_text(key): Measurement(**item) for key, item in entry["measured"].items()}


def beside_names(entry: Mapping[str, Any]) -> str:
    """The measured coefficients that must stand beside a formula: of all that have a name other than 1, and
    errors of the first few that have none.
    """
    measured = measured_terms(entry)
    named = {term: item for term, item in measured.items() if item.name not in (None, "1")}
    decimal = {term: item for term, item in measured.items() if item.name is None}
    text = measured_text(named | dict(list(decimal.items())[:MEASURED]))
    return f"{text}, ..." if len(decimal) > MEASURED else text


def term_text(key: str) -> str:
    """q1*q1 as it stands in formulas."""
    first, _, second = key.partition("*")
    return f"{first}^2" if first == second else key


def mean_of(entry: Mapping[str, Any]) -> float:
    """The mean of a quantity, 0 where it is rounding."""
    if entry["A"] is None:
        size = max(map(abs, entry["coefficients"].values()))
    else:
        size = max(np.abs(entry["A"]).max(), np.abs(entry["b"]).max())
    return entry["mean"] if abs(entry["mean"]) > NOTHING * size else 0.0


def rate_text(entry: Mapping[str, Any], unit: str) -> str:
    """How fast a drifting quantity changes."""
    if entry["decays"]:
        word = "decays" if entry["decay"] > 0 else "grows"
        return f"{word} by {_with_error(entry['decay'], entry['decay_error'])} per {unit}"
    rate, error = entry["rate"], entry["rate_error"]
    moved = f"drifts by {percent(max(entry['drift'], entry['limit']))} of its spread along a trajectory"
    if rate is None or error is None or not rate > error:
        return moved
    return f"{moved}, {_with_error(rate, error)} of its spread per {unit} (r.m.s.)"


def _with_error(value: float, error: float) -> str:
    """As 0.51 ± 0.02 %."""
    value, error = 100 * abs(value), 100 * error
    places = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 2
    return f"{value:.{places}f} ± {error:.{places}f} %"


def percent(value: float | None) -> str:
    """A share with two digits."""
    if value is None:
        return "?"
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def sentence(text: str) -> str:
    """`text` with a capital letter and one full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
