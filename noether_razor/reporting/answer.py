"""The contents of symmetry.json for a person to read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..invariants import Measurement, measured_text

WIDEST_COLUMN = 60
"""Characters of a formula for which the others make room."""
MEASURED = 3
"""Measured coefficients beside a formula."""
NOTHING = 1e-9
"""Of a mean over the largest coefficient, which is rounding."""
MOST_SAME = 6
"""Combinations that are the same everywhere, of which formulas are printed."""
COMMUTES = 0.3
"""R.m.s. of {C, H} over |grad C| |grad H| from which a good model contradicts a quantity."""
STRONG, STANDARD_ERRORS = 3.0, 3.0
"""Nats that count as strong (Kass and Raftery 1995), and by how many standard errors."""
REASONS = {
    "velocities": (
        "the momenta are not canonical: part of the force stands at right angles to the velocity, as in a "
        "magnetic field (p = m v + q A) or a rotating frame (p = m (v + w x r))"
    ),
    "friction": "the force resists or drives the motion (friction), which no Hamiltonian does",
    "coordinates": (
        "no Hamiltonian in these coordinates moves the data; where momenta are masses times the rates of "
        "angles or other curved coordinates, the canonical ones are p = M(q) v"
    ),
    "energy": "the learned energy changes along trajectories",
}


NOT_COMPUTED = "not computed"
"""How the name of an algebra begins that was not looked for."""
VELOCITIES = (
    "momenta were made of velocities, and mass times velocity is not canonical in a rotating frame, a "
    "magnetic field or for rates of angles"
)


def symmetry_text(symmetry: Mapping[str, Any]) -> str:
    """What was found, as lines: the first says the answer and what speaks against it."""
    lines = [headline(symmetry)]
    quantities, unit = symmetry["quantities"], symmetry.get("time_unit") or "unit of time"
    lines += _lines(
        quantities, lambda entry: f"changes by at most {percent(entry['limit'])} of its spread (95 %)"
    )
    if symmetry["rank"]:
        lines += about_space(symmetry)
    if drifting := symmetry["drifting"]:
        lines.append(
            "slowly drifting, not counted (a weak perturbation; a coarse integrator or smoothed rows look so)"
        )
        lines += _lines(drifting, lambda entry: rate_text(entry, unit), name="D")
    if same := symmetry["same_everywhere"]:
        lines.append("the same value in the whole file: a constraint, or one orbit; the file cannot tell")
        lines += _lines(same[:MOST_SAME], lambda entry: "", name="", equals=True)
        if len(same) > MOST_SAME:
            lines.append(f"  and {len(same) - MOST_SAME} more")
    lines.append(f"what the data show: {data_text(symmetry)}")
    lines += _about_model(symmetry)
    return "\n".join(lines) + "\n"


def headline(symmetry: Mapping[str, Any]) -> str:
    """The answer in one line, with everything that speaks against it."""
    data, rank = symmetry["data"], symmetry["rank"]
    doubts = _doubts(symmetry)
    many = _many(rank, "conserved quantity", "conserved quantities")
    if not data["enough"]:
        said = "cannot tell what is conserved: too few rows"
    elif data["recordings"] == 1:
        stay = _many(data["staying"], "combination stays", "combinations stay")
        said = f"cannot tell from one orbit: {stay} constant along it"
    elif rank and (not data["settled"] or data["staying"] > data["most"]):
        said = f"at least {many} {among(symmetry)}"
        if not data["settled"]:
            stay = _many(data["staying"], "combination stays", "combinations stay")
            said = f"cannot tell how many are conserved: {stay} constant"
    elif rank:
        said = f"{'' if data['clear'] and not data['hidden'] else 'undecided: '}{many} {among(symmetry)}"
    else:
        said = f"no conserved quantities {among(symmetry)}"
        if data["shown"]:
            said += " were learned"
        elif data["staying"]:
            said = "cannot tell what is conserved: what stays constant is the same in the whole file"
    named = symmetry["algebra"]["name"]
    canonical = symmetry["hamiltonian"] is not False
    told = "not named" not in named and not named.startswith(NOT_COMPUTED)
    if rank and data["enough"] and symmetry["closes"] and canonical and told:
        aliases = symmetry["algebra"]["aliases"]
        said += f", {named}" + (f" = {aliases[0]}" if aliases else "")
    if drifting := len(symmetry["drifting"]):
        said += f"; {drifting} more {'drifts' if drifting == 1 else 'drift'} slowly"
    said = "; ".join([said, *limits_of_file(symmetry)])
    return f"{said}; BUT {'; '.join(doubts)}" if doubts else said


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
    data, rank, limits = symmetry["data"], symmetry["rank"], []
    needed = f"about {data['needed']} trajectories would tell"
    if not data["enough"]:
        limits.append(f"{data['rows']} rows, {data['rows_needed']} are needed to test all {among(symmetry)}")
    elif data["recordings"] == 1:
        limits.append(needed)
    elif rank and data["staying"] > data["most"]:
        shown = f"{data['recordings']} trajectories can show at most {data['most']}"
        limits.append(f"{shown}, and {data['staying']} combinations stay constant; {needed}")
    elif not data["settled"]:
        limits.append(f"a single trajectory decides the count; {needed}")
    if rank and not data["noise_told"]:
        limits.append(
            "noise cannot be told from motion between rows: changes below 2 % of the spread are not seen"
        )
    if rank and data["hidden"]:
        limits.append(f"noise would hide a change of 8 % of the spread in {data['hidden']} of them")
    if rank and not data["clear"]:
        limits.append("more are rejected by a narrow margin only")
    return limits


def _doubts(symmetry: Mapping[str, Any]) -> list[str]:
    """What speaks against the answer."""
    rank, doubts = symmetry["rank"], []
    structure = symmetry.get("checks", {}).get("structure")
    not_canonical = symmetry["hamiltonian"] is False
    if rank and not symmetry["closes"] and not not_canonical:
        doubts.append("they do not close under the Poisson bracket: some are missing or wrong")
    if structure is not None:
        if structure["reason"] is not None:
            doubts.append(REASONS[structure["reason"]])
            if rank:
                doubts.append(
                    "they are invariants of the data, and generate no symmetry in these coordinates"
                )
        elif structure["verdict"] == "not explained":
            doubts.append(
                "the model does not explain the motion: nothing is claimed of its Hamiltonian and symmetry"
            )
        elif structure["verdict"] == "partly explained":
            doubts.append(
                f"the model explains the motion in part only ({structure['unexplained']:.0%} is left)"
            )
        if structure["reason"] is None and structure["verdict"] != "explained" and symmetry["velocities"]:
            doubts.append(VELOCITIES)
        if structure["verdict"] == "explained" and not not_canonical:
            brackets = [q["bracket_with_hamiltonian"] for q in symmetry["quantities"]]
            against = [k for k, value in enumerate(brackets) if value is not None and value > COMMUTES]
            if against:
                names = ", ".join(f"C{k + 1}" for k in against)
                doubts.append(
                    f"the learned H does not conserve {names} ({{C, H}} {max(v or 0 for v in brackets):.0%})"
                )
    elif "model" in symmetry.get("failed", {}) and symmetry["velocities"]:
        doubts.append(VELOCITIES)
    gain = evidence_gain(symmetry["evidence"])
    if gain is not None and rank and gain[0] < -max(STRONG, STANDARD_ERRORS * gain[1]):
        doubts.append(
            f"a model with these built in explains the data worse ({gain[0]:+.0f} ± {gain[1]:.0f} nats)"
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
        said += f"; {unseen} of them {'has' if unseen == 1 else 'have'} one value in all"
    if copies := data["copies"]:
        said += f"; {_many(copies, 'trajectory repeats', 'trajectories repeat')} others, not counted"
    if out := data["left_out"]:
        said += f"; {_many(out, 'row stands', 'rows stand')} out by more than 8 times the noise, not used"
    return said


def about_space(symmetry: Mapping[str, Any]) -> list[str]:
    """How many quantities are functionally independent, and the algebra that they span."""
    rank, algebra = symmetry["rank"], symmetry["algebra"]
    independent = f"  functionally independent: {symmetry['independent']}"
    if symmetry["independent"] < rank:
        names = ", ".join(f"C{k + 1}" for k in symmetry["generating"])
        independent += f" ({names} generate the rest)"
    if symmetry["hamiltonian"] is False:
        return [independent]
    central = ", with a constant that brackets produce" if algebra["central_extension"] else ""
    # Why an algebra has no name, and its invariants, are in symmetry.json.
    name = (
        algebra["name"].split(":")[0] + "".join(f" = {alias}" for alias in algebra["aliases"][:1]) + central
    )
    if not name.startswith(("does not close", NOT_COMPUTED)):
        name += f", closure error {algebra['closure_error']:.1%}"
    return [independent, f"  algebra: {name}"]


def _about_model(symmetry: Mapping[str, Any]) -> list[str]:
    lines = []
    if symmetry.get("restricted"):
        lines.append(
            f"the model has learned {symmetry['learned']} of the {symmetry['data']['shown']} that fresh "
            "trajectories of its system conserve; only these are listed"
        )
    elif symmetry["strengths"] and symmetry["rank"]:
        held, rank = symmetry["learned"], symmetry["rank"]
        lines.append(f"the model, trained on the same data: its quantities hold {held} of these {rank}")
    gain = evidence_gain(symmetry["evidence"])
    if gain is not None and symmetry["rank"]:
        lines.append(
            f"the bound with these built in is {gain[0]:+.0f} ± {gain[1]:.0f} nats above that without "
            "symmetry (a difference of lower bounds)"
        )
    elif symmetry["evidence"] and symmetry["rank"]:
        lines.append("no evidence from the bound: the refits have not converged, or failed")
    lines += [f"failed: {part}: {why}" for part, why in symmetry.get("failed", {}).items()]
    return lines


def evidence_gain(evidence: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """By how many nats the bound with the found space exceeds that with none, with its error."""
    if not evidence or "none" not in evidence or "found" not in evidence:
        return None
    none, found = evidence["none"], evidence["found"]
    if not (none.get("converged", True) and found.get("converged", True)):
        return None
    nats = none["negative_elbo_total"] - found["negative_elbo_total"]
    return nats, float(np.hypot(none["stderr"], found["stderr"]))


def _lines(
    entries: Sequence[Mapping[str, Any]], said: Any, *, name: str = "C", equals: bool = False
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
        measured = {term_text(key): Measurement(**item) for key, item in entry["measured"].items()}
        parts = [
            said(entry),
            "" if beside is None else f"{{C, H}} {beside:.1%}",
            entry["note"],
            measured_text(measured, MEASURED),
        ]
        lines.append(f"  {label}{text:<{width}}{unit}  {'; '.join(part for part in parts if part)}".rstrip())
    return lines


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
    moved = f"changes by {percent(max(entry['drift'], entry['limit']))} of its spread along a trajectory"
    if rate is None or error is None or not rate > error:
        return moved
    return f"{moved}, at {_with_error(rate, error)} of its spread per {unit} (r.m.s.)"


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


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
