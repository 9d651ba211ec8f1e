"""tfbench: do better ImageNet models transfer better? (Kornblith, Shlens, Le; arXiv 1805.08974)."""

import importlib

from tfbench.errors import Preempted, UserError
from tfbench.version import __version__

API = ("build_network", "load_dataset", "extract_features", "fit_logistic_path", "load_rows", "correlation")
__all__ = ["Preempted", "UserError", "__version__"]


def __getattr__(name: str):
    """The functions of tfbench/api.py, which is imported only where one is asked for."""
    if name in API:
        return getattr(importlib.import_module("tfbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
