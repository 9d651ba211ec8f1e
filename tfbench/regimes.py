"""REGIMES: the one table of the paper's three ways to transfer. To add a regime, add a row (CONTRIBUTING.md)."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tfbench import paper


@dataclasses.dataclass(frozen=True, eq=False)  # a row of a table is itself alone: it can be a key
class Regime:
    """A kind of run: one of the paper's three regimes, or the pretraining before them.

    Attributes:
      name: of the program and in records.
      title: in figures and tables.
      color, hatch: of its marks and bars in figures. dark_color: the same on a dark page.
      pretrained: whether it starts from pretrained weights.
      runs: "module:function" that computes a run: (inputs.RunInputs, progress) -> results.record.Record, or None for a
        part of it.
      trace_seconds: seconds, about, that tracing takes on a CPU (an estimate for plans).
      settings: the settings that it has (config.py), with what is different from there: a default, a help text.
      search: the paper's search, where every point of a grid trains the whole network; else None.
      published: its name in tables of accuracies (stats/published). aliases: further ones, however they are spelt.
    """

    name: str
    title: str
    color: str
    hatch: str
    pretrained: bool
    runs: str
    trace_seconds: float
    settings: Mapping[str, Mapping[str, Any]]
    search: paper.Search | None = None
    dark_color: str = "#a4a9b0"
    published: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether the whole network is trained, by training/trainer.py."""
        return "checkpoint_every" in self.settings

    def run(self, inputs, progress):
        """Computes a run; imports TensorFlow. Returns its record, None for a part of a run."""
        module, _, function = self.runs.partition(":")
        compute: Callable = getattr(importlib.import_module(module), function)
        return compute(inputs, progress)


def _same(*names: str) -> dict[str, dict]:
    return {name: {} for name in names}


_RUN = _same("model", "dataset", "split_seed", "voc_difficult", "aircraft_banner", "image_size", "batch_size", "seed",
             "deterministic", "devices", "track", "results_dir", "data_dir")
_WEIGHTS = {"weights": {"default": "imagenet"}, "weights_dir": {}}
_STEP = _same("strategy", "tpu", "sync_batch_norm", "precision", "jit_compile", "accumulate", "checkpoint_every",
              "min_crop_area", "resize")
_REGULARISATION = {  # v3 figure 5; off at the default, which their specifications leave out
    **{name: {"in_spec": False, "changes_spec": True} for name in ("label_smoothing", "dropout", "auxiliary_head")},
    "drop_path": {}}
_SUBSETS = _same("examples_per_class", "subset_seeds")
_KEPT = _same("keep_model", "metric")


def _search(search: paper.Search) -> dict[str, dict]:
    """The settings of a search over the paper's grid."""
    rates, decays, few, quick = search.learning_rates, search.weight_decays, search.few, search.quick
    divided = f", divided by {few.divisor} on few examples" if few.divisor > 1 else ""
    return {
        **_RUN, **_STEP, **_REGULARISATION, **_SUBSETS, **_KEPT,
        **_same("steps_curve", "search", "trial", "preset", "budget"),
        "steps": {"help": f"training steps of each trial; unset: {search.steps:,} (v3 appendix A.5), on few examples "
                  f"{few.steps:,} or {few.epochs} epochs of the subset, whichever is more; --preset=quick: "
                  f"{quick.epochs} epochs, at least {quick.least_steps} steps"},
        "epochs": {"help": "passes over the training images in each trial, instead of --steps; the refit has as many "
                   "steps", "minimum": None, "above": 0},
        "batch_size": {"default": None, "help": f"images per step over all devices; unset: {paper.BATCH_SIZE} (v3 "
                       f"appendix A.5), on few examples {few.batch_size}; --preset=quick: "
                       f"{quick.batch_size}, or the power of two that the training images allow"},
        "grid": {"choices": search.size, "help": f"how many of the paper's {search.size[0]} learning rates and "
                 f"{search.size[1]} weight decays to try, RATESxDECAYS, evenly spread over its grid; unset: all, or as "
                 "--preset says"},
        "learning_rate": {"help": "initial learning rates to try instead, comma-separated; unset: "
                          f"{rates[0]:g} to {rates[-1]:g} (v3 appendix A.5), as --grid says{divided}; "
                          f"--preset=quick: {', '.join(f'{rate:g}' for rate in quick.learning_rates)}"},
        "weight_decay": {"help": "weight decays to try instead, comma-separated; each is divided by the learning rate "
                         f"before use; unset: {decays[0]:g} to {decays[-1]:g} (v3 appendix A.5), as --grid says; "
                         f"--preset=quick: {', '.join(f'{decay:g}' for decay in quick.weight_decays)}"}}


def _recipe(name: str, text: str = "", **more) -> dict:
    """A setting of pretraining by the paper's recipe for ImageNet (v3 appendix A.3)."""
    changed = {"default": paper.PRETRAINING[name], **more}
    return changed | {"help": f"{text} (v3 appendix A.3, for ImageNet)"} if text else changed


# Colours: Okabe and Ito's palette, which colour-blind readers can tell apart. The order is that of figure 2.
REGIMES = {regime.name: regime for regime in (
    Regime("logistic_regression", "logistic regression", "#0072b2", "", pretrained=True,
           dark_color="#5ab4ee", published="logreg", aliases=(
               "linear", "linear probe", "linear probing", "linear evaluation", "lp", "logistic", "fixed features"),
           runs="tfbench.linear.regression:run", trace_seconds=3.0, settings={
               **_RUN, **_WEIGHTS, **_SUBSETS, **_KEPT, **_same("l2", "max_iterations", "features", "standardize"),
               "model": {"required": False}, "dataset": {"required": False},
               "precision": {"choices": ("float32", "bfloat16"), "help": "of the network's convolutions and matrix "
                             "products; bfloat16 is faster where the processor has it"}}),
    Regime("finetune", "fine-tuning", "#d55e00", "////", pretrained=True, dark_color="#f58a3c",
           published="finetune", aliases=("fine-tuned", "ft", "full fine-tuning", "fully fine-tuned"),
           runs="tfbench.training.search:run", trace_seconds=8.0, search=paper.FINE_TUNING,
           settings={**_search(paper.FINE_TUNING), **_WEIGHTS, "bn_scale": {
               "default": None, "help": "whether batch norm has a scale, 1 at first where the weights have none; "
               "unset: as the weights have it (v3 figure 5)"}}),
    Regime("train_from_scratch", "training from scratch", "#009e73", "....", pretrained=False, dark_color="#2fc79b",
           published="random_init", aliases=("scratch", "from scratch", "trained from scratch", "random",
                                             "random initialization", "random initialisation"),
           runs="tfbench.training.search:run", trace_seconds=1.0, search=paper.FROM_SCRATCH,
           settings={**_search(paper.FROM_SCRATCH), "bn_scale": {}}),
)}
PRETRAIN = Regime(
    "pretrain", "pretraining", "#666666", "", pretrained=False, runs="tfbench.training.pretraining:run",
    trace_seconds=8.0, settings={
        **_RUN, **_STEP, "drop_path": {},
        "batch_size": _recipe("batch_size", "images per step over all devices"),
        "epochs": _recipe("epochs", "passes over the training images"),
        "steps": {"help": "training steps instead of --epochs"},
        **_same("select_steps", "color_distortion", "test_crop"),
        "learning_rate": _recipe("learning_rate", "learning rate after the warm-up", kind="number"),
        "weight_decay": _recipe("weight_decay", "multiplies half the squared norm of the kernels in the loss",
                                kind="number"),
        "warmup_epochs": _recipe("warmup_epochs", "epochs over which the learning rate rises from 0, linearly"),
        "decay_per_epoch": _recipe("decay_per_epoch", "factor of the learning rate in each epoch after the warm-up, "
                                   "applied at every step"),
        "ema": _recipe("ema", "decay of the moving average of the weights, which is what is tested and written; less "
                       "in the first steps; 0: the weights themselves"),
        **{name: _recipe(name) for name in ("label_smoothing", "dropout", "auxiliary_head", "bn_scale")}})
RUNS = {PRETRAIN.name: PRETRAIN, **REGIMES}  # every kind of run that leaves a record
