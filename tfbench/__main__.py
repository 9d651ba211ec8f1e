"""python -m tfbench: what programs there are; `list`: networks and data sets; --version."""

import ast
import pathlib
import sys

from tfbench.regimes import RUNS
from tfbench.version import __version__

PROGRAMS = ("study", *RUNS, "predict", "export", "mistakes", "analysis", "tsne", "duplicates", "prepare_data",
            "prepare_models", "benchmark")


def programs() -> list[str]:
    """A line for each program: its name, and the first line of what it says of itself."""
    folder = pathlib.Path(__file__).parent
    lines = []
    for name in PROGRAMS:
        doc = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))) or ""
        lines.append(f"  python -m tfbench.{name:<20} {doc.splitlines()[0]}")
    return lines


def main(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"tfbench {__version__}")
    elif arguments == ["list"]:
        from tfbench.cli import help as help_text

        print("\n".join([*help_text.networks(), "", *help_text.datasets()]))
    elif arguments and arguments not in (["--help"], ["-h"]):
        print(f"error: unknown command {' '.join(arguments)!r}: expected list, --version, or a program, e.g. "
              f"`python -m tfbench.{PROGRAMS[0]}`", file=sys.stderr)
        return 2
    else:
        print("\n".join((f"tfbench {__version__}: do better ImageNet networks transfer better?", "", *programs(), "",
                         "  python -m tfbench list                  networks and data sets with their facts",
                         "  python -m tfbench --version", "", "Each program explains its flags with --help.")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
