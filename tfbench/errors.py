"""The exceptions that the programs turn into one line (tfbench/cli/app.py)."""


class UserError(Exception):
    """Something only the user can mend. Its text is one sentence: expected, found, what to do.

    The programs print it as one line and leave with exit code 2.
    """


class Unwritable(UserError):
    """A file or folder cannot be written for a reason that may pass: its disk is full, read-only or away."""


class Preempted(BaseException):
    """The run is cut from outside, by SIGTERM or the loss of another host; the same command continues it.

    The programs say so and leave with exit code 75 (EX_TEMPFAIL).
    """


class OutOfTime(Preempted):
    """The time of --budget is over."""
