"""The section of a report on what an analysis found."""

from collections.abc import Mapping
from typing import Any

from ..invariants import measured_text
from .answer import measured_terms, symmetry_text


def symmetry_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of symmetry.json."""
    lines = ["## Conserved quantities", "", "```", symmetry_text(symmetry).rstrip(), "```", ""]
    for k, quantity in enumerate(symmetry["quantities"]):
        measured = measured_text(measured_terms(quantity))
        lines.append(f"- $C_{{{k + 1}}} = {quantity['latex']}$" + (f"; {measured}" if measured else ""))
    if symmetry["quantities"]:
        lines.append("")
    return "\n".join(lines)
