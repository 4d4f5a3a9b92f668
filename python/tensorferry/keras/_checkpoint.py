"""The file of a backup: a model's variables and a position, in one atomic write."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
from typing import Any

import keras

import tensorferry
from tensorferry import errors

#: The key of the position in the file's metadata, and the version of the format.
_KEY, _VERSION = "tensorferry.keras", 1
#: How the keys of PyTorch's generators begin. Those of variables begin with a number.
_GENERATOR = "generator "


@dataclasses.dataclass(frozen=True)
class Position:
    """How far ``fit`` had come."""

    epoch: int
    #: The number of batches of the epoch that the model was trained on.
    batch: int
    #: The number of batches in an epoch.
    steps: int
    #: The state of the dataset's iteration after these batches.
    dataset: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a file holds."""

    path: str
    position: Position
    #: The values of the variables, in their order, by their keys.
    values: dict[str, Any]
    #: States of PyTorch's generators by device.
    generators: dict[str, Any]


def write(path: str, model: keras.Model, position: Position) -> None:
    """Replaces the file. If the process is killed, the file is the previous one or the new one."""
    values = {
        _key(number, variable): _numpy(variable)
        for number, variable in enumerate(_variables(model))
    }
    for device, generator in _generators().items():
        values[_GENERATOR + device] = generator
    state = json.dumps({"version": _VERSION, **dataclasses.asdict(position)})
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _remove_leftovers(path)
    tensorferry.save(path, values, "safetensors", metadata={_KEY: state})


def read(path: str) -> Checkpoint | None:
    """The file's content; None if it does not exist."""
    try:
        arrays = tensorferry.open(path, "safetensors", mode="read")
    except FileNotFoundError:
        return None
    state = json.loads(arrays.metadata.get(_KEY, "{}"))
    if state.pop("version", None) != _VERSION:
        raise errors.make(
            "argument",
            f"BackupAndResume: {path} is not a backup of this version of tensorferry. Remove it, "
            "or pass another backup_dir.",
        )
    values, generators = {}, {}
    for name in sorted(arrays):
        value = tensorferry.tensor(arrays[name]).numpy()
        if name.startswith(_GENERATOR):
            generators[name.removeprefix(_GENERATOR)] = value
        else:
            values[name] = value
    return Checkpoint(path, Position(**state), values, generators)


def remove(path: str) -> None:
    """Removes the file, and its directory if it has no other."""
    _remove_leftovers(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))


def _remove_leftovers(path: str) -> None:
    """Removes the unfinished files of processes that were killed. A process that is alive has a
    lock on its file.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # not a Unix
        return
    directory, name = os.path.split(path)
    for leftover in glob.glob(os.path.join(glob.escape(directory), f".tensorferry-{name}-*.part")):
        with contextlib.suppress(OSError), open(leftover, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(leftover)


def fits(checkpoint: Checkpoint, model: keras.Model) -> bool:
    """Whether the model has as many variables. Some are made when it is first trained."""
    return len(_variables(model)) == len(checkpoint.values)


def restore(checkpoint: Checkpoint, model: keras.Model) -> None:
    """Assigns the values to the model's variables."""
    variables = _variables(model)
    for (key, value), variable in zip(checkpoint.values.items(), variables, strict=False):
        if tuple(variable.shape) != value.shape:
            what = f"{key.partition(' ')[2]} has the shape {value.shape}"
            raise _other(checkpoint, f"{what}, and the model's {variable.path} {variable.shape}")
    if len(variables) != len(checkpoint.values):
        what = f"it has {len(checkpoint.values)} variables, and the model {len(variables)}"
        raise _other(checkpoint, what)
    for value, variable in zip(checkpoint.values.values(), variables, strict=True):
        variable.assign(value)
    _seed(checkpoint.generators)


def _variables(model: keras.Model) -> list[Any]:
    """Weights, states of random generators, the optimizer's variables and those of metrics."""
    optimizer = [] if model.optimizer is None else model.optimizer.variables
    found = [*model.variables, *optimizer, *model.metrics_variables]
    return list({id(variable): variable for variable in found}.values())


def _numpy(variable: Any) -> Any:
    """The value of a variable."""
    value = keras.ops.convert_to_tensor(variable)
    # Keras's conversion of TensorFlow's tensors warns with NumPy 2.
    tensorflow = keras.backend.backend() == "tensorflow"
    return value.numpy() if tensorflow else keras.ops.convert_to_numpy(value)


def _key(number: int, variable: Any) -> str:
    return f"{number:06d} {variable.path}"


def _generators() -> dict[str, Any]:
    """The states of PyTorch's generators: Keras draws from them for dropout without a seed."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {"cpu": torch.get_rng_state().numpy()}
    for number, state in enumerate(torch.cuda.get_rng_state_all()):
        states[f"cuda:{number}"] = state.numpy()
    return states


def _seed(generators: dict[str, Any]) -> None:
    if not generators or keras.backend.backend() != "torch":
        return
    import torch

    for device, state in generators.items():
        copy = torch.tensor(state.copy())
        if device == "cpu":
            torch.set_rng_state(copy)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(copy, device)


def _other(checkpoint: Checkpoint, what: str) -> errors.Error:
    return errors.make(
        "argument",
        f"BackupAndResume: {checkpoint.path} is the backup of another model: {what}. Build and "
        "compile the same model, or remove the backup.",
    )
