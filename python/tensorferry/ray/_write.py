"""``write``: a Ray dataset as a saved dataset, whose parts the write tasks write."""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import numpy as np
import ray.data
from ray.data.block import Block, BlockAccessor
from ray.data.datasource import Datasink

from tensorferry import _arguments, _internal, errors
from tensorferry._files import opened, paths
from tensorferry._files.save import save
from tensorferry._files.storage import destination
from tensorferry._nest.structures import LEAF
from tensorferry._nest.text import STRING, TEXT
from tensorferry._typing import Path, StorageOptions
from tensorferry.dataset._methods import saved_structure
from tensorferry.ray._columns import ALONE

_log = logging.getLogger("tensorferry")
#: How many bytes of two files are compared at a time.
_COMPARED = 8 << 20


def write(
    dataset: ray.data.Dataset,
    path: Path,
    *,
    rows_per_file: SupportsIndex | None = None,
    storage_options: StorageOptions | None = None,
    overwrite: bool | None = None,
    concurrency: int | None = None,
    resume: bool = False,
) -> None:
    """Writes a ``ray.data.Dataset`` to a directory or a store, for :meth:`Dataset.load`.

    Each write task writes files of its own, and no rows pass through the driver. The dataset
    appears whole or not at all, as that of :meth:`Dataset.save`: a directory gets its name, and an
    object ``dataset.json`` is written, when all tasks have ended. What a killed task left is
    removed then, and a failed write leaves nothing. Elements are in the order of ``dataset``,
    which is executed with ``preserve_order`` for that.

    Elements become dicts of the columns; of the column "data" alone, single arrays.

    A killed task or worker is replaced, and only its files are written again. To continue after a
    killed program or a failure, pass ``resume=True`` in the first run and in the next. Ray computes
    all blocks anew before it asks for one to be written, and does not promise that they hold the
    same rows. So a task looks whether a file of the earlier run holds what its block does, bit for
    bit, and keeps that instead of writing it. The result is the same in any case.

    Args:
        dataset: columns of strings, or of numbers in rows of one shape.
        path: a directory that all nodes reach under this path, or a URL: ``s3://bucket/name``,
            ``gs://``, ``az://``, ``abfs://``.
        rows_per_file: how many rows a file has at least; None for those of a block.
        storage_options: how the store of a URL is reached: as for :func:`tensorferry.open`.
        overwrite: whether a dataset that is there is replaced, or is an error. None to replace
            one in a directory, and none in a store.
        concurrency: the most write tasks that run at the same time.
        resume: whether to keep the files of an earlier write to ``path`` that had ``resume=True``
            and did not complete, and to leave those of this one if it fails: in a hidden directory
            beside ``path``, or below the URL. It costs a digest of all rows. If the earlier write
            still runs, it fails.

    Raises:
        tensorferry.errors.InvalidArgumentError: there are no rows.
        FileExistsError: a dataset already exists, and is not to be replaced.
        OSError: the path exists and is not a saved dataset, or the system refuses.
        ray.exceptions.RayTaskError: a column of strings, or of rows that differ in shape.

    >>> import os, ray, tempfile, tensorferry as tfy
    >>> from tensorferry.ray import write
    >>> path = os.path.join(tempfile.mkdtemp(), "squares")
    >>> squares = ray.data.range(4).map_batches(lambda batch: {"x": batch["id"] ** 2})
    >>> write(squares, path)
    >>> next(tfy.Dataset.load(path).batch(4).as_numpy_iterator())
    {'x': array([0, 1, 4, 9])}
    """
    rows = None
    if rows_per_file is not None:
        rows = _arguments.positive(rows_per_file, "ray.write", "rows_per_file")
    target = paths.absolute([paths.one(path, "ray.write")])[0]
    resume = _arguments.flag(resume, "ray.write", "resume")
    to = destination("ray.write", storage_options, overwrite)
    parts = _internal.PartsOfDataset(target, to, resume)
    options = dataset.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        sink = PartsDatasink(parts, storage_options, rows, resume)
        dataset.write_datasink(sink, concurrency=concurrency)
    finally:
        options.preserve_order = before
        # Nothing is left to keep or to remove after success.
        if resume:
            parts.keep()
        else:
            parts.abandon()


_Column: TypeAlias = tuple[str, str, tuple[int | None, ...]]


class _Part(NamedTuple):
    """Rows that a task wrote."""

    task: int
    number: int
    name: str
    rows: int
    #: The name, dtype and row shape of each column.
    columns: tuple[_Column, ...]


class PartsDatasink(Datasink):  # type: ignore[misc]
    """Writes blocks as parts of a saved dataset. The manifest, which names those that count, comes
    last.
    """

    def __init__(
        self,
        parts: _internal.PartsOfDataset,
        storage_options: StorageOptions | None,
        rows: int | None,
        resume: bool,
    ) -> None:
        self._parts: _internal.PartsOfDataset | None = parts
        self._folder = parts.folder()
        self._options = storage_options
        self._rows, self._resume = rows, resume

    def __getstate__(self) -> dict[str, Any]:
        # The driver alone begins and ends the dataset.
        return {**self.__dict__, "_parts": None}

    def get_name(self) -> str:
        return "Tensorferry"

    @property
    def min_rows_per_write(self) -> int | None:
        return self._rows

    def on_write_start(self, schema: Any = None) -> None:
        """The folder was made before: Ray may pickle this object earlier."""

    def write(self, blocks: Iterable[Block], ctx: Any) -> list[_Part]:
        # A task that is run again writes files of other names.
        attempt = uuid.uuid4().hex[:8]
        return [
            self._part(ctx.task_idx, number, attempt, columns)
            for number, columns in enumerate(_joined(blocks, self._rows))
        ]

    def _part(self, task: int, number: int, attempt: str, columns: dict[str, Any]) -> _Part:
        described: list[_Column] = []
        files: list[tuple[Callable[[int, str], str], int, Any]] = []
        for at, (column, values) in enumerate(columns.items()):
            if values.dtype == object:
                texts = [text.encode() if isinstance(text, str) else text for text in values]
                splits = np.cumsum([0, *map(len, texts)], dtype=np.int64)
                files.append((_internal.PartsOfDataset.splits_name, at, splits))
                values = np.frombuffer(b"".join(texts), np.uint8)
                described.append((column, STRING, (None,)))
            else:
                described.append((column, values.dtype.name, values.shape[1:]))
            files.append((_internal.PartsOfDataset.file_name, at, np.ascontiguousarray(values)))
        rows = len(next(iter(columns.values())))
        name = f"{task:06}-{number:04}-{attempt}"
        if self._resume:
            name = _digest(described, [values for *_, values in files])
        for name_of, at, values in files:
            self._save(name_of(at, name), values)
        return _Part(task, number, name, rows, tuple(described))

    def _save(self, file: str, values: Any) -> None:
        path = _inside(str(self._folder), file)
        if not (self._resume and _holds(path, values, self._options)):
            save(path, values, "npy", storage_options=self._options, overwrite=True)

    def on_write_complete(self, write_result: Any) -> None:
        parts = sorted(part for returned in write_result.write_returns for part in returned)
        if not parts:
            raise errors.make("argument", "ray.write: the dataset has no rows")
        columns = parts[0].columns
        other = next((part.columns for part in parts if part.columns != columns), None)
        if other is not None:
            raise errors.make(
                "element_mismatch",
                f"ray.write: some rows have the columns {_shown(columns)}, others {_shown(other)}. "
                "Map them to one dtype and one shape.",
            )
        places = {name: TEXT if dtype == STRING else LEAF for name, dtype, _ in columns}
        structure = places[ALONE] if [*places] == [ALONE] else places
        assert self._parts is not None
        self._parts.finish(
            [("uint8" if dtype == STRING else dtype, shape) for _, dtype, shape in columns],
            saved_structure.dumps(structure),
            [(part.name, part.rows) for part in parts],
        )

    def on_write_failed(self, error: Exception) -> None:
        if self._parts is None or self._resume:
            return
        try:
            self._parts.abandon()
        except Exception as left:
            _log.warning("ray.write: what the failed write left is not removed: %s", left)


def _digest(columns: list[_Column], arrays: list[Any]) -> str:
    """A name for a part that says what it holds."""
    digest = hashlib.blake2b(repr(columns).encode(), digest_size=16)
    for values in arrays:
        digest.update(f"{values.shape}".encode())
        digest.update(_bytes(values))
    return digest.hexdigest()


def _holds(path: str, values: Any, options: StorageOptions | None) -> bool:
    """Whether a file that an earlier write made under the digest of the values is whole. The bytes
    of an object are not read: a store does not keep half of one, nor another.
    """
    try:
        held: Any = opened.open(path, storage_options=options)
        if held.shape != values.shape or held.dtype != values.dtype.name:
            return False
        if _internal.is_remote(path):
            return True
        read, wanted = _bytes(np.asarray(held[:])), _bytes(values)
    except (OSError, errors.Error):
        return False
    parts = range(0, len(wanted), _COMPARED)
    return all(np.array_equal(read[at:][:_COMPARED], wanted[at:][:_COMPARED]) for at in parts)


def _bytes(values: Any) -> Any:
    return values.reshape(-1).view(np.uint8)


def _joined(blocks: Iterable[Block], rows: int | None) -> Iterator[dict[str, Any]]:
    """The columns of blocks by name, in the order of a saved dataset; blocks are joined until they
    have ``rows`` rows.
    """
    held: list[dict[str, Any]] = []
    count = 0
    for block in blocks:
        accessor = BlockAccessor.for_block(block)
        if accessor.num_rows() == 0:
            continue
        columns = accessor.to_numpy(sorted(accessor.column_names()))
        held.append({name: _check(name, values) for name, values in columns.items()})
        count += accessor.num_rows()
        if rows is None or count >= rows:
            yield _concatenated(held)
            held, count = [], 0
    if held:
        yield _concatenated(held)


def _concatenated(held: list[dict[str, Any]]) -> dict[str, Any]:
    if len(held) == 1:
        return held[0]
    return {name: np.concatenate([columns[name] for columns in held]) for name in held[0]}


def _check(name: str, values: Any) -> Any:
    """The column, with strings as objects."""
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind in "US":
        return values.astype(object)
    if values.dtype == object and all(isinstance(text, str | bytes) for text in values):
        return values
    what = "objects, or rows of several shapes" if values.dtype == object else values.dtype
    raise errors.make(
        "wrong_type",
        f"ray.write: the column {name!r} holds {what}. Files of parts hold strings, or numbers in "
        "rows of one shape: leave the column out, encode or pad it.",
    )


def _shown(columns: tuple[_Column, ...]) -> str:
    shapes = {name: "" if dtype == STRING else list(shape) for name, dtype, shape in columns}
    return ", ".join(f"{name}: {dtype}{shapes[name]}" for name, dtype, _ in columns)


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if _internal.is_remote(folder) else os.path.join(folder, name)
