"""What a command does while it runs: a line on stderr, and a stop that leaves a checkpoint."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...training import Report


AGAIN = 0.1
"""Seconds after which an interrupt that was lost is sent once more."""
PATIENCE = 5.0
"""Seconds that what is running has to end by itself, where it is told of an interrupt but may not listen."""


class Interruption:
    """Turns the first SIGINT or SIGTERM into a request to stop after the running chunk; the second acts at
    once, as the first does `patience` seconds later (None: never).
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, patience: float | None = None) -> None:
        self.asked, self.patience = False, patience
        self.later: threading.Timer | None = None

    def __enter__(self) -> "Interruption":
        self.before = [signal.signal(number, self._ask) for number in self.SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        if self.later is not None:
            self.later.cancel()
        for number, handler in zip(self.SIGNALS, self.before, strict=True):
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("noether-razor: stopping after the running part; once more stops at once", file=sys.stderr)
        if self.patience is not None:
            self.later = interrupt_in(self.patience)

    def __call__(self) -> bool:
        return self.asked


def interrupt_in(seconds: float) -> threading.Timer:
    """Interrupt the main thread that much later, unless the timer is cancelled."""
    later = threading.Timer(seconds, _interrupt_main)
    later.daemon = True
    later.start()
    return later


def _interrupt_main() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # which wakes it, where it waits for another thread
    else:
        _thread.interrupt_main()


@contextmanager
def lost_interrupts_return() -> Iterator[None]:
    """Send an interrupt again that was raised where Python drops exceptions: in a callback of the garbage
    collector, as JAX has one, or while an object is deleted.
    """
    before = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            interrupt_in(AGAIN)
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


HEARTBEAT = 20.0
"""Seconds between lines of progress where stderr is no terminal."""


class LiveProgress:
    """What a command is doing, on stderr: a live line on a terminal, else a line at least every half minute;
    nothing where `quiet`. `steps` are those of each fit, None where fits differ.
    """

    def __init__(self, quiet: bool, steps: int | None = None):
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
        counted = (BarColumn(), MofNCompleteColumn()) if steps else ()
        left = (TimeRemainingColumn(),) if steps else ()
        self.live = Progress(
            TextColumn("{task.description}"),
            *counted,
            TimeElapsedColumn(),
            *left,
            console=Console(stderr=True),
            disable=quiet or not terminal,
        )
        self.lines = not quiet and not terminal
        self.steps = steps
        self.task = self.live.add_task("compiling", total=steps)
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
        of = f" of {self.steps}" if self.steps else ""
        self.doing = f"{text}  step {step}{of}" + (", evaluating" if step == self.steps else "")
        self.live.update(self.task, completed=step, description=text if self.steps else self.doing)

    def reading(self, done: int, size: int) -> None:
        if done < size:
            self.doing = f"reading, {done} of {size} bytes"
            self.live.update(self.task, completed=done, total=size, description="reading bytes")
        else:
            self.doing = "compiling"
            self.live.reset(self.task, total=self.steps, description="compiling")

    def update(self, line: dict[str, Any], run: str = "") -> None:
        text = f"-ELBO {line['negative_elbo']:9.3f}  NLL {line['nll']:8.3f}  KL {line['kl']:8.3f}"
        self._says(f"{run}  {text}".lstrip(), line["step"])

    def refit(self, name: str, report: "Report") -> None:
        self._says(f"fit {name}  -ELBO {report.negative_elbo:9.3f}", report.step)

    def now(self, text: str) -> None:
        """What is being done, in place of what was."""
        self.doing = text
        self.live.update(self.task, description=text)

    def say(self, text: str) -> None:
        """A line of its own, above the live one."""
        if self.lines:
            print(text, file=sys.stderr, flush=True)
        else:
            self.live.console.print(text, highlight=False, markup=False)
