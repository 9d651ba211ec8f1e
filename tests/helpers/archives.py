"""Tiny archives in the true layouts of the paper's twelve data sets and ImageNet, for the builders of the real ones.

Each function writes its files into a folder (TFDS's manual one) and returns the truth: for every split, as TFDS
names it, a dictionary from key to label (VOC: to the classes that are positive and those only difficult).
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import pathlib
import tarfile
import unittest.mock
import zipfile

import numpy as np
import PIL.Image
import scipy.io
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.core.download.download_manager import DownloadManager

from tfbench.data.builders import fgvc_aircraft
from tfbench.files import atomic

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (200, 200, 60), (200, 60, 200))


@contextlib.contextmanager
def patched_checksums(folder):
    """Makes the builders take the files in `folder` for the registered ones; all else they do is unchanged."""
    original = DownloadManager.__init__

    def patched(self, *arguments, **options):
        original(self, *arguments, **options)
        for url, info in list(self._url_infos.items()):
            file = pathlib.Path(folder) / (info.filename or "")
            if info.filename and file.is_file():
                self._url_infos[url] = checksums.compute_url_info(epath.Path(file))

    aircraft = pathlib.Path(folder) / fgvc_aircraft.ARCHIVE.name
    checksum = f"sha256:{atomic.file_sha256(aircraft)}" if aircraft.exists() else ""
    with unittest.mock.patch.object(DownloadManager, "__init__", patched), unittest.mock.patch.object(
            fgvc_aircraft, "ARCHIVE", dataclasses.replace(fgvc_aircraft.ARCHIVE, checksum=checksum)):
        yield


def picture(label: int, number: int = 0, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    """A small encoded image in the colour of its class; no two numbers give the same bytes."""
    width, height = 40 + number % 7, 30 + label % 3
    noise = np.random.RandomState([label, number]).randint(-20, 20, (height, width, 3))
    image = PIL.Image.fromarray(np.clip(np.array(COLOURS[label % len(COLOURS)]) + noise, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    (image.quantize(16) if mode == "P" else image.convert(mode)).save(buffer, kind)
    return buffer.getvalue()


def _tar(path, files: dict[str, bytes], mode: str = "w:gz") -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def _mat(**arrays) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, arrays)
    return buffer.getvalue()


def _lines(items) -> bytes:
    return "".join(f"{item}\n" for item in items).encode()


def food101(folder) -> dict:
    classes, files, truth = ("apple_pie", "waffles"), {}, {"train": {}, "validation": {}}
    for label, name in enumerate(classes):
        for number in range(10):
            key = f"{name}/{1000 + number}"
            truth["train" if number < 7 else "validation"][key] = name
            files[f"food-101/images/{key}.jpg"] = picture(label, number)
    for split, meta in (("train", "train"), ("validation", "test")):
        lists = {name: [key for key in truth[split] if key.startswith(name)] for name in classes}
        files[f"food-101/meta/{meta}.json"] = json.dumps(lists).encode()
    _tar(folder / "food-101.tar.gz", files)
    return truth


def _cifar(number: int, labels: bytes, shade: int) -> bytes:
    return labels + np.random.RandomState([number, shade]).randint(0, 255, 3072).astype(np.uint8).tobytes()


def cifar10(folder) -> dict:
    root, truth = "cifar-10-batches-bin", {"train": {}, "test": {}}
    files = {f"{root}/batches.meta.txt": _lines(f"class{i}" for i in range(10))}
    for batch in range(5):
        files[f"{root}/data_batch_{batch + 1}.bin"] = b"".join(
            _cifar(4 * batch + i, bytes([(4 * batch + i) % 10]), 0) for i in range(4))
    truth["train"] = {f"train_{i:05d}": i % 10 for i in range(20)}
    files[f"{root}/test_batch.bin"] = b"".join(_cifar(i, bytes([i % 10]), 1) for i in range(10))
    truth["test"] = {f"test_{i:05d}": i % 10 for i in range(10)}
    _tar(folder / "cifar-10-binary.tar.gz", files)
    return truth


def cifar100(folder) -> dict:
    root, truth = "cifar-100-binary", {}
    files = {f"{root}/coarse_label_names.txt": _lines(f"coarse{i}" for i in range(20)),
             f"{root}/fine_label_names.txt": _lines(f"fine{i}" for i in range(100))}
    for shade, (split, count) in enumerate((("train", 30), ("test", 10))):
        files[f"{root}/{split}.bin"] = b"".join(_cifar(i, bytes([i % 20, (7 * i) % 100]), shade) for i in range(count))
        truth[split] = {f"{split}_{i:05d}": (7 * i) % 100 for i in range(count)}
    _tar(folder / "cifar-100-binary.tar.gz", files)
    return truth


def sun397(folder) -> dict:
    truth, files = {"train": {}, "test": {}}, {}
    odd = {("/a/abbey", 0): ("L", "JPEG"), ("/a/abbey", 1): ("RGBA", "PNG"), ("/y/yard", 0): ("P", "PNG"),
           ("/y/yard", 1): ("RGB", "BMP")}  # of the real set, too, not all .jpg are JPEGs
    for label, name in enumerate(("/a/abbey", "/y/yard", "/t/track/outdoor")):
        for number in range(8):
            key = f"{name}/sun_{label}{number}.jpg"
            truth["train" if number < 5 else "test"][key] = name
            files[f"SUN397{key}"] = picture(label, number, *odd.get((name, number), ()))
    _tar(folder / "SUN397.tar.gz", files)
    with zipfile.ZipFile(folder / "Partitions.zip", "w") as archive:
        archive.writestr("Training_01.txt", _lines(truth["train"]))
        archive.writestr("Testing_01.txt", _lines(truth["test"]))
    return truth


def cars(folder) -> dict:
    truth = {split: {f"{split}/{i:05d}": i % 3 for i in range(1, count)}
             for split, count in (("train", 13), ("test", 7))}
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    annotations = {}
    for split, labels in truth.items():
        rows = [(2, 3, 30, 25, label + 1, f"{key[-5:]}.jpg") for key, label in labels.items()]
        annotations[split] = _mat(annotations=np.array([rows], [(field, object) for field in fields]))
        _tar(folder / f"cars_{split}.tgz", {f"cars_{split}/{key[-5:]}.jpg": picture(label, int(key[-5:]))
                                            for key, label in labels.items()})
    _tar(folder / "car_devkit.tgz", {"devkit/cars_train_annos.mat": annotations["train"]})
    (folder / "cars_test_annos_withlabels.mat").write_bytes(annotations["test"])
    return truth


def aircraft(folder) -> dict:
    variants, root = ("707-320", "F-16A/B", "Boeing 717"), f"{fgvc_aircraft.ARCHIVE.name.removesuffix('.tar.gz')}/data"
    files, truth = {f"{root}/variants.txt": _lines(variants)}, {"train": {}, "validation": {}, "test": {}}
    for number in range(18):
        key, label = f"{1000 + number:07d}", number % 3
        truth[("train", "validation", "test")[number // 6]][key] = variants[label]
        files[f"{root}/images/{key}.jpg"] = picture(label, number)
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        files[f"{root}/images_variant_{name}.txt"] = _lines(f"{key} {label}" for key, label in truth[split].items())
    _tar(folder / fgvc_aircraft.ARCHIVE.name, files)
    return truth


def birdsnap(folder) -> dict:
    root, truth, rows = folder / "birdsnap", {"train": {}, "test": {}}, []
    for label, name in enumerate(("Coopers_Hawk", "Blue_Jay")):
        for number in range(12):
            kind = {0: "PNG", 1: "GIF"}.get(number, "JPEG")
            key = f"{name}/{number:04d}.{kind.lower().replace('jpeg', 'jpg')}"
            content = picture(label, number, "P" if kind == "GIF" else "RGB", kind)
            (root / "images" / name).mkdir(parents=True, exist_ok=True)
            (root / "images" / key).write_bytes(content)
            truth["test" if number in (1, 5, 6) else "train"][key] = label
            rows.append(("http://flickr/x.jpg", hashlib.md5(content).hexdigest(), key, label + 1, 1, 1, 20, 20))
    header = ("url", "md5", "path", "species_id", "bb_x1", "bb_y1", "bb_x2", "bb_y2")
    (root / "images.txt").write_bytes(_lines("\t".join(map(str, row)) for row in (header, *rows)))
    (root / "test_images.txt").write_bytes(_lines(("path", *truth["test"])))
    (root / "species.txt").write_bytes(_lines(("id\tcommon\tscientific\tdir", "1\tCooper's Hawk\tAccipiter cooperii\t"
                                               "coopers_hawk", "2\tBlue Jay\tCyanocitta cristata\tblue_jay")))
    return truth


def _voc_xml(objects) -> bytes:
    shown = "".join(f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{int(hard)}"
                    "</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>21</ymax></bndbox></object>"
                    for name, hard in objects)
    return f"<annotation><size><width>40</width><height>30</height><depth>3</depth></size>{shown}</annotation>".encode()


def voc2007(folder) -> dict:
    kinds = ((("cat", False), ("dog", True)), (("dog", False), ("dog", True)), (("sofa", False), ("cat", True)))
    truth, root = {"train": {}, "validation": {}, "test": {}}, "VOCdevkit/VOC2007"
    archives = {"VOCtrainval_06-Nov-2007.tar": {}, "VOCtest_06-Nov-2007.tar": {}}
    for number in range(18):
        key, objects = f"{number + 1:06d}", kinds[number % 3]
        split = ("train", "validation", "test")[number // 6]
        positive = {name for name, hard in objects if not hard}
        truth[split][f"{key}.jpg"] = {"positive": positive, "difficult": {name for name, _ in objects} - positive}
        files = archives["VOCtest_06-Nov-2007.tar" if split == "test" else "VOCtrainval_06-Nov-2007.tar"]
        files[f"{root}/JPEGImages/{key}.jpg"] = picture(number % 3, number)
        files[f"{root}/Annotations/{key}.xml"] = _voc_xml(objects)
        listing = f"{root}/ImageSets/Main/{'val' if split == 'validation' else split}.txt"
        files[listing] = files.get(listing, b"") + f"{key}\n".encode()
    for name, files in archives.items():
        _tar(folder / name, files, "w")
    return truth


def class_names(dataset) -> tuple[str, ...]:
    """All classes of a data set of TFDS, as it names them."""
    return tuple(tfds.builder(dataset.tfds).info.features["label"].names)


def dtd(folder, classes=("banded", "zigzagged")) -> dict:
    truth, files = {"train": {}, "validation": {}, "test": {}}, {}
    for label, name in enumerate(classes):
        for number in range(9):
            key = f"{name}/{name}_{number:04d}.jpg"
            truth[("train", "validation", "test")[number // 3]][key] = name
            files[f"dtd/images/{key}"] = picture(label, number)
    for split, name in (("train", "train1"), ("validation", "val1"), ("test", "test1")):
        files[f"dtd/labels/{name}.txt"] = _lines(truth[split])
    _tar(folder / "dtd-r1.0.1.tar.gz", files, "w")  # the real one is not compressed either, whatever its name
    return truth


def pets(folder) -> dict:
    truth, images, annotations = {"train": {}, "test": {}}, {}, {}
    for label, name in enumerate(("Abyssinian", "beagle")):
        for number in range(12):
            key = f"{name}_{number + 1}"
            truth["train" if number < 8 else "test"][f"{key}.jpg"] = label
            images[f"images/{key}.jpg"] = picture(label, number, *(("CMYK",) if number == 3 else ()))
            trimap = io.BytesIO()
            PIL.Image.new("L", (40, 30), 1).save(trimap, "PNG")
            annotations[f"annotations/trimaps/{key}.png"] = trimap.getvalue()
    for split, name in (("train", "trainval"), ("test", "test")):
        annotations[f"annotations/{name}.txt"] = _lines(
            f"{key.removesuffix('.jpg')} {label + 1} {label + 1} 1" for key, label in truth[split].items())
    _tar(folder / "images.tar.gz", images, "w")
    _tar(folder / "annotations.tar.gz", annotations, "w")
    return truth


def caltech101(folder, classes=("BACKGROUND_Google", "accordion", "yin_yang")) -> dict:
    files, truth = {}, {}
    for label, name in enumerate(classes):
        for number in range(33 + label % 3):
            truth[f"{name.lower()}/image_{number:04d}.jpg"] = name.lower()
            files[f"101_ObjectCategories/{name}/image_{number:04d}.jpg"] = picture(label, number)
    inner = _tar(folder / "inner.tar.gz", files)
    with zipfile.ZipFile(folder / "caltech-101.zip", "w") as archive:
        archive.write(inner, "caltech-101/101_ObjectCategories.tar.gz")
    inner.unlink()
    return {"all": truth}


def flowers(folder, classes=2) -> dict:
    """Six images of each class, and one of the next."""
    labels = [1 + number // 6 for number in range(6 * classes + 1)]
    sets = {name: [number for number in range(1, len(labels) + 1) if (number - 1) % 6 in places]
            for name, places in (("trnid", (2, 3)), ("valid", (0, 1)), ("tstid", (4, 5)))}
    sets["valid"], sets["tstid"] = sets["valid"][:2 * classes], sets["tstid"] + [len(labels)]
    labels[-1] = min(labels[-1], 102)
    _tar(folder / "102flowers.tgz", {f"jpg/image_{number:05d}.jpg": picture(label, number)
                                     for number, label in enumerate(labels, start=1)})
    (folder / "imagelabels.mat").write_bytes(_mat(labels=np.array([labels])))
    (folder / "setid.mat").write_bytes(_mat(**{name: np.array([numbers]) for name, numbers in sets.items()}))
    return {split: {f"image_{number:05d}.jpg": labels[number - 1] - 1 for number in sets[name]}
            for split, name in (("train", "trnid"), ("validation", "valid"), ("test", "tstid"))}


def imagenet2012(folder) -> dict:
    """Three of the 1,000 classes; two of the images are no RGB JPEGs, as in the real set."""
    classes = {"n01440764": 0, "n01739381": 59, "n02105855": 230}  # TFDS's numbers for the names of the classes
    odd = {"n01739381_1309.JPEG": ("CMYK", "JPEG"), "n02105855_2933.JPEG": ("RGB", "PNG")}
    truth, inner = {"train": {}, "validation": {}, "test": {}}, {}
    for number, (name, label) in enumerate(classes.items()):
        keys = [f"{name}_{i}.JPEG" for i in (10026, 18, 1309, 2933, 293)]  # in no order, of several lengths
        truth["train"] |= dict.fromkeys(keys, label)
        images = {key: picture(number, i, *odd.get(key, ())) for i, key in enumerate(keys)}
        inner[f"{name}.tar"] = _tar(folder / "inner.tar", images, "w").read_bytes()
    (folder / "inner.tar").unlink()
    _tar(folder / "ILSVRC2012_img_train.tar", inner, "w")
    # The first images' classes, which TFDS knows by their names: their archive is flat, and in no order either.
    truth["validation"] = {f"ILSVRC2012_val_{i:08d}.JPEG": label
                           for i, label in ((3, 230), (1, 65), (4, 809), (2, 970))}
    _tar(folder / "ILSVRC2012_img_val.tar",
         {key: picture(3, i) for i, key in enumerate(truth["validation"])}, "w")
    return truth


def imagenet2012_unlabelled(folder) -> None:
    """The archive of test images, of which nobody knows the classes."""
    _tar(folder / "ILSVRC2012_img_test.tar",
         {f"ILSVRC2012_test_{i:08d}.JPEG": picture(4, i) for i in range(1, 4)}, "w")


def tf_flowers(folder) -> None:
    """TFDS's tf_flowers, which has a training split only: 20 images of each of five classes, two of them the same."""
    _tar(folder / "flower_photos.tgz", {
        f"flower_photos/{name}/{number}.jpg": picture(label, number if (label, number) != (2, 7) else 6)
        for label, name in enumerate(("dandelion", "daisy", "tulips", "sunflowers", "roses")) for number in range(20)})


FABRICATORS = {"food101": food101, "cifar10": cifar10, "cifar100": cifar100, "birdsnap": birdsnap, "sun397": sun397,
               "cars": cars, "aircraft": aircraft, "voc2007": voc2007, "dtd": dtd, "pets": pets,
               "caltech101": caltech101, "flowers": flowers, "imagenet2012": imagenet2012}
