"""What a model has learned of another family than the quadratic one, for a person to read."""

from collections.abc import Mapping
from typing import Any

STRENGTH = 0.1
"""Over the largest, from which a direction is printed."""


def learned_lines(symmetry: Mapping[str, Any]) -> list[str]:
    """The "learned_family" of symmetry.json, as lines before they are folded; empty where there is none."""
    learned = symmetry.get("learned_family")
    if not learned:
        return []
    directions = learned["directions"]
    shown = [one for one in directions if one["strength"] >= STRENGTH * directions[0]["strength"]]
    count = f"{len(shown)} direction{'' if len(shown) == 1 else 's'}"
    lines = [f"learned with the bound, family {learned['family']}: {count}; this decides no counts"]
    for number, one in enumerate(shown, start=1):
        parts = [f"{{C, H}} {_percent(one['bracket'])}"]
        if one["drift"] is not None:
            parts.append(f"drift {_percent(one['drift'])} of its spread")
        if one["parallelness"] is not None:
            parts.append(f"alignment with the truth {one['parallelness']:.4f}")
        lines.append(f"direction {number}: strength {one['strength']:.3g}, {', '.join(parts)}")
    for formula in learned["formulas"]:
        kind = "it holds" if learned["exact"] else "it is about a function of"
        lines.append(
            f"{kind} {formula['formula']}; {_percent(formula['off'])} of its gradient is not learned"
        )
    if not learned["formulas"]:
        lines.append(f"no short formula among {learned['terms']} terms is near what was learned")
    return lines


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"
