"""The version of tfbench, in this file alone: pyproject.toml, records and reports read it here."""

__version__ = "0.1.0"
