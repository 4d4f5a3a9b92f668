"""``convert``: the conversion of the command, whose shards are written by tasks of Ray."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, SupportsIndex

import ray

from tensorferry import _arguments, _internal, errors
from tensorferry._files import paths
from tensorferry._files.storage import storage
from tensorferry._typing import Casting, DTypeLike, FileFormat, Path, StorageOptions

#: Tasks that wait for a processor, for each processor: a few, so that no node is idle, and not all,
#: because Ray keeps each in memory.
_WAITING = 4
#: How often the command looks whether it was interrupted, in seconds.
_TICK = 0.2


def convert(
    source: Path | Iterable[Path],
    target: Path,
    *,
    shard_rows: SupportsIndex,
    dtype: DTypeLike | Mapping[str, DTypeLike] | None = None,
    casting: Casting = "checked",
    format: FileFormat | None = None,
    to: FileFormat | None = None,
    arrays: Iterable[str] = (),
    compress: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    storage_options: StorageOptions | None = None,
) -> list[str]:
    """Converts files of any size to shards of another format or dtype, a task of Ray for each.

    It is ``tensorferry convert --ray``: the files are those that ``tensorferry convert`` writes on
    one machine, byte for byte. A shard is written under a temporary name and appears whole. If a
    worker is killed, Ray runs its task again. A value that does not fit stops the conversion.

    Args:
        source: a path, URL or pattern, or several: the shards of one array. All nodes reach them,
            and the target, under the same names.
        target: ``out.npy`` is the name of files ``out-00000-of-00012.npy`` and so on, in a
            directory that exists, or a URL. Its extension sets the format.
        shard_rows: the rows of a file.
        dtype: to convert to; a dict for some arrays by name; None to keep the dtype.
        casting: ``"checked"``, ``"saturate"`` or ``"wrap"``.
        format: of the source; None to detect it.
        to: the format to write; None for that of the extension.
        arrays: those to take, of arrays by name; all by default.
        compress: whether to compress an ``.npz``.
        resume: whether to keep the shards of a conversion that was interrupted. Not for URLs.
        overwrite: whether to replace files that exist.
        storage_options: how the stores of URLs are reached: as for :func:`tensorferry.open`.

    Returns:
        The paths or URLs of the shards, in order.

    Raises:
        tensorferry.errors.ValueOverflowError: a value does not fit the dtype.
        tensorferry.errors.InvalidArgumentError: arguments that do not go together, or files that
            exist; the message names the options of the command.
        OSError: the system refuses a file.

    >>> import numpy as np, os, tempfile, tensorferry as tfy
    >>> from tensorferry.ray import convert
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "x.npy"), np.arange(10.0))
    >>> shards = convert(
    ...     os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy"), shard_rows=4, dtype="int8"
    ... )
    >>> [os.path.basename(path) for path in shards]
    ['y-00000-of-00003.npy', 'y-00001-of-00003.npy', 'y-00002-of-00003.npy']
    >>> tfy.open(shards)[:]
    tensorferry.Tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], shape=(10,), dtype=int8)
    """
    rows = _arguments.positive(shard_rows, "ray.convert", "shard_rows")
    options = [f"--shard-rows={rows}", f"--casting={casting}"]
    options += [f"--dtype={each}" for each in _dtypes(dtype)]
    options += [f"--format={format}"] if format is not None else []
    options += [f"--to={to}"] if to is not None else []
    options += [f"--array={name}" for name in arrays]
    flags = {"--compress": compress, "--resume": resume, "--force": overwrite}
    options += [flag for flag, given in flags.items() if given]
    settings = storage("ray.convert", storage_options)
    options += [
        f"--storage-option={name}={value}" for name, value in (settings or ({},))[0].items()
    ]
    files = paths.absolute(paths.several(source, "ray.convert"))
    files += paths.absolute([paths.one(target, "ray.convert")])
    command = ["tensorferry", "convert", "--ray", "--json", "--quiet", *options, "--", *files]

    raised: list[BaseException] = []

    def written(numbers: list[int]) -> Iterator[tuple[int, bool] | None]:
        try:
            yield from shards(command, numbers)
        except GeneratorExit:
            raise
        except BaseException as error:
            raised.append(error)
            raise

    _, output = _internal.run_inside(command, written)
    if raised and not isinstance(raised[0], ShardError):
        raise raised[0]
    document = json.loads(output)
    _raise(document["error"])
    return [str(path) for path in document["files"]]


class ShardError(Exception):
    """The error of a task, as its JSON says it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code, self.exit_status = error["code"], error["exit_status"]
        self.errno = error.get("errno")


def shards(command: list[str], numbers: list[int]) -> Generator[tuple[int, bool] | None]:
    """Has Ray write shards of a conversion. Yields the number of each with False before a task has
    it, and with True when it is finished, and None now and then. If this is closed, what runs is
    cancelled.

    Args:
        command: the arguments of the whole conversion.
        numbers: of the shards.

    Raises:
        ShardError: the first error of a shard.
    """
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    # A task that ends with an error would end so again; one whose worker is killed is run again,
    # as often as it takes.
    task = ray.remote(num_cpus=1, max_retries=-1)(_write)
    waiting, running = iter(numbers), dict[Any, int]()
    arguments, folder = ray.put(_of_task(command)), os.getcwd()
    try:
        while True:
            most = _WAITING * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while len(running) < most and (number := next(waiting, None)) is not None:
                yield number, False
                running[task.remote(arguments, number, folder)] = number
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1, timeout=_TICK)
            for reference in done:
                error = ray.get(reference)
                if error is not None:
                    raise ShardError(error)
                yield running.pop(reference), True
            if not done:
                yield None
    finally:
        for reference in running:
            # Forced: a task looks for nothing while it writes. Its temporary file is removed by
            # the next conversion.
            ray.cancel(reference, force=True)


def _of_task(command: list[str]) -> list[str]:
    """The arguments of a task, without the number of its shard."""
    at = command.index("convert") + 1
    end = command.index("--") if "--" in command else len(command)
    ours = ("--ray", "--json", "--quiet", "-q")
    kept = [each for each in command[at:end] if each not in ours]
    return [*command[:at], "--json", "--quiet", *kept, *command[end:]]


def _write(command: list[str], number: int, folder: str) -> dict[str, Any] | None:
    """What a task does. Returns its error."""
    at = command.index("convert") + 1
    arguments = [*command[:at], f"--only={number}", *command[at:]]
    before = os.getcwd()
    # Relative paths are those of the driver. A node without that folder gets URLs, or an error.
    with contextlib.suppress(OSError):
        os.chdir(folder)
    try:
        _, output = _internal.run_inside(arguments, _nothing)
    finally:
        os.chdir(before)
    error: dict[str, Any] | None = json.loads(output)["error"]
    return error


def _nothing(numbers: list[int]) -> Iterator[None]:
    """A task has no tasks of its own."""
    return iter(())


def _dtypes(dtype: Any) -> list[str]:
    if dtype is None:
        return []
    named = isinstance(dtype, Mapping)
    pairs = dtype.items() if named else [(None, dtype)]
    texts = [(name, _internal.dtype_name(each)) for name, each in pairs]
    return [text if name is None else f"{name}={text}" for name, text in texts]


def _raise(error: dict[str, Any] | None) -> None:
    if error is None:
        return
    if error["code"] in errors.CODES and error["code"] != "io":
        raise errors.make(error["code"], f"ray.convert: {error['message']}")
    message = f"ray.convert: {error['message']}"
    raise OSError(error["errno"], message) if "errno" in error else OSError(message)
