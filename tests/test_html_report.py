"""The report as one page: well formed, complete in itself, and nothing of a file becomes markup."""

import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from test_answer import STRUCTURE, evidence, none, quantity, symmetry

from noether_razor.reporting import AnswerPicture, answer_html, draw_answer, pictures
from noether_razor.reporting.figures import along_figure, evidence_figure, flow_figure, rollout_figure
from noether_razor.reporting.flows import Generator, starts
from noether_razor.reporting.lights import lights
from noether_razor.reporting.mathml import formula_mathml
from noether_razor.reporting.overview import Predicted, overview_figure
from noether_razor.reporting.pictures import svg_of

NAMES = ("q1", "q2", "p1", "p2")
EVIL = "<script>alert(1)</script>"
NOBODY = "not an origin"
"""Who asks where no page does, in the browser's log."""
VOID = {"meta", "link", "br"}


def spin(**changes: Any) -> dict[str, Any]:
    """The angular momentum q1*p2 - q2*p1."""
    matrix = np.zeros((4, 4))
    matrix[0, 3] = matrix[3, 0] = 1.0
    matrix[1, 2] = matrix[2, 1] = -1.0
    return quantity("q1*p2 - q2*p1", A=matrix.tolist(), b=[0.0] * 4, **changes)


def found(**changes: Any) -> dict[str, Any]:
    """The contents of symmetry.json as `discover` writes them."""
    times = np.linspace(0, 1, 5).tolist()
    whole: dict[str, Any] = {
        "quantities": [spin()],
        "names": list(NAMES),
        "notes": [],
        "along": {"times": [times], "values": [[[0.0, 0.01, 0.0, -0.01, 0.0]]]},
        "evidence": evidence(100.0),
    }
    return symmetry(**(whole | changes))


class Page(HTMLParser):
    """All tags of a page; fails where one is closed that was not opened last."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def checked(text: str) -> Page:
    """A page that is well formed, without scripts, and asks for nothing."""
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    page = Page(text)
    assert page.count("script") == page.count("img") == page.count("iframe") == 0
    ids = [at["id"] for _, at in page.tags if "id" in at]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "style", "clip-path", "data", "action"):
            value = attributes.get(name)
            if value is None:
                continue
            assert "//" not in value and "javascript:" not in value
            if name == "href":
                assert value.startswith("#") or value == "data:,"
                assert tag == "link" or value[1:] in ids
    styles = re.findall(r"<style.*?</style>", text, flags=re.DOTALL)
    assert not any("@import" in style or "//" in style for style in styles)
    return page


def test_a_page_from_symmetry_alone():
    page = checked(answer_html(found()))
    text = " ".join(page.said.split())
    assert text.index("1 conserved quantity of degree") < text.index("drift below") < text.index("good")
    assert page.count("math") >= 2 and page.count("svg") == 3
    assert "0.2 %" in text and "What this file cannot tell" in text and "degree 2 or less" in text
    assert ("meta", "viewport") in [(tag, at.get("name")) for tag, at in page.tags]
    assert all(word in answer_html(found()) for word in ("prefers-color-scheme: dark", "@media print"))


def test_units_are_readable():
    said = checked(answer_html(found(quantities=[spin(unit="(m)^2"), spin(unit="(kg m/s)^2")]))).said
    assert "m²" in said and "(kg m/s)²" in said and "(m)" not in said


def test_a_page_of_rank_0_and_of_a_failed_model():
    rank_0 = none() | {"names": list(NAMES), "evidence": evidence(0.0)}
    text = checked(answer_html(rank_0)).said
    assert "None was found" in text and "No conserved quantities" in text and "problem" not in text
    failed = checked(answer_html(found(evidence=None, along=None, failed={"model": "no bound"}))).said
    assert "problem" in failed and "no bound." in failed and "Without a model" in failed


def test_what_comes_from_a_file_is_escaped():
    names = [EVIL, 'b"&', "p$a$", "p^2"]
    entry = spin(unit=EVIL, note=EVIL) | {"formula": f'{EVIL}*p^2 - b"&*p$a$'}
    drifting = entry | {"formula": f"{EVIL}^2", "decays": True, "decay": 0.1, "decay_error": 0.01}
    asked = {
        "formula": EVIL,
        "answer": EVIL,
        "data_verdict": "conserved",
        "limit": 0.01,
        "drift": 0.0,
        "engine": "bound",
        "against": {EVIL: {"nats": 1.0, "stderr": 1.0}},
        "bound": {"verdict": "undecided", "why": EVIL},
    }
    evil = found(
        names=names,
        quantities=[entry],
        drifting=[drifting],
        same_everywhere=[entry],
        hypotheses=[asked],
        notes=[EVIL],
        failed={EVIL: EVIL},
        time_unit=EVIL,
        algebra=symmetry()["algebra"] | {"name": EVIL},
        checks={"structure": STRUCTURE | {"text": EVIL, "unexplained": 0.0}},
    )
    page = checked(answer_html(evil, title=EVIL))
    assert page.said.count("alert(1)") > 10 and page.count("svg") == 3
    assert page.count("math") >= 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q1*p2 - q2*p1", "q1\u2062p2\u2212q2\u2062p1"),
        ("q1^2 + p1^2", "q12+p12"),
        ("(q1 - 640)^2 + 1.5*(p1 + 3)*q2", "(q1\u2212640)2+1.5\u2062(p1+3)\u2062q2"),
        ("-(1/2)*q1 + sqrt(3)*p1", "\u221212\u2062q1+3\u2062p1"),
        ("q1*(-q2) - (q1 - p1)", "q1\u2062(\u2212q2)\u2212(q1\u2212p1)"),
        ("1e-05*q1", "1\u00b710\u22125\u2062q1"),
    ],
)
def test_formulas_are_mathml_in_the_order_in_which_they_stand(text, said):
    element = ElementTree.fromstring(formula_mathml(text, NAMES))
    assert element.tag == "math"
    assert "".join(element.itertext()) == said


@pytest.mark.parametrize(
    "text", ["", "q1 q2", "__import__('os')", "q9", "q1 if p1 else q2", "(" * 500, "q1[0]", "1(q1)", "q1 = 2"]
)
def test_what_is_no_formula_stays_text(text):
    assert formula_mathml(text, NAMES) == f"<code>{escape(text)}</code>"


def test_a_figure_that_fails_costs_that_figure_alone(monkeypatch):
    def broken(symmetry: Any) -> Figure:
        raise ZeroDivisionError("no ink")

    def empty(symmetry: Any) -> None:
        return None

    more = (AnswerPicture("broken", "?", broken), AnswerPicture("empty", "?", empty))
    monkeypatch.setattr(pictures, "ANSWER_PICTURES", (*more, *pictures.ANSWER_PICTURES))
    drawn, failed = draw_answer(found())
    assert [picture.name for picture in drawn] == ["drifts", "along", "evidence"]
    assert failed == {"broken": "ZeroDivisionError: no ink"}
    assert "Left out: broken: ZeroDivisionError: no ink" in checked(answer_html(found())).said


def test_a_registered_figure_appears(monkeypatch):
    def blank(symmetry: Any) -> Figure:
        return Figure(figsize=(1, 1))

    more = AnswerPicture("mine", "Mine & yours.", blank)
    monkeypatch.setattr(pictures, "ANSWER_PICTURES", (*pictures.ANSWER_PICTURES, more))
    page = checked(answer_html(found()))
    assert "Mine & yours." in page.said and page.count("svg") == 4


@pytest.mark.parametrize(
    ("changes", "title", "colour"),
    [
        ({}, "Do the data decide?", "green"),
        ({"data": {"enough": False}}, "Do the data decide?", "red"),
        ({"data": {"settled": False}}, "Do the data decide?", "amber"),
        ({"closes": False}, "Do the quantities belong together?", "red"),
        ({"evidence": evidence(-100.0)}, "Does the symmetry help to explain the data?", "red"),
        ({"evidence": evidence(100.0)}, "Does the symmetry help to explain the data?", "green"),
        ({"evidence": evidence(9e9, "not settled")}, "Does the symmetry help to explain the data?", "amber"),
        ({"evidence": {"none": {}}}, "Does the symmetry help to explain the data?", "amber"),
    ],
)
def test_lights(changes, title, colour):
    (light,) = [light for light in lights(found(**changes)) if light.title == title]
    assert light.colour == colour and light.word in {"good", "caution", "problem"}
    assert light.sentence.endswith(".")


def test_the_planes_where_a_quantity_acts():
    states = np.random.default_rng(0).normal(size=(200, 4)) * [1.0, 2.0, 3.0, 1.0]
    assert Generator.of(spin()).planes(states, 2) == [(0, 1), (2, 3)]
    square = np.diag([2.0, 0.0, 2.0, 0.0])
    assert Generator.of({"A": square, "b": np.zeros(4)}).planes(states, 2) == [(0, 2)]
    shift = Generator.of({"A": np.zeros((4, 4)), "b": [0.0, 0.0, 1.0, 0.0]})
    assert shift.planes(states, 2) == [(0, 1)]
    assert shift.orbit(states[0], (0, 1), states)[:, 1] == pytest.approx(states[0, 1])


def test_orbits_keep_what_generates_them():
    states = np.random.default_rng(1).normal(size=(200, 4))
    orbit = Generator.of(spin()).orbit(states[0], (0, 1), states)
    radius = np.linalg.norm(orbit, axis=1)
    assert radius == pytest.approx(radius[0]) and orbit[0] == pytest.approx(orbit[-1])
    turns = np.unwrap(np.arctan2(orbit[:, 1], orbit[:, 0]))
    # {q, L}: the plane is turned once, counterclockwise.
    assert turns[-1] - turns[0] == pytest.approx(2 * np.pi)


def test_orbits_begin_apart_from_near_the_centre_to_far_from_it():
    turn = np.arange(400) * 2 * np.pi / 50
    radius = np.repeat([1.0, 0.2, 0.4, 0.6, 0.8], [200, 50, 50, 50, 50])
    states = np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])
    from_centre = radius[starts(states, (0, 1), 6)]
    # A fifth of the points are within 0.4, and half of them at 1.0.
    assert (np.diff(from_centre) >= 0).all() and set(from_centre) == {0.4, 0.6, 0.8, 1.0}


def test_no_orbit_is_drawn_twice():
    turn = np.arange(400) * 2 * np.pi / 50
    radius = np.repeat([1.0, 1.001, 0.5, 0.2], 100)
    q1, q2 = radius * np.cos(turn), radius * np.sin(turn)
    states = np.column_stack([q1, q2, q2, -q1])
    figure = flow_figure([spin()], states, NAMES, ("m",) * 4)
    assert figure is not None
    orbits = [line.get_xydata() for line in figure.axes[0].lines[1:]]
    sizes = sorted(float(np.linalg.norm(np.asarray(orbit), axis=1).mean()) for orbit in orbits)
    assert sizes == pytest.approx([0.2, 0.5, 1.0], abs=0.01)


def test_the_overview_has_the_formulas_and_the_first_quantities():
    states = np.random.default_rng(4).normal(size=(50, 4))
    times = np.linspace(0, 1, 6)
    samples = np.random.default_rng(5).normal(size=(9, 6, 4))
    entries = [spin() for _ in range(7)]
    predicted = Predicted(times, samples[0], samples, "$")
    drawn = overview_figure("7 quantities of degree <= 2", entries, states, predicted, NAMES, ("m",) * 4)
    titles = [axes.get_title() for axes in drawn.axes]
    shown = [f"C{k + 1} = q1·p2 \N{MINUS SIGN} q2·p1" for k in range(4)]
    assert titles == [*shown, *(f"{name} (m)" for name in NAMES)]
    (bands, *_), labels = drawn.axes[4].get_legend_handles_labels()
    assert isinstance(bands, PolyCollection)
    assert labels == ["90 % band", "50 % band", "prediction", "data"]
    height = bands.get_paths()[0].get_extents().height
    assert height > 0.9 * np.ptp(np.quantile(samples[:, :, 0], [0.05, 0.95], axis=0))
    assert ElementTree.fromstring(svg_of(drawn, "o")).tag == "svg"


def test_figures_take_any_name():
    states = np.random.default_rng(2).normal(size=(50, 4))
    names, units = [EVIL, "a$b$", "{x", "\\alpha"], ["$", "", "m^2", "%"]
    times = np.linspace(0, 1, 6)[None]
    samples = np.random.default_rng(3).normal(size=(9, 1, 6, 4))
    entry = spin() | {"formula": f"{EVIL}*" * 40 + "a$b$"}
    along = {"times": [[0.0, 1.0]], "values": [[[0.0, 5.0]]]}
    predicted = Predicted(times[0], samples[0, 0], samples[:, 0], "$", "time ($)")
    drawn = (
        flow_figure([entry], states, names, units),
        overview_figure("a$b$", [entry], states, predicted, names, units),
        rollout_figure(times, samples[0], samples, names, "a$b$", "time ($)"),
        along_figure(along, [entry], "$"),
        evidence_figure({"none": evidence(1.0)["none"], "$x$ " * 9: evidence(1.0)["found"]}),
    )
    for k, figure in enumerate(drawn):
        assert figure is not None
        assert ElementTree.fromstring(svg_of(figure, f"f{k}")).tag == "svg"
    assert flow_figure([], states, names, units) is None
    assert evidence_figure({"none": evidence(1.0)["none"]}) is None


def opened(browser: str, folder: Path, text: str) -> tuple[str, str, set[str]]:
    """The elements of a page in a browser, what the browser said, and what the page asked for."""
    page, log = folder / "report.html", folder / "net.json"
    page.write_text(text, encoding="utf-8")
    command = (browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")
    options = ("--no-first-run", "--disable-background-networking", f"--user-data-dir={folder / 'profile'}")
    result = subprocess.run(
        [*command, *options, f"--log-net-log={log}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # The browser itself may look for updates, on behalf of no page.
    parts = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    asked = {part["url"] for part in parts if "url" in part and part.get("initiator", NOBODY) != NOBODY}
    return result.stdout, result.stderr, asked


@pytest.mark.slow
def test_a_browser_opens_it_without_asking_for_anything(tmp_path: Path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium or google-chrome on the path")
    elements, said, asked = opened(browser, tmp_path, answer_html(found()))
    assert "<math>" in elements and elements.count("<svg") == 3
    assert "CONSOLE" not in said and asked == set()
    # What the test would see otherwise.
    wrong = '<img src="http://127.0.0.1:9/x.png"><script>console.error("no")</script>'
    _, said, asked = opened(browser, tmp_path, wrong)
    assert "CONSOLE" in said and asked == {"http://127.0.0.1:9/x.png"}
