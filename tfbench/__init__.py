"""tfbench: do better ImageNet models transfer better? (Kornblith, Shlens, Le; arXiv 1805.08974)."""

import importlib

__version__ = "0.1.0"

API = ("build_network", "load_dataset", "extract_features", "fit_logistic_path", "load_rows", "correlation")


def __getattr__(name: str):
    """The functions of tfbench/api.py, which is imported only where one is asked for."""
    if name in API:
        return getattr(importlib.import_module("tfbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class UserError(Exception):
    """Something only the user can mend. Its text is one sentence: expected, found, what to do.

    The programs print it as one line and leave with exit code 2 (see tfbench/cli/app.py).
    """


class Preempted(BaseException):
    """The run is cut from outside, by SIGTERM or the loss of another host; the same command continues it.

    The programs say so and leave with exit code 75 (EX_TEMPFAIL, see tfbench/cli/app.py).
    """
