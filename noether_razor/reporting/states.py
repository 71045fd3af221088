"""What was found of states that are no pairs of positions and momenta, for a person to read."""

from collections.abc import Mapping
from html import escape
from typing import Any

from .answer import folded, headline, sentence, symmetry_text
from .html import html_table, listed_items, notes_section, page, section


def states_text(symmetry: Mapping[str, Any]) -> str:
    """The contents of symmetry.json of such states, as lines: the first says the answer."""
    lines = [states_headline(symmetry)]
    alone = symmetry_text(laws).splitlines() if (laws := symmetry.get("laws")) else []
    fits = symmetry["bracket"]["adequate"]
    if not fits:
        lines += alone[1:]
    for part in symmetry["bracket"]["sentences"]:
        lines += folded(part, *(("  ", "    ") if fits else ("", "  ")))
    if alone and fits:
        lines += [*folded(f"from the rows alone, without a bracket: {alone[0]}"), *alone[1:]]
    for note in symmetry["notes"]:
        lines += folded(f"data: {note}")
    return "\n".join(lines) + "\n"


def states_headline(symmetry: Mapping[str, Any]) -> str:
    """The answer in one line."""
    laws = symmetry.get("laws")
    if not symmetry["bracket"]["adequate"]:
        no_bracket = "no bracket of the columns fits"
        if laws is None:
            return f"cannot tell what is conserved: {no_bracket}"
        return f"{headline(laws)}; {no_bracket}"
    names = [one["role"] for one in symmetry["quantities"]]
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    count = f"{len(names)} conserved quantit{'y' if len(names) == 1 else 'ies'}, {listed}"
    algebra = symmetry["algebra"]
    count = count if algebra["dimension"] is None else f"{count}; algebra {algebra['name']}"
    more = 0 if laws is None else laws["rank"] - symmetry["independent"]
    return f"{count}; {more} more without a bracket" if more > 0 else count


def states_html(symmetry: Mapping[str, Any], title: str) -> str:
    """The same as a page."""
    rows = [(escape(one["role"]), escape(one["formula"])) for one in symmetry["quantities"]]
    body = f"<h1>{escape(sentence(states_headline(symmetry)).rstrip('.'))}</h1>\n"
    body += section("Conserved", html_table(("quantity", "formula"), rows) if rows else "")
    told = (sentence(part) for part in symmetry["bracket"]["sentences"])
    body += section("Bracket", listed_items(told))
    if laws := symmetry.get("laws"):
        body += section("From the rows alone", f"<pre>{escape(symmetry_text(laws))}</pre>")
    return page(title, body + notes_section(symmetry["notes"]))
