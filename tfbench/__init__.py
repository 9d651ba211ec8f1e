"""tfbench: do better ImageNet models transfer better? (Kornblith, Shlens, Le; arXiv 1805.08974).

The Python API: see the docstrings of tfbench/api.py, or help(tfbench.build_network).
"""

import importlib
from typing import TYPE_CHECKING

from tfbench.errors import Preempted, UserError
from tfbench.version import __version__

if TYPE_CHECKING:
    from tfbench.api import (
        analyse,
        build_network,
        correlation,
        extract_features,
        fit_logistic_path,
        list_datasets,
        list_models,
        load_classifier,
        load_dataset,
        load_rows,
    )

API = ("analyse", "build_network", "correlation", "extract_features", "fit_logistic_path", "list_datasets",
       "list_models", "load_classifier", "load_dataset", "load_rows")
__all__ = [
    "Preempted", "UserError", "__version__", "analyse", "build_network", "correlation", "extract_features",
    "fit_logistic_path", "list_datasets", "list_models", "load_classifier", "load_dataset", "load_rows"]


def __getattr__(name: str):
    """The functions of tfbench/api.py, which is imported only where one is asked for."""
    if name in API:
        return getattr(importlib.import_module("tfbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
