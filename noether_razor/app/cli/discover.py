"""``discover DATA``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .columns import with_columns
from .folders import run_folder
from .progress import PATIENCE, Interruption, LiveProgress

if TYPE_CHECKING:
    from ...discovery import Discovery, RunFolder
    from ..config import Config


@with_columns
def discover(
    data: Annotated[Path, typer.Argument(help="Trajectories: .csv, .tsv, .txt, .dat, .npz, .npy or .h5.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<data name>-<seed>.")] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMULA",
            help='Ask whether this is conserved: "q1*p2 - q2*p1", or several: "p1, p2". Repeatable.',
        ),
    ] = None,
    family: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What quantities are made of: library (degree 2 first, then beyond), quadratic or fourier.",
        ),
    ] = "library",
    term: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMULA", help='Add a term to the library: "1/sqrt(q1^2+q2^2)". Repeatable.'),
    ] = None,
    degree: Annotated[
        int | None,
        typer.Option(help="Degree of the library's polynomials; default 4 to 2 degrees of freedom, else 3."),
    ] = None,
    most_terms: Annotated[int | None, typer.Option(help="Largest size of the library; default 500.")] = None,
    budget: Annotated[
        str, typer.Option(metavar="NAME", help="Training effort: quick, standard or thorough.")
    ] = "standard",
    repeats: Annotated[
        int | None,
        typer.Option(
            min=0, help="Fits of each kind for the Delta-ELBO, 0 for none; default: set by the budget."
        ),
    ] = None,
    table: dict[str, Any] | None = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print at the end where the time was spent.")
    ] = False,
) -> None:
    """Find what a file of trajectories conserves and what it cannot tell; write a run folder with a report.

    A file DATA.toml beside the data can also describe the columns.
    """
    asked = {"quantities": quantity or [], "family": family, "resume": resume}
    asked["library"] = (term or [], degree, most_terms)
    _discover(data, out, table or {}, (budget, repeats), overrides or [], asked, _Output(quiet, verbose))


class _Output(NamedTuple):
    quiet: bool
    verbose: bool


def _discover(
    data: Path,
    out: Path | None,
    mapping: dict[str, Any],
    budget: tuple[str, int | None],
    overrides: list[str],
    asked: dict[str, Any],
    output: _Output,
) -> None:
    from ...discovery import RunFolder
    from ...reporting import beyond_text, exact_lines, symmetry_text
    from ..runs import Listener, budget_named, discover_config, discover_run, has_states, library_named

    spent, asked["library"] = budget_named(*budget), library_named(*asked["library"])
    # What --set says goes before the budget.
    steps = f"training.steps={spent.steps}"
    config = discover_config(data, mapping, [steps, f"evaluation.nll_stderr={spent.nll_stderr}", *overrides])
    folder = RunFolder(run_folder(out or Path("runs") / f"{data.stem}-{config.seed}", resume=asked["resume"]))
    quiet = output.quiet
    if has_states(config):
        _discover_states(config, folder, asked, quiet)
        return
    with Interruption(PATIENCE) as stop, LiveProgress(quiet, config.training.steps) as live:

        def answer(found: "Discovery") -> None:
            if not quiet:
                live.say(f"from the data alone: {symmetry_text(found.to_json()).rstrip()}")
                if "model" not in found.failed:
                    live.say("now learning the dynamics, beside the exact evidence and the library")

        def exact(found: "Discovery") -> None:
            if not quiet:
                symmetry = found.to_json()
                live.say("\n".join([*exact_lines(symmetry), *beyond_text(symmetry)]))

        listener = Listener(live.update, live.refit, answer, exact, live.reading, stop, live.now)
        found = discover_run(config, folder, budget=spent, listener=listener, **asked)
    if not quiet:
        typer.echo(str(found))
        if folder.page.exists():
            typer.echo(f"report {folder.page}")
    if output.verbose:
        for name, seconds in sorted(found.summary["part_seconds"].items(), key=lambda part: -part[1]):
            typer.echo(f"{seconds:7.1f} s  {name}", err=True)


def _discover_states(config: "Config", folder: "RunFolder", asked: dict[str, Any], quiet: bool) -> None:
    """The answer for columns that are no pairs of positions and momenta."""
    from ...reporting import states_text
    from ..config import ConfigError
    from ..runs import Listener, states_run

    if asked["quantities"]:
        raise ConfigError("--quantity: is judged for pairs of positions and momenta, not with --states")
    with LiveProgress(quiet) as live:
        listener = Listener(reading=live.reading)
        symmetry = states_run(config, folder, resume=asked["resume"], listener=listener, tell=live.now)
    if not quiet:
        typer.echo(states_text(symmetry).rstrip())
        typer.echo(f"report {folder.page}")
