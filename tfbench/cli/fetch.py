"""Downloads as a person watches them: a line as each begins, one bar over all bytes, what cannot be had."""

import pathlib
from collections.abc import Mapping, Sequence

from tfbench.cli.progress import Display
from tfbench.errors import UserError
from tfbench.files import fetching
from tfbench.wording import count, megabytes, say


def fetch_all(files: Sequence[fetching.Wanted], *, cure: str) -> dict[pathlib.Path, str | UserError]:
    """Fetches files, several at once.

    Args:
      cure: what to do where a folder cannot be written.

    Returns:
      path -> the file's SHA-256 in hex, or why it cannot be had.
    """
    outcomes: dict[pathlib.Path, str | UserError] = {}
    if not files:
        return outcomes
    about = {file.path: max(file.about, 1) for file in files}
    came = dict.fromkeys(about, 0)
    with Display(sum(about.values())) as progress:
        for event in fetching.fetch(files, cure=cure):
            path = event.file.path
            if event.begins:
                progress.line(f"fetching {event.file.url}")
            elif event.error:
                outcomes[path] = event.error
                progress.line(f"cannot be had: {path.name}")
            elif event.sha256:
                outcomes[path], came[path] = event.sha256, about[path]
            else:
                came[path] = min(came[path] + (event.bytes or 0), about[path])
            progress.transfer(sum(came.values()), f"{len(outcomes)} of {len(about)} files, "
                              f"{megabytes(sum(came.values()))} of about {megabytes(sum(about.values()))}")
    return outcomes


def tell_failures(failed: Mapping[str, UserError]) -> None:
    """Says what could not be had, and why."""
    for name, error in failed.items():
        say(f"missing: {name}: {error}", error=True)


def tell_missing(failed: Mapping[str, UserError], of: int, what: str) -> None:
    """The same at the end of a program, with how many of them there are; `what` is one of them."""
    tell_failures(failed)
    say(f"{of - len(failed)} of {count(of, what)} there, {len(failed)} missing; the same command fetches only what is "
        "missing", error=True)
