"""Which devices compute, and how exactly."""

import contextlib

import tensorflow as tf

from tfbench import UserError


def make_strategy(devices: int) -> tf.distribute.Strategy:
    """OneDeviceStrategy for one device, MirroredStrategy for several.

    Args:
      devices: number of replicas; 0 for every GPU there is, or the CPU.

    Raises:
      UserError: there are fewer devices.
    """
    kind = processor()
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if kind == "CPU":
        # Rewriting the graph takes half of a large network's start-up there and speeds up no step
        # (BUILD.md, "Start-up"); on GPUs it chooses the layout of the images.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    wanted = devices or (len(names) if kind == "GPU" else 1)
    if wanted > len(names):
        raise UserError(f"--devices={wanted}: TensorFlow sees {len(names)} {kind} here: use --devices="
                        f"{len(names)}, or 0 for all")
    if wanted == 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    return tf.distribute.MirroredStrategy(names[:wanted])


def processor() -> str:
    """What networks run on here: "GPU" if there is one, else "CPU"."""
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


@contextlib.contextmanager
def graph_rewriting(*, bfloat16: bool = False):
    """Within it, TensorFlow rewrites the graphs it meets for the first time, also on a CPU (see make_strategy).

    Args:
      bfloat16: convolutions and matrix products of float32 in bfloat16 (CPU).
    """
    options = tf.config.optimizer
    before = options.get_experimental_options()
    options.set_experimental_options(
        {"disable_meta_optimizer": False, "auto_mixed_precision_onednn_bfloat16": bfloat16})
    try:
        yield
    finally:
        options.set_experimental_options({
            "disable_meta_optimizer": before.get("disable_meta_optimizer", False),
            "auto_mixed_precision_onednn_bfloat16": before.get("auto_mixed_precision_onednn_bfloat16", False)})


def set_determinism(deterministic: bool) -> None:
    """Switches TensorFlow to operations that give the same bits every time."""
    if deterministic:
        tf.config.experimental.enable_op_determinism()
