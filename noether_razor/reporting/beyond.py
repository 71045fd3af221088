"""The part of the answer beyond degree two, for a person to read."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .exact import exact_text

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
MOST_LISTED = 12
"""Quantities, brackets and relations that are printed."""
LONGEST_ENTRY = 200
"""Letters of a formula that is printed whole."""
LONGEST_RELATED = 60
"""Letters of a formula that is printed for what it is of others."""
MOST_TERMS = 12
"""Terms of a quantity that is shown although the answer is undecided: longer ones are mostly noise."""
MOST_ERRORS = 6
"""Errors of coefficients that are printed beside a formula."""


SAID_OF_H = {
    "trajectories": "its steps from row to row miss",
    "shooting": "its trajectories miss the rows",
}
"""How well H fits, by where it is from."""


def beyond_part(symmetry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The "beyond" of symmetry.json, None where nothing was searched."""
    return symmetry.get("beyond")


def beyond_verdict(beyond: Mapping[str, Any]) -> str:
    """What was found, how much can exist, and what that makes of the system, in one sentence."""
    count, ceiling = beyond["independent"], beyond["ceiling"]
    if not count:
        return f"{'undecided: ' if beyond['undecided'] else ''}{beyond['verdict']}"
    if beyond["undecided"]:
        return f"undecided: {beyond['verdict']}"
    many = f"{_word(NUMBERS, count, '')} independent {'quantity' if count == 1 else 'quantities'}"
    if beyond["decided"]:
        many += f", and no {_word(ORDINALS, count + 1, 'th')} can exist"
    elif ceiling is not None and count < ceiling:
        many += f", where up to {ceiling} can exist"
    return f"{many}: {beyond['verdict']}"


def beyond_headline(symmetry: Mapping[str, Any]) -> str:
    """What it adds to the first line; empty where it decides nothing, or finds no more than degree two."""
    beyond = beyond_part(symmetry)
    if beyond is None or beyond["undecided"] or beyond["independent"] <= symmetry["independent"]:
        return ""
    return f"in all {beyond_verdict(beyond).partition(':')[0]}"


def beyond_lines(symmetry: Mapping[str, Any]) -> list[str]:
    """All that is printed of it, as lines before they are folded; each says one thing."""
    beyond = beyond_part(symmetry)
    if beyond is None:
        return []
    library = beyond["library"]
    where = "beyond degree two, among" if _goes_beyond(beyond) else "among"
    lines = [f"{where} {library['terms']} terms ({library['label']}): {beyond_verdict(beyond)}"]
    shown = beyond_listed(beyond)
    for entry in shown:
        about = [entry["note"], "" if entry["generator"] else "not independent", beyond_errors(entry)]
        about.append(beyond_evidence(beyond, entry["name"]))
        lines.append(
            "; ".join(
                [f"{entry['name']} = {_shortened(entry['formula'])}", *(part for part in about if part)]
            )
        )
    if beyond["undecided"] and len(shown) < len(beyond["quantities"]):
        lines.append(f"{len(beyond['quantities']) - len(shown)} more that seem constant are not listed")
    used = [
        name for name in beyond["legend"] if any(_names(name, one["formula"]) for one in beyond["quantities"])
    ]
    meant = [f"{name} = {beyond['legend'][name]}" for name in used]
    lines += [f"where {', '.join(meant)}"] if meant else []
    told = (
        [] if beyond["undecided"] else [text for text in beyond_brackets(beyond) if not text.endswith(" = 0")]
    )
    if told:
        others = ", others 0" if len(told) < len(beyond["brackets"]) else ""
        lines.append(f"brackets: {', '.join(told[:MOST_LISTED])}{others}")
    elif beyond["brackets"] and not beyond["undecided"]:
        lines.append("brackets: all 0")
    if beyond.get("algebra"):
        lines.append(f"where H is constant they close: {beyond['algebra']}")
    return [*lines, *beyond_more(beyond)]


def beyond_listed(beyond: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The quantities that are shown: those that are no polynomials of others, and of an undecided answer
    those that can be read.
    """
    derived = {text.partition(" = ")[0] for text in beyond["relations"]}
    found = [entry for entry in beyond["quantities"] if entry["name"] not in derived]
    if beyond["undecided"]:
        found = [entry for entry in found if len(entry["coefficients"]) <= MOST_TERMS]
    return found[:MOST_LISTED]


def beyond_more(beyond: Mapping[str, Any]) -> list[str]:
    """Counts, H, relations, the ceiling, and what keeps the data from deciding."""
    lines, energy = [], beyond["hamiltonian"]
    if beyond["linear"] > beyond["independent"]:
        lines.append(
            f"{beyond['linear']} combinations of terms are conserved, of which {beyond['independent']} "
            f"{'is' if beyond['independent'] == 1 else 'are'} independent"
        )
    if energy is not None and energy["source"] in SAID_OF_H:
        fits = "" if energy["chi2_dof"] is None else f" by {energy['chi2_dof'] ** 0.5:.2f} times the noise"
        lines.append(f"H = {_shortened(energy['formula'])}; {SAID_OF_H[energy['source']]}{fits}")
    if any(entry["source"] == "hamiltonian" for entry in beyond["quantities"]):
        lines.append("these laws were computed from H; along single trajectories noise may hide them")
    if not beyond["undecided"]:
        lines += _relations(beyond)
    if beyond["ceiling"] is not None:
        lines.append(f"at most {beyond['ceiling']} can exist: {beyond['ceiling_note']}")
    elif beyond["quantities"]:
        lines.append(f"how many can exist is not known: {beyond['ceiling_note']}")
    lines += [f"undecided: {why}" for why in beyond["undecided"]]
    return [*lines, *beyond["notes"]]


def _relations(beyond: Mapping[str, Any]) -> list[str]:
    """Relations of quantities that are listed, and of others by their formulas where these are short."""
    formulas = {entry["name"]: entry["formula"] for entry in beyond["quantities"]}
    shown, more = [], 0
    for text in beyond["relations"]:
        name, _, rest = text.partition(" = ")
        if name in formulas and len(formulas[name]) > LONGEST_RELATED:
            more += 1
        else:
            shown.append(f"{formulas[name]} = {rest}" if name in formulas else text)
    lines = [f"relations: {', '.join(shown[:MOST_LISTED])}"] if shown else []
    if more:
        lines.append(f"{more} more {'is a polynomial' if more == 1 else 'are polynomials'} of those above")
    return lines


def beyond_brackets(beyond: Mapping[str, Any]) -> list[str]:
    """As {I1, I3} = I4; a bracket that is no short polynomial is said to be one of them."""
    names = [entry["name"] for entry in beyond["quantities"]]
    return [
        f"{{{names[i - 1]}, {names[j - 1]}}} {'is no short polynomial' if text is None else f'= {text}'}"
        for i, j, text in beyond["brackets"]
    ]


def beyond_errors(entry: Mapping[str, Any]) -> str:
    """The errors of the coefficients, of the first few: those of simple numbers are what they were measured
    to.
    """
    errors = [f"{error:.1g} of {term}" for term, error in entry["stderr"].items() if error > 0]
    more = ", .." if len(errors) > MOST_ERRORS else ""
    return f"± {', '.join(errors[:MOST_ERRORS])}{more}" if errors else ""


def beyond_evidence(beyond: Mapping[str, Any], name: str) -> str:
    """What the fit of H says of a quantity; empty where it was not asked, or says nothing."""
    judged = beyond.get("evidence") or {"withdrawn": "", "quantities": []}
    one = next((one for one in judged["quantities"] if one["quantity"] == name), None)
    return "" if one is None or judged["withdrawn"] else f"exact evidence: {exact_text(one)}"


def failures(symmetry: Mapping[str, Any]) -> dict[str, str]:
    """The parts that failed: not the exact evidence of polynomials, where H of a library takes its place."""
    failed = dict(symmetry.get("failed", {}))
    if ((symmetry.get("beyond") or {}).get("hamiltonian") or {}).get("source") == "shooting":
        failed.pop("exact evidence", None)
    return failed


def _goes_beyond(beyond: Mapping[str, Any]) -> bool:
    """Whether the library has other terms than polynomials of degree 2."""
    library = beyond["library"]
    return library["degree"] > 2 or "and" in library["label"]


def beyond_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of it: the quantities in LaTeX and the table of brackets; empty without a search."""
    beyond = beyond_part(symmetry)
    if beyond is None:
        return ""
    lines = [
        "## Beyond degree two",
        "",
        f"{beyond_verdict(beyond)[:1].upper()}{beyond_verdict(beyond)[1:]}.",
        "",
    ]
    for entry in beyond_listed(beyond):
        errors = beyond_errors(entry)
        lines.append(f"- ${entry['name']} = {entry['latex']}$" + (f"; {errors}" if errors else ""))
    if beyond["brackets"] and not beyond["undecided"]:
        names = [entry["name"] for entry in beyond["quantities"]]
        lines += ["", "| Poisson bracket | value |", "|---|---|"]
        for i, j, text in beyond["brackets"]:
            lines.append(
                f"| {{{names[i - 1]}, {names[j - 1]}}} | {'no short polynomial' if text is None else text} |"
            )
    return "\n".join([*lines, ""])


def _names(name: str, formula: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", formula) is not None


def _word(words: Sequence[str], count: int, after: str) -> str:
    return words[count] if count < len(words) else f"{count}{after}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_ENTRY else f"{text[: LONGEST_ENTRY - 4]} ..."
