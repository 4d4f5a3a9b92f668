"""Methods that read files, and save and load datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self, SupportsIndex

from tensorferry import _internal, errors
from tensorferry._files import opened
from tensorferry._files.features import Features
from tensorferry._files.storage import destination, storage
from tensorferry._nest import specs, structures
from tensorferry._typing import FileFormat, Mode, Path, Signature, StorageOptions
from tensorferry.dataset._base import recorded
from tensorferry.dataset._methods import saved_structure
from tensorferry.dataset._methods.sources import Sources
from tensorferry.dataset._options import limits


class Files(Sources):
    """Reading files, saving and loading. A saved dataset is not in the format of ``tf.data``: it is
    a directory of ``.npy`` files, which NumPy reads too, and ``dataset.json``, which describes
    them.
    """

    __slots__ = ()

    @classmethod
    @recorded
    def from_files(
        cls,
        paths: Path | Iterable[Path],
        format: FileFormat | None = None,
        mode: Mode = "auto",
        *,
        features: Features | None = None,
        storage_options: StorageOptions | None = None,
        cache: Path | None = None,
        cache_bytes: SupportsIndex | None = None,
        name: str | None = None,
    ) -> Self:
        """The rows of one array in files, or dicts of the rows of several. Read on request.

        Args:
            paths: a path, a URL (``"s3://bucket/part-0.npy"``), a pattern (``"part-*.npy"``), or a
                list of those.
            format: "npy", "npz", "safetensors", "tfrecord" ...; None to detect it.
            mode: "map", "read", "direct" or "auto".
            features: the arrays to read, of arrays by name. All arguments are those of
                :func:`tensorferry.open`. By default arrays that have no rows (scalars), or hold
                neither numbers nor strings, are left out with a warning of the logger
                "tensorferry". Strings of ``.npy`` fields and ``.npz`` members are copied into
                memory once.
            storage_options: settings of the stores of URLs, by name.
            cache: a folder that keeps pieces of objects of stores.
            cache_bytes: the most bytes of all pieces.
            name: accepted for compatibility with tf.data.

        Raises:
            OSError, tensorferry.errors.FileFormatError, tensorferry.errors.InvalidArgumentError: as
                :func:`tensorferry.open` does.

        >>> import numpy as np, os, tempfile, tensorferry as tfy
        >>> path = os.path.join(tempfile.mkdtemp(), "train.npz")
        >>> np.savez(path, x=np.array([[1, 2], [3, 4]]), y=np.array([0, 1]))
        >>> dataset = tfy.Dataset.from_files(path).with_format("numpy")
        >>> next(iter(dataset.batch(2)))["x"]
        array([[1, 2],
               [3, 4]])
        """
        found = opened.open(
            paths,
            format,
            mode,
            features=features,
            storage_options=storage_options,
            cache=cache,
            cache_bytes=cache_bytes,
        )
        made = cls.from_tensor_slices(found)
        made._opened = found
        return made

    @classmethod
    @recorded
    def from_npy(
        cls,
        path: Path | Iterable[Path],
        name: str | None = None,
        *,
        storage_options: StorageOptions | None = None,
        cache: Path | None = None,
        cache_bytes: SupportsIndex | None = None,
    ) -> Self:
        """The rows of a ``.npy`` file, or of several: :meth:`from_files` of that format.

        Args:
            path: of a file that ``numpy.save`` or :func:`tensorferry.save_npy` wrote; a URL; a
                pattern; or a list of those.
            name: accepted for compatibility with tf.data.
            storage_options: settings of the stores of URLs, by name.
            cache: a folder that keeps pieces of objects of stores.
            cache_bytes: the most bytes of all pieces.
        """
        return cls.from_files(
            path, "npy", storage_options=storage_options, cache=cache, cache_bytes=cache_bytes
        )

    def save(
        self,
        path: Path,
        compression: Literal["NONE"] | None = None,
        shard_func: None = None,
        checkpoint_args: None = None,
        *,
        storage_options: StorageOptions | None = None,
        overwrite: bool | None = None,
    ) -> None:
        """Writes the elements of the next epoch to a directory, for :meth:`load`.

        The write is atomic: the directory gets its name when it is complete. A dataset saved there
        before is replaced, in one step on Linux; anything else is never overwritten. Memory does
        not grow with the dataset.

        In an object store, a dataset is ``dataset.json`` and a folder beside it, which each save
        makes anew. ``dataset.json`` is written last: before that, there is no dataset. What it
        replaces is removed after that; a program that still reads it gets an error. A killed save
        leaves objects that no dataset needs; the next save to the same place removes them, once
        they are an hour old. Each file takes 32 MiB of memory, and up to 80 MiB if it is alone.

        Args:
            path: of the directory, a str or PathLike; or a URL: ``s3://bucket/folder/name``,
                ``gs://``, ``az://``, ``abfs://``.
            compression: None or "NONE": memory-mapped files cannot be compressed.
            shard_func: has to be None. A saved dataset has no shards.
            checkpoint_args: has to be None. An incomplete dataset is not kept.
            storage_options: how the store of a URL is reached: as for :func:`tensorferry.open`.
            overwrite: whether a dataset that is there is replaced, or is an error. None to replace
                one in a directory, and none in a store.

        Raises:
            tensorferry.errors.InvalidArgumentError: the dataset is infinite.
            tensorferry.errors.InvalidTypeError: elements hold datasets, or are held in a class
                that cannot be loaded again.
            FileExistsError: a dataset already exists, and is not to be replaced.
            OSError: the path exists and is not a saved dataset, or the system refuses.

        >>> import os, tempfile, tensorferry as tfy
        >>> path = os.path.join(tempfile.mkdtemp(), "squares")
        >>> numbers = tfy.Dataset.range(4).with_format("numpy")
        >>> numbers.map(lambda x: {"x": x, "square": x * x}).save(path)
        >>> next(tfy.Dataset.load(path).batch(4).as_numpy_iterator())
        {'x': array([0, 1, 2, 3]), 'square': array([0, 1, 4, 9])}
        """
        _uncompressed(compression, "save")
        _none(
            shard_func,
            "save",
            "shard_func",
            "a saved dataset has no shards: all elements lie in one directory",
        )
        _none(
            checkpoint_args,
            "save",
            "checkpoint_args",
            "an incomplete dataset is not kept",
        )
        _internal.check_eager("save")
        to = destination("save", storage_options, overwrite)
        structure = saved_structure.dumps(self._structure)
        _internal.save_dataset(self._plan, path, structure, *limits(self._options), to)

    @classmethod
    @recorded
    def load(
        cls,
        path: Path,
        element_spec: Signature | None = None,
        compression: Literal["NONE"] | None = None,
        reader_func: None = None,
        wait: Literal[False] = False,
        *,
        storage_options: StorageOptions | None = None,
        cache: Path | None = None,
        cache_bytes: SupportsIndex | None = None,
    ) -> Self:
        """The elements that :meth:`save` wrote. The files are memory-mapped: elements are accessed
        by index, a shuffle covers all of them, and nothing is read before it is needed.

        Objects of a store are read on request. Where elements vary in shape, their places are read
        at once: 8 bytes of memory for each element if only its first length varies. Elements of
        other shapes that vary are read one by one.

        Args:
            path: of the directory, or a URL.
            element_spec: the specification that the elements have to match; None for the saved one.
            compression: None or "NONE".
            reader_func: has to be None. A saved dataset has no shards.
            wait: has to be False. A dataset that can be loaded is complete.
            storage_options: how the store of a URL is reached: as for :func:`tensorferry.open`.
            cache: a folder that keeps pieces of objects of stores.
            cache_bytes: the most bytes of all pieces.

        Raises:
            OSError: the path does not exist.
            tensorferry.errors.FileFormatError: it is not a saved dataset, or a file is damaged.
            tensorferry.errors.InvalidArgumentError: the elements do not match ``element_spec``.
        """
        _uncompressed(compression, "load")
        _none(reader_func, "load", "reader_func", "a saved dataset has no shards")
        if wait:
            raise errors.make(
                "argument",
                "load: wait=True: a dataset gets its name when it is complete. Leave out wait.",
            )
        options = storage("load", storage_options, cache, cache_bytes)
        plan, text = _internal.load_dataset(path, options)
        structure = saved_structure.loads(text, len(plan.spec), path)
        if element_spec is not None:
            _check(structure, plan.spec, element_spec, path)
        return cls._of(plan, structure)


def _uncompressed(compression: object, stage: str) -> None:
    if compression not in (None, "NONE"):
        raise errors.make(
            "argument",
            f"{stage}: compression={compression!r}: memory-mapped files cannot be compressed. Pass "
            "None.",
        )


def _none(value: Any, stage: str, name: str, why: str) -> None:
    if value is not None:
        raise errors.make("argument", f"{stage}: {name} has to be None: {why}")


def _check(structure: Any, spec: list[specs.Part], element_spec: Any, path: Any) -> None:
    """Refuses elements that do not match the requested specification."""
    asked, parts = specs.parse(element_spec, "load: element_spec")
    if structures.equal(structure, asked) and all(
        _is(one, other) for one, other in zip(spec, parts, strict=True)
    ):
        return
    found = specs.element_spec(structure, spec, tensorflow=False)
    raise errors.make(
        "element_mismatch",
        f"load: the elements of {path} are {found}, which does not match element_spec, "
        f"{element_spec}",
    )


def _is(part: specs.Part, asked: specs.Part) -> bool:
    """Whether a component has the requested dtype, and a shape that is at least as specific."""
    if not isinstance(asked, tuple) or part[0] != asked[0]:
        return False
    dims, wanted = part[1], asked[1]
    if wanted is None:
        return True
    same = dims is not None and len(dims) == len(wanted)
    return same and all(want is None or want == dim for dim, want in zip(dims, wanted, strict=True))
