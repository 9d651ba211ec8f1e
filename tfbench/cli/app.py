"""Starts a program: parses its flags, runs it, turns what the user can mend into one line."""

import contextlib
import gc
import glob
import logging
import os
import signal
import sys

from absl import app
from absl import logging as absl_logging

from tfbench.errors import Preempted, UserError

INTERRUPTED = 130  # the shell's code for a program that ^C ended
CONTINUE = 75  # EX_TEMPFAIL: the same command, given again, continues


def run(main) -> None:
    """Runs `main(argv)` under absl and ends the process with its exit code.

    UserError becomes one line on stderr and exit code 2, ^C one line and exit code 130, SIGTERM (pre-emption) one line
    and exit code 75 after what is being trained is saved; any other exception is a defect of tfbench and keeps its
    traceback.
    """
    quiet()

    def guarded(argv):
        if len(argv) > 1:
            return _fail(f"unexpected argument {argv[1]!r}: every option is written --name=value")
        signal.signal(signal.SIGTERM, _preempt)
        try:
            return main(argv)
        except UserError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            print("\ninterrupted: the same command continues where it stopped", file=sys.stderr)
            return INTERRUPTED
        except Preempted as cut:
            print(f"\n{cut}: the same command continues where it stopped", file=sys.stderr)
            return CONTINUE

    app.run(guarded)


@contextlib.contextmanager
def gc_paused():
    """Within it, Python does not look for garbage, nor later among what is made in it: where so many objects are made
    to stay, that takes half the time."""
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


def _preempt(number, frame):
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first one is heard, saving takes a moment
    raise Preempted("stopped by SIGTERM")


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2
