"""Draws the penultimate features of ten classes by t-SNE, network beside network (v3 figure 4).

Embeds the features of each network in the plane by scikit-learn's TSNE, and draws the panels side by side, coloured by
class. Writes OUTPUT.svg, OUTPUT.png and OUTPUT.csv with the points. Features are those of logistic_regression and
share its cache. Of one network several weights can be compared, as in the paper's figure.

  python -m tfbench.tsne --models=inception_v4,resnet_50 --dataset=pets
  python -m tfbench.tsne --models=inception_v1,mobilenet_v2 --dataset=digits --image_size=32 --weights=results
  python -m tfbench.tsne --model=inception_v1 --dataset=digits --image_size=32 \\
      --weights=results/ablation_1,results/ablation_4
"""

import dataclasses

import numpy as np

from tfbench.cli import app
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, RunConfig, Setting
from tfbench.data.examples import Examples, PreparedDataset, select
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import as_path, beside, ending_in
from tfbench.inputs import RunInputs, resolve
from tfbench.models.weights import ENDING, IMAGENET, SCHEMA
from tfbench.regimes import REGIMES
from tfbench.results.titles import dataset_title, network_title
from tfbench.wording import count, say, unknown

CLASSES = 10  # of the paper's figure, and as many as colours can be told apart
FEATURES = next(regime for regime in REGIMES.values() if regime.pretrained and not regime.search)

SETTINGS = {
    "models": Setting(None, "networks", "networks to compare, comma-separated: names, patterns such as resnet_*, "
                      "groups, or MODULE:FUNCTION of a custom one", WHAT, required=True, alias="model"),
    "dataset": FIELDS["dataset"],
    "weights": Setting((IMAGENET,), "texts", "pretrained weights, one for all networks or one for each (of a single "
                       "network any number, a panel each): a file made by tfbench.pretrain, the results folder of a "
                       "study for what it pretrained, `imagenet`, or `own`", WHAT),
    "classes": Setting((), "texts", f"names of the classes to show, 2 to {CLASSES}, comma-separated; unset: {CLASSES} "
                       "at random by --seed", WHAT),
    "split": Setting("test", "choice", "which images are shown", WHAT, choices=("train", "validation", "test")),
    "perplexity": Setting(30.0, "number", "of t-SNE: about how many neighbours a point has (scikit-learn's default; "
                          "the paper does not say)", WHAT, above=0),
    "seed": Setting(0, "integer", "chooses the classes, and starts t-SNE (our choice)", WHAT, minimum=0,
                    maximum=2**32 - 1),
    "output": Setting(None, "text", "file name without ending; unset: tsne/DATASET in --results_dir", WHAT),
    **{name: FIELDS[name] for name in ("image_size", "batch_size", "split_seed", "aircraft_banner", "devices",
                                       "results_dir", "data_dir", "weights_dir")},
}


@dataclasses.dataclass(frozen=True)
class Panel:
    """A network with its weights, and where its features lie.

    Attributes:
      network: its name. weights: as --weights names them.
      inputs: what they are.
    """

    network: str
    weights: str
    inputs: RunInputs


def pairs(models: tuple[str, ...], weights: tuple[str, ...]) -> list[tuple[str, str]]:
    """(network, weights) of each panel.

    Raises:
      UserError: there are several of both, and not as many.
    """
    if len(models) > 1 and len(weights) > 1 and len(models) != len(weights):
        raise UserError(f"expected one --weights for all networks or one for each, found {count(len(weights), 'name')} "
                        f"for {count(len(models), 'network')}")
    number = max(len(models), len(weights))
    both = (items * number if len(items) == 1 else items for items in (models, weights))
    return list(zip(*both, strict=True))


def weights_file(weights: str, network: str) -> str:
    """--weights of a program for one of ours: the file that a study pretrained, if `weights` is its results folder.

    Raises:
      UserError: the study has no weights of the network, or several.
    """
    folder = as_path(weights)
    if weights == IMAGENET or not folder.is_dir():
        return weights
    metadata = {path: atomic.read_json(path, cure="move it and its weights elsewhere and pretrain the network again",
                                      schema=SCHEMA)
                for path in ending_in(folder / "weights", ".json")}
    for path, facts in metadata.items():
        if not isinstance(facts, dict):
            raise UserError(f"{path} is no metadata of weights: move it elsewhere")
    files = [str(beside(path, ENDING)) for path, facts in metadata.items()
             if facts.get("network") == network]
    if len(files) != 1:
        others = sorted({str(facts.get("network")) for facts in metadata.values()})
        found = f"found {len(files)}: name one of {', '.join(files)}" if files else (
            f"found those of {', '.join(others) or 'no network'}: pretrain it, or name a file")
        raise UserError(f"expected one pretraining of {network} in {folder / 'weights'}, {found} with --weights")
    return files[0]


def chosen_classes(data: PreparedDataset, names: tuple[str, ...], seed: int) -> list[int]:
    """Labels of the classes to show, ascending where they are drawn.

    Raises:
      UserError: a name is unknown or stands twice, there are too many or too few.
    """
    dataset, known = data.dataset, data.class_names
    if dataset.multi_label:
        raise UserError(f"the images of {dataset.name} show several classes each: take a data set with one per image")
    if not names:
        if len(known) < CLASSES:
            raise UserError(f"{dataset.name} has {len(known)} classes, expected {CLASSES} to draw from: name those to "
                            f"show, e.g. --classes={','.join(known)}")
        return sorted(np.random.RandomState(seed).permutation(len(known))[:CLASSES].tolist())
    for name in names:
        if name not in known:
            raise UserError(unknown(f"class of {dataset.name}", name, known))
    if len(set(names)) < len(names) or not 2 <= len(names) <= CLASSES:
        raise UserError(f"expected 2 to {CLASSES} different names in --classes, found {', '.join(names)}")
    return [known.index(name) for name in names]


def features_of(inputs: RunInputs, test: Examples, positions: np.ndarray, split: str, progress) -> np.ndarray:
    """Features of the examples at some positions of a split, from the cache if it has the whole split."""
    from tfbench.linear.cache import SHARD_EXAMPLES
    from tfbench.linear.regression import fixed_features

    fixed = fixed_features(inputs, progress)
    shards = [fixed.cache.read(split, number, test.keys[first:first + SHARD_EXAMPLES])
              for number, first in enumerate(range(0, len(test.keys), SHARD_EXAMPLES))]
    if all(shard is not None for shard in shards):
        return np.concatenate(shards)[positions]  # type: ignore[arg-type]
    return fixed.of(select(test, positions), f"{split}_of_classes")


def main(options) -> None:
    # ---- what to draw ------------------------------------------------------------------------------
    panels = []
    with Display(1) as progress:
        for network, weights in pairs(options.models, options.weights):
            values = vars(options) | {"model": network, "weights": weights_file(weights, network)}
            config = RunConfig.from_flags(FEATURES.name, values)
            panels.append(Panel(network, weights, resolve(config, progress)))
    data = panels[0].inputs.data
    labels = chosen_classes(data, options.classes, options.seed)
    names = [data.class_names[label] for label in labels]
    examples = data.load(options.split)
    positions = np.flatnonzero(np.isin(examples.labels, labels))
    if options.perplexity >= len(positions):
        raise UserError(f"--perplexity={options.perplexity:g} must be less than the number of images, which is "
                        f"{len(positions):,} for these classes in {options.split}: lower it, or name other --classes")
    how = "as named" if options.classes else f"drawn with --seed={options.seed}"
    say(f"{dataset_title(data.dataset.name)}: {count(len(positions), f'{options.split} image')} of "
        f"{count(len(names), 'class')}, {how}: {', '.join(names)}")

    # ---- features and their embeddings -------------------------------------------------------------
    from tfbench.report import tsne_plot  # matplotlib, scikit-learn and TensorFlow: --help does without

    points = []
    with Display(len(panels) * len(positions)) as progress:
        for panel in panels:
            progress.run(f"{network_title(panel.network)}, {panel.weights}", len(positions), len(positions))
            values = features_of(panel.inputs, examples, positions, options.split, progress)
            progress.stage(f"t-SNE of {len(positions):,} × {values.shape[1]:,} features")
            points.append(tsne_plot.embed(values, options.perplexity, options.seed))
            progress.finish_run()
    several = len({panel.network for panel in panels}) < len(panels)
    titles = [network_title(panel.network) + (f"\n{panel.weights}" if several else "") for panel in panels]

    # ---- files -------------------------------------------------------------------------------------
    numbers = np.array([labels.index(label) for label in examples.labels[positions]])
    slug = data.dataset.name.replace("/", "-").replace(":", "-")
    path = as_path(options.output or as_path(options.results_dir) / "tsne" / slug)
    svg, png = tsne_plot.draw(points, titles, numbers, names)
    table = tsne_plot.csv(points, [(panel.network, panel.weights) for panel in panels], numbers, names,
                          [examples.keys[int(position)] for position in positions])
    for ending, content in (("svg", svg), ("png", png), ("csv", table.encode())):
        file = as_path(f"{path}.{ending}")
        atomic.write_atomically(file, content, cure=atomic.make_writable())
        say(str(file))


if __name__ == "__main__":
    app.start("tsne", __doc__, SETTINGS, main)
