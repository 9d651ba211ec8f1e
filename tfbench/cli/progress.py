"""What a person watches: a live bar in a terminal, plain lines elsewhere."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """Progress of one or more runs; a context manager.

    Args:
      total: amount of work in all, in any unit; runs tell theirs with `run`.

    In a terminal: one bar over all the work, with the run and its stage beside it, and finished
    lines above. Elsewhere: finished lines only, and stages when there is just one run.
    """

    def __init__(self, total: float, *, stages: bool = True):
        # The console keeps today's stdout: training redirects Orbit's prints (training/trial.py).
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal
        self._stages = stages
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self._console,
            disable=not self._live, redirect_stdout=False)
        self._task = self._bar.add_task("", total=total)
        self._name, self._done, self._end, self._per_image = "", 0.0, 0.0, 0.0

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def run(self, name: str, work: float, images: int) -> None:
        """Starts a run of `work` units that will report about `images` images."""
        self._advance_to(self._end)
        self._name, self._end = name, self._done + work
        self._per_image = work / max(images, 1)
        self._bar.update(self._task, description=name)

    def stage(self, text: str) -> None:
        """Says what the run is doing now."""
        self._bar.update(self._task, description=f"{self._name} {text}")
        if not self._live and self._stages:
            self.line(text)

    def work(self, text: str) -> None:
        """Says how far a stage is; in a terminal only."""
        self._bar.update(self._task, description=f"{self._name} {text}")

    def images(self, number: int) -> None:
        """Counts images that went through the network."""
        self._advance_to(min(self._done + number * self._per_image, self._end))

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, markup=False)

    def finish_run(self) -> None:
        """Counts the current run as done, however many images it reported."""
        self._advance_to(self._end)

    def _advance_to(self, done: float) -> None:
        self._done = max(done, self._done)
        self._bar.update(self._task, completed=self._done)
