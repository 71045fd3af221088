"""What `discover` adds to the answer: hypotheses, and what the data cannot tell."""

from collections.abc import Mapping
from typing import Any

WARNED = {"structure": "hamiltonian", "coverage": "enough", "sampling": "fine_enough", "amount": "enough"}
"""The verdict of each check of symmetry.json."""


def discovery_text(symmetry: Mapping[str, Any]) -> str:
    """The hypotheses and checks of symmetry.json for a person to read; empty where there are none."""
    return _hypotheses_text(symmetry) + _checks_text(symmetry)


def _hypotheses_text(symmetry: Mapping[str, Any]) -> str:
    hypotheses = symmetry.get("hypotheses")
    if not hypotheses:
        return ""
    lines = ["hypotheses (nats by which the bound is higher with it built in)"]
    lines += [f"  {_hypothesis(entry)}" for entry in hypotheses]
    if hypotheses[0]["fit"]["repeats"] == 1:
        lines.append("  one fit each: errors are those of the estimate, --repeats 3 adds those of seeds")
    return "\n".join(lines) + "\n"


def _checks_text(symmetry: Mapping[str, Any]) -> str:
    checks = symmetry.get("checks")
    if not checks:
        return ""
    lines = [
        f"what the data can tell ({checks['trajectories']} trajectories to learn from, "
        f"{checks['held_out_trajectories']} kept aside, {checks['transitions']} transitions)"
    ]
    for name, verdict in WARNED.items():
        mark = " " if checks[name][verdict] else "!"
        lines.append(f"{mark} {checks[name]['text']}")
    lines.append(f"  {checks['calibration']['text']}")
    if not symmetry["hamiltonian"] and symmetry["rank"]:
        lines.append("  what is listed does not drift, but no Hamiltonian makes symmetries of it")
    return "\n".join(lines) + "\n"


def _hypothesis(entry: Mapping[str, Any]) -> str:
    against = [
        f"{part['nats']:+.0f} ± {part['stderr']:.0f} against {name}"
        + ("" if part["converged"] else " (not converged)")
        for name, part in entry["against"].items()
    ]
    drift = "no drift can be told"
    if entry["drift"] is not None and entry["drift_verdict"] != "untested":
        drift = f"{entry['drift_verdict']} by its drift of {entry['drift']:.1%}"
    return f"{entry['formula']}: {entry['answer']}, {', '.join(against)}; {drift}"


def discovery_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of the hypotheses and checks; empty where there are none."""
    parts = {"Hypotheses": _hypotheses_text(symmetry), "What the data can tell": _checks_text(symmetry)}
    return "\n".join(f"## {title}\n\n```\n{text.rstrip()}\n```\n" for title, text in parts.items() if text)
