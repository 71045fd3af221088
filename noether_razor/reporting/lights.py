"""The checks of an answer as traffic lights, one sentence each."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from .answer import (
    COMMUTES,
    REASONS,
    data_text,
    elbo_fits,
    gain_text,
    judgement_text,
    limits_of_file,
    of_degree_two,
    sentence,
)
from .beyond import failures
from .exact import exact_part, exact_sentences

Colour = Literal["green", "amber", "red"]
COVERED = (0.8, 0.97)
"""Share of values in the 90 % band from which bands hold what they promise, and up to which."""
FAR = 0.5
"""The share below which they mislead."""


class Light(NamedTuple):
    """A check: its colour, what it asks, and what it says."""

    colour: Colour
    title: str
    sentence: str

    @property
    def word(self) -> str:
        """The colour for those who do not see it."""
        return {"green": "good", "amber": "caution", "red": "problem"}[self.colour]


def lights(symmetry: Mapping[str, Any]) -> list[Light]:
    """The checks of symmetry.json, of the data first, then of the model."""
    found = [_data(symmetry), _methods(symmetry), _closes(symmetry), *_model(symmetry), _evidence(symmetry)]
    failed = [
        Light("red", f"Failed: {part}", f"{why}.".replace("..", "."))
        for part, why in failures(symmetry).items()
    ]
    return [light for light in found if light is not None] + failed


def _data(symmetry: Mapping[str, Any]) -> Light:
    data = symmetry["data"]
    limits = limits_of_file(symmetry)
    single = data["recordings"] == 1
    untold = not data["enough"] or single or data.get("unresolved")
    colour: Colour = "red" if untold else "amber" if limits else "green"
    said = "; ".join([data_text(symmetry), *limits])
    return Light(colour, "Do the data decide?", sentence(said))


def _methods(symmetry: Mapping[str, Any]) -> Light | None:
    """Of the drift test and the exact evidence; of halves of the data where there are enough."""
    agreement = (exact_part(symmetry) or {}).get("agreement")
    if agreement is None:
        return None
    halves = agreement["halves"] or {}
    every = {agreement["said"], halves.get("said", agreement["said"])}
    colour: Colour = "green" if every == {"same"} else "red" if "different" in every else "amber"
    told = exact_sentences(symmetry)[: 2 if halves and agreement["said"] != "no verdict" else 1]
    said = " ".join(sentence(text) for text in told)
    return Light(colour, "Do the drift test and the exact evidence agree?", said)


def _closes(symmetry: Mapping[str, Any]) -> Light | None:
    if not symmetry["rank"] or symmetry["hamiltonian"] is False or not of_degree_two(symmetry):
        return None
    title = "Do the quantities belong together?"
    if symmetry.get("with_same"):
        said = "They close under the Poisson bracket, with what is constant in the whole file."
        return Light("green", title, said)
    if symmetry["closes"]:
        return Light("green", title, "They close under the Poisson bracket.")
    return Light("red", title, "They do not close under the Poisson bracket: some are missing or wrong.")


def _model(symmetry: Mapping[str, Any]) -> list[Light]:
    checks, found = symmetry.get("checks") or {}, []
    structure = checks.get("structure")
    if structure is not None:
        colours: dict[str, Colour] = {"explained": "green", "partly explained": "amber"}
        reason = structure["reason"]
        colour = "red" if reason else colours.get(structure["verdict"], "red")
        said = sentence(structure["text"])
        if reason:
            said = f"{sentence(REASONS.get(reason) or str(reason))} {said}"
        found.append(Light(colour, "Does a Hamiltonian explain the motion?", said))
        found += _commutes(symmetry, structure)
    sampling = checks.get("sampling")
    if sampling is not None:
        colour = "green" if sampling["fine_enough"] else "amber"
        found.append(Light(colour, "Is the sampling fine enough?", sentence(sampling["text"])))
    bands = checks.get("calibration")
    if bands is not None:
        share = bands.get("most")
        good = share is not None and COVERED[0] <= share <= COVERED[1]
        colour = "green" if good else "red" if share is None or share < FAR else "amber"
        found.append(Light(colour, "Are the error bands calibrated?", sentence(bands["text"])))
    return found


def _commutes(symmetry: Mapping[str, Any], structure: Mapping[str, Any]) -> list[Light]:
    brackets = [
        (value, f"C{k + 1}")
        for k, quantity in enumerate(symmetry["quantities"])
        if (value := quantity["bracket_with_hamiltonian"]) is not None
    ]
    if not brackets or symmetry["hamiltonian"] is False:
        return []
    worst, name = max(brackets)
    # A model that does not explain the motion contradicts nothing.
    red = "red" if structure["verdict"] == "explained" else "amber"
    colour: Colour = "green" if worst <= COMMUTES else red
    said = f"{{C, H}} is largest for {name}: {100 * worst:.1f} % of its largest possible value."
    return [Light(colour, "Does the learned H conserve them?", said)]


def _evidence(symmetry: Mapping[str, Any]) -> Light | None:
    if not elbo_fits(symmetry["evidence"]) or not symmetry["rank"]:
        return None
    title = "Does the symmetry help to explain the data?"
    found = symmetry["evidence"].get("found")
    if found is None:
        return Light("amber", title, "Not known: there is no fit with them built in.")
    difference = f"Delta-ELBO {gain_text(found['gain'])}"
    if found["why"]:
        return Light("amber", title, f"Not known: {difference} is {judgement_text(found)}.")
    better = found["verdict"] == "accepted"
    said = f"A model with the found quantities built in explains the data {'better' if better else 'worse'}"
    return Light("green" if better else "red", title, f"{said} than one without symmetry ({difference}).")
