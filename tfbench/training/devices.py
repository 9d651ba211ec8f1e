"""Which devices compute, and how exactly."""

import tensorflow as tf

from tfbench import UserError


def make_strategy(devices: int) -> tf.distribute.Strategy:
    """OneDeviceStrategy for one device, MirroredStrategy for several.

    Args:
      devices: number of replicas; 0 for every GPU there is, or the CPU.

    Raises:
      UserError: there are fewer devices.
    """
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
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


def set_determinism(deterministic: bool) -> None:
    """Switches TensorFlow to operations that give the same bits every time."""
    if deterministic:
        tf.config.experimental.enable_op_determinism()
