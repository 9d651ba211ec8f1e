"""Flags that several programs share, defined once, in functions that a program calls by name.

Each function defines its flags on the `flag_values` it is given: a program's own on absl's global
FLAGS when it is the main module; the study on fresh FlagValues per run. Defaults are the paper's
(arXiv 1805.08974v3). absl takes the last occurrence of a flag: flagfile first, overrides after.
"""

from absl import flags

from tfbench import paper
from tfbench.cli.parsers import (
    CommaSerializer,
    DatasetParser,
    GridParser,
    GridSerializer,
    ListParser,
    NameParser,
    NetworkParser,
    NumbersParser,
)
from tfbench.data.catalog import GROUPS
from tfbench.files.paths import is_address
from tfbench.models.catalog import GROUPS as MODEL_GROUPS
from tfbench.regimes import REGIMES

flags.disclaim_key_flags()  # `--help` of a program lists these flags as the program's own


def define_names(name, default, help_text, kind, table, flag_values, groups=None):
    """Defines a flag that takes comma-separated names out of `table`, patterns of them, or names of `groups`."""
    flags.DEFINE(ListParser(NameParser(kind, table), groups), name, default, help_text, flag_values=flag_values,
                 serializer=CommaSerializer())


def define_numbers(name, default, help_text, flag_values, *, minimum=0.0, inclusive=True, kind=float):
    """Defines a flag that takes comma-separated numbers; its value is a tuple of `kind`."""
    flags.DEFINE(NumbersParser(minimum, inclusive=inclusive, kind=kind), name, default, help_text,
                 flag_values=flag_values, serializer=CommaSerializer())


def define_name(name, default, help_text, kind, table, flag_values):
    """Defines a flag that takes one name out of `table`."""
    flags.DEFINE(NameParser(kind, table), name, default, help_text, flag_values=flag_values,
                 serializer=flags.ArgumentSerializer())


OWN_DATASETS = ("folder:PATH (PATH/CLASS/*.jpg, or the same in train/, val/ and test/ there) or tfds:NAME for one of "
                "your own")


OWN_NETWORKS = ("MODULE:FUNCTION for one of your own, a function that returns a Keras model of features (BUILD.md, "
                "\"Your own network\")")


def define_models(fv) -> None:
    """--models, required: several, comma-separated."""
    flags.DEFINE(ListParser(NetworkParser(), MODEL_GROUPS), "models", None, "networks of the study, comma-separated: "
                 "names, patterns such as resnet_*, `paper` for the sixteen of v3, `paper_v1` for the thirteen of v1, "
                 f"{OWN_NETWORKS}", flag_values=fv, serializer=CommaSerializer())
    flags.mark_flags_as_required(["models"], flag_values=fv)


def define_dataset(fv, *, more=(), text: str = "", required: bool = True) -> None:
    """--dataset."""
    flags.DEFINE(DatasetParser(more), "dataset", None, f"data set, a row of DATASETS{text}; {OWN_DATASETS}",
                 flag_values=fv, serializer=flags.ArgumentSerializer())
    if required:
        flags.mark_flags_as_required(["dataset"], flag_values=fv)


def define_datasets(fv) -> None:
    """--datasets, required: several, comma-separated."""
    flags.DEFINE(ListParser(DatasetParser(), GROUPS), "datasets", None, "target data sets, comma-separated: rows of "
                 f"DATASETS or patterns of them, `paper` for the paper's twelve, {OWN_DATASETS}", flag_values=fv,
                 serializer=CommaSerializer())
    flags.mark_flags_as_required(["datasets"], flag_values=fv)


def define_run_flags(fv=flags.FLAGS, *, required: bool = True) -> None:
    """--model --dataset, how and where a regime computes."""
    flags.DEFINE(NetworkParser(), "model", None, f"network, a row of NETWORKS; {OWN_NETWORKS}", flag_values=fv,
                 serializer=flags.ArgumentSerializer())
    if required:
        flags.mark_flags_as_required(["model"], flag_values=fv)
    define_dataset(fv, required=required)
    define_reading_flags(fv)
    define_machine_flags(fv)
    define_folder_flags(fv)


def define_reading_flags(fv=flags.FLAGS) -> None:
    """--split_seed --voc_difficult --aircraft_banner."""
    flags.DEFINE_integer("split_seed", 0, "chooses which images are held out where a data set has no split of its own, "
                         "and Caltech-101's 30 per class (the paper's choice is not published)", lower_bound=0,
                         flag_values=fv)
    flags.DEFINE_enum("voc_difficult", "ignore", ["ignore", "negative", "positive"], "what an object that VOC2007 "
                      "calls difficult counts as in training and testing (ignore: the official scoring; the paper does "
                      "not say)", flag_values=fv)
    flags.DEFINE_enum("aircraft_banner", "keep", ["keep", "crop"], "the credit line of 20 pixels in FGVC Aircraft's "
                      "images (its rules ask for its removal; the paper does not say)", flag_values=fv)


def define_machine_flags(fv=flags.FLAGS) -> None:
    """--image_size --batch_size --seed --deterministic --devices."""
    flags.DEFINE_integer("image_size", None, "side of the square input in pixels; unset: the network's own "
                         "ImageNet size (v3 section 3)", lower_bound=1, flag_values=fv)
    flags.DEFINE_integer("batch_size", paper.BATCH_SIZE, "images per step over all devices (v3 appendix A.5)",
                         lower_bound=1, flag_values=fv)
    flags.DEFINE_integer("seed", 0, "initial weights, order of the images and augmentation follow from it "
                         "(our choice; the paper's is not known)", lower_bound=0, upper_bound=2**32 - 1, flag_values=fv)
    flags.DEFINE_boolean("deterministic", False, "deterministic TensorFlow operations: the same bits every "
                         "time on the same machine, slower", flag_values=fv)
    flags.DEFINE_integer("devices", 0, "replicas on this host, one per GPU (MirroredStrategy); 0: every GPU there is, "
                         "or the CPU", lower_bound=0, flag_values=fv)


def define_folder_flags(fv=flags.FLAGS) -> None:
    """--results_dir --data_dir."""
    flags.DEFINE_string("results_dir", "results", "folder of rows, weights and work in progress, or "
                        "its address in a bucket, gs://BUCKET/NAME (BUILD.md, \"Studies\")", flag_values=fv)
    define_data_folder_flag(fv)


def define_executor_flags(fv=flags.FLAGS) -> None:
    """--executor --ray_address --gpus_per_trial --cpus_per_trial --tries."""
    flags.DEFINE_enum("executor", "local", ["local", "ray"], "local: in this process, one run after another; ray: on a "
                      "Ray cluster, a unit of work per trial", flag_values=fv)
    flags.DEFINE_string("ray_address", None, "Ray's cluster: HOST:6379 of its head, or auto for the one this machine "
                        "belongs to; unset: a cluster of this machine alone, for the time of the command",
                        flag_values=fv)
    flags.DEFINE_float("gpus_per_trial", 0.0, "GPUs of each trial, refit and other run on Ray; 0.5: two share one, "
                       "0 (our choice): processor only", lower_bound=0.0, flag_values=fv)
    flags.DEFINE_float("cpus_per_trial", 1.0, "processor cores that Ray counts for each of them (our choice)",
                       lower_bound=0.0, flag_values=fv)
    flags.DEFINE_integer("tries", 3, "attempts at a unit of work on Ray before it is set aside and the rest goes on "
                         "(our choice)", lower_bound=1, flag_values=fv)
    flags.register_validator("gpus_per_trial", lambda number: number <= 1 or number == int(number),
                             "expected a whole number of GPUs, or a part of one", flag_values=fv)


def define_data_folder_flag(fv=flags.FLAGS) -> None:
    """--data_dir."""
    flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "folder of prepared data sets, in TFDS's layout",
                        flag_values=fv)
    flags.register_validator("data_dir", lambda path: not is_address(path), "expected a folder of this machine, or one "
                             "that it shares with others: images are read one by one. Copy the data sets there (only "
                             "--results_dir, --weights and --weights_dir may lie in a bucket)", flag_values=fv)


def define_weights_flag(fv=flags.FLAGS) -> None:
    """--weights --weights_dir."""
    flags.DEFINE_string("weights", "imagenet", "pretrained weights: a file made by tfbench.pretrain, "
                        "`imagenet` for the public ones that tfbench.prepare_models put into --weights_dir, or `own` "
                        "for those that a network of your own loads itself",
                        flag_values=fv)
    define_weights_folder_flag(fv)


def define_weights_folder_flag(fv=flags.FLAGS) -> None:
    """--weights_dir."""
    flags.DEFINE_string("weights_dir", "~/tfbench_weights", "folder of public ImageNet weights, made by "
                        "tfbench.prepare_models, or its address in a bucket", flag_values=fv)


def define_search_flags(fv, regime: str) -> None:
    """The flags of a regime that searches a grid by training the whole network."""
    steps, rates, decays = REGIMES[regime].search
    origin = "v3 appendix A.5"
    flags.DEFINE_integer("steps", steps, f"training steps of each trial ({origin})", lower_bound=1, flag_values=fv)
    define_numbers("steps_curve", None, "instead of --steps: numbers of steps, comma-separated; a run of its own, with "
                   "its own best hyperparameters, for each (v3 section 4.6: 76,153,305,610,1221,…)", fv, minimum=1,
                   kind=int)
    flags.DEFINE(GridParser(len(rates), len(decays)), "grid", (len(rates), len(decays)), "how many of the paper's "
                 "learning rates and weight decays to try, RATESxDECAYS, evenly spread over its grid", flag_values=fv,
                 serializer=GridSerializer())
    define_search_flag(fv)
    define_numbers("learning_rate", None, "initial learning rates to try instead, comma-separated; unset: "
                   f"{rates[0]:g} to {rates[-1]:g} ({origin}), as --grid says", fv, inclusive=False)
    define_numbers("weight_decay", None, "weight decays to try instead, comma-separated; each is divided by the "
                   f"learning rate before use; unset: {decays[0]:g} to {decays[-1]:g} ({origin}), as --grid says", fv)
    define_step_flags(fv)
    define_subset_flags(fv)


def define_search_flag(fv) -> None:
    """--search."""
    flags.DEFINE_enum("search", "grid", ["grid", "halving"], "grid: every point is trained in full, as in the paper; "
                      "halving: successive halving over the same grid by Optuna: all points for a ninth of the steps, "
                      "the best third of them for a third, the best third of those in full", flag_values=fv)


def define_pretraining_flags(fv) -> None:
    """The flags of pretraining: the recipe for ImageNet (v3 appendix), its length and four switches."""
    recipe, origin = paper.PRETRAINING, "v3 appendix, for ImageNet"
    fv.set_default("batch_size", recipe["batch_size"])
    flags.DEFINE_float("epochs", recipe["epochs"], f"passes over the training images ({origin})", lower_bound=0.0,
                       flag_values=fv)
    flags.DEFINE_integer("steps", None, "training steps instead of --epochs", lower_bound=1, flag_values=fv)
    flags.DEFINE_float("learning_rate", recipe["learning_rate"], f"learning rate after the warm-up ({origin})",
                       lower_bound=1e-12, flag_values=fv)
    flags.DEFINE_float("weight_decay", recipe["weight_decay"], "multiplies half the squared norm of the kernels in the "
                       f"loss ({origin})", lower_bound=0.0, flag_values=fv)
    flags.DEFINE_float("warmup_epochs", recipe["warmup_epochs"], "epochs over which the learning rate rises from 0, "
                       f"linearly ({origin})", lower_bound=0.0, flag_values=fv)
    flags.DEFINE_float("decay_per_epoch", recipe["decay_per_epoch"], "factor of the learning rate in each epoch after "
                       f"the warm-up, applied at every step ({origin})", lower_bound=1e-12, upper_bound=1.0,
                       flag_values=fv)
    flags.DEFINE_float("ema", recipe["ema"], "decay of the moving average of the weights, which is what is tested and "
                       f"written; less in the first steps; 0: the weights themselves ({origin})", lower_bound=0.0,
                       upper_bound=1.0, flag_values=fv)
    flags.DEFINE_float("label_smoothing", recipe["label_smoothing"], "share of the label spread over all classes (v3 "
                       "figure 3: 0 transfers better than 0.1)", lower_bound=0.0, upper_bound=0.99, flag_values=fv)
    flags.DEFINE_boolean("dropout", recipe["dropout"], "the network's own dropout before its logits (v3 figure 3)",
                         flag_values=fv)
    flags.DEFINE_boolean("auxiliary_head", recipe["auxiliary_head"], "the network's own auxiliary classifier, where it "
                         "has one (v3 figure 3)", flag_values=fv)
    define_bn_scale_flag(fv)
    define_step_flags(fv)


def define_bn_scale_flag(fv) -> None:
    """--bn_scale."""
    flags.DEFINE_boolean("bn_scale", paper.PRETRAINING["bn_scale"], "whether batch norm has a scale, also in networks "
                         "whose original has none (v3 figure 3)", flag_values=fv)


def define_step_flags(fv) -> None:
    """What all training of a whole network shares: how a step computes, on which devices, how often it is saved."""
    flags.DEFINE_enum("strategy", "auto", ["auto", "one_device", "mirrored", "multi_worker", "tpu"], "auto: mirrored "
                      "over all GPUs there are, several hosts where TF_CONFIG names them, the TPU at --tpu",
                      flag_values=fv)
    flags.DEFINE_string("tpu", None, "the TPU's name, grpc://IP:8470 or local", flag_values=fv)
    flags.DEFINE_boolean("sync_batch_norm", False, "normalise with the statistics of all devices' images; off: of each "
                         "device's own, their moving averages being averaged", flag_values=fv)
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16", "mixed_float16"], "of convolutions and "
                      "matrix products; weights are float32 (mixed_float16: with a dynamic scale of the loss)",
                      flag_values=fv)
    flags.DEFINE_boolean("jit_compile", False, "compile forward and backward pass with XLA", flag_values=fv)
    flags.DEFINE_integer("accumulate", 1, "micro-batches, one after another, whose gradients make one step: less "
                         "memory; batch norm sees fewer images at once; 1: as in the paper", lower_bound=1,
                         flag_values=fv)
    flags.DEFINE_integer("checkpoint_every", 1000, "steps between checkpoints of an unfinished trial (our choice)",
                         lower_bound=1, flag_values=fv)
    flags.DEFINE_float("min_crop_area", paper.MIN_CROP_AREA, "smallest random training crop, as a fraction of the "
                       "image's area (Inception's 0.08: the paper does not say; 1: the whole image)", lower_bound=0.01,
                       upper_bound=1.0, flag_values=fv)


def define_subset_flags(fv) -> None:
    """--examples_per_class --subset_seeds."""
    define_numbers("examples_per_class", None, "train on so many examples of each class, comma-separated; a run of its "
                   "own for each and each of --subset_seeds (v3 section 4.7: 1,2,4,…); unset: on all", fv, minimum=1,
                   kind=int)
    define_numbers("subset_seeds", paper.SUBSETS, "seeds of the random subsets of --examples_per_class (v3 section "
                   "4.7: three)", fv, kind=int)


def search_of(options, regime: str) -> dict:
    """What the flags of define_search_flags search, as a part of the run's specification."""
    search = REGIMES[regime].search
    return {"search": options.search, "steps": options.steps,
            "learning_rate": list(options.learning_rate or paper.evenly_spaced_subset(search.learning_rates, options.grid[0])),
            "weight_decay": list(options.weight_decay or paper.evenly_spaced_subset(search.weight_decays, options.grid[1]))}


def single_runs(options: flags.FlagValues) -> list[flags.FlagValues]:
    """The runs that `options` ask for: one, or one for each point of a curve, with flags that ask for that one."""
    points = [{}]
    if "steps_curve" in options and options.steps_curve:
        points = [{"steps": steps, "steps_curve": None} for steps in options.steps_curve]
    if "examples_per_class" in options and options.examples_per_class:
        points = [point | {"examples_per_class": (number,), "subset_seeds": (seed,)} for point in points
                  for number in options.examples_per_class for seed in options.subset_seeds]
    return [_with(options, **point) if point else options for point in points]


def variant(options: flags.FlagValues, single: flags.FlagValues) -> str:
    """How one of single_runs is told from the others, e.g. "76 steps, 4 per class, subset 0"; "" of one alone."""
    parts = []
    if "steps_curve" in options and options.steps_curve:
        parts.append(f"{single.steps:,} steps")
    if "examples_per_class" in options and options.examples_per_class:
        parts.append(f"{single.examples_per_class[0]} per class, subset {single.subset_seeds[0]}")
    return ", ".join(parts)


def _with(options: flags.FlagValues, **values) -> flags.FlagValues:
    """A copy with other values. Its flags are its own, but not what parses them: that is never changed, and absl's own
    deep copy takes 2 ms to copy all names that it knows, too much for studies of thousands of runs."""
    changed = flags.FlagValues()
    for module, defined in options.flags_by_module_dict().items():
        own = [object.__new__(type(flag)) for flag in defined]
        for flag, given in zip(own, defined, strict=True):
            flag.__dict__.update(given.__dict__)
        changed.flags_by_module_dict()[module] = own
        changed._flags().update((flag.name, flag) for flag in own)  # changed[name] = flag checks too long
    changed.mark_as_parsed()
    for name, value in values.items():
        changed[name].value = value
    return changed


def parse(define_flags, arguments: list[str]) -> flags.FlagValues:
    """Flag values of a program called with `arguments`, apart from absl's global ones.

    Raises:
      absl.flags.Error: as on the program's own command line.
    """
    fv = flags.FlagValues()
    define_flags(fv)
    fv(["tfbench", *arguments])
    return fv


def own(define_flags, parsed=flags.FLAGS) -> flags.FlagValues:
    """The flags that `define_flags` defines with the values that `parsed` holds; absl's left out."""
    fv = flags.FlagValues()
    define_flags(fv)
    for name in fv:
        fv[name].value = parsed[name].value
    fv.mark_as_parsed()
    return fv


def flagfile(fv: flags.FlagValues, program: str) -> str:
    """Text of a flagfile that repeats the run `python -m tfbench.PROGRAM` with the values of `fv`."""
    return f"# python -m tfbench.{program} --flagfile=THIS_FILE\n{fv.flags_into_string()}"
