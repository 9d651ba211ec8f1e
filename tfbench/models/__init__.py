"""Networks: their catalog, how they are built, and the weights files they start from."""

import importlib


def __getattr__(name: str):
    """`build_network` without importing Keras before it is asked for: programs read the catalog first."""
    if name == "build_network":
        return importlib.import_module("tfbench.models.build").build_network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
