"""DEVIATIONS: where a run departs from the paper, in words; every record lists its own, and the report gathers them."""

import math
from collections.abc import Mapping
from typing import Any

from tfbench import paper
from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import Network
from tfbench.models.lookup import is_custom
from tfbench.regimes import PRETRAIN, RUNS

IMAGENET = ("imagenet", "imagenet2012")  # as a source: the public weights, or ImageNet as pretrained on here

# Figures: docs/measurements.md, "Successive halving".
HALVING = ("hyperparameters searched by successive halving instead of training every point of the grid in full: short "
           "trainings choose two learning rates, full ones between them; in eighteen searches of the miniature it took "
           "a quarter of the steps and chose the grid's point each time")

OWN_NETWORK = "the user's own network instead of one of the paper's"
PUBLIC_WEIGHTS = ("public ImageNet weights (the paper trained all networks anew, with batch-norm scale, without label "
                  "smoothing, dropout and auxiliary head)")
SUMMED_LOSS = ("the loss is summed over the classes (the paper does not say): the gradient at each logit is then as "
               "large as that of softmax cross-entropy, for which the learning rates were chosen")
# Which network it is, and what the paper leaves open: with these a transfer is by the paper's protocol all the same.
SAME_PROTOCOL = frozenset((OWN_NETWORK, PUBLIC_WEIGHTS, SUMMED_LOSS))


def _search(run: dict) -> paper.Search | None:
    return RUNS[run["regime"]].search


def _few(run: dict) -> paper.FewExamples | None:
    search = _search(run)
    return search.few if search and run.get("examples_per_class") else None


def _other_steps(run: dict, search: paper.Search) -> bool:
    return _search(run) is search and not _few(run) and run["steps"] != search.steps


def _other_few(run: dict) -> bool:
    few = _few(run)
    return few is not None and (run["batch_size"], run["steps"]) != (
        few.batch_size, few.steps_on(run["subset_images"], few.batch_size))


def _other_grid(run: dict) -> bool:
    search, grid = _search(run), (run.get("learning_rate"), run.get("weight_decay"))
    return search is not None and grid != (list(search.rates(_few(run) is not None)), list(search.weight_decays))


def _other_recipe(run: dict) -> bool:
    """Whether a pretraining departs from the paper's recipe for ImageNet, its four switches left aside."""
    return _pretrains(run) and not all(math.isclose(run.get(name) or 0, value, rel_tol=1e-3)  # of epochs: whole steps
                                       for name, value in paper.PRETRAINING.items()
                                       if name not in paper.PRETRAINING_SWITCHES)


def _pretrains(run: dict) -> bool:
    return run["regime"] == PRETRAIN.name


# (applies?, what deviates). `run` is the specification with three facts of the catalogs: "embedded", "custom_dataset"
# and "own_size", the network's ImageNet size; and "source_size", at which its source accuracy was measured.
DEVIATIONS = (
    (lambda run: run["embedded"] and not _pretrains(run), "embedded data set instead of one of the paper's twelve"),
    (lambda run: run["custom_dataset"] and not _pretrains(run),
     "the user's own data set instead of one of the paper's twelve"),
    (lambda run: is_custom(run["network"]), OWN_NETWORK),
    (lambda run: run.get("precision") == "bfloat16", "features computed in bfloat16"),
    (lambda run: run.get("precision") in ("mixed_bfloat16", "mixed_float16"), "trained in mixed precision"),
    (lambda run: run["data"].get("difficult") in ("negative", "positive"),
     "objects that VOC calls difficult count as present or absent (the official scoring ignores them)"),
    (lambda run: (run["dataset"] if _pretrains(run) else run["source_dataset"]) not in (None, *IMAGENET),
     "network pretrained on a small source set instead of ImageNet"),
    (lambda run: run["source_dataset"] == "imagenet" and not is_custom(run["network"]), PUBLIC_WEIGHTS),
    (lambda run: run["image_size"] != run["own_size"], "image size differs from the network's ImageNet size"),
    (lambda run: run["source_size"] not in (None, run["image_size"]),
     "the source accuracy is of another image size than the transfer"),
    (lambda run: _other_steps(run, paper.FINE_TUNING), f"other than {paper.FINE_TUNING.steps:,} steps"),
    (lambda run: _other_steps(run, paper.FROM_SCRATCH), f"other than {paper.FROM_SCRATCH.steps:,} steps"),
    (lambda run: _search(run) and not _few(run) and run["batch_size"] != paper.BATCH_SIZE,
     f"batch size other than {paper.BATCH_SIZE}"),
    (_other_grid, "other than the paper's grid of 7 learning rates by 8 weight decays"),
    (lambda run: run.get("search") == "halving", HALVING),
    (lambda run: _search(run) and any(run.get(name) for name in ("label_smoothing", "dropout", "auxiliary_head")),
     "trained with label smoothing, dropout or an auxiliary head, as for the paper's figure 5, not as for its others"),
    (lambda run: run.get("drop_path"), "trained with drop path (the paper disabled it)"),
    (lambda run: run.get("min_crop_area", paper.MIN_CROP_AREA) != paper.MIN_CROP_AREA,
     "random crops of other than 8 to 100 % of the image"),
    (lambda run: run.get("resize", "bilinear") != "bilinear",
     "images resized bicubically in training and testing (TF-Slim: bilinearly; the paper does not say)"),
    (lambda run: "difficult" in run["data"] and _search(run), SUMMED_LOSS),
    (lambda run: run.get("accumulate", 1) > 1,
     "gradients of micro-batches are added: batch norm sees fewer images at once"),
    (_few, "few examples: steps, batch size and learning rates as remembered, the paper does not print them"),
    (_other_few, "few examples with other steps or batches: fine-tuning has 64 images and 1,000 steps or 100 epochs, "
     "whichever is more, training from scratch 16 images and 78,125 steps or 200 epochs"),
    (lambda run: "l2" in run and run["l2"] != list(paper.L2_STRENGTHS),
     "other than the paper's grid of 45 strengths of L2 regularisation"),
    (_other_recipe, "pretraining other than by the paper's recipe for ImageNet: batches of 4,096, 300 epochs, learning "
     "rate 1.6 after 10 epochs of warm-up, × 0.975 per epoch, weight decay 8e-5, weights averaged with 0.9999"),
    (lambda run: _pretrains(run) and not run.get("select_steps"),
     "pretrained for a number of steps that was not chosen on held-out training images"),
    (lambda run: run.get("select_steps"), "which training images were held out to choose the number of steps of "
     "pretraining, and which numbers were tried, is our choice (the paper does not say)"),
    (lambda run: _pretrains(run) and not run.get("color_distortion"), "pretrained without distortion of colours"),
    (lambda run: _pretrains(run) and run.get("test_crop") != "central",
     "source accuracy on whole images (published ones are of the central 87.5 %)"),
)


def deviations(spec: dict, network: Network | None, source: Mapping[str, Any] | None = None) -> list[str]:
    """Where the run of a specification departs from the paper.

    Args:
      network: None on features of a file. source: as in the run's record.
    """
    dataset = DATASETS.get(spec["dataset"])
    run = spec | {"embedded": bool(dataset and dataset.embedded), "custom_dataset": dataset is None,
                  "own_size": network.image_size if network else None,
                  "source_size": (source or {}).get("image_size")}
    return [text for applies, text in DEVIATIONS if applies(run)]
