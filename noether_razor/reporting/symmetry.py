"""The section of a report on what an analysis found."""

from collections.abc import Mapping
from typing import Any

from .answer import symmetry_text


def symmetry_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of symmetry.json."""
    lines = ["## Conserved quantities", "", "```", symmetry_text(symmetry).rstrip(), "```", ""]
    for k, quantity in enumerate(symmetry["quantities"]):
        lines.append(f"- $C_{{{k + 1}}} = {quantity['latex']}$")
    if symmetry["quantities"]:
        lines.append("")
    return "\n".join(lines)
