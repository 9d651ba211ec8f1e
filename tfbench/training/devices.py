"""Which devices compute, and how exactly."""

import contextlib
import functools
import json
import os

import tensorflow as tf

from tfbench.data.pipeline import InputShard
from tfbench.errors import Preempted, UserError


@functools.cache  # a process can join the other hosts only once
def make_strategy(devices: int = 0, kind: str = "auto", tpu: str | None = None) -> tf.distribute.Strategy:
    """The tf.distribute strategy that trains on this machine's devices, on several hosts' or on a TPU.

    Args:
      devices: number of replicas on this host; 0 for every GPU there is, or the CPU.
      kind: "one_device"; "mirrored" over this host's devices; "multi_worker" over those of all hosts that TF_CONFIG
        names (before anything else is computed); "tpu"; or "auto": the TPU at `tpu` if there is one, several hosts
        where TF_CONFIG names them, else one device or mirrored.
      tpu: its address, as official.common.distribute_utils takes it: a name, grpc://IP:8470, or "local".

    Raises:
      UserError: there are fewer devices, or the hosts or the TPU cannot be reached.
    """
    if kind == "auto":
        kind = "tpu" if tpu is not None else "multi_worker" if len(cluster()) > 1 else "local"
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
      UserError: it is no such JSON.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        hosts = json.loads(text or "{}").get("cluster", {})
        return [*hosts.get("chief", []), *hosts.get("worker", [])]
    except (ValueError, AttributeError, TypeError):
        raise UserError('TF_CONFIG is damaged: expected {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": '
                        f'"worker", "index": 0}}}}, found {text[:200]!r}') from None


def kind_of(strategy: tf.distribute.Strategy) -> str:
    """Which of make_strategy's kinds a strategy is."""
    classes = {"one_device": tf.distribute.OneDeviceStrategy, "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
               "tpu": tf.distribute.TPUStrategy, "mirrored": tf.distribute.MirroredStrategy}
    return next(kind for kind, strategy_class in classes.items() if isinstance(strategy, strategy_class))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what all hosts compute: the only one, or the first of several."""
    resolver = strategy.cluster_resolver
    if kind_of(strategy) != "multi_worker":
        return True
    return resolver.task_type == "chief" or ("chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0)


def on_all_hosts(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """What each host has for `number`, in an order that is the same on all; [number] on a single host."""
    if kind_of(strategy) != "multi_worker":
        return [number]
    return strategy.gather(strategy.run(lambda: tf.constant([number])), axis=0).numpy().tolist()


@contextlib.contextmanager
def preempt_on_lost_host(strategy: tf.distribute.Strategy):
    """Within it, the loss of another host is Preempted: the same command on all of them continues."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if kind_of(strategy) != "multi_worker":
            raise
        raise Preempted("another host is lost") from error


def distribute(strategy: tf.distribute.Strategy, make_batches, micro_batches: int = 1):
    """The batches of all hosts and devices, read by each host for its own devices.

    Args:
      make_batches: data.pipeline.InputShard -> tf.data.Dataset, such as data.pipeline.training_batches.
      micro_batches: in how many parts each device takes its share of a batch.
    """
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread can take more than a minute to hear that an iterator is closed

    def of_host(context):
        pieces = strategy.num_replicas_in_sync // context.num_input_pipelines * micro_batches
        part = InputShard(context.input_pipeline_id, context.num_input_pipelines, pieces)
        return make_batches(part).with_options(options)

    # Where devices are accelerators, batches are copied to them ahead of time; a CPU has them already.
    fetch = tf.distribute.InputOptions(experimental_fetch_to_device=processor() != "CPU")
    return strategy.distribute_datasets_from_function(of_host, fetch)


def _leave_graphs_alone() -> None:
    """On a CPU, switches off what rewrites graphs: half of a large network's start-up, and no step is quicker for it.

    On GPUs it chooses the layout of the images (BUILD.md, "Start-up").
    """
    if processor() == "CPU":
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def _device_names(devices: int) -> list[str]:
    """This host's devices to use; 0 for every GPU, or the CPU."""
    kind = processor()
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    _leave_graphs_alone()
    wanted = devices or (len(names) if kind == "GPU" else 1)
    if wanted > len(names):
        raise UserError(f"--devices={wanted}: TensorFlow sees {len(names)} {kind} here: use --devices="
                        f"{len(names)}, or 0 for all")
    return names[:wanted]


def _multi_worker_strategy(devices: int) -> tf.distribute.Strategy:
    from official.common import distribute_utils  # here: it takes two seconds

    if len(cluster()) < 2:
        raise UserError('--strategy=multi_worker: expected the environment variable TF_CONFIG to name all hosts, e.g. '
                        '{"cluster": {"worker": ["HOST1:2222", "HOST2:2222"]}, "task": {"type": "worker", "index": 0}}'
                        " on the first of two (BUILD.md, \"Several hosts\")")
    if devices:
        raise UserError(f"--devices={devices}: on several hosts every host uses all of its GPUs; leave --devices out")
    try:
        strategy = distribute_utils.get_distribution_strategy("multi_worker_mirrored")
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"cannot join the hosts of TF_CONFIG ({_first_line(error)}): start the same command on all of "
                        f"them, {', '.join(cluster())}, with the task of each in its TF_CONFIG") from error
    _leave_graphs_alone()
    return strategy


def _tpu_strategy(address: str) -> tf.distribute.Strategy:
    from official.common import distribute_utils

    try:
        return distribute_utils.get_distribution_strategy("tpu", tpu_address=address)
    except Exception as error:  # of whatever kind the resolver, the runtime or the network raises
        raise UserError(f"cannot use the TPU at --tpu={address} ({type(error).__name__}: {_first_line(error)}): "
                        "expected a TPU's name, grpc://IP:8470, or local on a TPU virtual machine") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


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
    """BuildOptions TensorFlow to operations that give the same bits every time."""
    if deterministic:
        tf.config.experimental.enable_op_determinism()
