"""Writes densenet_{121,169,201}.{json,npz}: torchvision's DenseNets on the weights and images of the other networks.

    PYTHONPATH=tests python tests/reference/make_densenet.py

needs torch and torchvision (README.md says which); the tests read the files and need neither. Weights come from
`reference_networks.tensors` itself, so the files and the tests share one rule. Batch norm's moving statistics,
which no rule gives, are those of four more images, made a little wrong so that they differ from the batch's.
"""

import json

import numpy as np
import torch
from helpers import reference_networks

# torchvision's compiled operators do not load beside every torch; its DenseNets only need the names of these two.
OPERATORS = torch.library.Library("torchvision", "DEF")
OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision  # noqa: E402

SEED = 20180523
INPUT = {"size": 224, "n": 2, "grid": 8, "amplitude": 1.0, "noise": 0.2}
STAGES = ["denseblock1", "transition1", "denseblock2", "transition2", "denseblock3", "transition3", "denseblock4"]
MOVING = ("/moving_mean", "/moving_variance")


def main():
    for layers in (121, 169, 201):
        make(f"densenet_{layers}", f"densenet{layers}")


@torch.no_grad()
def make(name: str, scope: str):
    """Writes the two files of one network, first without and then with what is computed from them."""
    model = getattr(torchvision.models, scope)(weights=None).eval()
    variables = views(model, scope)
    entry = {"network": name, "scope": scope, "seed": SEED, "input": INPUT, "num_classes": 1000,
             "feature_dim": model.classifier.in_features, "feature_end_point": "global_pool",
             "stages": [f"{scope}/features/{stage}" for stage in STAGES], "float32_noise_floor": {},
             "variables": [[key, list(view.shape)] for key, view in variables.items()]}
    write(name, entry, {key: view.numpy() for key, view in variables.items() if key.endswith(MOVING)})

    values = reference_networks.tensors(name)
    for key, view in variables.items():
        view.copy_(torch.from_numpy(values[key]))
    images = reference_networks.images(name)
    moving = calibrate(model, scope)
    arrays = run(model.float(), scope, images)
    precise = run(model.double(), scope, images)

    for output in ("features", "logits"):
        error = np.abs(arrays[output] - precise[output]).max() / np.abs(precise[output]).max()
        entry["float32_noise_floor"][output] = float(error)
    stored = {output: arrays[output] for output in ("features", "logits")}
    stored |= {f"{output}_float64": precise[output] for output in ("features", "logits")}
    stored |= {key: value.astype(np.float32) for key, value in precise.items() if key.startswith("stage_")} | moving
    entry["input"] = INPUT | {"sum": float(images.sum(dtype=np.float64))}
    entry["variables"] = [
        [key, shape] if key.endswith(MOVING) else [key, shape, round(float(values[key].sum(dtype=np.float64)), 4)]
        for key, shape in entry["variables"]]
    trainable = sum(not key.endswith(MOVING) for key in variables)
    write(name, entry | {"trainable": trainable, "training_only": []}, stored)


def views(model: torch.nn.Module, scope: str) -> dict[str, torch.Tensor]:
    """The model's own tensors in TF-Slim's layout ([h, w, in, out], [in, out]) by name: dots become slashes."""
    found = {}
    for path, module in model.named_modules():
        name = f"{scope}/{path.replace('.', '/')}"
        if isinstance(module, torch.nn.Conv2d):
            found[f"{name}/weights"] = module.weight.permute(2, 3, 1, 0)
        elif isinstance(module, torch.nn.Linear):
            found |= {f"{name}/weights": module.weight.T, f"{name}/biases": module.bias}
        elif isinstance(module, torch.nn.BatchNorm2d):
            found |= {f"{name}/gamma": module.weight, f"{name}/beta": module.bias,
                      f"{name}/moving_mean": module.running_mean, f"{name}/moving_variance": module.running_var}
    return found


def calibrate(model: torch.nn.Module, scope: str) -> dict[str, np.ndarray]:
    """Sets the moving statistics from one training-mode pass in float64, disturbs them, returns them as float32."""
    generator = np.random.default_rng(SEED)
    low = generator.uniform(-INPUT["amplitude"], INPUT["amplitude"], (4, 3, INPUT["grid"], INPUT["grid"]))
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(low), size=INPUT["size"], mode="bilinear", align_corners=True)
    noise = torch.from_numpy(generator.standard_normal(smooth.shape)) * INPUT["noise"]
    model.double().train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # PyTorch's momentum is the weight of the new statistics
    model((smooth + noise).clamp(-1, 1))
    for norm in norms:
        shift = torch.from_numpy(generator.standard_normal(norm.num_features))
        norm.running_mean += 0.1 * norm.running_var.sqrt() * shift
        norm.running_var *= torch.from_numpy(generator.uniform(0.8, 1.25, norm.num_features))
    model.float().eval()
    return {key: view.numpy().copy() for key, view in views(model, scope).items() if key.endswith(MOVING)}


def run(model: torch.nn.Module, scope: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Inference in the model's own precision: features, logits and the stages' statistics per image."""
    arrays, maps = {}, []
    hooks = [getattr(model.features, stage).register_forward_hook(lambda _, __, out: maps.append(out.numpy().copy()))
             for stage in STAGES]
    hooks.append(model.classifier.register_forward_pre_hook(lambda _, ins: arrays.update(features=ins[0].numpy())))
    arrays["logits"] = model(torch.from_numpy(images).permute(0, 3, 1, 2).to(model.classifier.weight.dtype)).numpy()
    for hook in hooks:
        hook.remove()
    arrays["stage_mean"] = np.stack([stage.mean((1, 2, 3)) for stage in maps])
    arrays["stage_std"] = np.stack([stage.std((1, 2, 3)) for stage in maps])
    return arrays | {f"stage_channel_mean/{scope}/features/{name}": stage.mean((2, 3))
                     for name, stage in zip(STAGES, maps, strict=True)}


def write(name: str, entry: dict, arrays: dict[str, np.ndarray]):
    (reference_networks.FOLDER / f"{name}.json").write_text(json.dumps(entry, separators=(",", ":")))
    np.savez_compressed(reference_networks.FOLDER / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
