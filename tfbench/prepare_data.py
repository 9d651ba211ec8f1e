"""Prepares data sets, apart from training, and proves that they are the paper's.

  python -m tfbench.prepare_data --dataset=all --action=plan     what would be fetched, and what is yours to do
  python -m tfbench.prepare_data --dataset=dtd                   fetches, checks and prepares it
  python -m tfbench.prepare_data --dataset=all                   all that can be fetched, some archives at once; says
                                                                 at the end what is missing and why
  python -m tfbench.prepare_data --dataset=cars --action=import --from=FOLDER
                                                                 takes it from a copy: train/CLASS/*.jpg and test/
                                                                 (and val/), or parquet files of the Hugging Face hub
  python -m tfbench.prepare_data --dataset=dtd --action=verify   decodes every image and compares with what is known
  python -m tfbench.prepare_data --dataset=all --action=status   what is there
  python -m tfbench.prepare_data --dataset=folder:/my/images     a custom data set; also tfds:NAME

Archives lie in DATA_DIR/downloads/manual: one that is there already is checked and used, so a machine without a
network needs nothing else. An interrupted download goes on where it stopped.
"""

from tfbench.cli import app
from tfbench.cli.fetch import fetch_all, tell_missing
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.data import folders, lookup, manifests, prepare, verify
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import open_dataset
from tfbench.data.manifests import manual_folder
from tfbench.data.sources import File, sizes
from tfbench.errors import UserError
from tfbench.files import downloads
from tfbench.files.fetching import Wanted
from tfbench.images.reading import FOLDER
from tfbench.wording import count, say

IMAGES_SHOWN = 50  # named on the terminal; thousands of ImageNet's are grey
ACTIONS = ("plan", "prepare", "import", "verify", "status")


SETTINGS = {
    "dataset": Setting(None, "datasets", "data sets, comma-separated: names, patterns, groups, or `all` for the "
                       "paper's twelve; folder:PATH or tfds:NAME[/CONFIG][:VERSION] for one of your own", WHAT,
                       required=True, alias="datasets"),
    "action": Setting("prepare", "choice", "plan: say what would be done; prepare: do it; import: take it from a copy; "
                      "verify: compare it with what is published and decode every image; status: say what is there",
                      WHAT, choices=ACTIONS),
    "from": Setting(None, "text", "folder with the copy, for --action=import", WHAT),
    "skip_unreadable": Setting(False, "switch", "leave out images of a folder that cannot be read; they are named and "
                               "counted in every record", WHAT),
    "label_key": Setting(None, "text", "feature of a TFDS set that holds the label; unset: the only one that can",
                         WHAT),
    "data_dir": FIELDS["data_dir"],
}


def plan(dataset, data_dir) -> list[str]:
    """What preparing a data set takes, in lines."""
    if dataset.embedded:
        return [f"{dataset.name}: drawn by tfbench, nothing to fetch"]
    if dataset.custom:
        notes = folders.read_once(dataset.folder).notes if dataset.folder else ()
        return [f"{dataset.name}: {dataset.train + dataset.validation + dataset.test:,} images, {dataset.classes} "
                f"classes, copied into {manifests.folder(dataset, data_dir)}", *(f"  {note}" for note in notes)]
    source = dataset.source
    line = (f"{dataset.name}: {dataset.title}, {dataset.train + dataset.validation + dataset.test:,} images, "
            f"{dataset.classes} classes")
    if source is None:
        return [f"{line} – fetched by TFDS ({dataset.tfds})"]
    lines = [f"{line} – {source.citation} – licence: {source.licence}"]
    for file in source.files:
        size = f"{file.size / 1e6:,.1f} MB" if file.size else "size unknown"
        if (manual_folder(data_dir) / file.name).exists():
            state = "there"
        else:
            state = f"from {file.url}" if file.url else "PUT IT THERE YOURSELF"
        lines.append(f"    {file.name} ({size}, {file.checksum[:20] or 'no checksum known'}…): {state}")
    if source.note:
        lines.append(f"    note: {source.note}")
    return lines


def refuse_by_hand(dataset, data_dir) -> None:
    """Raises UserError where archives must be put there by hand."""
    _, by_hand = manifests.absent_archives(dataset, data_dir)
    if by_hand:
        raise UserError(f"{dataset.name} needs {', '.join(file.name for file in by_hand)} in "
                        f"{manual_folder(data_dir)}, which cannot be fetched. {dataset.source.note}")


def wanted_files(dataset, data_dir) -> list[Wanted]:
    """The archives of a data set that are to be fetched."""
    return [Wanted(file.url, manual_folder(data_dir) / file.name, file.size, file.size or None, file.checksum or None)
            for file in manifests.absent_archives(dataset, data_dir)[0]]


def check_archives(dataset, data_dir, fetched: dict) -> None:
    """Checks a data set's archives; those that the catalog does not list are left to TFDS.

    Args:
      fetched: outcomes of those that were to be fetched, as cli.fetch.fetch_all returns them.

    Raises:
      UserError: one could not be fetched, or is another than expected.
    """
    for file in dataset.source.files if dataset.source else ():
        path = manual_folder(data_dir) / file.name
        outcome = fetched.get(path)
        if isinstance(outcome, UserError):
            raise outcome
        if outcome is None:
            say(f"checking {file.name}")
            mend = "and put the original there"
            if file.url:
                mend = f"and run the same command again, which fetches {file.url}"
            downloads.check(path, size=file.size or None, checksum=file.checksum or None,
                            cure=f"move it elsewhere {mend}")


def status(dataset, data_dir) -> str:
    """One line: prepared or not, how much, and how far it is known to be the paper's."""
    manifest = manifests.read(dataset, data_dir)
    if manifest is None:
        return f"{dataset.name}: not prepared{_lacking(dataset, data_dir)}"
    sizes = " / ".join(f"{manifest['splits'][split]['n']:,}" for split in manifests.SPLITS)
    megabytes = sum(manifest["files"].values()) / 1e6
    expected = " / ".join(f"{getattr(dataset, split):,}" for split in manifests.SPLITS)
    remark = ""
    if sizes != expected:
        remark = f" (the paper: {expected})" if dataset.source else f" (the catalog: {expected})"
    levels = ", ".join(f"{name} {result}" for name, result in verify.results(manifest["verification"]).items()
                       if result != verify.UNKNOWN or dataset.name in DATASETS)  # of own data nothing is published
    if skipped := manifest.get("skipped"):
        remark += f", {count(len(skipped), 'unreadable image')} left out"
    return f"{dataset.name}: {sizes} images to train / validate / test{remark}, {megabytes:,.1f} MB; {levels}"


def _lacking(dataset, data_dir) -> str:
    """What is to fetch and to bring for a data set, in words that follow others."""
    if dataset.source is None or manifests.in_tfds_format(dataset, data_dir):
        return ""
    fetched, by_hand = manifests.absent_archives(dataset, data_dir)
    if by_hand:
        return (f", to be brought by hand: {', '.join(file.name for file in by_hand)} "
                f"({sizes(by_hand)}) into {manual_folder(data_dir)}")
    return f", {sizes(fetched)} to fetch" if fetched else ", archives there"


def prepare_one(dataset, data_dir, fetched, copy=None, skip_unreadable=False) -> None:
    """Prepares a data set from its archives, from `copy`, or by drawing or copying it.

    Args:
      fetched: as of check_archives.
    """
    said = folders.read_once(dataset.folder).notes if dataset.folder else ()
    _tell(dataset, said)
    if (manifest := manifests.read_stored(dataset, data_dir)) is not None:
        _tell(dataset, (note for note in manifest.get("reading", ()) if note not in said))
        if copy is not None:
            raise UserError(f"{dataset.name} is prepared already in {manifests.folder(dataset, data_dir)}: move that "
                            "folder elsewhere to import another copy")
        return
    if copy is None and not manifests.in_tfds_format(dataset, data_dir):
        refuse_by_hand(dataset, data_dir)
        check_archives(dataset, data_dir, fetched)
    with Display(1) as progress:
        images = dataset.train + dataset.validation + dataset.test
        progress.run(f"preparing {dataset.name}", 1, images)
        manifest = prepare.prepare(dataset, data_dir, copy=copy, skip_unreadable=skip_unreadable,
                                   report=progress.images)
    _tell(dataset, (note for note in manifest.get("reading", ()) if note not in said))


def _tell(dataset, notes) -> None:
    for note in notes:
        say(f"{dataset.name}: {note}")


def verify_one(dataset, data_dir) -> bool:
    """Prints what each level came to; returns whether none failed."""
    images = sum(split["n"] for split in open_dataset(dataset, data_dir).manifest["splits"].values())
    with Display(images) as progress:
        progress.run(f"decoding {dataset.name}", images, images)
        verification = prepare.verify_images(dataset, data_dir, progress.images)
    say(f"{dataset.name}:")
    for name in verify.LEVELS:
        say(f"  {verification[name]['result']:<8}{name:<10}{verification[name]['found']}")
    for name, what in (("undecodable", "cannot be decoded"), ("other_than_rgb", "not stored as RGB")):
        reasons = verification["images"][name]
        for image, reason in list(reasons.items())[:IMAGES_SHOWN]:
            say(f"          {what}: {image} ({reason})")
        if len(reasons) > IMAGES_SHOWN:
            say(f"          {what}: {len(reasons) - IMAGES_SHOWN:,} more, named in "
                  f"{manifests.folder(dataset, data_dir) / manifests.MANIFEST}")
    return verify.FAIL not in verify.results(verification).values()


def look_up(options, name: str):
    """The data set of a name; of a TFDS set that is to be prepared, after it was.

    Raises:
      UserError: there is none.
    """
    if not name.startswith(lookup.TFDS) or options.action != "prepare":
        return lookup.get_dataset(name, options.data_dir)
    with Display(1) as progress:
        progress.run(f"preparing {name}", 1, 1)
        return prepare.prepare_tfds(name, options.data_dir, label_key=options.label_key, report=progress.images)


def prepare_all(options) -> dict[str, UserError]:
    """Fetches the archives of data sets, some at once, then prepares one after another; whatever one of them meets.

    Returns:
      name -> why it is not prepared, of those that could not be had.
    """
    chosen, failed, files, copy = {}, {}, [], getattr(options, "from")
    for name in options.dataset:
        try:
            dataset = look_up(options, name)
            if copy is None and not dataset.prepared_on_demand and manifests.read_stored(
                    dataset, options.data_dir) is None and not manifests.in_tfds_format(dataset, options.data_dir):
                refuse_by_hand(dataset, options.data_dir)
                files += wanted_files(dataset, options.data_dir)
            chosen[name] = dataset
        except UserError as error:
            failed[name] = error
    fetched = fetch_all(files, cure=manifests.CURE)
    for name, dataset in chosen.items():
        try:
            prepare_one(dataset, options.data_dir, fetched, copy, options.skip_unreadable)
            say(status(dataset, options.data_dir))
        except UserError as error:
            failed[name] = error
    return failed


def look(options) -> tuple[list[str], dict[str, UserError]]:
    """Says what --action=plan, status or verify asks for.

    Returns:
      (names of the sets that are not what is published; name -> what is wrong, of those that cannot be looked at).
    """
    different: list[str] = []
    failed: dict[str, UserError] = {}
    files: dict[str, File] = {}  # absent, by name
    several, there = len(options.dataset) > 1, 0
    for name in options.dataset:
        try:
            dataset = look_up(options, name)
            there += manifests.is_prepared(dataset, options.data_dir)
            if not manifests.is_prepared(dataset, options.data_dir) and not manifests.in_tfds_format(
                    dataset, options.data_dir):
                files |= {file.name: file for part in manifests.absent_archives(dataset, options.data_dir)
                          for file in part}
            if options.action == "plan":
                for line in plan(dataset, options.data_dir):
                    say(line)
            elif options.action == "status" or several and not manifests.is_prepared(dataset, options.data_dir):
                say(status(dataset, options.data_dir))
            elif not verify_one(dataset, options.data_dir):
                different.append(dataset.name)
        except UserError as error:
            failed[name] = error
    parts = [(words, [file for file in files.values() if bool(file.url) == fetched])
             for words, fetched in (("to fetch", True), ("to be brought by hand", False))]
    left = "; ".join(f"{words}: {sizes(part)}" for words, part in parts if part)
    if options.action == "plan" and left:
        say(f"{left}; archives in {manual_folder(options.data_dir)}, and about as much again prepared below "
            f"{options.data_dir}")
    elif several:
        say(f"{there} of {count(len(options.dataset), 'data set')} prepared in {options.data_dir}"
            + (f"; {left} (--action=plan says how)" if left else ""))
    return different, failed


def main(options) -> int | None:
    copy, names = getattr(options, "from"), options.dataset
    if (copy is not None) != (options.action == "import"):
        raise UserError("--action=import and --from=FOLDER belong together")
    if options.skip_unreadable and not all(name.startswith(FOLDER) for name in names):
        raise UserError("--skip_unreadable is for folders of images, --dataset=folder:PATH")
    if options.label_key and not all(name.startswith(lookup.TFDS) for name in names):
        raise UserError("--label_key is for data sets of TFDS, --dataset=tfds:NAME")
    if len(names) > 1 and options.action == "import":
        raise UserError(f"--action=import takes one data set, not {len(names)}")
    different: list[str] = []
    if options.action in ("prepare", "import"):
        failed = prepare_all(options)
    else:
        different, failed = look(options)
    if failed and len(names) == 1:
        raise failed[names[0]]
    if different:
        say(f"not what is published: {', '.join(different)}")
    if failed:
        tell_missing(failed, len(names), "data set")
    return 1 if different or failed else None


if __name__ == "__main__":
    app.start("prepare_data", __doc__, SETTINGS, main,
              again=lambda options: "the same command goes on with the downloads")
