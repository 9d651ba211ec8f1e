"""Starts a program: parses its flags, runs it, turns what the user can mend into one line."""

import contextlib
import gc
import glob
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from absl import app
from absl import flags as absl_flags
from absl import logging as absl_logging

from tfbench.cli import flags
from tfbench.errors import OutOfTime, Preempted, UserError
from tfbench.version import __version__
from tfbench.wording import say

INTERRUPTED = 130  # the shell's code for a program that ^C ended
CONTINUE = 75  # EX_TEMPFAIL: the same command, given again, continues
HELP = {"--help", "-help", "-h", "--helpshort", "-helpshort", "--helpfull"}


CONTINUES = "the same command continues where it stopped"
FRESH_BUDGET = f"{CONTINUES}, with a fresh budget"

AGAIN_SECONDS = 0.05  # until a signal that was lost comes again


def start(program: str, doc: str, settings: flags.Settings, main: Callable, make_config=flags.options,
          again: Callable[[Any], str] = lambda options: "") -> None:
    """Runs `main(make_config(settings))` and ends the process with its exit code.

    A wrong flag and UserError become one line on stderr and exit code 2, ^C one line and exit code 130, SIGTERM
    (pre-emption) and the end of --budget one line and exit code 75 after what is being trained is saved; any other
    exception is a defect of tfbench and keeps its traceback.

    Args:
      program: its name. doc: what --help says first.
      settings: its flags. main: takes what make_config returns.
      again: what the same command does after an interruption, such as CONTINUES; "": it begins anew.
    """
    if HELP & set(sys.argv[1:]):
        from tfbench.cli import help as help_text

        with contextlib.suppress(BrokenPipeError):
            print(help_text.text(program, doc, settings))
        return
    if "--version" in sys.argv[1:]:
        print(f"tfbench {__version__}")
        return
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that has no "–" shows a question mark
            stream.reconfigure(errors="replace")
    flags.define(settings)
    quiet()

    def parse(argv):
        try:
            return absl_flags.FLAGS(argv)
        except (flags.Error, ValueError) as error:  # ValueError: --noNAME=VALUE, or a flagfile that is no text
            sys.exit(_fail(flags.explain(error, settings, program)))

    def guarded(argv):
        if len(argv) > 1:
            return _fail(f"unexpected argument {argv[1]!r}: every option is written --name=value, e.g. "
                         f"{flags.example(*next(iter(settings.items())))}")
        hear_preemption()
        options = make_config(settings)
        try:
            return main(options)
        except UserError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            return _stopped("interrupted", again(options), INTERRUPTED)
        except Preempted as preempted:
            return _stopped(str(preempted), again(options), CONTINUE)

    app.run(guarded, flags_parser=parse)


@contextlib.contextmanager
def gc_paused():
    """Context manager that pauses Python's garbage collection; what is made meanwhile is never looked at again.

    Where very many objects are made to stay, that halves the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def quiet() -> None:
    """Silences what libraries would say, before TensorFlow is imported: it would bury our own lines."""
    gpu = glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg")  # dxg: in Windows' Linux
    # 2: no notes and warnings of its start; 3: neither the error that there is no GPU, where that is so
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if gpu else "3")
    logging.getLogger("tensorflow").setLevel("ERROR")  # it takes another network for retracing
    absl_logging.set_verbosity(absl_logging.ERROR)  # TFDS warns of its own deprecated properties


def hear_preemption() -> None:
    """Lets SIGTERM raise Preempted in this process."""
    signal.signal(signal.SIGTERM, _preempt)


def _preempt(number, frame):
    del frame
    _raise(number, Preempted("stopped by SIGTERM"))


def _raise(number: int, error: Exception) -> None:
    """Raises it in the handler of a signal, the only one that is heard: saving takes a moment.

    In a finaliser, or the callback of a weak reference, Python would print the error and go on, as if there had been no
    signal: there it comes again a moment later.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)
    before, hook = signal.signal(signal.SIGTERM, signal.SIG_IGN), sys.unraisablehook

    def lost(unraisable):
        if unraisable.exc_value is not error:
            hook(unraisable)
            return
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)
        if number == signal.SIGALRM:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)  # which the end of `alarm` stops
        else:
            threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = lost
    raise error


@contextlib.contextmanager
def alarm(seconds: float):
    """Context manager that raises OutOfTime in what it holds, as SIGTERM raises Preempted, after so many seconds."""
    def stop(number, frame):
        del frame
        _raise(number, OutOfTime())

    before = {one: signal.getsignal(one) for one in (signal.SIGALRM, signal.SIGTERM)}
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))  # 0 would be none
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in before.items():
            signal.signal(one, handler)


def _fail(text: str) -> int:
    say(f"error: {text}", error=True)
    return 2


def _stopped(how: str, again: str, code: int) -> int:
    say(error=True)  # the terminal shows ^C on a line of its own
    say(f"{how}: {again}" if again else how, error=True)
    return code
