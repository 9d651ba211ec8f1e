"""Which devices compute, and how exactly."""

import contextlib
import functools
import os

import tensorflow as tf

from tfbench.data.pipeline import InputShard
from tfbench.errors import Preempted, UserError
from tfbench.files import atomic


@functools.cache  # a process can join the other hosts only once
def make_strategy(devices: int = 0, kind: str = "auto", tpu: str | None = None) -> tf.distribute.Strategy:
    """The tf.distribute strategy for this machine's devices, for those of several hosts or for a TPU.

    Args:
      devices: replicas on this host; 0 for every GPU there is, or the CPU.
      kind: one of
        "one_device";
        "mirrored": over this host's devices;
        "multi_worker": over those of all hosts that TF_CONFIG names; to be made before anything is computed;
        "tpu";
        "auto": the TPU at `tpu` if there is one, several hosts where TF_CONFIG names them, else one device or mirrored.
      tpu: the TPU's address, as official.common.distribute_utils takes it: a name, grpc://IP:8470, or "local".

    Raises:
      UserError: there are fewer devices, or the hosts or the TPU cannot be reached.
    """
    if kind == "auto":
        kind = "multi_worker" if len(cluster()) > 1 else "local"
        if tpu is not None:
            kind = "tpu"
    if kind == "tpu":
        return _tpu_strategy(tpu or "local")
    if kind == "multi_worker":
        return _multi_worker_strategy(devices)
    names = _device_names(1 if kind == "one_device" and not devices else devices)
    if kind == "one_device" and len(names) > 1:
        raise UserError(f"--strategy=one_device with --devices={devices}: expected one device, take "
                        "--strategy=mirrored")
    return _local_strategy(tuple(names))


@functools.cache  # two strategies over the same devices would take each other's messages for their own
def _local_strategy(names: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.OneDeviceStrategy(names[0])


def cluster() -> list[str]:
    """Addresses of the hosts that the environment variable TF_CONFIG names, the chief's first; [] without it.

    Raises:
      UserError: it is not of the form that TensorFlow expects.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        hosts = atomic.parse_json(text or "{}").get("cluster", {})
        return [*hosts.get("chief", []), *hosts.get("worker", [])]
    except (ValueError, AttributeError, TypeError):
        raise UserError('TF_CONFIG is damaged: expected {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": '
                        f'"worker", "index": 0}}}}, found {text[:200]!r}') from None


def kind_of(strategy: tf.distribute.Strategy) -> str:
    """A strategy's kind, as make_strategy names it."""
    classes = {"one_device": tf.distribute.OneDeviceStrategy, "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
               "tpu": tf.distribute.TPUStrategy, "mirrored": tf.distribute.MirroredStrategy}
    return next(kind for kind, strategy_class in classes.items() if isinstance(strategy, strategy_class))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files: it is the only one, or the first of several hosts."""
    resolver = strategy.cluster_resolver
    if kind_of(strategy) != "multi_worker":
        return True
    return resolver.task_type == "chief" or ("chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0)


def on_all_hosts(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """The `number` of each host, in an order that is the same on all; [number] on a single host."""
    if kind_of(strategy) != "multi_worker":
        return [number]
    return strategy.gather(strategy.run(lambda: tf.constant([number])), axis=0).numpy().tolist()


@contextlib.contextmanager
def preempt_on_lost_host(strategy: tf.distribute.Strategy):
    """Context manager that raises Preempted where another host is lost: the same command on all of them continues."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if kind_of(strategy) != "multi_worker":
            raise
        raise Preempted("another host is lost") from error


def distribute(strategy: tf.distribute.Strategy, make_batches, micro_batches: int = 1):
    """The batches of all devices; each host reads those of its own devices.

    Args:
      make_batches: from the shard of the input that a host reads (data/pipeline.py) to its tf.data.Dataset, e.g.
        data.pipeline.training_batches.
      micro_batches: into how many batches each device's batch is split.
    """
    def host_batches(context):
        batches_per_step = strategy.num_replicas_in_sync // context.num_input_pipelines * micro_batches
        shard = InputShard(context.input_pipeline_id, context.num_input_pipelines, batches_per_step)
        return without_autotuner(make_batches(shard))

    if processor() == "CPU" and kind_of(strategy) == "one_device":  # the strategy's own iterator has an autotuner again
        return host_batches(tf.distribute.InputContext())
    # Batches are copied to accelerators ahead of time; a CPU has them already.
    input_options = tf.distribute.InputOptions(experimental_fetch_to_device=processor() != "CPU")
    return strategy.distribute_datasets_from_function(host_batches, input_options)


def without_autotuner(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without tf.data's autotuner.

    Its thread sleeps 10 ms, 20 ms, 40 ms and so on, and who closes an iterator waits until it wakes: at the worst, as
    long again as the iterator was open.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _disable_graph_rewriting() -> None:
    """On a CPU, switches off TensorFlow's meta optimizer: it takes half of a large network's start-up, for no speed.

    On GPUs it chooses the layout of the images.
    """
    if processor() == "CPU":
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def _device_names(devices: int) -> list[str]:
    """This host's devices to use; 0 for every GPU, or the CPU."""
    kind = processor()
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    _disable_graph_rewriting()
    if devices > len(names):
        raise UserError(f"--devices={devices}: TensorFlow sees {len(names)} {kind} here: use --devices="
                        f"{len(names)}, or 0 for all")
    return names if kind == "GPU" and not devices else names[:devices or 1]


def _multi_worker_strategy(devices: int) -> tf.distribute.Strategy:
    from official.common import distribute_utils  # here: it takes two seconds

    if len(cluster()) < 2:
        raise UserError('--strategy=multi_worker: expected the environment variable TF_CONFIG to name all hosts, e.g. '
                        '{"cluster": {"worker": ["HOST1:2222", "HOST2:2222"]}, "task": {"type": "worker", "index": 0}}'
                        ' on the first of two')
    if devices:
        raise UserError(f"--devices={devices}: on several hosts every host uses all of its GPUs; leave --devices out")
    try:
        strategy = distribute_utils.get_distribution_strategy("multi_worker_mirrored")
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"cannot join the hosts of TF_CONFIG ({_first_line(error)}): start the same command on all of "
                        f"them, {', '.join(cluster())}, with the task of each in its TF_CONFIG") from error
    _disable_graph_rewriting()
    return strategy


def _tpu_strategy(address: str) -> tf.distribute.Strategy:
    from official.common import distribute_utils

    try:
        return distribute_utils.get_distribution_strategy("tpu", tpu_address=address)
    except Exception as error:  # the resolver, the runtime and the network raise many kinds
        raise UserError(f"cannot use the TPU at --tpu={address} ({type(error).__name__}: {_first_line(error)}): "
                        "expected a TPU's name, grpc://IP:8470, or local on a TPU virtual machine") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def processor() -> str:
    """What networks run on, on this machine: "GPU" if there is one, else "CPU"."""
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


@contextlib.contextmanager
def graph_rewriting(*, bfloat16: bool = False):
    """Context manager that lets TensorFlow rewrite the graphs that are first run inside it, on a CPU too.

    Args:
      bfloat16: whether float32 convolutions and matrix products are rewritten to bfloat16 (CPU).
    """
    optimizer = tf.config.optimizer
    options = {"disable_meta_optimizer": False, "auto_mixed_precision_onednn_bfloat16": bfloat16}
    before = {name: optimizer.get_experimental_options().get(name, False) for name in options}
    optimizer.set_experimental_options(options)
    try:
        yield
    finally:
        optimizer.set_experimental_options(before)


def set_determinism(deterministic: bool) -> None:
    """Holds TensorFlow, for the rest of the process, to operations that give the same bits every time."""
    if deterministic:
        tf.config.experimental.enable_op_determinism()
