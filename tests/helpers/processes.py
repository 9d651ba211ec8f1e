"""Programs in processes of their own, forked from one that has imported TensorFlow: that takes four seconds each time.

A test kills them, or looks at them from outside, like those of `python -m tfbench.PROGRAM`.
"""

import multiprocessing
import os
import pathlib
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([  # what it does not find is imported later
    "tensorflow", "tfbench.training.search", "tfbench.linear.features", "tfbench.sweep.run", "tfbench.report.write",
    __name__])


class Program:
    """A running program, as subprocess.Popen is one; stdout and stderr are one text.

    Attributes:
      pid: of its process.
    """

    def __init__(self, program: str, *flags: str, cwd: pathlib.Path = ROOT, env: dict[str, str] | None = None):
        """Starts it.

        Args:
          program: its name, such as "finetune".
          env: the whole environment; None: that of this process.
        """
        reader, writer = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(
            target=_run, args=(writer, f"tfbench.{program}", flags, str(cwd), dict(os.environ if env is None else env)),
            daemon=True)
        self._process.start()
        writer.close()
        self._reader, self._read = reader, b""
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus a signal that killed it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, as it comes."""
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                yield line.decode() + "\n"
            elif not self._wait(None):
                return

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """(what it prints to its end, None). Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._wait(None if end is None else max(0.0, end - time.monotonic())):
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        self._process.join()
        text, self._read = self._read.decode(), b""
        return text, None

    def _wait(self, seconds: float | None) -> bool:
        """Waits for more to read; returns False at the end."""
        if not select.select([self._reader], [], [], seconds)[0]:
            return True
        part = os.read(self._reader.fileno(), 1 << 16)
        self._read += part
        return bool(part)


def run(program: str, *flags: str, timeout: float = 300.0, **options) -> tuple[int, str]:
    """Runs a program to its end; returns (exit code, output)."""
    process = Program(program, *flags, **options)
    try:
        output, _ = process.communicate(timeout)
    finally:
        process.kill()
    return process.returncode, output


def _run(writer, module: str, flags: tuple[str, ...], cwd: str, env: dict[str, str]) -> None:
    """`python -um module flags` in this process."""
    for number in (1, 2):
        os.dup2(writer.fileno(), number)
    writer.close()
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
