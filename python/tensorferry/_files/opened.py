"""``open`` and ``open_raw``: arrays in files of any size, opened without loading."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import ItemsView, Iterable, Iterator, Sequence, ValuesView
from typing import Any, Literal, NoReturn, SupportsIndex, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import hugging_face, records
from tensorferry._files import features as asked
from tensorferry._files import paths, storage, text
from tensorferry._files.features import Features
from tensorferry._internal import Array
from tensorferry._nest import structures
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.structures import LeafMapping
from tensorferry._nest.text import StringRows, Strings
from tensorferry._typing import DTypeLike, FileFormat, Mode, Path, ShapeLike, StorageOptions

_log = logging.getLogger("tensorferry")

#: A function's name and arguments, or another recipe and the name of one of its arrays.
Recipe: TypeAlias = tuple[Any, ...]


class _Call(tuple[Any, ...]):
    """A recipe that is a function's name and arguments, with what was opened."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        #: The version of each object, in order.
        self.versions: list[str | None] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)


def versions(opened: Array | Arrays) -> list[str | None]:
    """The versions of the objects of an array, in order. Local files have none."""
    recipe = opened._inner.recipe() if isinstance(opened, Arrays) else opened.__reduce__()[1][0]
    while not isinstance(recipe, _Call):
        if recipe is None:  # rows of another library
            return []
        first, second = recipe
        recipe = second[0] if first == "astype" else first
    return recipe.versions


class Arrays(LeafMapping[str, Array | Any]):
    """Arrays by name, as ``.npz``, ``.safetensors``, TFRecord and structured ``.npy`` files hold
    them. Made by :func:`open`.

    A mapping whose arrays are read on request. Arrays of a compressed ``.npz`` are decompressed at
    every access; :meth:`items` and :meth:`values` decompress on all cores, and leave out members
    that are not arrays of numbers, which :attr:`left_out` lists. A feature of ``tf.train.Example``
    records whose rows differ in length is a :class:`tensorferry.Ragged`, whose values are an
    :class:`Array`; one of byte strings is a :class:`tensorferry.Strings`.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> path = os.path.join(tempfile.mkdtemp(), "train.npz")
    >>> np.savez(path, x=np.zeros((4, 2), np.float32), y=np.arange(4))
    >>> train = tensorferry.open(path)
    >>> list(train)
    ['x', 'y']
    >>> train["y"][1:3]
    tensorferry.Tensor([1, 2], shape=(2,), dtype=int64)
    """

    __module__ = "tensorferry"
    __slots__ = ("_inner",)

    def __init__(self, inner: _internal.OpenedArrays) -> None:
        self._inner = inner

    @property
    def paths(self) -> list[pathlib.Path | str]:
        """The files; URLs as text."""
        return self._inner.paths()

    @property
    def mode(self) -> str:
        """How arrays are read that are stored uncompressed: "map", "read" or "direct"."""
        return self._inner.mode()

    @property
    def metadata(self) -> dict[str, str]:
        """The ``__metadata__`` of ``.safetensors`` files. :func:`save` keeps it."""
        return self._inner.metadata()

    @property
    def left_out(self) -> dict[str, str]:
        """The members that are not arrays of numbers, by name, and why: text, objects, other files
        of an archive.
        """
        return dict(self._inner.left_out())

    def verify(self) -> None:
        """Reads everything and compares it with the checksums of ``.npz`` and TFRecord files.

        Raises:
            tensorferry.errors.FileFormatError: the file is damaged; the message says where.
        """
        self._inner.verify()

    def __getitem__(self, name: str) -> Array | Any:
        if name not in self:
            raise KeyError(self._no_such(name))
        if name in self._inner.ragged_names():
            return self._ragged(name)
        return self._inner.get(name)

    def _ragged(self, name: str) -> Ragged | Strings | StringRows:
        """A feature whose rows differ in length."""
        values = self._inner.ragged(name)
        shape = asked.strings(self._inner.recipe()[1][3]).get(name)
        if shape is None:
            return Ragged(*values)
        if shape == ():
            return Strings(*values)
        splits = self._inner.ragged(name + asked.SPLITS)
        return StringRows(Ragged(*values), Ragged(*splits) if shape[0] is None else splits[0])

    def _no_such(self, name: object) -> str:
        names = ", ".join(map(repr, list(self)[:20])) + (", ..." if len(self) > 20 else "")
        why = self.left_out.get(name) if isinstance(name, str) else None
        return (
            f"{name!r} is {why}; the arrays are {names}"
            if why
            else f"no array has the name {name!r}; there are {names}"
        )

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> NoReturn:
        names = list(self)
        first = names[0] if names else "name"
        raise errors.make(
            "wrong_type",
            f"these are arrays by name ({', '.join(map(repr, names[:20]))}), not one array. "
            f"Choose one: arrays[{first!r}].",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        names, ragged = self._inner.names(), self._inner.ragged_names()
        if not ragged:
            return names
        chosen = [name for name, _ in self._inner.recipe()[1][3]]
        return sorted({*names, *ragged} & {*chosen}, key=chosen.index)

    def _all(self) -> dict[str, Array | Any]:
        found: dict[str, Array | Any] = dict(self._inner.get_all(True))
        ragged = {name: self._ragged(name) for name in self._inner.ragged_names() if name in self}
        found.update(ragged)
        return {name: found[name] for name in self._names() if name in found} if ragged else found

    def items(self) -> ItemsView[str, Array | Any]:
        """Pairs of a name and its array, without those in :attr:`left_out`."""
        return self._all().items()

    def values(self) -> ValuesView[Array | Any]:
        """The arrays, without those in :attr:`left_out`."""
        return self._all().values()

    def __repr__(self) -> str:
        files = self.paths
        where = repr(str(files[0])) if len(files) == 1 else f"{len(files)} files"
        return f"<tensorferry.Arrays {list(self)} mode={self.mode}, {where}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, (self._inner.recipe(), None)


@overload
def open(
    path: Path | Iterable[Path],
    format: Literal["tfrecord_bytes"],
    mode: Mode = "auto",
    *,
    features: None = None,
    storage_options: StorageOptions | None = None,
    cache: Path | None = None,
    cache_bytes: SupportsIndex | None = None,
) -> Array: ...
@overload
def open(
    path: Path | Iterable[Path],
    format: Literal["npz", "safetensors"],
    mode: Mode = "auto",
    *,
    features: Features | None = None,
    storage_options: StorageOptions | None = None,
    cache: Path | None = None,
    cache_bytes: SupportsIndex | None = None,
) -> Arrays: ...
@overload
def open(
    path: Path | Iterable[Path],
    format: FileFormat | None = None,
    mode: Mode = "auto",
    *,
    features: Features | None = None,
    storage_options: StorageOptions | None = None,
    cache: Path | None = None,
    cache_bytes: SupportsIndex | None = None,
) -> Array | Arrays: ...
def open(
    path: Path | Iterable[Path],
    format: FileFormat | None = None,
    mode: Mode = "auto",
    *,
    features: Features | None = None,
    storage_options: StorageOptions | None = None,
    cache: Path | None = None,
    cache_bytes: SupportsIndex | None = None,
) -> Array | Arrays:
    """Opens a file, or many files as one: an :class:`Array`, or :class:`Arrays` if the files hold
    arrays by name.

    Reads only headers. (Of TFRecord files, the length of every record, once. Compressed ones are
    decompressed into a temporary file, and rows of different lengths are counted: see
    docs/reference/formats.md.)

    Args:
        path: a str, bytes or PathLike; a URL, as str (``s3://bucket/key``, ``gs://``, ``az://``,
            ``abfs://``, ``http://``, ``https://``, ``file://``); a pattern (``"part-*.npy"``),
            which stands for the files that Python's ``glob`` finds (hidden ones only if the pattern
            starts with a dot too) in numeric order, ``part-2`` before ``part-10``; or a list of
            those, in the order of the list. Files whose rows have one dtype and shape are one
            array. Files of arrays by name are shards of each array if all have the same names, and
            are merged if no two have a name in common.
        format: ``"npy"`` (of a structured dtype: each field is an array, a nested one by the name
            ``"outer.inner"``), ``"npz"``, ``"safetensors"``, ``"tfrecord"`` (each feature of
            ``tf.train.Example`` records is an array; the bytes of other records are the rows of
            one array) or ``"tfrecord_bytes"`` (the bytes of all records are the rows of one
            array). None to detect it from the first bytes of the file, else from its extension.
        mode: ``"map"``: memory-mapped, read on access; truncating the file meanwhile ends the
            process (SIGBUS). ``"read"``: rows are read on request; a file that changes meanwhile
            raises. ``"direct"``: the same, bypassing the page cache where the system supports it.
            ``"auto"`` maps files that fit in memory and reads others.
        features: the arrays to open, of arrays by name: a list of names, or a dict of names, each
            with None or a ``TensorSpec`` (tensorferry's or TensorFlow's) of one row, which the
            file has to match. In a ``tf.train.Example`` a byte string can hold elements of any
            dtype, little-endian; if the first length of the ``TensorSpec`` is None, rows differ in
            length. The features of ``tf.io`` work too: ``FixedLenFeature`` with its default,
            ``VarLenFeature``, ``RaggedFeature`` and ``FixedLenSequenceFeature``. Those of
            ``tf.string`` are strings; ``TensorSpec((None,), "uint8")`` reads the bytes of one. None
            for all arrays, as they are.
        storage_options: how the stores of URLs are reached: settings by name, those of the Rust
            crate ``object_store``, such as ``aws_region``, ``aws_endpoint``, ``aws_profile``,
            ``aws_skip_signature``, ``allow_http``, ``azure_storage_account_name``,
            ``google_service_account``. They come before the variables of the environment
            (``AWS_REGION``). Two more: ``deadline``, how long a read may go on without receiving
            a byte (``"300s"``); ``max_requests`` to one store at once (256).
        cache: a folder that keeps pieces of objects of stores, shared by processes, so that a
            second epoch asks for nothing. None for the variable ``TENSORFERRY_CACHE``, or none;
            ``""`` for none. See docs/guides/object-storage.md.
        cache_bytes: the most bytes of all pieces. None for ``TENSORFERRY_CACHE_BYTES``, or 64 GiB.

    Raises:
        OSError: a file cannot be opened, or a pattern matches none (``FileNotFoundError``); a store
            refuses access (``PermissionError``).
        tensorferry.errors.FileFormatError: a file is malformed; the message says where.
        tensorferry.errors.InvalidArgumentError: files that do not fit together, of an unknown
            format, or of a dtype that tensors do not have.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "part-2.npy"), np.array([[1, 2]]))
    >>> np.save(os.path.join(folder, "part-10.npy"), np.array([[3, 4], [5, 6]]))
    >>> array = tensorferry.open(os.path.join(folder, "part-*.npy"))
    >>> array.shape
    (3, 2)
    >>> array[1]
    tensorferry.Tensor([3, 4], shape=(2,), dtype=int64)
    """
    where = storage.storage("open", storage_options, cache, cache_bytes)
    return _open(paths.several(path, "open"), format, mode, asked.parse(features), where)


def _open(
    files: list[Path],
    format: FileFormat | None,
    mode: Mode,
    features: list[tuple[str, Any]],
    where: storage.Storage,
) -> Array | Arrays:
    recipe = _Call(("open", (paths.absolute(files), format, mode, features, where)))
    noted = (recipe, recipe.versions)
    opened = _internal.open(files, format, mode, asked.engine(features), where, noted)
    return opened if isinstance(opened, Array) else Arrays(opened)


def open_raw(
    path: Path | Iterable[Path],
    dtype: DTypeLike,
    shape: ShapeLike | None = None,
    offset: SupportsIndex = 0,
    mode: Mode = "auto",
    *,
    storage_options: StorageOptions | None = None,
    cache: Path | None = None,
    cache_bytes: SupportsIndex | None = None,
) -> Array:
    """Opens a file that holds only elements, such as a ``.bin`` file of tokens for training a
    language model.

    Args:
        path: as for :func:`open`.
        dtype: a ``numpy.dtype`` (of either byte order), ``tf.DType``, type or name.
        shape: of the array in each file, row-major; None or -1 as the first length computes it
            from the file's length. None alone for one dimension.
        offset: bytes before the first element.
        mode, storage_options, cache, cache_bytes: as for :func:`open`.

    Raises:
        OSError: a file cannot be opened.
        tensorferry.errors.FileFormatError: a file is too short, or does not hold a whole number of
            rows.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> path = os.path.join(tempfile.mkdtemp(), "tokens.bin")
    >>> np.arange(6, dtype="uint16").tofile(path)
    >>> tensorferry.open_raw(path, "uint16", (-1, 2)).shape
    (3, 2)
    """
    files = paths.several(path, "open_raw")
    dims = (
        None if shape is None else _arguments.lengths(shape, 0, "open_raw", "every length of shape")
    )
    start = _arguments.at_least(offset, 0, "open_raw", "offset")
    kept = dtype if isinstance(dtype, np.dtype | str) else _internal.dtype_name(dtype)
    where = storage.storage("open_raw", storage_options, cache, cache_bytes)
    return raw(files, kept, dims, start, mode, where)


def raw(
    files: list[Path],
    dtype: DTypeLike,
    shape: Sequence[int | None] | None,
    offset: int,
    mode: Mode,
    where: storage.Storage,
) -> Array:
    """:func:`open_raw` of checked arguments."""
    recipe = _Call(("open_raw", (paths.absolute(files), dtype, shape, offset, mode, where)))
    noted = (recipe, recipe.versions)
    return _internal.open_raw(files, (dtype, shape, offset), mode, where, noted)


def opened(value: Any, rows: bool = True) -> Any:
    """A structure with dicts of arrays in the place of :class:`Arrays`, of structured NumPy arrays
    and of datasets of Hugging Face. With ``rows``, of the arrays that have rows.
    """
    if isinstance(value, Arrays):
        return _dict(value, rows)
    if records.is_structured(value):
        return records.fields(value)
    columns = hugging_face.arrow(value)
    if columns is not None:
        return columns
    if value is None or not structures.is_container(value):
        return value
    parts = structures.parts(value)
    new = [opened(part, rows) for part in parts]
    unchanged = all(made is part for made, part in zip(new, parts, strict=True))
    return value if unchanged else structures.rebuilt(value, new)


def _dict(arrays: Arrays, rows: bool) -> dict[str, Array | Any]:
    found = dict(arrays.items())
    left = {name: why for name, why in arrays.left_out.items() if name in arrays}
    scalars = {
        name: "no dimension, and so no rows"
        for name, array in found.items()
        if rows and isinstance(array, Array) and not array.shape
    }
    left.update(scalars)
    kept = {name: array for name, array in found.items() if name not in scalars}
    where = arrays._inner.recipe()[1][4]
    others = [name for name in left if name not in scalars]
    strings = {name: text.column(arrays.paths, name, where) for name in others}
    strings = {name: column for name, column in strings.items() if column is not None}
    left = {name: why for name, why in left.items() if name not in strings}
    kept = {name: (kept | strings)[name] for name in arrays if name in kept or name in strings}
    path = arrays.paths[0]
    if left and not kept:
        raise errors.make(
            "argument",
            f"{path}: there is no array of rows: "
            + "; ".join(f"{name!r}: {why}" for name, why in left.items()),
        )
    for name, why in left.items():
        _log.warning("%s: left out: %r: %s. Choose arrays with features=.", path, name, why)
    return kept


def reduce(array: Array, recipe: Recipe) -> tuple[Any, ...]:
    """The recipe that ``Array.__reduce__`` returns."""
    return reopen, (recipe, (array.shape, array.dtype.name))


def reopen(recipe: Recipe, expected: tuple[tuple[int, ...], str] | None) -> Array | Arrays:
    """Opens a recipe again, and checks that shape and dtype are the same."""
    first, second = recipe
    if isinstance(first, tuple):
        made: Any = reopen(first, None)  # one of the arrays of a file
        is_ragged = second in made._inner.ragged_names()
        made = made._inner.ragged(second)[0] if is_ragged else made[second]
    elif first == "astype":
        inner, dtype, casting = second
        opened: Any = reopen(inner, None)
        made = opened.astype(dtype, casting)
    else:
        made = _open(*second) if first == "open" else raw(*second)
    if expected is not None and (made.shape, made.dtype.name) != expected:
        shape, name = expected
        raise errors.make(
            "file_changed",
            f"{', '.join(map(str, made.paths[:3]))}: held {name} of shape {shape} when the array "
            f"was pickled, and now {made.dtype.name} of shape {made.shape}",
        )
    return made  # type: ignore[no-any-return]
