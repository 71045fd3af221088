"""The program: its verbs, and the one place where errors become exit codes."""

import logging
import shlex
import sys
import traceback
from typing import Annotated

import typer

from . import analyse as _analyse
from . import demo as _demo
from . import discover as _discover
from . import embed as _embed
from . import evaluate as _evaluate
from . import evidence as _evidence
from . import learning as _learning
from . import predict as _predict
from . import report as _report
from . import reproduce as _reproduce
from . import simulate as _simulate
from . import sweep as _sweep
from . import train as _train
from .compiled import keep_compiled
from .joining import end_for_all
from .progress import lost_interrupts_return

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
FULL = "No space left on device"
"""What systems say of a full disk, in errors of any class."""
GO_ON = ("train", "discover", "charges", "sweep", "reproduce")
"""Verbs that go on where they were interrupted: when told so, the last by itself."""

app = typer.Typer(
    name="noether-razor",
    help="Learn the Hamiltonian, the conserved quantities and the symmetry of a system from trajectories.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(_demo.demo)
app.command("train")(_train.train)
app.command("sweep")(_sweep.sweep)
app.command("discover")(_discover.discover)
app.command("evidence")(_evidence.evidence)
app.command("embed")(_embed.embed)
app.command("evaluate")(_evaluate.evaluate)
app.command("analyse")(_analyse.analyse)
app.command("predict")(_predict.predict)
app.command("report")(_report.report)
app.command("simulate")(_simulate.simulate)
app.command("charges")(_learning.charges)
app.command("symmetries")(_learning.symmetries)
app.command("reproduce")(_reproduce.reproduce)


def _show_version(asked: bool) -> bool:
    if asked:
        from importlib.metadata import version

        typer.echo(version("noether-razor"))
        raise typer.Exit
    return asked


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback on errors.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 the run failed, 2 bad input, 130 interrupted."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    keep_compiled()
    if not debug:
        # What threads that write checkpoints have to say is raised as well.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        # Typer turns a KeyboardInterrupt into this code without a word.
        with lost_interrupts_return():
            code = int(app(args=[a for a in arguments if a != "--debug"], standalone_mode=False) or 0)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code, message = _explain(error, arguments)
        _complain(message, debug)
    if code == INTERRUPTED:
        how = "continue" if any(verb in arguments for verb in GO_ON) else "nothing was written; start again"
        _complain(f"interrupted; {how} with: {_to_go_on(arguments)}", debug=False)
    if code:
        end_for_all(code)
    sys.exit(code)


def _explain(error: Exception, arguments: list[str]) -> tuple[int, str]:
    # Some releases of Typer depend on click, others carry a copy of it: usage errors are known by what they
    # offer.
    usage = getattr(error, "format_message", None)
    if usage is not None:
        return BAD_INPUT, usage()
    # Imported here, so that `--help` does not wait for JAX.
    from ...discovery import RunError
    from ...learning import OptimiserError
    from ...training import CheckpointError
    from ...trajectories import DataFileError
    from ..config import ConfigError
    from ..runs import OtherProcessError

    if isinstance(error, OtherProcessError):
        return FAILED, str(error)
    if isinstance(error, ConfigError | DataFileError | RunError | CheckpointError | OptimiserError):
        return BAD_INPUT, str(error)
    if FULL in str(error):
        go_on = f"make room and continue with: {_to_go_on(arguments)}"
        return FAILED, f"no space is left on the disk; what was written before stands; {go_on}"
    if isinstance(error, FloatingPointError):
        return FAILED, f"the run failed: {error}"
    return FAILED, f"the run failed: {type(error).__name__}: {error}"


def _to_go_on(arguments: list[str]) -> str:
    """The command that goes on where this one was interrupted."""
    resumes = any(verb in arguments for verb in GO_ON[:-1]) and "--resume" not in arguments
    return shlex.join(["noether-razor", *arguments, *(["--resume"] if resumes else [])])


def _complain(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("noether-razor: " + " ".join(message.split()), file=sys.stderr)
