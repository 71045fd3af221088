"""The exact evidence beside the drift test: where they agree, where not and why, and how it is printed."""

import json
from typing import Any

import numpy as np
import pytest
from test_answer import quantity, symmetry
from test_exact_evidence import oscillators

import noether_razor as nr
from noether_razor.discovery import Agreement, Discovery, Halves, data_answer, judged_by_data, with_exact
from noether_razor.discovery.agreement import agreement
from noether_razor.discovery.exact import exact_answer, halves
from noether_razor.quantities import parse_hypothesis
from noether_razor.reporting import answer_html, exact_lines, headline, symmetry_text
from noether_razor.reporting.exact import exact_verdict
from noether_razor.reporting.lights import lights
from noether_razor.trajectories import Trajectories


def compared(data: Trajectories, *, ask: bool = False) -> tuple[Discovery, Agreement]:
    """Both methods on one file, with polynomials of degree 2; where they shall `ask`, about each quantity."""
    analysis = data_answer(data)
    asked = [parse_hypothesis(one.text, data.names) for one in analysis.quantities if ask]
    exact = nr.evidence(data, beside=asked, degree=2)
    found = agreement(analysis, exact, data, None)
    return Discovery(data, analysis, exact=exact, agreement=found), found


class TestTwoMethods:
    """On noisy files of one shape, so that programs are compiled once."""

    @pytest.mark.slow
    def test_the_same_on_the_same_file(self):
        discovered, found = compared(oscillators((1.0, 1.0)))
        assert (found.said, found.drift, found.posterior, found.reason) == ("same", 4, 4, "")
        assert found.algebra == "u(2)"
        assert found.angle is not None and found.angle < 2
        said = discovered.to_json()
        assert "BUT" not in headline(said)
        assert "4 conserved, " in exact_lines(said)[0] and "the same on the same file" in exact_lines(said)[0]
        assert all(len(line) <= 120 for line in str(discovered).splitlines())

    @pytest.mark.slow
    def test_a_margin_that_is_too_small_is_undecided(self):
        discovered, found = compared(oscillators((1.0, 1.002)))
        assert found.said == "undecided" and discovered.exact is not None
        assert discovered.exact.rank_margin < 8
        (line,) = [line for line in str(discovered).splitlines() if line.startswith("exact evidence")]
        assert "undecided between 4 and 2 conserved (margin " in line and "the drift test 4" in line
        assert "BUT" not in headline(discovered.to_json())

    def test_a_detuning_that_the_drift_test_does_not_see(self):
        discovered, found = compared(oscillators((1.0, 1.003)), ask=True)
        assert (found.said, found.drift, found.posterior) == ("different", 4, 2)
        assert found.algebra == "u(1)^2" and "2 conserved (u(1)^2), " in str(discovered)
        assert " are broken by 0." in found.reason and found.reason.endswith("for the drift test")
        assert found.reason.startswith("q1*q2 + p1*p2 and ")
        first = str(discovered).splitlines()[0]
        assert first.startswith("4 conserved quantities") and f"has 2: {found.reason}" in first
        assert any("exact evidence: approximate" in line for line in str(discovered).splitlines())

    def test_friction_is_named_with_its_rate(self):
        discovered, found = compared(oscillators(decay=0.01))
        assert (found.said, found.drift, found.posterior) == ("different", 0, 4)
        assert found.reason.startswith("friction of 0.0") and "per unit of time" in found.reason
        assert "BUT" in headline(discovered.to_json())
        assert exact_lines(discovered.to_json())[-1].startswith("  friction: 0.0")

    def test_what_no_hamiltonian_fits_gets_no_verdict(self):
        data = oscillators()
        states = data.states.copy()
        states[:, :, 2] = states[:, :, 2] * np.exp(0.1 * data.times)
        discovered, found = compared(Trajectories(data.times, states))
        assert found.said == "no verdict" and discovered.exact is not None
        assert discovered.exact.hamiltonian is None and not len(discovered.exact)
        (line,) = exact_lines(discovered.to_json())[:1]
        assert "no verdict, " in line and " not fit (" in line
        with pytest.raises(ValueError, match=r"not fit \("):
            discovered.exact.predict(np.ones((1, 4)), [0.0, 1.0])


class TestDiscovery:
    def test_one_oscillator_by_halves_of_its_file(self, tmp_path):
        data = oscillators((1.0,))
        asked = judged_by_data(parse_hypothesis("q1*p1", data.names), data)
        found = with_exact(Discovery(data, data_answer(data), hypotheses=(asked,)))
        assert found.exact is not None and found.agreement is not None and not found.failed
        assert found.agreement.said == "same"
        # Every H of degree 2 conserves itself: there is no other number to be ahead of.
        assert found.agreement.halves == Halves((6, 6), 1, 1, None, "same")
        # What was asked about comes first, then what was found.
        assert [one.quantity for one in found.exact] == ["q1*p1", found.quantities[0].text]
        assert [one.verdict for one in found.exact] == ["rejected", "exact"]
        lines = str(found).splitlines()
        assert any("halves that share no data: drift test 1 on 6 trajectories, H 1 on 6" in s for s in lines)
        assert found.exact.hamiltonian is not None
        assert f"  H = {found.exact.hamiltonian.text()}" in lines
        entry = json.loads(json.dumps(found.to_json()))
        assert Agreement.from_json(entry["evidence"]["exact"]["agreement"]) == found.agreement
        again = Discovery.load(found.save(tmp_path / "run"))
        assert again.to_json()["evidence"] == entry["evidence"] and str(again) == str(found)

    def test_halves_share_no_recording(self):
        data = oscillators((1.0,), count=12, rows=9)
        pieces = Trajectories(data.times, data.states, recordings=np.arange(12) // 2)
        assert all(not len(half) for half in halves(pieces))
        first, second = halves(data)
        assert len(first) == len(second) == 6 and not set(first.tolist()) & set(second.tolist())

    def test_where_polynomials_do_not_serve_there_is_none(self):
        data = oscillators((1.0,) * 4, count=12, rows=21)
        failed: dict[str, str] = {}
        assert exact_answer(data, data_answer(data), (), failed) == (None, None)
        one = oscillators((1.0,), count=12, rows=21)
        # Of a single orbit, and where nothing moves, a polynomial could be anything.
        still = np.tile(one.states[:, :1], (1, 21, 1)) + np.random.default_rng(0).normal(size=(12, 21, 2))
        for states in (one.states[:1], still):
            some = Trajectories(one.times[: len(states)], states)
            assert exact_answer(some, data_answer(some), (), failed) == (None, None)
        assert not failed


def exact_entry(**changes: Any) -> dict[str, Any]:
    """The "exact" of symmetry.json for `symmetry()` of the tests of the answer."""
    breaking = {"value": 0.0, "lo": 0.0, "hi": 7e-4, "floor": 7e-4}
    spin = {
        "quantity": "q1*p2 - q2*p1",
        "gain": 45.2,
        "approximate": -20.0,
        "dims_removed": 10,
        "breaking": breaking,
        "verdict": "exact",
        "why": "",
        "stderr": 0.4,
    }
    halved = {"recordings": [10, 10], "drift": 1, "posterior": 1, "margin": 25.0, "said": "same"}
    return {
        "degree": 4,
        "withdrawn": "",
        "rank": 1,
        "log_evidence_rank": [0.0, 25.0],
        "rank_margin": 25.0,
        "friction": {"gamma": -1e-4, "sd": 1.1e-4, "gain": 0.0},
        "hamiltonian": {"text": "0.5001(2) p1^2 + 0.5000(2) q1^2"},
        "quantities": [spin],
        "agreement": {
            "drift": 1,
            "posterior": 1,
            "angle": 0.1,
            "said": "same",
            "reason": "",
            "halves": halved,
        },
    } | changes


def told(**changes: Any) -> dict[str, Any]:
    return symmetry(evidence={"exact": exact_entry(**changes)})


def test_the_printed_lines():
    assert exact_lines(told()) == [
        "exact evidence (polynomials of degree 4): 1 conserved, ahead by 25 nats; "
        "the drift test finds the same on the same file",
        "  halves that share no data: drift test 1 on 10 trajectories, H 1 on 10 others (25 nats): "
        "they agree",
        "  built in: C1 +45 nats: exact (broken by less than 0.07 %, 95 %)",
        "  H = 0.5001(2) p1^2 + 0.5000(2) q1^2",
        "  friction: none seen (-0.00010(11) per s)",
    ]
    assert exact_lines(symmetry()) == []


def test_the_energy_is_judged_with_the_others():
    spin, energy = quantity("q1*p2 - q2*p1"), quantity("q1^2 + p1^2", note="twice the energy H")
    both = {**exact_entry()["quantities"][0], "quantity": "q1*p2 - q2*p1, q1^2", "gain": 68.3}
    entry = {**exact_entry()["agreement"], "together": both["quantity"]}
    found = told(agreement=entry, quantities=[*exact_entry()["quantities"], both])
    found |= {"rank": 2, "quantities": [spin, energy]}
    assert exact_verdict(found, energy["formula"]) == "exact with the others, +68.3 ± 0.4 nats"
    assert exact_verdict(found, "q2^2") == ""
    assert "  built in: C1 +45, all +68 nats: exact (broken by less than 0.07 %, 95 %)" in exact_lines(found)


def test_a_page_has_them_too():
    page = answer_html(told() | {"names": ["q1", "q2", "p1", "p2"], "along": None})
    assert "Exact evidence" in page and "0.5001(2) p1^2" in page
    assert "exact, +45.2 ± 0.4 nats, broken by less than 0.07 %" in page
    (light,) = [one for one in lights(told()) if "agree" in one.title]
    assert light.colour == "green"


@pytest.mark.parametrize(
    ("said", "halved", "colour"),
    [
        ("same", "undecided", "amber"),
        ("undecided", "same", "amber"),
        ("same", "different", "red"),
        ("different", "same", "red"),
    ],
)
def test_disagreement_is_seen_at_a_glance(said, halved, colour):
    known = exact_entry()["agreement"]
    entry = {**known, "said": said, "halves": {**known["halves"], "said": halved}}
    (light,) = [one for one in lights(told(agreement=entry)) if "agree" in one.title]
    assert light.colour == colour


def test_a_margin_below_eight_nats_is_undecided():
    entry = {**exact_entry()["agreement"], "said": "undecided"}
    near = told(agreement=entry, rank_margin=6.8, log_evidence_rank=[18.2, 25.0, None])
    line = exact_lines(near)[0]
    assert line.endswith(": undecided between 1 and 0 conserved (margin 6.8 nats); the drift test 1")
    assert "BUT" not in headline(near)


def test_a_disagreement_is_in_the_first_line():
    entry = {**exact_entry()["agreement"], "said": "different", "posterior": 0, "reason": "C1 is broken"}
    assert headline(told(agreement=entry)).endswith("; BUT H by the exact evidence has 0: C1 is broken")
    assert "BUT" not in headline(told())


def test_other_verdicts_stand_beside_the_formula():
    known = exact_entry()["quantities"][0]
    breaking = {"value": 0.007, "lo": 0.0071, "hi": 0.0076, "floor": 7e-4}
    broken = {**known, "verdict": "approximate", "gain": -4369.0, "breaking": breaking}
    text = symmetry_text(told(quantities=[broken]))
    assert "exact evidence: approximate, -4369 nats, broken by 0.71 to 0.76 %" in text
    assert "built in" not in text
    drifting = told()
    drifting |= {"quantities": [], "rank": 0, "drifting": [quantity("q1*p2 - q2*p1")]}
    assert "exact evidence: exact, +45.2" in symmetry_text(drifting)
    # Of what does not fit nothing is said.
    withdrawn = symmetry_text(told(withdrawn="the Hamiltonian does not fit"))
    assert "no verdict, the Hamiltonian does not fit" in withdrawn and "nats" not in withdrawn
