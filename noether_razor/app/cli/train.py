"""``train CONFIG``."""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ...training import Report
    from ..config import Config


def train(
    config: Annotated[
        Path,
        typer.Argument(help="TOML file; shipped ones are found by name (oscillator/learned.toml)."),
    ],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<config name>-<seed>.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
) -> None:
    """Train on the data of a config, write a run folder, and print the result."""
    from ...discovery import RunFolder
    from ...reporting import summary_text
    from ..config import load_config
    from ..runs import Listener, train_run

    settings = load_config(config, overrides or [])
    folder = RunFolder(out or Path("runs") / f"{config.stem}-{settings.seed}")
    with Interruption() as stop, LiveProgress(settings, quiet) as live:
        listener = Listener(progress=live.update, reading=live.reading, interrupted=stop)
        summary = train_run(settings, folder, resume=resume, listener=listener)
    if not quiet:
        typer.echo(f"run {folder.path}")
        typer.echo(summary_text(summary))


class Interruption:
    """Turns the first SIGINT or SIGTERM into a request to stop after the running chunk; the second acts at
    once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interruption":
        self.before = [signal.signal(number, self._ask) for number in self.SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.SIGNALS, self.before, strict=True):
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


HEARTBEAT = 20.0
"""Seconds between lines of progress where stderr is no terminal."""


class LiveProgress:
    """What a run is doing, on stderr: a live line on a terminal, else a line at least every half minute."""

    def __init__(self, config: "Config", quiet: bool):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        terminal = sys.stderr.isatty()
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet or not terminal,
        )
        self.lines = not quiet and not terminal
        self.steps = config.training.steps
        self.task = self.live.add_task("compiling", total=self.steps)
        self.started, self.done = time.monotonic(), threading.Event()
        self.doing = "compiling"
        self.speaker = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> "LiveProgress":
        self.live.start()
        if self.lines:
            self.speaker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.live.stop()

    def _speak(self) -> None:
        while not self.done.wait(HEARTBEAT):
            print(f"{time.monotonic() - self.started:5.0f} s  {self.doing}", file=sys.stderr, flush=True)

    def _says(self, text: str, step: int) -> None:
        self.doing = f"{text}  step {step} of {self.steps}" + (", evaluating" if step >= self.steps else "")
        self.live.update(self.task, completed=step, description=text)

    def reading(self, done: int, size: int) -> None:
        if done < size:
            self.doing = f"reading, {done} of {size} bytes"
            self.live.update(self.task, completed=done, total=size, description="reading bytes")
        else:
            self.doing = "compiling"
            self.live.reset(self.task, total=self.steps, description="compiling")

    def update(self, line: dict[str, Any]) -> None:
        text = f"-ELBO {line['negative_elbo']:9.3f}  NLL {line['nll']:8.3f}  KL {line['kl']:8.3f}"
        self._says(text, line["step"])

    def refit(self, name: str, report: "Report") -> None:
        self._says(f"fit {name}  -ELBO {report.negative_elbo:9.3f}", report.step)

    def say(self, text: str) -> None:
        """A line of its own, above the live one."""
        if self.lines:
            print(text, file=sys.stderr, flush=True)
        else:
            self.live.console.print(text, highlight=False, markup=False)
