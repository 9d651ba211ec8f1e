"""The Python API: what the programs do, from Python, with plain arguments and arrays out.

    from tfbench import build_network, load_dataset, extract_features, fit_logistic_path, load_rows, correlation

TensorFlow is imported by the first four, when they are called. The examples are run by tests/test_api.py.
"""

import numpy as np

from tfbench import paper
from tfbench.errors import UserError


def build_network(name: str, **options):
    """A network as a Keras model with features and logits; arguments are those of tfbench.models.build.build_network.

    Args:
      name: of the catalog (tfbench.models.catalog.NETWORKS), or "MODULE:FUNCTION" of your own.
      options: weights=None (random), num_classes=None (1,000), image_size=None (its own), bn_scale=None, dropout=0.0,
        auxiliary_head=False, initializer="original", seed=0, precision="float32".

    Returns:
      A keras.Model. Input: images [batch, image_size, image_size, 3] float32 in the network's value range. Output:
      {"features": [batch, width] float32, "logits": [batch, num_classes] float32}.

    Raises:
      UserError: there is no such network, the size is too small, or the weights do not fit.

    >>> import numpy as np
    >>> from tfbench import build_network
    >>> model = build_network("mobilenet_v1", num_classes=10, image_size=32)
    >>> outputs = model(np.zeros([2, 32, 32, 3], np.float32))
    >>> outputs["features"].shape, outputs["logits"].shape
    (TensorShape([2, 1024]), TensorShape([2, 10]))
    """
    from tfbench.models import build

    return build.build_network(_network(name), **options)


def load_dataset(name: str, data_dir="~/tensorflow_datasets", *, split_seed: int = 0, difficult: str = "ignore",
                 crop_banner: bool = False) -> dict:
    """The three splits of a data set; an embedded one, or a folder of your own, is prepared first.

    Args:
      name: of the catalog (tfbench.data.catalog.DATASETS), "folder:PATH" or "tfds:NAME".
      data_dir: folder of prepared data sets.
      split_seed, difficult, crop_banner: how it is read (tfbench.data.catalog.Dataset).

    Returns:
      {"train", "validation", "test"}: Examples (tfbench.data.examples), with images [n], encoded bytes, labels [n]
      int64 (with several labels per image: [n, classes] float32, 1 present, -1 absent, 0 neither) and keys, n strings.

    Raises:
      UserError: there is no such data set, it is not prepared, or it has no validation split.

    >>> from tfbench import load_dataset
    >>> digits = load_dataset("digits", "data")
    >>> {split: part.labels.shape for split, part in digits.items()}
    {'train': (1078,), 'validation': (360,), 'test': (359,)}
    >>> import tensorflow as tf
    >>> tf.io.decode_image(digits["train"].images[0]).shape
    TensorShape([8, 8, 1])
    """
    from tfbench.cli import parsers
    from tfbench.data import examples, lookup, manifests, prepare

    if difficult not in ("ignore", "negative", "positive"):
        raise UserError(f"expected difficult among ignore, negative, positive, found {difficult!r}")
    dataset = lookup.get_dataset(_parsed(parsers.DatasetParser(), name), data_dir, split_seed=split_seed, difficult=difficult,
                        crop_banner=crop_banner)
    if not dataset.validation:
        raise UserError(f"{name} has no validation split, it is to pretrain on only: take another data set")
    if manifests.read(dataset, data_dir) is None and dataset.prepared_on_demand:
        prepare.prepare(dataset, data_dir)
    return {split: examples.load_split(dataset, split, data_dir) for split in manifests.SPLITS}


def extract_features(network: str, examples, *, weights: str | None, image_size: int | None = None,
                     batch_size: int = 64, precision: str = "float32") -> np.ndarray:
    """Penultimate features of a frozen network: whole images, resized bicubically, no augmentation. Nothing is cached.

    Args:
      network: as of build_network.
      examples: a split of load_dataset.
      weights: NAME.weights.h5 made by tfbench.pretrain or prepare_models; "own" for those that a function of your own
        loads; None for random ones.
      image_size: side of the square input in pixels; None for the network's own.
      precision: "float32" or "bfloat16", of convolutions and matrix products.

    Returns:
      float32 [n, width], in the order of the examples.

    Raises:
      UserError: there is no such network, the size is too small, or the weights are missing or of another network.

    >>> from tfbench import extract_features, load_dataset
    >>> test = load_dataset("digits", "data")["test"]
    >>> features = extract_features("mobilenet_v1", test, weights=None, image_size=32)
    >>> features.shape, features.dtype
    ((359, 1024), dtype('float32'))
    """
    from tfbench.data.pipeline import evaluation_batches
    from tfbench.linear import features
    from tfbench.models.lookup import check_image_size, get_network, weights_metadata

    if precision not in features.PRECISIONS:
        raise UserError(f"expected a precision among {', '.join(features.PRECISIONS)}, found {precision!r}")
    row = get_network(_network(network))
    size = image_size or row.image_size
    check_image_size(row, size)
    metadata = weights_metadata(row, weights) if weights else {"sha256": None, "value_range": row.value_range}
    extractor = features.make_extractor(row.name, weights_file=weights, weights_sha256=metadata["sha256"],
                                        image_size=size, value_range=metadata["value_range"], devices=0,
                                        precision=precision)
    return extractor(lambda shard: evaluation_batches(examples, image_size=size, batch_size=batch_size, shard=shard),
                     len(examples.keys), "features")


def fit_logistic_path(features, labels, strengths=paper.L2_STRENGTHS, *, classes: int | None = None,
                      max_iterations: int = 10_000) -> list:
    """L2-regularised logistic regression at every strength, each with a bound on how far it is from its optimum.

    Args:
      features: float [n, width], finite.
      labels: int [n] in [0, classes); or [n, classes] in {1, 0, -1}, a binary problem per class without the 0.
      strengths: λ > 0, any order: each multiplies half the squared norm of the weights against the *sum* of the losses.
      classes: their number; None for what the labels show.
      max_iterations: of L-BFGS at each strength.

    Returns:
      A Fit (tfbench.linear.logistic) per strength, the strongest first: strength, weights float64 [width, classes],
      bias float64 [classes], objective, gap (a bound), certified (whether that is little enough), iterations, seconds
      and scores(features) → float64 [m, classes].

    Raises:
      UserError: features and labels do not go together, are not finite, or a class has no example.

    >>> import numpy as np
    >>> from tfbench import fit_logistic_path
    >>> labels = np.arange(90) % 3
    >>> features = np.eye(3)[labels] + np.random.default_rng(0).normal(size=[90, 3]) / 4
    >>> fits = fit_logistic_path(features, labels, [0.1, 10])
    >>> [(fit.strength, fit.weights.shape, fit.certified) for fit in fits]
    [(10, (3, 3), True), (0.1, (3, 3), True)]
    >>> bool(np.mean(fits[-1].scores(features).argmax(axis=1) == labels) > 0.9)
    True
    """
    from tfbench.linear import logistic

    labels = np.asarray(labels)
    if not len(strengths) or min(strengths) <= 0:
        raise UserError(f"expected strengths above 0, found {list(strengths)}")
    if labels.ndim not in (1, 2) or not labels.size or labels.ndim == 1 and labels.dtype.kind not in "iu":
        raise UserError(f"expected labels [n] int, or [n, classes] in 1, 0 and -1, found {list(labels.shape)} "
                        f"{labels.dtype}")
    classes = classes or (labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1)
    return list(logistic.path(np.asarray(features), labels, strengths, classes=classes, max_iterations=max_iterations))


def load_rows(*results_dirs) -> list[dict]:
    """The rows of finished runs in results folders; tfbench.results.record says what a row holds.

    Returns:
      Dictionaries with at least regime, network, dataset, metric, accuracy (of the test split, in [0, 1]) and n_test
      (test images), and the row's file as path.

    Raises:
      UserError: a folder does not exist, or a row is damaged.

    >>> from tfbench import load_rows
    >>> for row in load_rows("results"):
    ...     print(row["regime"], row["network"], row["dataset"], row["accuracy"], row["n_test"])
    finetune mobilenet_v1 digits 0.92 359
    finetune mobilenet_v2 digits 0.9 359
    finetune resnet_50 digits 0.97 359
    finetune vgg_16 digits 0.93 359
    """
    from tfbench.results import store

    return store.read_records(*results_dirs or ("results",))


def correlation(rows: list[dict]) -> dict:
    """How well source accuracy predicts transfer accuracy, over networks, on the data sets that all of them have.

    Args:
      rows: of load_rows, or dictionaries with a row's regime, network, dataset, metric, accuracy and n_test, a key that
        no other has, and source {"dataset", "accuracy", "n_test"}. Of different budgets the largest counts.

    Returns:
      Regime → Correlation (tfbench.stats.correlation): networks, M names by source accuracy; datasets; source and
      transfer float64 [M], log-odds; errors [M]; r and rho, and 95 % intervals of r, interval (Fisher) and bootstrap:
      None where `reason` says why.

    Raises:
      UserError: there are no transfers, or they are not comparable.

    >>> from tfbench import correlation, load_rows
    >>> found = correlation(load_rows("results"))["finetune"]
    >>> found.networks
    ('mobilenet_v1', 'vgg_16', 'mobilenet_v2', 'resnet_50')
    >>> round(found.r, 3), round(found.rho, 3)
    (0.621, 0.4)
    """
    from tfbench.stats import accuracies
    from tfbench.stats import correlation as correlations

    return correlations.per_regime(accuracies.from_records(rows))


def _network(name: str) -> str:
    from tfbench.cli import parsers

    return _parsed(parsers.NetworkParser(), name)


def _parsed(parser, name: str) -> str:
    try:
        return parser.parse(name)
    except ValueError as error:
        raise UserError(str(error)) from None
