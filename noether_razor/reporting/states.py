"""What was found of states that are no pairs of positions and momenta, for a person to read."""

from collections.abc import Mapping
from html import escape
from typing import Any

from .answer import folded, sentence
from .html import html_table, listed_items, notes_section, page, section


def states_text(symmetry: Mapping[str, Any]) -> str:
    """The contents of symmetry.json of such states, as lines: the first says the answer."""
    lines = [states_headline(symmetry)]
    for part in symmetry["bracket"]["sentences"]:
        lines += folded(part, "  ", "    ")
    for note in symmetry["notes"]:
        lines += folded(f"data: {note}")
    return "\n".join(lines) + "\n"


def states_headline(symmetry: Mapping[str, Any]) -> str:
    """The answer in one line."""
    if not symmetry["bracket"]["adequate"]:
        return "no conserved quantities: no bracket of the columns fits"
    names = [one["role"] for one in symmetry["quantities"]]
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    count = f"{len(names)} conserved quantit{'y' if len(names) == 1 else 'ies'}, {listed}"
    algebra = symmetry["algebra"]
    return count if algebra["dimension"] is None else f"{count}; algebra {algebra['name']}"


def states_html(symmetry: Mapping[str, Any], title: str) -> str:
    """The same as a page."""
    rows = [(escape(one["role"]), escape(one["formula"])) for one in symmetry["quantities"]]
    body = f"<h1>{escape(sentence(states_headline(symmetry)).rstrip('.'))}</h1>\n"
    body += section("Conserved", html_table(("quantity", "formula"), rows) if rows else "")
    told = (sentence(part) for part in symmetry["bracket"]["sentences"])
    body += section("Bracket", listed_items(told))
    return page(title, body + notes_section(symmetry["notes"]))
