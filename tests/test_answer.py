"""The first line says the answer, and everything that speaks against it."""

import json
from typing import Any

import pytest

from noether_razor.reporting import headline, symmetry_text

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


def evidence(nats: float, converged: bool = True) -> dict[str, Any]:
    fit = {"negative_elbo_total": 0.0, "stderr": 3.0, "converged": converged}
    return {"none": fit, "found": fit | {"negative_elbo_total": -nats, "stderr": 4.0}}


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
            "4 trajectories can show at most 3, and 4 combinations stay constant; about 8 trajectories would",
        ),
        (
            {"settled": False, "staying": 2},
            "cannot tell how many are conserved: 2 combinations stay constant",
            "a single trajectory decides the count; about 100 trajectories would tell",
        ),
        (
            {"enough": False, "rows": 40},
            "cannot tell what is conserved: too few rows",
            "40 rows, 92 are needed to test all of degree <= 2",
        ),
        ({"clear": False}, "undecided: 1 conserved quantity", "rejected by a narrow margin only"),
        ({"hidden": 1}, "undecided: 1 conserved quantity", "noise would hide a change of 8 %"),
        ({"noise_told": False}, "1 conserved quantity", "noise cannot be told from motion"),
    ],
)
def test_what_the_data_cannot_tell_is_said_first(data, start, doubt):
    said = headline(symmetry(data=data))
    assert said.startswith(start) and doubt in said and "BUT" not in said
    assert ("u(1)" in said) == data.get("enough", True)


def test_one_orbit_tells_no_count():
    said = headline(none(recordings=1, most=0, staying=10, needed=12))
    assert said == (
        "cannot tell from one orbit: 10 combinations stay constant along it; about 12 trajectories would tell"
    )


def test_nothing_is_an_answer():
    assert headline(none()) == "no conserved quantities of degree <= 2"
    assert symmetry_text(none()).count("\n") == 2


def test_what_is_the_same_everywhere_is_no_law():
    found = none(staying=1, shown=0) | {"same_everywhere": [quantity("q1^2 + q2^2")]}
    assert headline(found).startswith("cannot tell what is conserved: what stays constant is the same in")
    text = symmetry_text(found)
    assert "q1^2 + q2^2 = 1.25" in text and "a constraint, or one orbit" in text
    assert "; 1 of them has one value in all" in text


def test_more_than_a_run_has_learned_is_not_denied():
    found = none(staying=4, shown=4) | {"restricted": True}
    assert headline(found) == "no conserved quantities of degree <= 2 were learned"
    assert "the model has learned 0 of the 4 that" in symmetry_text(found)


def test_wrong_momenta_leave_invariants_and_no_symmetry():
    structure = STRUCTURE | {"reason": "velocities", "hamiltonian": False, "verdict": "partly explained"}
    found = symmetry(hamiltonian=False, checks={"structure": structure}, closes=False)
    said = headline(found)
    assert "the momenta are not canonical" in said and "p = m v + q A" in said
    assert "they are invariants of the data, and generate no symmetry in these coordinates" in said
    # Neither named nor blamed for not closing: brackets mean nothing here.
    assert "u(1)" not in said and "close" not in said and "algebra" not in symmetry_text(found)
    friction = none() | {"hamiltonian": False, "checks": {"structure": structure | {"reason": "friction"}}}
    assert headline(friction).startswith("no conserved quantities of degree <= 2; BUT the force resists")
    assert "invariants" not in headline(friction)


def test_a_model_that_does_not_follow_the_motion_claims_nothing():
    structure = STRUCTURE | {"verdict": "not explained", "hamiltonian": None}
    beside = [quantity("q1", bracket_with_hamiltonian=0.9)]
    said = headline(symmetry(checks={"structure": structure}, quantities=beside))
    assert "BUT the model does not explain the motion" in said and "{C, H}" not in said


@pytest.mark.parametrize(("bracket", "told"), [(0.05, False), (0.6, True), (None, False)])
def test_a_good_model_may_contradict_the_data(bracket, told):
    beside = [SPIN, quantity("q1", bracket_with_hamiltonian=bracket)]
    found = symmetry(rank=2, quantities=beside, checks={"structure": STRUCTURE})
    assert ("the learned H does not conserve C2 ({C, H} 60%)" in headline(found)) == told
    assert ("BUT" in headline(found)) == told


@pytest.mark.parametrize(
    ("nats", "converged", "told"),
    [(-200.0, True, True), (-10.0, True, False), (200.0, True, False), (-200.0, False, False)],
)
def test_negative_evidence_speaks_against_it(nats, converged, told):
    found = symmetry(evidence=evidence(nats, converged))
    assert ("explains the data worse (-200 ± 5 nats)" in headline(found)) == told
    text = symmetry_text(found)
    assert (f"the bound with these built in is {nats:+.0f} ± 5 nats" in text) == converged
    assert ("no evidence from the bound" in text) == (not converged)


def test_what_does_not_close_is_not_named():
    said = headline(symmetry(closes=False))
    assert "u(1)" not in said and "they do not close under the Poisson bracket" in said


def test_failures_and_units_are_in_the_text():
    found = symmetry(
        failed={"found": "the bound is not finite at step 7"},
        quantities=[quantity("x*m_vy - y*m_vx", unit="m^2", note="half the energy H", limit=None)],
        strengths=[1.0],
        learned=1,
    )
    text = symmetry_text(found)
    assert "failed: found: the bound is not finite at step 7" in text
    assert "C1 = x*m_vy - y*m_vx  [m^2]  changes by at most ? of its spread (95 %); half the energy H" in text
    assert "its quantities hold 1 of these 1" in text


def test_the_contents_are_json():
    assert json.loads(json.dumps(symmetry())) == symmetry()
