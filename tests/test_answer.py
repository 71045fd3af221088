"""The first line says the answer, and everything that speaks against it."""

import json
from typing import Any

import pytest

from noether_razor.diagnostics import Calibration, SamplingCheck, StructureCheck
from noether_razor.reporting import discovery_text, headline, symmetry_text

DATA = {
    "rows": 3000,
    "rows_needed": 92,
    "recordings": 50,
    "most": 49,
    "staying": 1,
    "shown": 1,
    "settled": True,
    "enough": True,
    "clear": True,
    "hidden": 0,
    "noise_told": True,
    "left_out": 0,
    "copies": 0,
    "needed": 100,
    "noise_variance": [1e-4] * 4,
    "ratios": [1.0, 50.0],
}
STRUCTURE = {"verdict": "explained", "reason": None, "hamiltonian": True}


def quantity(formula: str, **changes: Any) -> dict[str, Any]:
    return {
        "formula": formula,
        "A": [[0.0, 1.0], [1.0, 0.0]],
        "b": [0.0, 0.0],
        "drift": 0.001,
        "limit": 0.002,
        "hidden": 0.01,
        "decays": False,
        "decay": 0.0,
        "decay_error": 1.0,
        "rate": 0.0,
        "rate_error": 0.1,
        "errors": {},
        "measured": {},
        "unit": "",
        "note": "",
        "mean": 1.25,
        "bracket_with_hamiltonian": None,
    } | changes


SPIN = quantity("q1*p2 - q2*p1")


def symmetry(*, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The contents of symmetry.json where one quantity is conserved beyond doubt."""
    return {
        "rank": 1,
        "decided": True,
        "evidence": None,
        "quantities": [SPIN],
        "drifting": [],
        "same_everywhere": [],
        "independent": 1,
        "generating": [0],
        "hamiltonian": None,
        "algebra": {
            "name": "u(1)",
            "aliases": ["so(2)"],
            "central_extension": False,
            "closure_error": 0.0,
        },
        "closes": True,
        "strengths": [],
        "learned": 0,
        "restricted": False,
        "velocities": False,
        "failed": {},
        "time_unit": "s",
        "data": DATA | (data or {}),
    } | changes


def evidence(nats: float, why: str = "") -> dict[str, Any]:
    """Of three pairs of fits; `why` the difference is no evidence."""
    gain = {"nats": nats, "stderr": 5.0, "seeds": 3, "settled": not why}
    verdict = "undecided" if why else "accepted" if nats > 0 else "rejected"
    return {"none": {}, "found": {"gain": gain, "verdict": verdict, "why": why}}


def none(**data: Any) -> dict[str, Any]:
    """Nothing is conserved."""
    algebra = {"name": "trivial", "aliases": [], "central_extension": False, "closure_error": 0.0}
    empty: dict[str, Any] = {"rank": 0, "quantities": [], "independent": 0, "generating": []}
    return symmetry(data={"staying": 0, "shown": 0} | data, algebra=algebra, **empty)


def test_a_decided_answer_has_no_but():
    assert headline(symmetry()) == "1 conserved quantity of degree <= 2, u(1) = so(2)"
    two = symmetry(rank=2, quantities=[SPIN, quantity("q1")], data={"staying": 2, "shown": 2})
    assert headline(two).startswith("2 conserved quantities of degree <= 2, ")
    assert "BUT" not in headline(two)


def test_what_drifts_slowly_stands_beside_it():
    drifting = [quantity("q1^2 + p1^2", decays=True, decay=0.0051, decay_error=0.0002)]
    found = symmetry(drifting=drifting)
    assert headline(found).endswith("; 1 more drifts slowly")
    text = symmetry_text(found)
    assert "slowly drifting, not counted" in text and "decays by 0.510 ± 0.020 % per s" in text
    several = symmetry(drifting=[*drifting, quantity("q2", rate=0.01, rate_error=0.001)])
    assert headline(several).endswith("; 2 more drift slowly")
    assert "of its spread per s (r.m.s.)" in symmetry_text(several)


@pytest.mark.parametrize(
    ("data", "start", "doubt"),
    [
        (
            {"recordings": 4, "most": 3, "staying": 4, "shown": 3, "needed": 8},
            "at least 1 conserved quantity of degree <= 2",
            "4 trajectories can show at most 3, and 4 combinations stay constant; about 8 trajectories",
        ),
        (
            {"settled": False, "staying": 2},
            "cannot tell how many are conserved: 2 combinations stay constant",
            "the count rests on a single trajectory; about 100 trajectories would be enough",
        ),
        (
            {"enough": False, "rows": 40},
            "cannot tell what is conserved: too few rows",
            "40 rows, but 92 are needed to test all of degree <= 2",
        ),
        ({"clear": False}, "undecided: 1 conserved quantity", "others are rejected only by a narrow margin"),
        ({"hidden": 1}, "undecided: 1 conserved quantity", "noise could hide a drift of 8 %"),
        ({"noise_told": False}, "1 conserved quantity", "too far apart to separate noise from motion"),
    ],
)
def test_what_the_data_cannot_tell_is_said_first(data, start, doubt):
    said = headline(symmetry(data=data))
    assert said.startswith(start) and doubt in said and "BUT" not in said
    assert ("u(1)" in said) == data.get("enough", True)


def test_one_orbit_tells_no_count():
    said = headline(none(recordings=1, most=0, staying=10, needed=12))
    assert said == (
        "cannot tell from one orbit: 10 combinations stay constant along it; "
        "about 12 trajectories would be enough"
    )


def test_nothing_is_an_answer():
    assert headline(none()) == "no conserved quantities of degree <= 2"
    assert symmetry_text(none()).count("\n") == 2


def test_what_is_the_same_everywhere_is_no_law():
    found = none(staying=1, shown=0) | {"same_everywhere": [quantity("q1^2 + q2^2")]}
    assert headline(found).startswith("cannot tell what is conserved: what stays constant has one value in")
    text = symmetry_text(found)
    assert "q1^2 + q2^2 = 1.25" in text and "a constraint or a single orbit" in text
    assert "; 1 of them has one value in the whole file" in " ".join(text.split())


def test_more_than_a_run_has_learned_is_not_denied():
    found = none(staying=4, shown=4) | {"restricted": True}
    assert headline(found) == "no conserved quantities of degree <= 2 were learned"
    assert "model: learned 0 of the 4 quantities that" in symmetry_text(found)


def test_wrong_momenta_leave_invariants_and_no_symmetry():
    structure = STRUCTURE | {"reason": "velocities", "hamiltonian": False, "verdict": "partly explained"}
    found = symmetry(hamiltonian=False, checks={"structure": structure}, closes=False)
    said = headline(found)
    assert "the momenta are not canonical" in said and "p = m v + q A" in said
    assert "what is listed is invariant, but without a Hamiltonian it generates no symmetry" in said
    # Neither named nor blamed for not closing: brackets mean nothing here.
    assert "u(1)" not in said and "close" not in said and "algebra" not in symmetry_text(found)
    friction = none() | {"hamiltonian": False, "checks": {"structure": structure | {"reason": "friction"}}}
    assert headline(friction).startswith("no conserved quantities of degree <= 2; BUT there is friction")
    assert "invariant" not in headline(friction)


def test_a_model_that_does_not_follow_the_motion_claims_nothing():
    structure = STRUCTURE | {"verdict": "not explained", "hamiltonian": None}
    beside = [quantity("q1", bracket_with_hamiltonian=0.9)]
    said = headline(symmetry(checks={"structure": structure}, quantities=beside))
    assert "BUT the model does not explain the motion" in said and "{C, H}" not in said


@pytest.mark.parametrize(("bracket", "told"), [(0.05, False), (0.6, True), (None, False)])
def test_a_good_model_may_contradict_the_data(bracket, told):
    beside = [SPIN, quantity("q1", bracket_with_hamiltonian=bracket)]
    found = symmetry(rank=2, quantities=beside, checks={"structure": STRUCTURE})
    assert ("the learned H does not conserve C2 ({C, H} 60 %)" in headline(found)) == told
    assert ("BUT" in headline(found)) == told


@pytest.mark.parametrize(
    ("nats", "why", "told"),
    [
        (-200.0, "", "rejected by the bound"),
        (200.0, "", "accepted by the bound"),
        (-200.0, "not settled", "no evidence, not settled"),
    ],
)
def test_negative_evidence_speaks_against_it(nats, why, told):
    found = symmetry(evidence=evidence(nats, why))
    doubt = "explains the data worse (Delta-ELBO -200 ± 5 nats)"
    assert (doubt in headline(found)) == (told == "rejected by the bound")
    text = " ".join(symmetry_text(found).split())
    begin = f"Delta-ELBO (a difference of lower bounds): {nats:+.0f} ± 5 nats with these built in, against"
    assert f"{begin} none; {told}" in text


def test_without_a_fit_there_is_no_difference():
    text = symmetry_text(symmetry(evidence={"none": {}}))
    assert "Delta-ELBO (a difference of lower bounds): none, there is no fit with these built in" in text


def test_what_does_not_close_is_not_named():
    said = headline(symmetry(closes=False))
    assert "u(1)" not in said and "they do not close under the Poisson bracket" in said


def test_failures_and_units_are_in_the_text():
    found = symmetry(
        failed={"found": "the ELBO is not finite at step 7"},
        quantities=[quantity("x*m_vy - y*m_vx", unit="m^2", note="half the energy H", limit=None)],
        strengths=[1.0],
        learned=1,
    )
    text = symmetry_text(found)
    assert "failed: found: the ELBO is not finite at step 7" in text
    assert "C1 = x*m_vy - y*m_vx  [m^2]  drift below ? of its spread (95 %); half the energy H" in text
    assert "its learned quantities span 1 of these 1" in text


def measured(name: str | None, value: float, error: float) -> dict[str, Any]:
    return {"name": name, "value": value, "error": error}


def test_measured_values_stand_beside_names_and_decimals():
    entry = quantity(
        "q1^2 + p1^2 + 2*q2^2 + 1.3*p2^2",
        measured={
            "p1*p1": measured("1", 1.003, 0.004),
            "q2*q2": measured("2", 2.002, 0.003),
            "p2*p2": measured(None, 1.3, 0.02),
        },
    )
    text = symmetry_text(symmetry(quantities=[entry]))
    assert "coefficient of q2^2: 2.002 ± 0.003, of p2^2: 1.30 ± 0.02" in text
    # A coefficient of 1 says so itself.
    assert "1.003" not in text


def test_no_line_is_too_long_and_no_name_loses_its_measurement():
    names = [f"q{k}^2" for k in range(1, 16)]
    entry = quantity(
        " + ".join(f"2*{name}" for name in names),
        measured={f"q{k}*q{k}": measured("2", 2.001, 0.003) for k in range(1, 16)},
        bracket_with_hamiltonian=0.01,
        note="twice the energy H",
    )
    text = symmetry_text(symmetry(quantities=[entry, SPIN], rank=2))
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("2.001 ± 0.003") == 15


def checked(**changes: Any) -> dict[str, Any]:
    """What checks say of a model, as `discover` writes it."""
    structure = StructureCheck(1, 1.0, 1e-4, 8e-3, 5e-3, 0.1, 0.1, -0.01, 0.01, 0.0, 0.1, None)
    sampling = SamplingCheck(1, 1e-3, 1e-2, 27.8)
    calibration = Calibration(1.3, 0.59, 0.13, 0.88, 0.08, 0.95, 0.82, 0.48, 0.83, 1000)
    return {
        "trajectories": 15,
        "held_out_trajectories": 5,
        "transitions": 750,
        "structure": STRUCTURE | {"text": structure.text()},
        "sampling": {"fine_enough": True, "text": sampling.text()},
        "calibration": {"text": calibration.text()},
    } | changes


def test_the_answer_of_a_normal_run_fits_a_terminal():
    error = measured(None, 1.02, 0.02)
    energy = quantity(
        "1.02*q1^2 + 1.02*p1^2 + q2^2 + p2^2",
        measured={"q1*q1": error, "p1*p1": error, "p2*p2": measured("1", 1.0, 0.002)},
        note="2.01 times the energy H",
    )
    several = [SPIN, quantity("q2^2 + p2^2"), quantity("q1*q2 + p1*p2"), energy]
    gain = {"nats": 1634.0, "stderr": 19.0, "seeds": 3, "settled": False}
    asked = {
        "formula": "q1*p2 - q2*p1",
        "answer": "undecided",
        "data_verdict": "conserved",
        "limit": 0.0044,
        "drift": 0.0,
        "fit": {"repeats": 3},
        "engine": "bound",
        "against": {"none": gain, "learned": gain},
        "bound": {"verdict": "undecided", "why": "not settled"},
    }
    found = symmetry(
        rank=4,
        quantities=[q | {"bracket_with_hamiltonian": 0.02} for q in several],
        independent=3,
        generating=[0, 1, 2],
        strengths=[1.0],
        learned=4,
        evidence=evidence(300.0),
        hypotheses=[asked],
        checks=checked(),
    )
    lines = (symmetry_text(found) + discovery_text(found)).splitlines()
    assert len(lines) <= 20 and max(map(len, lines)) <= 120
    said = " ".join(line.strip() for line in lines)
    for part in (
        "motion explained",
        "-0.01 ± 0.01 standard deviations",
        "59 ± 13 % of 1000 held-out values",
        "unscaled 48 % and 83 %",
        "+1634 ± 19 nats against no symmetry",
        "no evidence, not settled",
        "undecided by the bound; conserved in the data",
    ):
        assert part in said


def test_what_did_not_pass_or_failed_is_marked():
    coarse = {"fine_enough": False, "text": SamplingCheck(2, 1e-3, 1e-2, 3.1).text()}
    failed = {
        "formula": "p1",
        "answer": "rejected",
        "data_verdict": "not conserved",
        "limit": 0.6,
        "drift": 0.5,
        "fit": None,
        "engine": "data",
        "against": {},
        "bound": None,
        "failed": "the ELBO is not finite at step 3",
    }
    text = discovery_text(symmetry(hypotheses=[failed], checks=checked(sampling=coarse), notes=["sorted"]))
    assert "\n! sampling is too coarse: 3.1 time steps per period, at least 4 are needed\n" in text
    said = "p1: rejected by the data; not conserved in the data, drift 50 % of its spread; no Delta-ELBO: the"
    assert said in " ".join(text.split())
    assert text.endswith("! sorted\n")


def test_the_contents_are_json():
    assert json.loads(json.dumps(symmetry())) == symmetry()
