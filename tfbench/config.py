"""RunConfig: all settings of one run, each named once, here.

A program's flags, its --help, the flagfile beside a record, the specification that is hashed and the key of a traced
graph are made from these fields. Which of them a kind of run has, and with which defaults, says its row in regimes.py.
To add a hyperparameter: add a field here, name it in the rows of regimes.py that have it, and use it.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from tfbench import paper
from tfbench.data.catalog import DATASETS, OWN_METRICS, VOC_MAP, Dataset
from tfbench.errors import UserError
from tfbench.models.catalog import SWITCHES, Network
from tfbench.regimes import RUNS, Regime
from tfbench.wording import brief_duration, count

SCHEMA = 6  # version of the layout of records and specifications
READING = "JPEG by the accurate integer transform, resized as TensorFlow 1 did"  # data/pipeline.py
SUBSET = 'by SHA-256 of "subset|SEED|KEY"; no refit on train + validation'  # of runs on few examples
FIRST_METRICS = ("top1", VOC_MAP)  # of own data with one label and with several, before there were others
RUNGS = "learning rates for a tenth of the steps, the best two in full, the better at all weight decays"  # of `search`
UPDATE = "Nesterov momentum as TensorFlow 1's, the learning rate outside the velocity"  # training/trainer.py

WHAT, SEARCH, TRAINING, EXAMPLES, READS, MACHINE, FOLDERS = (
    "what to run", "search", "training", "few examples", "how data are read", "machine", "folders")  # groups of --help
ALL, REFIT = "all", "refit"  # values of `trial`
HALVING = "halving"  # of `search`
PAPER, QUICK = "paper", "quick"  # of `preset`, the first also of `examples_per_class`


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a flag is beside its name.

    Attributes:
      default: its value where it is not given; None is "unset".
      kind: "integer", "number", "switch", "text", "choice", "library" (a choice that must be installed), "name",
        "trial", "grid", "duration" (in seconds), "network", "dataset", or a comma-separated list: "integers",
        "numbers", "names", "texts", "networks", "datasets" (parsed by cli/flags.py).
      help: one sentence, with the paper's section or "our choice".
      group: heading in --help.
      choices: of "choice", "name" and "names"; further names that a "dataset" may have; words in place of "integers";
        the most rates and decays of a "grid".
      minimum, maximum: of numbers, both allowed.
      above: numbers must be greater than this.
      required: whether it must be given.
      alias: another name of the flag.
      in_spec: whether a run's outcome depends on it: it is a part of the specification as it is.
      changes_spec: the same, but at its default it is left out: hashes of before it came stay.
      traced: whether a traced training step depends on it.
    """

    default: Any
    kind: str
    help: str
    group: str
    choices: Collection[str] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    required: bool = False
    alias: str = ""
    in_spec: bool = False
    changes_spec: bool = False
    traced: bool = False


def setting(default, kind: str, help: str, group: str, **more) -> Any:
    """A field of RunConfig; arguments as of Setting."""
    return dataclasses.field(default=default, metadata={"setting": Setting(default, kind, help, group, **more)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings of one run, or of the runs of a curve (variants). `regime` is a name out of regimes.RUNS."""

    regime: str

    model: str = setting(
        None, "network", "network; or a custom one, MODULE:FUNCTION or PATH.keras (manual, \"Use a custom network\")",
        WHAT, required=True, alias="models")
    dataset: str = setting(
        None, "dataset", "data set; or folder:PATH (PATH/CLASS/*.jpg, the same in train/, val/ and test/, or images "
        "and labels.csv); or tfds:NAME[/CONFIG][:VERSION]", WHAT, required=True, alias="datasets")
    weights: str | None = setting(
        None, "text", "pretrained weights: a file made by tfbench.pretrain, `imagenet` for the public ones that "
        "tfbench.prepare_models put into --weights_dir, or `own` for those that a custom network loads itself", WHAT)
    features: str | None = setting(
        None, "text", "instead of --model and --dataset: an .npz file with X [n, width] float, y [n] int or "
        "[n, classes] of 0 and 1, split [n] of train, validation and test; or these in a folder of .npy files, a "
        "Parquet or a CSV file", WHAT)
    standardize: bool = setting(
        False, "switch", "give each column of --features mean 0 and standard deviation 1 over the training examples "
        "(the paper does not)", WHAT)

    l2: tuple[float, ...] = setting(
        paper.L2_STRENGTHS, "numbers", "strengths λ of L2 regularisation to try; each multiplies half the squared norm "
        "of the weights against the sum of the example losses (v3 section 3.1)", SEARCH, above=0, in_spec=True)
    max_iterations: int = setting(
        10000, "integer", "of L-BFGS at each strength (our choice: one that is solved needs fewer)", SEARCH, minimum=1,
        in_spec=True)

    preset: str | None = setting(
        None, "choice", "steps, batches and grid that are not given: the paper's, or quick ones by the number of "
        "training images; unset: quick for folder: and tfds:, else paper (our choice)", SEARCH, choices=(QUICK, PAPER))
    steps: Any = setting(None, "integer", "training steps; unset: as the search says", SEARCH, minimum=1)
    steps_curve: tuple[int, ...] | None = setting(
        None, "integers", "instead of --steps: several numbers of steps; a run of its own, with its own best "
        "hyperparameters, for each (v3 section 4.6: 76,152,305,610,1220,…)", SEARCH, minimum=1)
    grid: tuple[int, int] | None = setting(
        None, "grid", "how many of the paper's learning rates and weight decays to try, RATESxDECAYS, evenly spread "
        "over its grid", SEARCH)
    search: str | None = setting(
        "grid", "choice", "grid: every point is trained in full, as in the paper; halving: successive halving over the "
        "same grid: learning rates for a tenth of the steps, the best two in full, the better at every weight decay",
        SEARCH, choices=("grid", HALVING), in_spec=True)
    learning_rate: Any = setting(
        None, "numbers", "initial learning rates to try instead of the paper's; unset: as --grid says", SEARCH, above=0)
    weight_decay: Any = setting(
        None, "numbers", "weight decays to try instead of the paper's; each is divided by the learning rate before "
        "use; unset: as --grid says", SEARCH, minimum=0)
    trial: str = setting(
        ALL, "trial", "which part of the search to run: all that is missing; one trial by its number, from 1; or the "
        "refit, when all trials are there (for job arrays: study --executor=commands)", SEARCH)

    budget: int | None = setting(
        None, "duration", "time that this command may take, such as 90m or 2h: plans a search that fits, by the speed "
        "measured here, and stops in time; unset: no limit (our choice)", SEARCH)

    epochs: Any = setting(None, "number", "passes over the training images", TRAINING, minimum=0)
    select_steps: tuple[int, ...] | None = setting(
        None, "integers", "instead of --epochs: several numbers of steps of one training, whose weights are scored "
        "after each on held-out training images; the best number is trained anew on all of these (v3 appendix A.3)",
        TRAINING, minimum=1)
    warmup_epochs: float = setting(
        0.0, "number", "epochs over which the learning rate rises from 0, linearly", TRAINING, minimum=0, in_spec=True)
    decay_per_epoch: float = setting(
        1.0, "number", "factor of the learning rate in each epoch after the warm-up, applied at every step", TRAINING,
        above=0, maximum=1, in_spec=True)
    ema: float = setting(
        0.0, "number", "decay of the moving average of the weights, which is what is tested and written; less in the "
        "first steps; 0: the weights themselves", TRAINING, minimum=0, maximum=1, in_spec=True, traced=True)
    label_smoothing: float = setting(
        0.0, "number", "share of the label spread over all classes (v3 figure 3: 0 transfers better than 0.1)",
        TRAINING, minimum=0, maximum=0.99, in_spec=True, traced=True)
    dropout: bool = setting(
        False, "switch", "the network's own dropout before its logits (v3 figure 3)", TRAINING, in_spec=True,
        traced=True)
    auxiliary_head: bool = setting(
        False, "switch", "the network's own auxiliary classifier, where it has one (v3 figure 3)", TRAINING,
        in_spec=True, traced=True)
    bn_scale: bool | None = setting(
        True, "switch", "whether batch norm has a scale, also in networks whose original has none (v3 figure 3)",
        TRAINING)
    drop_path: bool = setting(
        False, "switch", "drop paths as the definitions of NASNet-A Large, PNASNet-5 Large and EfficientNets say (the "
        "paper trained without)", TRAINING, changes_spec=True, traced=True)
    batch_size: Any = setting(
        paper.BATCH_SIZE, "integer", "images per step over all devices (v3 appendix A.5)", TRAINING, minimum=1,
        in_spec=True, traced=True)
    image_size: int | None = setting(
        None, "integer", "side of the square input in pixels; unset: that at which the accuracy of public "
        "weights was measured, else the network's ImageNet size (v3 section 3)",
        TRAINING, minimum=1)
    min_crop_area: float = setting(
        paper.MIN_CROP_AREA, "number", "smallest random training crop, as a fraction of the image's area (Inception's "
        "0.08: the paper does not say; 1: the whole image)", TRAINING, minimum=0.01, maximum=1, in_spec=True)
    color_distortion: bool = setting(
        False, "switch", "change brightness (by up to 32 of 255) and saturation (0.5 to 1.5 times) of training crops "
        "at random and in random order, as in Inception's training (v3 appendix A.3, for ImageNet)", TRAINING,
        changes_spec=True)
    test_crop: str | None = setting(
        None, "choice", "what of a test image counts for the source accuracy: whole, or central, 87.5 % of its sides; "
        "unset: central on imagenet2012, as all published accuracies, else whole", TRAINING,
        choices=("whole", "central"))
    resize: str = setting(
        "bilinear", "choice", "how training crops and test images alike become the network's size, sampled as "
        "TensorFlow 1 did (bilinear: TF-Slim's Inception preprocessing; the paper says bicubic, but of fixed features)",
        TRAINING, choices=("bilinear", "bicubic"), in_spec=True)
    precision: str = setting(
        "float32", "choice", "of convolutions and matrix products; weights are float32 (mixed_float16: with a dynamic "
        "scale of the loss)", TRAINING, choices=("float32", "mixed_bfloat16", "mixed_float16"), in_spec=True,
        traced=True)
    accumulate: int = setting(
        1, "integer", "micro-batches, one after another, whose gradients make one step: less memory; batch norm sees "
        "fewer images at once; 1: as in the paper", TRAINING, minimum=1, in_spec=True, traced=True)
    checkpoint_every: int = setting(
        1000, "integer", "steps between checkpoints of an unfinished trial (our choice)", TRAINING, minimum=1)
    seed: int = setting(
        0, "integer", "initial weights, order of the images and augmentation follow from it (our choice; the paper's "
        "is not known)", TRAINING, minimum=0, maximum=2**32 - 1, in_spec=True, traced=True)

    examples_per_class: Any = setting(
        None, "integers", "train on so many examples of each class; a run of its own for each and each of "
        "--subset_seeds; paper: 1,2,4,… to the data set's last in v3 figure 9; unset: on all", EXAMPLES, minimum=1,
        choices=(PAPER,))
    subset_seeds: tuple[int, ...] = setting(
        paper.SUBSETS, "integers", "seeds of the random subsets of --examples_per_class (v3 section 4.7: three)",
        EXAMPLES, minimum=0)

    split_seed: int = setting(
        0, "integer", "chooses which images are held out where a data set has no split of its own, and Caltech-101's "
        "30 per class (the paper's choice is not published)", READS, minimum=0)
    voc_difficult: str = setting(
        "ignore", "choice", "what an object that VOC2007 calls difficult counts as in training and testing (ignore: "
        "the official scoring; the paper does not say)", READS, choices=("ignore", "negative", "positive"))
    aircraft_banner: str = setting(
        "keep", "choice", "the credit line of 20 pixels in FGVC Aircraft's images (its rules ask for its removal; the "
        "paper does not say)", READS, choices=("keep", "crop"))

    metric: str | None = setting(
        None, "choice", "how a data set of your own is scored: top1 or mean_per_class where an image has one label, "
        "mean_average_precision (as scikit-learn) or voc_map (VOC2007's 11 points) where it has several; unset: the "
        "first of them; the data sets of the catalog have their own", READS,
        choices=tuple(name for names in OWN_METRICS.values() for name in names))

    deterministic: bool = setting(
        False, "switch", "deterministic TensorFlow operations: the same bits every time on the same machine, slower",
        MACHINE, in_spec=True, traced=True)
    devices: int = setting(
        0, "integer", "replicas on this host, one per GPU (MirroredStrategy); 0: every GPU there is, or the CPU",
        MACHINE, minimum=0, in_spec=True, traced=True)
    strategy: str = setting(
        "auto", "choice", "auto: mirrored over all GPUs there are, several hosts where TF_CONFIG names them, the TPU "
        "at --tpu", MACHINE, choices=("auto", "one_device", "mirrored", "multi_worker", "tpu"), traced=True)
    tpu: str | None = setting(None, "text", "the TPU's name, grpc://IP:8470 or local", MACHINE, traced=True)
    sync_batch_norm: bool = setting(
        False, "switch", "normalise with the statistics of all devices' images; off: of each device's own, their "
        "moving averages being averaged", MACHINE, in_spec=True, traced=True)
    jit_compile: bool = setting(
        False, "switch", "compile forward and backward pass with XLA", MACHINE, in_spec=True, traced=True)

    track: str | None = setting(
        None, "library", "also log settings, trials, steps and outcome in MLflow or Weights & Biases, which must be "
        "installed: pip install mlflow, or wandb (manual, \"Follow runs\"); unset: in TensorBoard's files only",
        FOLDERS, choices=("mlflow", "wandb"))
    keep_model: bool | None = setting(
        None, "switch", "keep the trained network with its classifier in RESULTS_DIR/models, for predict and export; "
        "unset: of a single run that is started by hand, not of a curve's or a study's", FOLDERS)
    results_dir: str = setting(
        "results", "text", "folder of records, weights and work in progress, or its address in a bucket, "
        "gs://BUCKET/NAME (docs/manual.md, \"Keep results in a bucket\")", FOLDERS)
    data_dir: str = setting(
        "~/tensorflow_datasets", "text", "folder of prepared data sets, in TFDS's layout", FOLDERS)
    weights_dir: str = setting(
        "~/tfbench_weights", "text", "folder of public ImageNet weights, made by tfbench.prepare_models, or its "
        "address in a bucket", FOLDERS)

    # ---- from and to flags ---------------------------------------------------------------------------

    @classmethod
    def from_flags(cls, regime: str, values: Mapping[str, Any]) -> "RunConfig":
        """The config of a kind of run from the values of its flags; what is not among them keeps its default."""
        defaults = {name: known.default for name, known in settings_of(RUNS[regime]).items()}
        return cls(regime=regime, **{name: values.get(name, default) for name, default in defaults.items()})

    def to_flags(self, *, defaults: bool = True) -> list[str]:
        """The command line that repeats the run, `--name=value` each.

        Args:
          defaults: whether flags are written that have their default.
        """
        lines = []
        for name, known in settings_of(self.kind).items():
            value = getattr(self, name)
            if value is None or (not defaults and value == known.default):
                continue
            if isinstance(value, bool):
                lines.append(f"--{name}" if value else f"--no{name}")
            elif known.kind == "duration":
                lines.append(f"--{name}={brief_duration(value)}")
            elif isinstance(value, tuple):
                lines.append(f"--{name}={('x' if known.kind == 'grid' else ',').join(map(str, value))}")
            else:
                lines.append(f"--{name}={value}")
        return lines

    def flagfile(self) -> str:
        """Text of a flagfile that repeats the run."""
        return "\n".join([f"# python -m tfbench.{self.regime} --flagfile=THIS_FILE", *self.to_flags()]) + "\n"

    # ---- what it means -------------------------------------------------------------------------------

    @property
    def kind(self) -> Regime:
        """The row of regimes.RUNS."""
        return RUNS[self.regime]

    @property
    def grid_values(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Learning rates and weight decays that a search tries."""
        search = self.kind.search
        assert search
        rates, decays = self.grid or search.size
        return (self.learning_rate or paper.evenly_spaced_subset(search.rates(bool(self.examples_per_class)), rates),
                self.weight_decay or paper.evenly_spaced_subset(search.weight_decays, decays))

    @property
    def switches(self) -> dict[str, bool]:
        """Name → value of the switches that only some networks' definitions have (models.catalog.SWITCHES)."""
        return {name: getattr(self, name) for name in SWITCHES}

    @property
    def trial_number(self) -> int | None:
        """The number of the one trial to run, from 1; None for the whole search and for its refit."""
        return int(self.trial) if self.trial not in (ALL, REFIT) else None

    def variants(self) -> list["RunConfig"]:
        """The runs that the config asks for: one, or one for each point of a curve, with settings that ask for it."""
        points: list[dict[str, Any]] = [{}]
        if self.steps_curve:
            points = [{"steps": steps, "steps_curve": None} for steps in self.steps_curve]
        if self.examples_per_class:
            points = [point | {"examples_per_class": (number,), "subset_seeds": (seed,)} for point in points
                      for number in self.example_sizes for seed in self._seeds(number)]
        return [dataclasses.replace(self, **point) for point in points]

    @property
    def example_sizes(self) -> tuple[int, ...]:
        """The numbers of examples of each class.

        Raises:
          UserError: they are to be the paper's, which has none for the data set.
        """
        if self.examples_per_class != PAPER:
            return self.examples_per_class
        if self.dataset not in paper.MOST_EXAMPLES:
            raise UserError(f"the paper has no few-example curve of {self.dataset}: give the numbers, such as "
                            "--examples_per_class=1,2,4")
        return paper.example_sizes(self.dataset)

    def _seeds(self, number: int) -> tuple[int, ...]:
        """Seeds of the subsets of a size; one for a size that takes all training images."""
        dataset = DATASETS.get(self.dataset)
        whole = dataset and not dataset.multi_label and number * dataset.classes == dataset.train
        return self.subset_seeds[:1] if whole else self.subset_seeds

    @property
    def preset_used(self) -> str:
        """QUICK or PAPER: what --preset says; unset, the quick one for a data set that is not in the catalog."""
        return self.preset or (PAPER if self.dataset in DATASETS else QUICK)

    def settled(self, images: int) -> "RunConfig":
        """The config of a single run with the settings filled in that follow from others: a search's batches, length
        and grid. What is given stays.

        Args:
          images: that it trains on, without those of validation; on few examples, those of the subset.
        """
        search = self.kind.search
        if not search:
            return self
        if self.preset_used == QUICK:
            quick = search.quick
            batch_size = self.batch_size or quick.batch_on(images)
            steps = quick.steps_on(images, batch_size, search.steps)
            rates, decays = (quick.learning_rates, quick.weight_decays) if not self.grid else (None, None)
        else:
            few, rates, decays = search.few if self.examples_per_class else None, None, None
            batch_size = self.batch_size or (few.batch_size if few else paper.BATCH_SIZE)
            steps = few.steps_on(images, batch_size) if few else search.steps
        if self.epochs:
            steps = max(round(self.epochs * images / batch_size), 1)
        return dataclasses.replace(
            self, batch_size=batch_size, steps=self.steps or steps, epochs=None, grid=self.grid or search.size,
            learning_rate=self.learning_rate or rates, weight_decay=self.weight_decay or decays)

    def length(self, images: int) -> str:
        """A search in words: images, batches, steps, points, and the preset where that decides about any of them.

        Args:
          images: as of settled.
        """
        settled, papers = (config.settled(images) for config in (self, dataclasses.replace(self, preset=PAPER)))
        rates, decays = map(len, settled.grid_values)
        text = (f"{count(images, 'training image')}, batches of {settled.batch_size}, {count(settled.steps, 'step')}, "
                f"{rates} × {decays} points")
        if dataclasses.replace(settled, preset=PAPER) == papers:
            return text
        return f"preset {QUICK}: {text} (--preset={PAPER}: the paper's)"

    def notes(self) -> list[str]:
        """What is taken for what, in a line each."""
        search = self.kind.search
        if search and self.examples_per_class and self.learning_rate and search.few.divisor > 1:
            return [f"{self.regime}: --learning_rate is taken as it is; of few examples only the paper's rates are "
                    f"divided by {search.few.divisor}"]
        return []

    def variant_title(self, variant: "RunConfig") -> str:
        """How one of variants() is told from the others, e.g. "76 steps, 4 per class, subset 0"; "" of one alone."""
        parts = []
        if self.steps_curve:
            parts.append(f"{variant.steps:,} steps")
        if variant.examples_per_class and self.examples_per_class:
            number, seed = variant.examples_per_class[0], variant.subset_seeds[0]
            parts.append(f"{number} per class, subset {seed}")
        return ", ".join(parts)

    def traced(self) -> tuple[tuple[str, Any], ...]:
        """Names and values of the settings that a traced training step depends on."""
        return tuple((field.name, getattr(self, field.name)) for field in dataclasses.fields(self)
                     if "setting" in field.metadata and field.metadata["setting"].traced)

    def search_spec(self) -> dict:
        """What a search trains, as its part of the specification (training/halving.py reads it)."""
        rates, decays = self.grid_values
        spec = {"search": self.search, "steps": self.steps, "learning_rate": list(rates), "weight_decay": list(decays)}
        return spec | ({"rungs": RUNGS} if self.search == HALVING else {})

    def spec(self, network: Network, dataset: Dataset, manifest: dict, metadata: dict | None,
             subset_images: int | None = None) -> dict:
        """All that determines the run's outcome; its hash names the record.

        Args:
          network: of the catalog, or a custom one.
          dataset: with its options of reading.
          manifest: of the prepared data set (data/prepare.py).
          metadata: of the pretrained weights (models/weights.py), or None for random ones.
          subset_images: that a run on few examples trains on; they may be all.
        """
        from tfbench.data import verify  # NumPy: --help does without

        source = metadata or {"dataset": None, "sha256": None, "bn_scale": self.bn_scale,
                              "value_range": network.value_range}
        data = {split: manifest["splits"][split]["sha256"] for split in ("train", "validation", "test")}
        data |= {"content": manifest["content"], "verification": verify.fingerprint(manifest["verification"]),
                 "split_seed": dataset.split_seed, "reading": READING}
        if dataset.multi_label:
            data["difficult"] = dataset.difficult
        if dataset.banner:
            data["crop_banner"] = dataset.crop_banner
        known = settings_of(self.kind)
        bn_scale = self.bn_scale if "bn_scale" in known and self.bn_scale is not None else source["bn_scale"]
        spec = {
            "schema": SCHEMA, "regime": self.regime, "network": self.model, "dataset": dataset.name, "data": data,
            "source_dataset": source["dataset"], "weights_sha256": source["sha256"],
            "bn_scale": None if network.custom else bn_scale, "value_range": source["value_range"],
            "image_size": self.image_size or source.get("image_size") or network.image_size,
            **{name: _plain(getattr(self, name)) for name, facts in known.items()
               if facts.in_spec or facts.changes_spec and getattr(self, name) != facts.default}}
        spec |= metric_of(dataset)
        if self.kind.trains:
            spec["update"] = UPDATE
        if network.custom:
            spec["architecture"] = network.architecture
        if "examples_per_class" in known:
            (number,), (seed,) = (self.examples_per_class, self.subset_seeds) if self.examples_per_class else (
                (None,), (None,))
            spec |= {"examples_per_class": number, "subset_seed": seed}
            if number:
                whole = subset_images == manifest["splits"]["train"]["n"]  # one subset, whatever the seed
                spec |= {"subset_seed": None if whole else seed, "subset": SUBSET, "subset_images": subset_images}
        if self.kind.search:
            spec |= self.search_spec()
        elif "epochs" in known:
            images = manifest["splits"]["train"]["n"]
            steps, epochs = self.steps, self.epochs
            if self.select_steps:  # in the end it trains on both
                images += manifest["splits"]["validation"]["n"]
                spec |= {"select_steps": sorted(set(self.select_steps)),
                         "selection": dataset.validation or dataset.selection}
                steps = max(self.select_steps)
            if (crop := self.test_crop or dataset.pretrained_crop) != "whole":
                spec["test_crop"] = crop
            if steps is None:
                steps = max(round(epochs * images / self.batch_size), 1)
            else:
                epochs = steps * self.batch_size / images
            spec |= {"steps": steps, "epochs": epochs, "learning_rate": self.learning_rate,
                     "weight_decay": self.weight_decay}
        return spec


def metric_of(dataset: Dataset) -> dict[str, str]:
    """What a specification says of the metric: nothing where a data set has the one that it always had."""
    always = dataset.metric in FIRST_METRICS if dataset.custom else True
    return {} if always else {"metric": dataset.metric}


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


FIELDS = {field.name: field.metadata["setting"] for field in dataclasses.fields(RunConfig)
          if "setting" in field.metadata}


@functools.cache
def settings_of(kind: Regime) -> Mapping[str, Setting]:
    """The settings that a kind of run has, with what its row in regimes.py says of them, in the order of the fields.

    Whoever asks gets the same mapping: nobody changes it.
    """
    return {name: dataclasses.replace(known, **changes) if changes else known
            for name, known in FIELDS.items() if (changes := kind.settings.get(name)) is not None}


def key_of(spec: dict) -> str:
    """First 16 hex digits of the SHA-256 of a specification as JSON with sorted keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def name_of(spec: dict) -> str:
    """The run's file name without ending, e.g. "finetune-resnet_50-digits-0123456789abcdef"."""
    parts = (spec["regime"], spec["network"], spec["dataset"])
    return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts) + "-" + key_of(spec)
