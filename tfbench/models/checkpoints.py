"""Files with a network's weights as TensorFlow writes them: what a path was found to be, and its tensors by name.

    model.ckpt-7, and its .index, .data-… or .meta    a V2 checkpoint
    model.ckpt                                        a V1 checkpoint
    a folder                                          its latest checkpoint, or the only one below it
    a SavedModel                                      its variables, or the constants of its graph
    graph.pb                                          the constants of a frozen graph

Anything else is named and refused. Whose weights they are is for models/convert.py to say.
"""

import dataclasses
import os
import re
import zipfile

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from tfbench.errors import UserError

CURE = "name a TensorFlow checkpoint, e.g. --checkpoint=train/model.ckpt-1000"
KINDS = ("weights", "biases", "depthwise_weights", "pointwise_weights", "gamma", "beta", "moving_mean",
         "moving_variance")  # last parts of the names of weights
OBJECT_GRAPH, VALUE = "_CHECKPOINTABLE_OBJECT_GRAPH", "/.ATTRIBUTES/VARIABLE_VALUE"
V1_END = bytes.fromhex("57fb808b247547db")  # of the table that a V1 checkpoint is
PART = re.compile(r"(.+?)(\.index|\.meta|\.data-\d{5}-of-\d{5})")
CONTENTS = (  # first bytes of other files -> what they are
    (b"\x1f\x8b", "an archive (gzip): unpack it and name the checkpoint in it, or give a public file as --archive"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`"),
    (b"<", "a web page, not the file itself: download it again"),
    (b"\x80", "a pickle, probably PyTorch's: tfbench reads TensorFlow's checkpoints; " + CURE),
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a path was found to be.

    Attributes:
      tensors: all numeric ones by name.
      taken: what was taken for what, in words.
    """

    tensors: dict[str, np.ndarray]
    taken: str


def is_hdf5(path) -> bool:
    """Whether a path is of a file that HDF5 wrote, such as Keras's weights."""
    return _is_file(str(path)) and _bytes(str(path), 8) == b"\x89HDF\r\n\x1a\n"


def read(path) -> Checkpoint:
    """All numeric tensors of a checkpoint, a SavedModel or a frozen graph.

    Raises:
      UserError: the path is none of them, or names several; its text says what it is, and what to name.
    """
    path = str(path).rstrip("/")
    if tf.io.gfile.isdir(path):
        return _of_folder(path)
    folder, name = os.path.split(path)
    if name == "checkpoint" and _is_file(path):
        return _of_folder(folder or ".")
    part = PART.fullmatch(path)
    if part and tf.io.gfile.exists(part[1] + ".index"):
        return _of_prefix(part[1], f"{name} is of the V2 checkpoint {os.path.basename(part[1])}")
    if part:
        raise UserError(f"{path} is a part of the checkpoint {part[1]}, whose .index does not lie beside it: copy all "
                        "its files, .index and .data-…, into one folder")
    if tf.io.gfile.exists(path + ".index"):
        return _of_prefix(path, f"{name} is a V2 checkpoint")
    if _is_file(path):
        return _of_file(path)
    pieces = [entry for entry in _entries(folder) if re.fullmatch(re.escape(name) + r"-\d{5}-of-\d{5}", entry)]
    if pieces:
        return Checkpoint(_variables(path + "-?????-of-?????"), f"{name} is a V1 checkpoint in {len(pieces)} files")
    near = sorted({PART.sub(r"\1", entry) for entry in _entries(folder) if PART.fullmatch(entry)}
                  | {entry for entry in _entries(folder) if ".ckpt" in entry and not PART.fullmatch(entry)})
    there = f"{folder or 'the current folder'} has {', '.join(near[:5])}" if near else CURE
    raise UserError(f"there is no checkpoint {path}: {there}")


def find(folder: str) -> str:
    """The one checkpoint below a folder: the file of a V1 one (*.ckpt), or the prefix of a V2 one with all its data.

    Raises:
      UserError: there is none, or several; its text lists what is there.
    """
    files = sorted(os.path.join(where, name) for where, _, names in tf.io.gfile.walk(folder) for name in names
                   if not name.startswith("."))
    checkpoints = [path for path in files if re.search(r"\.ckpt(-\d+)?$", path)]
    checkpoints += [path.removesuffix(".index") for path in files if path.endswith(".index")
                    and not _missing_data(path.removesuffix(".index"), files)]
    if len(checkpoints) == 1:
        return checkpoints[0]
    names = [os.path.relpath(path, folder) if "://" not in folder else path for path in checkpoints or files]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    raise UserError(f"expected one TensorFlow checkpoint in {folder}, found {len(checkpoints) or 'none'} (there is "
                    f"{', '.join(names[:12]) or 'nothing'}{more}): name one with --checkpoint=PREFIX, or replace the "
                    "archive by the public file")


def _of_folder(folder: str) -> Checkpoint:
    if tf.io.gfile.exists(f"{folder}/saved_model.pb"):
        if tf.io.gfile.exists(f"{folder}/variables/variables.index"):
            return _of_prefix(f"{folder}/variables/variables", f"{folder} is a SavedModel, its variables are read")
        return _of_graph(f"{folder}/saved_model.pb", f"{folder} is a SavedModel without variables")
    if _is_file(f"{folder}/checkpoint"):
        named = re.search(r'^model_checkpoint_path:\s*"(.*)"', _bytes(f"{folder}/checkpoint").decode(errors="replace"),
                          re.MULTILINE)
        if named:
            latest = os.path.join(folder, os.path.basename(named[1]))  # also in a folder that was moved
            if tf.io.gfile.exists(latest + ".index") or _is_file(latest):
                found = read(latest)
                return Checkpoint(found.tensors, f"{folder} is a folder, whose file `checkpoint` names the latest: "
                                  + found.taken)
    found = read(find(folder))
    return Checkpoint(found.tensors, f"{folder} is a folder with one checkpoint: {found.taken}")


def _of_prefix(prefix: str, taken: str) -> Checkpoint:
    folder = os.path.dirname(prefix)
    if missing := _missing_data(prefix, [os.path.join(folder, name) for name in _entries(folder)]):
        raise UserError(f"the checkpoint {prefix} lacks {missing}: copy all its files, .index and .data-…, into one "
                        "folder")
    return Checkpoint(_variables(prefix), taken)


def _missing_data(prefix: str, files: list[str]) -> str | None:
    """The data file that a V2 checkpoint lacks."""
    shards = [match for path in files if path.startswith(prefix) and (
        match := re.fullmatch(r"\.data-(\d{5})-of-(\d{5})", path[len(prefix):]))]
    if not shards:
        return f"{os.path.basename(prefix)}.data-00000-of-00001"
    total = int(shards[0][2])
    there = {int(match[1]) for match in shards if int(match[2]) == total}
    absent = next((number for number in range(total) if number not in there), None)
    return None if absent is None else f"{os.path.basename(prefix)}.data-{absent:05}-of-{total:05}"


def _of_file(path: str) -> Checkpoint:
    name, head = os.path.basename(path), _bytes(path, 1024)
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(max(file.size() - 8, 0))
        end = file.read(8)
    if end == V1_END:
        return Checkpoint(_variables(path), f"{name} is a V1 checkpoint")
    if not head:
        raise UserError(f"{path} is empty: copy it again")
    if head[:4] == b"PK\x03\x04":
        raise UserError(f"{path} is {_zip(path)}")
    for first, what in CONTENTS:
        if head.startswith(first):
            raise UserError(f"{path} is {what}")
    for place, mark, what in ((4, b"TFL3", "a model of TensorFlow Lite"), (8, b"{", "a file of safetensors"),
                              (257, b"ustar", "an archive (tar)")):
        if head[place:place + len(mark)] == mark:
            raise UserError(f"{path} is {what}, no TensorFlow checkpoint that can be read: {CURE}")
    return _of_graph(path, f"{name} is a frozen graph")


def _zip(path: str) -> str:
    try:
        with tf.io.gfile.GFile(path, "rb") as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged zip archive: copy it again"
    if any(name.endswith("data.pkl") for name in names):
        return "a file of PyTorch: tfbench reads TensorFlow's checkpoints; " + CURE
    if "config.json" in names:
        return "a model that Keras saved: --model=PATH.keras takes it as a custom network"
    return "a zip archive: unpack it and name the checkpoint in it"


def _of_graph(path: str, taken: str) -> Checkpoint:
    """The constants that are called as weights are, of a GraphDef or a SavedModel's graph."""
    content, nodes = _bytes(path), []
    for message, graphs in ((saved_model_pb2.SavedModel(), lambda read: [meta.graph_def for meta in read.meta_graphs]),
                            (tf.compat.v1.GraphDef(), lambda read: [read])):
        try:
            message.ParseFromString(content)
        except Exception:  # DecodeError, of whichever protobuf it is
            continue
        nodes = [node for graph in graphs(message) for node in graph.node]
        nodes += [node for graph in graphs(message) for function in graph.library.function
                  for node in function.node_def]
        if nodes:
            break
    if not any(node.op for node in nodes):
        raise UserError(f"{path} is no TensorFlow checkpoint that can be read: {CURE}")
    try:
        constants = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in nodes
                     if node.op == "Const" and node.name.rpartition("/")[2] in KINDS}
    except (KeyError, MemoryError, TypeError, ValueError) as error:
        raise UserError(f"{path} is a damaged graph ({str(error).splitlines()[0]}): copy it again") from error
    if not constants:
        variables = sum(node.op in ("VariableV2", "VarHandleOp", "Variable") for node in nodes)
        why = f"its {variables} variables lie in a checkpoint beside it" if variables else (
            "it may be quantised, or optimised for inference")
        raise UserError(f"{path} is a graph without weights by name ({why}): {CURE}")
    return Checkpoint(constants, f"{taken}, its {len(constants)} constants that are called as weights are read")


def _variables(path: str) -> dict[str, np.ndarray]:
    try:
        reader = tf.train.load_checkpoint(path)
        tensors = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
        names = _names_of_objects(tensors[OBJECT_GRAPH]) if OBJECT_GRAPH in tensors else {}
    except Exception as error:  # errors of TensorFlow and of Python, whichever of the bytes are damaged
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is no TensorFlow checkpoint that can be read ({reason}): copy it again, or {CURE}"
                        ) from error
    return {names.get(name, name): np.asarray(value) for name, value in tensors.items()
            if not isinstance(value, (bytes, str)) and np.asarray(value).dtype.kind not in "OSU"}


def _names_of_objects(content: bytes) -> dict[str, str]:
    """Key -> the variable's own name, of a checkpoint that TensorFlow 2 or Keras wrote."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(content)
    names = {attribute.checkpoint_key: attribute.full_name for node in graph.nodes for attribute in node.attributes
             if attribute.full_name and attribute.checkpoint_key.endswith(VALUE)}
    return names if len(set(names.values())) == len(names) else {}


def _is_file(path: str) -> bool:
    return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)


def _entries(folder: str) -> list[str]:
    try:
        return [name.rstrip("/") for name in tf.io.gfile.listdir(folder or ".")]
    except tf.errors.OpError:
        return []


def _bytes(path: str, count: int = -1) -> bytes:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read(count)
    except tf.errors.OpError as error:
        raise UserError(f"{path} cannot be read ({error.message}): give yourself the right to, or copy it") from error
