"""Prepares the paper's data sets, apart from training.

  python -m tfbench.prepare_data --dataset=all --action=plan     what would be fetched, and what is yours to do
  python -m tfbench.prepare_data --dataset=dtd                   fetches, checks and prepares it
  python -m tfbench.prepare_data --dataset=all --action=status   what is there

Archives lie in DATA_DIR/downloads/manual: one that is there already is checked and used, so a machine without a
network needs nothing else. An interrupted download goes on where it stopped.
"""

import pathlib

from tfbench import UserError
from tfbench.cli import app
from tfbench.cli import flags as cli
from tfbench.cli.progress import Display
from tfbench.data import prepare
from tfbench.data.catalog import DATASETS, PAPER_DATASETS
from tfbench.data.sources import SOURCES
from tfbench.models import fetch

ALL = "all"


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_name("dataset", None, "data set, a row of DATASETS, or `all` for the paper's twelve", "data set",
                    (*DATASETS, ALL), fv)
    cli.flags.mark_flags_as_required(["dataset"], flag_values=fv)
    cli.flags.DEFINE_enum("action", "prepare", ["plan", "prepare", "status"], "plan: say what would be done; prepare: "
                          "do it; status: say what is there", flag_values=fv)
    cli.define_data_folder_flag(fv)


def manual_folder(data_dir) -> pathlib.Path:
    """Where archives lie."""
    return pathlib.Path(data_dir).expanduser() / "downloads" / "manual"


def plan(dataset, data_dir) -> list[str]:
    """What preparing a data set takes, in lines."""
    if dataset.embedded:
        return [f"{dataset.name}: drawn by tfbench, nothing to fetch"]
    source = SOURCES[dataset.name]
    lines = [f"{dataset.name}: {dataset.title}, {dataset.train + dataset.validation + dataset.test:,} images, "
             f"{dataset.classes} classes – {source.citation} – licence: {source.licence}"]
    for file in source.files:
        size = f"{file.size / 1e6:,.1f} MB" if file.size else "size unknown"
        if (manual_folder(data_dir) / file.name).exists():
            state = "there"
        else:
            state = f"from {file.url}" if file.url else "PUT IT THERE YOURSELF"
        lines.append(f"    {file.name} ({size}, {file.checksum[:20] or 'no checksum known'}…): {state}")
    return [*lines, f"    note: {source.note}"] if source.note else lines


def obtain(dataset, data_dir) -> None:
    """Fetches or checks a data set's archives.

    Raises:
      UserError: one must be put there by hand, cannot be fetched, or is another than expected.
    """
    folder, source = manual_folder(data_dir), SOURCES[dataset.name]
    absent = [file.name for file in source.files if not file.url and not (folder / file.name).exists()]
    if absent:
        raise UserError(f"{dataset.name} needs {', '.join(absent)} in {folder}, which cannot be fetched. {source.note}")
    for file in source.files:
        path, known = folder / file.name, {"size": file.size or None, "checksum": file.checksum or None}
        if path.exists():
            print(f"checking {file.name}")
            fetch.check(path, cure="replace it by the original" + (f" of {file.url}" if file.url else ""), **known)
        else:
            print(f"fetching {file.url}")
            with Display(file.size or 1) as progress:
                progress.run(file.name, file.size or 1, file.size or 1)
                fetch.download(file.url, path, report=progress.images, manual="", **known)


def status(dataset, data_dir) -> str:
    """One line: prepared or not, and how much."""
    manifest = prepare.read_manifest(dataset, data_dir)
    if manifest is None:
        return f"{dataset.name}: not prepared"
    sizes = " / ".join(f"{manifest['splits'][split]['n']:,}" for split in prepare.SPLITS)
    size = sum(manifest["files"].values()) / 1e6
    expected = tuple(getattr(dataset, split) for split in prepare.SPLITS)
    found = tuple(manifest["splits"][split]["n"] for split in prepare.SPLITS)
    remark = "" if found == expected else f" (the paper: {' / '.join(f'{n:,}' for n in expected)})"
    return f"{dataset.name}: {sizes} images to train / validate / test{remark}, {size:,.1f} MB"


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    chosen = PAPER_DATASETS if options.dataset == ALL else (DATASETS[options.dataset],)
    for dataset in chosen:
        if options.action == "plan":
            print("\n".join(plan(dataset, options.data_dir)))
            continue
        if options.action == "prepare" and prepare.read_manifest(dataset, options.data_dir) is None:
            if not dataset.embedded:
                obtain(dataset, options.data_dir)
            prepare.prepare(dataset, options.data_dir)
        print(status(dataset, options.data_dir))
    if options.action == "plan":
        size = sum(file.size for dataset in chosen if not dataset.embedded for file in SOURCES[dataset.name].files)
        print(f"in all {size / 1e9:.1f} GB of archives in {manual_folder(options.data_dir)}, and about as much again "
              f"prepared below {options.data_dir}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
