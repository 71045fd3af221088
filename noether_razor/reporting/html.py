"""The answer and the report of a run as one page that needs nothing else: no network, no scripts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..invariants import measured_text
from ..invariants.simple_numbers import with_error
from .answer import (
    about_space,
    among,
    headline,
    judgement_text,
    limits_of_file,
    mean_of,
    measured_terms,
    of_degree_two,
    percent,
    rate_text,
    sentence,
)
from .beyond import (
    beyond_errors,
    beyond_evidence,
    beyond_listed,
    beyond_more,
    beyond_part,
    beyond_verdict,
)
from .data import ReportData
from .discovery import answered, gains
from .exact import exact_sentences, exact_verdict
from .learned import learned_lines
from .lights import Light, lights
from .mathml import formula_mathml, name_mathml
from .pictures import Drawn, draw_answer

MOST_SAME = 12
"""Combinations that are the same everywhere, of which formulas are shown."""
BEYOND = "The search covers combinations of the terms of a library; others may be conserved too."
ALWAYS = "The search covers quantities of degree 2 or less in the coordinates; others may be conserved too."
CSS = """
:root { color-scheme: light dark; --ink: #1b1c1e; --paper: #fefefd; --soft: #5c6066; --line: #d6d8dc;
  --card: #f4f5f7; --green: #1a7f37; --amber: #9a6700; --red: #c4232f; --link: #1d63a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7ea; --paper: #17191d; --soft: #a2a7b0;
  --line: #3a3e46; --card: #20232a; --green: #4cc06b; --amber: #e0a93b; --red: #ff7b7b; --link: #79b5f2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 1.2rem 1rem 3rem; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0.2rem 0 0.6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.6rem; border-bottom: 1px solid var(--line);
  padding-bottom: 0.25rem; }
p, li { overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: 0.9rem; }
.against { border-left: 0.3rem solid var(--red); background: var(--card); padding: 0.5rem 0.9rem; margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.8rem 0.4rem 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: 0.85rem; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
math { font-size: 1.15em; font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", math, serif; }
ul.lights { list-style: none; margin: 0; padding: 0; }
ul.lights li { display: grid; grid-template-columns: 6.3rem 1fr; gap: 0 0.8rem; padding: 0.55rem 0;
  border-bottom: 1px solid var(--line); }
.light { font-weight: 600; white-space: nowrap; }
.light::before { content: ""; display: inline-block; width: 0.75rem; height: 0.75rem; margin-right: 0.45rem;
  background: currentColor; }
.green { color: var(--green); } .green::before { border-radius: 50%; }
.amber { color: var(--amber); } .amber::before { clip-path: polygon(50% 0, 100% 100%, 0 100%); }
.red { color: var(--red); }
figure { margin: 1.4rem 0; break-inside: avoid; }
figure svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
@media (max-width: 40rem) { figure svg { min-width: 26rem; }
  ul.lights li { grid-template-columns: 1fr; }
  table.quantities thead { display: none; }
  table.quantities tr { display: block; padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
  table.quantities td { display: block; border: 0; padding: 0.1rem 0; white-space: normal; }
  table.quantities td[data-label]:not(:empty)::before { content: attr(data-label) ": ";
    color: var(--soft); } }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --card: #f3f3f3;
  --green: #1a7f37; --amber: #9a6700; --red: #c4232f; } body { font-size: 10pt; }
  main { max-width: none; padding: 0; } tr, li, figure { break-inside: avoid; } h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } .wide { overflow: visible; }
  figure svg { max-height: 20cm; } }
"""


def answer_html(symmetry: Mapping[str, Any], title: str = "What the data conserve") -> str:
    """The contents of symmetry.json as a page, with the figures that need nothing else."""
    drawn, failed = draw_answer(symmetry)
    return page(
        title, _answer(symmetry) + figures_section(drawn, failed) + notes_section(symmetry.get("notes", []))
    )


def report_html(data: ReportData, drawn: Sequence[Drawn], failed: Mapping[str, str]) -> str:
    """The report of a run as a page, with all figures; `failed` says why others were left out."""
    notes = [*(data.symmetry or {}).get("notes", []), *(data.summary.get("data") or {}).get("notes", [])]
    answer = f"<h1>{escape(data.title)}</h1>\n" if data.symmetry is None else _answer(data.symmetry)
    body = (
        answer
        + figures_section(drawn, failed)
        + _training(data.summary)
        + notes_section(dict.fromkeys(notes))
    )
    return page(data.title, body)


def page(title: str, body: str) -> str:
    """A whole page around a body of HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        '<link rel="icon" href="data:,"/>\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<p class="soft">{escape(title)}</p>\n{body}</main>\n</body>\n</html>\n'
    )


def _answer(symmetry: Mapping[str, Any]) -> str:
    """The headline and all that symmetry.json says, without figures."""
    found, _, against = headline(symmetry).partition("; BUT ")
    first, *more = found.split("; ")
    first = first[:1].upper() + first[1:].replace("<=", "\N{LESS-THAN OR EQUAL TO}")
    parts = [f"<h1>{escape(first)}</h1>\n"]
    parts += [f"<p>{escape('; '.join(more))}.</p>\n"] if more else []
    parts += [f'<p class="against"><strong>But</strong> {escape(against)}.</p>\n'] if against else []
    return "".join(
        [
            *parts,
            _columns(symmetry),
            _quantities(symmetry),
            _drifting(symmetry),
            _beyond(symmetry),
            section(
                "Learned with the bound", listed_items(sentence(text) for text in learned_lines(symmetry))
            ),
            section("Exact evidence", listed_items(sentence(text) for text in exact_sentences(symmetry))),
            section("Checks", _lights(lights(symmetry))),
            section("What this file cannot tell", listed_items(_untold(symmetry)) + _same(symmetry)),
            _hypotheses(symmetry),
        ]
    )


def section(title: str, body: str) -> str:
    """A body of HTML under its title; nothing where there is none."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}</section>\n" if body else ""


def listed_items(items: Iterable[str]) -> str:
    """Of text, which is escaped."""
    rows = "".join(f"<li>{escape(item)}</li>\n" for item in items)
    return f"<ul>\n{rows}</ul>\n" if rows else ""


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of HTML cells, without the columns in which nothing stands; the header is text."""
    rows = list(rows)
    shown = [k for k in range(len(header)) if any(row[k] for row in rows)]
    header, rows = [header[k] for k in shown], [[row[k] for k in shown] for row in rows]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = ""
    for row in rows:
        cells = ""
        for k, (name, cell) in enumerate(zip(header, row, strict=True)):
            label = f' data-label="{escape(name)}"' if k > 1 else ""
            cells += f"<td{label}>{cell}</td>"
        body += f"<tr>{cells}</tr>\n"
    return (
        f'<div class="wide"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table></div>\n"
    )


def _quantities(symmetry: Mapping[str, Any]) -> str:
    quantities = symmetry["quantities"]
    if not quantities:
        return section("Conserved quantities", "<p>None was found.</p>\n")
    table = _listed(symmetry, quantities, "C", "drift below", lambda entry: percent(entry["limit"]))
    explained = (
        '<p class="soft">Drift below: upper limit on the drift along a trajectory, as a share of the '
        "quantity's spread in the data (95 %). {C, H}: Poisson bracket with the learned H, as a share of its "
        "largest possible value.</p>\n"
    )
    about = "".join(f"<p>{escape(sentence(line))}</p>\n" for line in about_space(symmetry))
    return section("Conserved quantities", table + explained + about)


def _listed(
    symmetry: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    letter: str,
    title: str,
    said: Callable[[Mapping[str, Any]], str],
) -> str:
    """The table of some quantities; what is `said` of their drift stands under `title`."""
    rows = [
        [
            name_mathml_element(f"{letter}{k}"),
            formula_mathml(entry["formula"], symmetry["names"]),
            _unit(entry["unit"]),
            escape(said(entry)),
            escape(exact_verdict(symmetry, entry["formula"])),
            _bracket(entry),
            _note(entry),
        ]
        for k, entry in enumerate(entries, 1)
    ]
    return html_table(("", "formula", "unit", title, "exact evidence", "{C, H}", "note"), rows, "quantities")


def name_mathml_element(name: str) -> str:
    """A name alone as MathML."""
    return f"<math>{name_mathml(name)}</math>"


def _unit(unit: str) -> str:
    """The unit of a quantity, as m² for (m)^2."""
    inner = unit.removeprefix("(").removesuffix(")^2")
    plain = unit == f"({inner})^2" and inner.isalpha()
    return escape(f"{inner}²" if plain else unit.replace(")^2", ")²"))


def _bracket(entry: Mapping[str, Any]) -> str:
    value = entry["bracket_with_hamiltonian"]
    return "" if value is None else f"{value:.1%}".replace("%", " %")


def _note(entry: Mapping[str, Any]) -> str:
    return escape("; ".join(part for part in (entry["note"], measured_text(measured_terms(entry))) if part))


def _drifting(symmetry: Mapping[str, Any]) -> str:
    if not symmetry["drifting"]:
        return ""
    unit = symmetry.get("time_unit") or "unit of time"
    why = "<p>Not counted: a weak perturbation; a coarse integrator or smoothing looks alike.</p>\n"
    table = _listed(symmetry, symmetry["drifting"], "D", "drift", lambda entry: rate_text(entry, unit))
    return section("Slowly drifting", why + table)


def _entry(value: float, sd: float) -> str:
    """A number with its error, 0 where it is zero by the kind of matrix."""
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    return sign + with_error(abs(value), sd) if sd > 0 else f"{value:.4g}"


def _columns(symmetry: Mapping[str, Any]) -> str:
    """Which momenta are canonical, and the Poisson matrix; nothing where the file has momenta."""
    bracket = symmetry.get("bracket")
    if not bracket:
        return ""
    names = bracket["columns"]
    rows = [
        [
            escape(name),
            *(
                escape(_entry(value, sd)) if j > i else ""
                for j, (value, sd) in enumerate(zip(values, errors, strict=True))
            ),
        ]
        for i, (name, values, errors) in enumerate(zip(names, bracket["matrix"], bracket["sd"], strict=True))
    ]
    told = listed_items(sentence(text) for text in bracket["text"].split("; "))
    table = html_table(("{row, column}", *names), rows[:-1])
    return section("Columns", told + (table if bracket["kind"] != "unknown" else ""))


def _beyond(symmetry: Mapping[str, Any]) -> str:
    """What a library of terms conserves: quantities, brackets and the verdict."""
    beyond = beyond_part(symmetry)
    if beyond is None:
        return ""
    names, legend = [*symmetry["names"], *beyond["legend"]], beyond["legend"]
    library = beyond["library"]
    about = f"Among {library['terms']} terms ({library['label']}): {beyond_verdict(beyond)}"
    rows = [
        [
            escape(entry["name"]),
            formula_mathml(entry["formula"], names),
            escape(percent(entry["limit"])),
            escape(f"{entry['snr']:.3g}"),
            "" if entry["bracket"] is None else escape(percent(entry["bracket"])),
            escape("; ".join(filter(None, _about(beyond, entry)))),
        ]
        for entry in beyond_listed(beyond)
    ]
    header = ("", "quantity", "drift below", "signal to noise", "{C, H}", "errors and notes")
    body = f"<p><strong>{escape(sentence(about))}</strong></p>\n"
    body += html_table(header, rows, "quantities") if rows else ""
    letters = [entry["name"] for entry in beyond["quantities"]]
    table = [
        [
            escape(f"{{{letters[i - 1]}, {letters[j - 1]}}}"),
            "no short polynomial" if text is None else formula_mathml(text, letters),
        ]
        for i, j, text in beyond["brackets"]
        if text != "0" and not beyond["undecided"]
    ]
    if table:
        body += html_table(("Poisson bracket", "value (all others are 0)"), table)
    # Names keep their letters.
    told = [f"{name} = {text}." for name, text in legend.items()] + list(map(sentence, beyond_more(beyond)))
    return section("Beyond degree two", body + listed_items(told))


def _about(beyond: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, ...]:
    return entry["note"], beyond_errors(entry), beyond_evidence(beyond, entry["name"])


def _lights(found: Sequence[Light]) -> str:
    rows = "".join(
        f'<li><span class="light {light.colour}">{light.word}</span>'
        f"<span><strong>{escape(light.title)}</strong> {escape(light.sentence)}</span></li>\n"
        for light in found
    )
    return f'<ul class="lights">\n{rows}</ul>\n'


def _untold(symmetry: Mapping[str, Any]) -> list[str]:
    told = [sentence(text) for text in limits_of_file(symmetry)]
    if not symmetry.get("checks") and not symmetry.get("strengths"):
        told.append(
            "Without a model there is no energy, no prediction, and no test of whether the symmetry helps."
        )
    if symmetry.get("beyond"):
        return [*told, BEYOND]
    if of_degree_two(symmetry):
        return [*told, ALWAYS]
    return [*told, f"Only combinations {among(symmetry)} are looked for; others can be conserved too."]


def _same(symmetry: Mapping[str, Any]) -> str:
    same = symmetry["same_everywhere"]
    if not same:
        return ""
    rows = "".join(
        f"<li>{formula_mathml(entry['formula'], symmetry['names'])} = {mean_of(entry):.6g} "
        f"{_unit(entry['unit'])}</li>\n"
        for entry in same[:MOST_SAME]
    )
    more = f"<p>And {len(same) - MOST_SAME} more.</p>\n" if len(same) > MOST_SAME else ""
    return (
        "<p>Constant in the whole file: a constraint or a single orbit, the file cannot tell which."
        f"</p>\n<ul>\n{rows}</ul>\n{more}"
    )


def _hypotheses(symmetry: Mapping[str, Any]) -> str:
    rows = []
    for entry in symmetry.get("hypotheses") or []:
        conserved = entry["data_verdict"] == "conserved"
        change = f"below {percent(entry['limit'])}" if conserved else percent(entry["drift"])
        formulas = ", ".join(
            formula_mathml(part.strip(), symmetry["names"]) for part in entry["formula"].split(",")
        )
        told = [*gains(entry), judgement_text(entry["bound"])] if entry["bound"] is not None else []
        exact = exact_verdict(symmetry, entry["formula"])
        said = (answered(entry), entry["data_verdict"], change, exact, "; ".join(told))
        rows.append(["", formulas, *(escape(str(text)) for text in said)])
    if not rows:
        return ""
    header = ("", "hypothesis", "answer", "in the data", "drift", "exact evidence", "Delta-ELBO")
    return section("Hypotheses", html_table(header, rows, "quantities"))


def figures_section(drawn: Sequence[Drawn], failed: Mapping[str, str]) -> str:
    """Figures with their captions, and why others were left out."""
    body = "".join(
        f'<figure id="{escape(name)}">\n'
        f'<div class="wide" role="img" aria-label="{escape(caption)}">{svg}</div>\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>\n"
        for name, caption, _, svg in drawn
    )
    left_out = listed_items(f"Left out: {name}: {why}" for name, why in failed.items())
    return section("Figures", body + left_out)


def _training(summary: Mapping[str, Any]) -> str:
    train, data = summary["train"], summary.get("data")
    rows = [
        ("trained", f"{summary['steps']} steps, {summary['wall_seconds']:.0f} s on {summary['device']}"),
        ("seed", str(summary["seed"])),
        ("transitions", str(summary["transitions"])),
        ("-ELBO, nats per transition", f"{train['negative_elbo']:.3f}"),
        ("NLL, nats per transition", f"{train['nll']:.3f} ± {train['nll_stderr']:.3f}"),
        ("one-step mean squared error, training data", f"{train['mse']:.2e}"),
    ]
    for name, errors in summary["test"].items():
        value = f"{errors['mse']:.2e} ± {errors['mse_stderr']:.0e}"
        rows.append((f"one-step mean squared error, {name}", value))
        rows.append((f"rollout mean squared error, {name}", f"{errors['rollout_mse']:.2e}"))
    if chosen := summary.get("likelihood", {}).get("text"):
        rows.append(("likelihood", str(chosen)))
    body = html_table(("", ""), [[escape(name), escape(value)] for name, value in rows])
    if data is not None:
        keys = ("names", "units", "shifts", "scales", "noise_standard_deviations")
        coordinates = [
            [name_mathml_element(name), escape(unit), f"{shift:.6g}", f"{scale:.6g}", f"{noise:.3g}"]
            for name, unit, shift, scale, noise in zip(*(data[key] for key in keys), strict=True)
        ]
        body += html_table(("coordinate", "unit", "shift", "scale", "noise of a prediction"), coordinates)
    return section("The run", body)


def notes_section(notes: Iterable[str]) -> str:
    """Notes as sentences."""
    return section("Notes", listed_items(sentence(note) for note in notes))
