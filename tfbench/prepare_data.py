"""Prepares data sets, apart from training, and proves that they are the paper's.

  python -m tfbench.prepare_data --dataset=all --action=plan     what would be fetched, and what is yours to do
  python -m tfbench.prepare_data --dataset=dtd                   fetches, checks and prepares it
  python -m tfbench.prepare_data --dataset=cars --action=import --from=FOLDER
                                                                 takes it from a copy: train/CLASS/*.jpg and test/
                                                                 (and val/), or parquet files of the Hugging Face hub
  python -m tfbench.prepare_data --dataset=dtd --action=verify   decodes every image and compares with what is known
  python -m tfbench.prepare_data --dataset=all --action=status   what is there
  python -m tfbench.prepare_data --dataset=folder:/my/images     a custom data set; also tfds:NAME

Archives lie in DATA_DIR/downloads/manual: one that is there already is checked and used, so a machine without a
network needs nothing else. An interrupted download goes on where it stopped.
"""

import dataclasses

from tfbench.cli import app
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.data import folders, lookup, manifests, prepare, verify
from tfbench.data.builders import common
from tfbench.data.catalog import PAPER_DATASETS
from tfbench.data.examples import open_dataset
from tfbench.data.manifests import manual_folder
from tfbench.errors import UserError
from tfbench.files import downloads
from tfbench.images.reading import FOLDER
from tfbench.wording import count, say

ALL = "all"
IMAGES_SHOWN = 50  # named on the terminal; thousands of ImageNet's are grey
ACTIONS = ("plan", "prepare", "import", "verify", "status")


SETTINGS = {
    "dataset": dataclasses.replace(FIELDS["dataset"], help="data set, or `all` for the paper's twelve; folder:PATH or "
                                   "tfds:NAME[/CONFIG][:VERSION] for one of your own", choices=(ALL,)),
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


def obtain(dataset, data_dir) -> None:
    """Fetches or checks a data set's archives; those that the catalog does not list are left to TFDS.

    Raises:
      UserError: one must be put there by hand, cannot be fetched, or is another than expected.
    """
    folder, source = manual_folder(data_dir), dataset.source
    if source is None:
        return
    absent = [file.name for file in source.files if not file.url and not (folder / file.name).exists()]
    if absent:
        raise UserError(f"{dataset.name} needs {', '.join(absent)} in {folder}, which cannot be fetched. {source.note}")
    for file in source.files:
        path, size, checksum = folder / file.name, file.size or None, file.checksum or None
        if path.exists():
            say(f"checking {file.name}")
            original = f"the original of {file.url}" if file.url else "the original"
            downloads.check(path, size=size, checksum=checksum, cure=f"replace it by {original}")
        else:
            say(f"fetching {file.url}")
            with Display(file.size or 1) as progress:
                progress.run(file.name, file.size or 1, file.size or 1)
                downloads.download(file.url, path, size=size, checksum=checksum, report=progress.images,
                                   cure=manifests.CURE)


def status(dataset, data_dir) -> str:
    """One line: prepared or not, how much, and how far it is known to be the paper's."""
    manifest = manifests.read(dataset, data_dir)
    if manifest is None:
        return f"{dataset.name}: not prepared"
    sizes = " / ".join(f"{manifest['splits'][split]['n']:,}" for split in manifests.SPLITS)
    megabytes = sum(manifest["files"].values()) / 1e6
    expected = " / ".join(f"{getattr(dataset, split):,}" for split in manifests.SPLITS)
    remark = ""
    if sizes != expected:
        remark = f" (the paper: {expected})" if dataset.source else f" (the catalog: {expected})"
    levels = ", ".join(f"{name} {result}" for name, result in verify.results(manifest["verification"]).items())
    if skipped := manifest.get("skipped"):
        remark += f", {count(len(skipped), 'unreadable image')} left out"
    return f"{dataset.name}: {sizes} images to train / validate / test{remark}, {megabytes:,.1f} MB; {levels}"


def prepare_one(dataset, data_dir, copy=None, skip_unreadable=False) -> None:
    """Prepares a data set from its archives, from `copy`, or by drawing or copying it."""
    said = folders.read_once(dataset.folder).notes if dataset.folder else ()
    _tell(dataset, said)
    if (manifest := manifests.read_stored(dataset, data_dir)) is not None:
        _tell(dataset, (note for note in manifest.get("reading", ()) if note not in said))
        if copy is not None:
            raise UserError(f"{dataset.name} is prepared already in {manifests.folder(dataset, data_dir)}: move that "
                            "folder elsewhere to import another copy")
        return
    in_tfds_format = (manifests.folder(dataset, data_dir) / common.INFO).exists()  # prepared by TFDS itself, say
    if copy is None and not in_tfds_format:
        obtain(dataset, data_dir)
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


def main(options) -> int | None:
    data_dir, copy = options.data_dir, getattr(options, "from")
    if (copy is not None) != (options.action == "import"):
        raise UserError("--action=import and --from=FOLDER belong together")
    if options.skip_unreadable and not options.dataset.startswith(FOLDER):
        raise UserError("--skip_unreadable is for folders of images, --dataset=folder:PATH")
    if options.label_key and not options.dataset.startswith(lookup.TFDS):
        raise UserError("--label_key is for data sets of TFDS, --dataset=tfds:NAME")
    if options.dataset == ALL and options.action == "import":
        raise UserError("--action=import takes one data set, not all")
    if options.dataset.startswith(lookup.TFDS) and options.action == "prepare":
        with Display(1) as progress:
            progress.run(f"preparing {options.dataset}", 1, 1)
            chosen = [prepare.prepare_tfds(options.dataset, data_dir, label_key=options.label_key,
                                           report=progress.images)]
    elif options.dataset == ALL:
        chosen = list(PAPER_DATASETS)
    else:
        chosen = [lookup.get_dataset(options.dataset, data_dir)]
    failed = []
    for dataset in chosen:
        if options.action == "plan":
            for line in plan(dataset, data_dir):
                say(line)
        elif options.action == "verify":
            if options.dataset == ALL and not manifests.is_prepared(dataset, data_dir):
                say(f"{dataset.name}: not prepared")
            elif not verify_one(dataset, data_dir):
                failed.append(dataset.name)
        else:
            if options.action in ("prepare", "import"):
                prepare_one(dataset, data_dir, copy, options.skip_unreadable)
            say(status(dataset, data_dir))
    files = [file for dataset in chosen if dataset.source for file in dataset.source.files]
    if options.action == "plan" and files:
        gigabytes = sum(file.size for file in files) / 1e9
        say(f"in all {gigabytes:.1f} GB of archives in {manual_folder(data_dir)}, and about as much again "
              f"prepared below {data_dir}")
    if failed:
        say(f"not what is published: {', '.join(failed)}")
        return 1
    return None


if __name__ == "__main__":
    app.start("prepare_data", __doc__, SETTINGS, main,
              again=lambda options: "the same command goes on with the download")
