"""The Python API: what the programs do, from Python, with plain arguments and arrays out.

TensorFlow is imported by the functions that compute with it, when they are called, and then says little. The examples
are run by tests/docs/test_api.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbench import paper
from tfbench.errors import UserError

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tfbench.classify.classifier import Classifier
    from tfbench.data.catalog import Dataset
    from tfbench.data.examples import Examples
    from tfbench.files.paths import Path
    from tfbench.linear.logistic import Fit
    from tfbench.models.catalog import Network
    from tfbench.results.record import Record
    from tfbench.stats.correlation import Correlations

WEIGHTS_DIR = "~/tfbench_weights"  # where prepare_models puts public weights, unless told otherwise


def list_models() -> list[Network]:
    """The networks of the catalog, with their facts.

    Returns:
      Network (tfbench.models.catalog): name, title, image_size in pixels, feature_width, parameters, multiply_adds in
      10^9, public_top1 and retrained_top1 in [0, 1] or None, and more.

    >>> from tfbench import list_models
    >>> [(model.name, model.image_size) for model in list_models()][:2]
    [('inception_v1', 224), ('bn_inception', 224)]
    """
    from tfbench.models.lookup import list_networks

    return list_networks()


def list_datasets() -> list[Dataset]:
    """The data sets of the catalog, with their facts.

    Returns:
      Dataset (tfbench.data.catalog): name, title, classes, metric, numbers of train, validation and test images, and
      more.

    >>> from tfbench import list_datasets
    >>> [(dataset.name, dataset.classes) for dataset in list_datasets()][:2]
    [('food101', 101), ('cifar10', 10)]
    """
    from tfbench.data import catalog

    return catalog.list_datasets()


def build_network(name: str, *, weights: str | None = None, num_classes: int | None = None,
                  image_size: int | None = None, bn_scale: bool | None = None, dropout: float = 0.0,
                  auxiliary_head: bool = False, initializer: str = "original", seed: int = 0,
                  precision: str = "float32", drop_path: bool = False) -> keras.Model:
    """A network as a Keras model with features and logits.

    Args:
      name: of the catalog (list_models), or "MODULE:FUNCTION" of a custom network.
      weights: NAME.weights.h5 made by tfbench.pretrain or prepare_models; "imagenet" for the public ones that
        prepare_models put into ~/tfbench_weights; "own" for those that a custom network loads; None for random ones.
      num_classes: width of a new classifier's logits; None for that of the weights or, without, ImageNet's 1,000.
      image_size: side of the square input in pixels; None for the network's ImageNet size.
      bn_scale: whether batch norm has a scale; None for what the original or the weights have.
      dropout: fraction of the features dropped in training, in [0, 1).
      auxiliary_head: whether to build the auxiliary classifier; refused where the network has none.
      initializer: "original", or "keras" for Glorot uniform everywhere.
      seed: with the network it determines all initial weights.
      precision: Keras's dtype policy: "float32", "mixed_bfloat16" or "mixed_float16".
      drop_path: whether NASNet-A Large, PNASNet-5 Large and EfficientNets drop paths in training; the paper's did not.

    Returns:
      A keras.Model. Input: images [batch, image_size, image_size, 3] float32 in the network's value range. Output:
      {"features": [batch, feature_width] float32, "logits": [batch, num_classes] float32}.

    Raises:
      UserError: there is no such network, the size is too small, an argument has another type, or the weights do not
        fit.

    >>> import numpy as np
    >>> from tfbench import build_network
    >>> model = build_network("mobilenet_v1", num_classes=10, image_size=32)
    >>> outputs = model(np.zeros([2, 32, 32, 3], np.float32))
    >>> outputs["features"].shape, outputs["logits"].shape
    (TensorShape([2, 1024]), TensorShape([2, 10]))
    """
    _check_types(name=(name, str), weights=(weights, str | None), num_classes=(num_classes, int | None),
                 image_size=(image_size, int | None), dropout=(dropout, float | int), seed=(seed, int))
    _quiet()
    from tfbench.models import build
    from tfbench.models.lookup import get_network

    if initializer not in ("original", "keras"):
        raise UserError(f"expected initializer 'original' or 'keras', found {initializer!r}")
    network = get_network(name)
    return build.build_network(
        network, weights=_weights_file(network, weights), num_classes=num_classes, image_size=image_size,
        bn_scale=bn_scale, dropout=dropout, auxiliary_head=auxiliary_head, initializer=initializer, seed=seed,
        precision=precision, drop_path=drop_path)


class Splits(dict):
    """{"train", "validation", "test"}: Examples.

    Attributes:
      class_names: the names of the classes, in the order of the labels.
      reading: of a folder or TFDS set, lines on what was taken for what.
    """

    def __init__(self, splits: Mapping[str, Examples], class_names: Sequence[str], reading: Sequence[str] = ()):
        super().__init__(splits)
        self.class_names = tuple(class_names)
        self.reading = tuple(reading)


def load_dataset(name: str, data_dir="~/tensorflow_datasets", *, split_seed: int = 0, difficult: str = "ignore",
                 crop_banner: bool = False) -> Splits:
    """The three splits of a data set; an embedded one, or a folder of images, is prepared first.

    Args:
      name: of the catalog (list_datasets), "folder:PATH" or "tfds:NAME".
      data_dir: folder of prepared data sets.
      split_seed, difficult, crop_banner: how it is read (tfbench.data.catalog.Dataset).

    Returns:
      {"train", "validation", "test"}: Examples (tfbench.data.examples), with images [n], encoded bytes, labels [n]
      int64 (with several labels per image: [n, classes] float32, 1 present, -1 absent, 0 neither) and keys, n strings.
      Its attribute class_names has the names of the classes, reading what a folder was taken for.

    Raises:
      UserError: there is no such data set, it is not prepared, or it has no validation split.

    >>> from tfbench import load_dataset
    >>> digits = load_dataset("digits", "data")
    >>> {split: examples.labels.shape for split, examples in digits.items()}
    {'train': (400,), 'validation': (200,), 'test': (1197,)}
    >>> digits.class_names[:3]
    ('0', '1', '2')
    >>> import tensorflow as tf
    >>> tf.io.decode_image(digits["train"].images[0]).shape
    TensorShape([8, 8, 1])
    """
    _check_types(name=(name, str), split_seed=(split_seed, int))
    _quiet()
    from tfbench.data import folders, lookup, manifests, prepare
    from tfbench.data.examples import find_dataset, open_dataset

    if difficult not in ("ignore", "negative", "positive"):
        raise UserError(f"expected difficult among ignore, negative, positive, found {difficult!r}")
    folders.read_once.cache_clear()  # a notebook lives long enough to see its folder change
    dataset = lookup.get_dataset(name, data_dir, split_seed=split_seed, difficult=difficult, crop_banner=crop_banner)
    if not dataset.validation:
        raise UserError(f"{name} has no validation split, it is to pretrain on only: take another data set")
    data = find_dataset(dataset, data_dir)
    if data is None and dataset.prepared_on_demand:
        prepare.prepare(dataset, data_dir)
    data = data or open_dataset(dataset, data_dir)
    return Splits({split: data.load(split) for split in manifests.SPLITS}, data.class_names,
                  data.manifest.get("reading", ()))


def extract_features(network: str, examples: Examples, *, weights: str | None, image_size: int | None = None,
                     batch_size: int = 64, precision: str = "float32") -> np.ndarray:
    """Penultimate features of a frozen network: whole images, resized bicubically, no augmentation. Nothing is cached.

    Args:
      network: as of build_network.
      examples: a split of load_dataset.
      weights: as of build_network.
      image_size: side of the square input in pixels; None for that at which the accuracy of public weights was
        measured, else the network's ImageNet size.
      batch_size: images at a time.
      precision: "float32" or "bfloat16", of convolutions and matrix products.

    Returns:
      float32 [n, width], in the order of the examples.

    Raises:
      UserError: there is no such network, the size is too small, or the weights are missing or of another network.

    >>> from tfbench import extract_features, load_dataset
    >>> test = load_dataset("digits", "data")["test"]
    >>> features = extract_features("mobilenet_v1", test, weights=None, image_size=32)
    >>> features.shape, features.dtype
    ((1197, 1024), dtype('float32'))
    """
    _check_types(network=(network, str), weights=(weights, str | None), image_size=(image_size, int | None),
                 batch_size=(batch_size, int))
    _quiet()
    from tfbench.data.examples import Examples
    from tfbench.data.pipeline import evaluation_batches
    from tfbench.linear import features
    from tfbench.models.lookup import check_image_size, get_network, weights_metadata

    if precision not in features.PRECISIONS:
        raise UserError(f"expected a precision among {', '.join(features.PRECISIONS)}, found {precision!r}")
    facts = get_network(network)
    check_image_size(facts, image_size or facts.image_size)
    file = _weights_file(facts, weights)
    metadata: dict = weights_metadata(facts, file) if file else {"sha256": None, "value_range": facts.value_range}
    size = image_size or metadata.get("image_size") or facts.image_size
    if not isinstance(examples, Examples):
        raise UserError(f"expected examples, a split of load_dataset, found {type(examples).__name__}")
    extractor = features.make_extractor(
        facts.name, weights_file=file, weights_sha256=metadata["sha256"], image_size=size,
        value_range=metadata["value_range"], devices=0, precision=precision)
    return extractor(lambda shard: evaluation_batches(examples, image_size=size, batch_size=batch_size, shard=shard),
                     len(examples.keys), "features")


def fit_logistic_path(features, labels, l2_strengths: Sequence[float] = paper.L2_STRENGTHS, *,
                      classes: int | None = None, max_iterations: int = 10_000) -> list[Fit]:
    """L2-regularised logistic regression at every strength, each with a bound on how far it is from its optimum.

    Args:
      features: float [n, width], finite.
      labels: int [n] in [0, classes); or [n, classes] in {1, 0, -1}, a binary problem per class without the 0.
      l2_strengths: λ > 0, any order: each multiplies half the squared norm of the weights against the sum of losses.
      classes: their number; None for what the labels show.
      max_iterations: of L-BFGS at each strength.

    Returns:
      A Fit (tfbench.linear.logistic) per strength, the strongest first: l2_strength, weights float64 [width, classes],
      bias float64 [classes], objective, gap (a bound), certified (whether that is little enough), iterations, seconds
      and scores(features) → float64 [m, classes].

    Raises:
      UserError: features and labels do not go together, are not finite, or a class has no example.

    >>> import numpy as np
    >>> from tfbench import fit_logistic_path
    >>> labels = np.arange(90) % 3
    >>> features = np.eye(3)[labels] + np.random.default_rng(0).normal(size=[90, 3]) / 4
    >>> fits = fit_logistic_path(features, labels, [0.1, 10])
    >>> [(fit.l2_strength, fit.weights.shape, fit.certified) for fit in fits]
    [(10, (3, 3), True), (0.1, (3, 3), True)]
    >>> bool(np.mean(fits[-1].scores(features).argmax(axis=1) == labels) > 0.9)
    True
    """
    _quiet()
    from tfbench.linear import logistic

    labels, features = np.asarray(labels), np.asarray(features)
    if features.dtype.kind not in "fiu":
        raise UserError(f"expected features [n, width] of numbers, found {features.dtype}")
    if not len(l2_strengths) or min(l2_strengths) <= 0:
        raise UserError(f"expected strengths above 0, found {list(l2_strengths)}")
    if labels.ndim not in (1, 2) or not labels.size or labels.ndim == 1 and labels.dtype.kind not in "iu":
        raise UserError(f"expected labels [n] int, or [n, classes] in 1, 0 and -1, found {list(labels.shape)} "
                        f"{labels.dtype}")
    classes = classes or (labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1)
    return list(logistic.path(features, labels, l2_strengths, classes=classes, max_iterations=max_iterations))


def load_classifier(run: str = "latest", results_dir="results") -> Classifier:
    """A trained network that a run kept, to classify images with: what `python -m tfbench.predict` uses.

    Args:
      run: "latest", the last run that kept its network; the path of a record; or the beginning of a run's name or key.
      results_dir: results folder.

    Returns:
      A Classifier (tfbench.classify.classifier): predict(images) takes a path of an image or a folder, a list of paths,
      or pixels uint8 [n, height, width, 3], of any size, and returns probabilities float32 [n, classes]; class_names
      says of what; model is the keras.Model, record the run's.

    Raises:
      UserError: there is no such run, or its network was not kept, with the command that makes it.

    >>> import numpy as np
    >>> from tfbench import load_classifier
    >>> classifier = load_classifier("logistic", "kept")
    >>> classifier.class_names[:3]
    ('0', '1', '2')
    >>> images = np.zeros([5, 48, 64, 3], np.uint8)
    >>> classifier.predict(images).shape
    (5, 10)
    """
    _check_types(run=(run, str))
    _quiet()
    from tfbench.classify.classifier import load

    return load(run, results_dir)


def load_rows(*results_dirs) -> list[Record]:
    """The records of finished runs in results folders; tfbench.results.record says what a record holds.

    Returns:
      Records with at least regime, network, dataset, metric, accuracy (of the test split, in [0, 1]) and n_test (test
      images), as attributes or as record["accuracy"]; path is that of the record's file.

    Raises:
      UserError: a folder does not exist, or a record is damaged.

    >>> from tfbench import load_rows
    >>> for row in load_rows("results"):
    ...     print(row["regime"], row["network"], row["dataset"], row["accuracy"], row["n_test"])
    finetune mobilenet_v1 digits 0.92 100
    finetune mobilenet_v2 digits 0.9 100
    finetune resnet_50 digits 0.97 100
    finetune vgg_16 digits 0.93 100
    """
    from tfbench.results import store

    return store.read_records(*results_dirs or ("results",))


def correlation(rows: Sequence[Record] | Sequence[Mapping[str, Any]] | pd.DataFrame, *, regime: str | None = None,
                ignore_columns: Sequence[str] = ()) -> Correlations:
    """How well source accuracy predicts transfer accuracy, over networks, on the data sets that all of them have.

    Args:
      rows: of load_rows; or dictionaries with a record's regime, network, dataset, metric, accuracy and n_test, a key
        that no other has, and source {"dataset", "accuracy", "n_test"}; or a table, as `analysis --accuracies` reads
        it. Of different budgets the largest counts.
      regime, ignore_columns: of a table, as the flags of `analysis`. What in it was not plain is warned about.

    Returns:
      Regime → Correlation (tfbench.stats.correlation): networks, M names by source accuracy; datasets; source and
      transfer float64 [M], log-odds; errors [M]; r and rho, and 95 % intervals of r, interval (Fisher) and bootstrap:
      None where `reason` says why. to_frame() gives the same as a DataFrame, a row per regime.

    Raises:
      UserError: there are no transfers, or they are not comparable.

    >>> from tfbench import correlation, load_rows
    >>> correlations = correlation(load_rows("results"))
    >>> correlations["finetune"].networks
    ('mobilenet_v1', 'vgg_16', 'mobilenet_v2', 'resnet_50')
    >>> round(correlations["finetune"].r, 3), round(correlations["finetune"].rho, 3)
    (0.621, 0.4)
    >>> correlations.to_frame().shape[0]
    1
    """
    import pandas as pd

    from tfbench.stats import accuracies
    from tfbench.stats import correlation as correlations

    if isinstance(rows, pd.DataFrame):
        reading = accuracies.read_table(rows, regime=regime, ignore_columns=ignore_columns)
        for line in reading.surprises:
            warnings.warn(line, stacklevel=2)
        return correlations.per_regime(reading.table)
    if isinstance(rows, str | Mapping) or not isinstance(rows, Sequence):
        raise UserError(f"expected records of load_rows or a DataFrame, found {type(rows).__name__}")
    return correlations.per_regime(accuracies.from_records(rows))


def analyse(accuracies: pd.DataFrame | str | None = None, *, results_dir: str | Sequence[str] | None = None,
            output_dir: str | None = None, dataset: str | Sequence[str] | None = None, regime: str | None = None,
            source_column: str | None = None, ignore_columns: Sequence[str] = (), exclude: Sequence[str] = (),
            source: str | None = None) -> Path:
    """Prints the statistics of results, and writes the report with its page, tables and figures.

    Args:
      accuracies: a table of accuracies, or the file of one (`analysis --accuracies`); None for records.
      results_dir: a results folder, or several; None: "results".
      output_dir: folder of the report; None: "report", in the results folder if there is one.
      dataset: analyse this data set only, and say which network to take for it, or several; None for all.
      regime, source_column, ignore_columns: of a table, as the flags of `analysis` (tfbench.stats.accuracy_table).
      exclude: networks to leave out.
      source: source data set of the weights to analyse, "imagenet" for the public ones; None: of most results.

    Returns:
      Path of the report's index.html.

    Raises:
      UserError: nothing to analyse, results that do not go together, or a folder that cannot be written.

    >>> from tfbench import analyse
    >>> analyse(results_dir="results", output_dir="report").name  # doctest: +ELLIPSIS
    fine-tuning...
    'index.html'
    """
    from tfbench.report.analyse import analyse as write

    return write(results_dir=results_dir, accuracies=accuracies, output_dir=output_dir, dataset=dataset, regime=regime,
                 source_column=source_column, ignore_columns=ignore_columns, exclude=exclude, source=source)


def _weights_file(network: Network, weights: str | None) -> str | None:
    """The weights file that `weights` names, as --weights does."""
    from tfbench.models.weights import IMAGENET, imagenet_path

    return str(imagenet_path(WEIGHTS_DIR, network.name)) if weights == IMAGENET else weights


def _check_types(**arguments: tuple[Any, Any]) -> None:
    """Raises UserError where an argument, name → (value, type), has another type."""
    for name, (value, kind) in arguments.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            words = getattr(kind, "__name__", str(kind))
            raise UserError(f"expected {name} of type {words}, found {value!r}")


def _quiet() -> None:
    """Silences TensorFlow's start, where it is not imported yet."""
    from tfbench.cli import app

    app.quiet()
