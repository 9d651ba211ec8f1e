"""What a person watches: in a terminal a live view, elsewhere plain lines."""

import shutil
import sys
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tfbench.wording import count, duration, printable, say

QUIET_SECONDS = 60.0  # without a line after which, outside a terminal, a trial says how far it is


class Display:
    """Progress of one or more runs; a context manager.

    Args:
      total: amount of work in all, in any unit; runs tell theirs with `run`.
      stages: whether there is just one run, whose stages and trials are told one by one.
      file: where to write; None for stdout.

    In a terminal: the table of the grid so far, what is running and how far it is, and one bar over all the work;
    finished lines above. Elsewhere: finished lines and, for just one run, its stages and a line a minute.
    """

    def __init__(self, total: float, *, stages: bool = True, file=None):
        # The console keeps today's stdout: training redirects Orbit's prints (training/trial.py).
        self._console = Console(file=file or sys.stdout, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal
        self._stages = stages
        # A single run's trials tell the time left better: they know what was done before an interruption.
        left = () if stages else (TextColumn("left"), TimeRemainingColumn())
        name = TextColumn("{task.description}", markup=False)  # names of the user's are no markup
        self._bar = Progress(name, BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(), *left,
                             console=self._console)
        self._task = self._bar.add_task("", total=total)
        self._name, self._done, self._end, self._per_image = "", 0.0, 0.0, 0.0
        self._stage, self._how_far, self._spoken = "", "", time.monotonic()
        self._grid: Table | None = None
        self._view = Live(get_renderable=self._render, console=self._console, redirect_stdout=False,
                          redirect_stderr=False, transient=True) if self._live else None

    def __enter__(self):
        if self._view:
            self._view.start()
        return self

    def __exit__(self, *_):
        if self._view:
            self._view.stop()

    def _render(self):
        lines = [Text(line) for line in (self._stage, self._how_far) if line]
        return Group(*([self._grid] if self._grid else []), *lines, self._bar)

    def run(self, name: str, work: float, images: int = 1) -> None:
        """Starts a run of `work` units that will report about `images` images (or see expect)."""
        self._advance_to(self._end)
        self._name, self._end = name, self._done + work
        self.expect(images)
        self._stage = self._how_far = ""
        self._grid = None
        self._bar.update(self._task, description=printable(name))

    def expect(self, images: int) -> None:
        """About how many images the run that was started will report."""
        self._per_image = (self._end - self._done) / max(images, 1)

    def stage(self, text: str) -> None:
        """Says what the run is doing now."""
        self._stage, self._how_far = printable(text), ""
        if not self._live and self._stages:
            self.line(text)

    def work(self, text: str) -> None:
        """Says how far a stage is."""
        self._how_far = printable(text)
        if not self._live and self._stages and time.monotonic() - self._spoken > QUIET_SECONDS:
            self.line(f"  {text}")

    def training(self, step: int, steps: int, loss: float, images_per_second: float, input_wait: float,
                 left: float | None) -> None:
        """Says how far a trial is.

        Args:
          input_wait: share of the time in [0, 1] that it waited for images.
          left: estimated seconds until the run is done, with what other processes did before; None while unknown.
        """
        text = (f"step {step:,}/{steps:,}  loss {loss:.3g}  {images_per_second:.0f} images/s  "
                f"input wait {100 * input_wait:.0f} %")
        self.work(text if left is None else f"{text}  {duration(left)} left")

    def grid(self, trials: list[dict], learning_rates, weight_decays, number: int) -> None:
        """Shows the validation accuracies so far; outside a terminal when all `number` of them are there."""
        if not self._stages or len(learning_rates) * len(weight_decays) == 1:
            return
        self._grid = _grid_table(trials, learning_rates, weight_decays)
        if not self._live and len(trials) == number:
            self._console.print(self._grid)

    def result(self, text: str) -> None:
        """Says in a line that stays what a stage came to; only for just one run."""
        if self._stages:
            self.line(f"{self._stage}: {text}" if self._live else f"  {text}")

    def images(self, number: int) -> None:
        """Counts images that went through the network."""
        self._advance_to(min(self._done + number * self._per_image, self._end))

    def jobs(self, done: int, of: int) -> None:
        """Says how many jobs are done, of how many: for runs in other processes, instead of `run`."""
        self._bar.update(self._task, total=of, completed=done, description=f"{done:,} of {of:,} jobs")

    def transfer(self, done: float, text: str) -> None:
        """Says how far downloads are: what is done of the total, and in words; outside a terminal once a minute."""
        self._bar.update(self._task, completed=done, description=text)
        if not self._live and time.monotonic() - self._spoken > QUIET_SECONDS:
            self.line(f"  {text}")

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        self._spoken = time.monotonic()
        self._console.print(printable(text), markup=False)

    def finish_run(self) -> None:
        """Counts the current run as done, however many images it reported."""
        self._advance_to(self._end)

    def _advance_to(self, done: float) -> None:
        self._done = max(done, self._done)
        self._bar.update(self._task, completed=self._done)


class Silent:
    """A Display that shows nothing: of a run on another machine, or one whose outcome alone counts."""

    def __getattr__(self, name):
        return lambda *args, **more: None


def refresh(lines: Sequence[str]) -> None:
    """Prints lines that are told again and again: on a terminal in place of what it shows, as many as it has room for.
    """
    if sys.stdout.isatty():
        width, height = shutil.get_terminal_size()
        Console(force_terminal=True).clear()
        rows = [-(-max(len(line), 1) // width) for line in lines]  # long lines are wrapped
        if sum(rows) > height - 1:  # the cursor has a row
            fit = max((n for n in range(min(len(lines), height)) if sum(rows[:n]) <= height - 2), default=0)
            lines = [*lines[:fit], f"{count(len(lines) - fit, 'more line')} without room here: --status shows them"]
    for line in lines:
        say(line)


def _grid_table(trials: list[dict], learning_rates, weight_decays) -> Table:
    """Validation accuracies in %, a row per learning rate; the best is marked, · is to come."""
    table = Table(title="validation accuracy in %", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("rate \\ decay", justify="right")
    for decay in weight_decays:
        table.add_column(f"{decay:g}", justify="right")
    by_point = {(trial["learning_rate"], trial["weight_decay"]): trial for trial in trials}
    best = max((trial["validation_accuracy"] for trial in trials if not trial["diverged"]), default=None)

    def cell(trial):
        if trial is None:
            return "·"
        if trial["diverged"]:
            return "diverged"
        text = f"{100 * trial['validation_accuracy']:.1f}"
        return f"{text} *" if trial["validation_accuracy"] == best else text

    for rate in learning_rates:
        table.add_row(f"{rate:g}", *(cell(by_point.get((rate, decay))) for decay in weight_decays))
    return table
