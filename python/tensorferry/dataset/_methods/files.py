"""Datasets written to files, and read from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorferry import _internal, errors
from tensorferry._files import opened
from tensorferry._nest import specs, structures
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods import saved_structure

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset


class Files(Base):
    """Saving and loading. The files are tensorferry's own, not those of ``tf.data``: a directory of
    ``.npy`` files, which NumPy reads too, and ``dataset.json``, which says what they are."""

    __slots__ = ()

    @staticmethod
    @recorded
    def from_files(
        paths: Any,
        format: Any = None,
        mode: Any = "auto",
        *,
        features: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """The rows of files: of one array, or dicts of the rows of several. Nothing is read until
        it is needed.

        Args:
            paths: a path, a pattern (``"part-*.npy"``), or a list of those.
            format: "npy", "npz", "safetensors", "tfrecord" ...; None for what the files themselves say.
            mode: "map", "read", "direct" or "auto".
            features: of arrays by name, those that are wanted; all of these as :func:`tensorferry.open` takes them. Without it, what has
                no rows (a scalar) or holds no numbers (text) is left out, and Python's ``logging`` is told so.

        Raises:
            OSError, tensorferry.errors.FileFormatError, tensorferry.errors.ValueError: as :func:`tensorferry.open` does.

        >>> import numpy as np, os, tempfile, tensorferry as tfy
        >>> path = os.path.join(tempfile.mkdtemp(), "train.npz")
        >>> np.savez(path, x=np.array([[1, 2], [3, 4]]), y=np.array([0, 1]))
        >>> dataset = tfy.Dataset.from_files(path).with_format("numpy")
        >>> next(iter(dataset.batch(2)))["x"]
        array([[1, 2],
               [3, 4]])
        """
        from tensorferry.dataset import Dataset

        return Dataset.from_tensor_slices(opened.open(paths, format, mode, features=features))

    @staticmethod
    @recorded
    def from_npy(path: Any, name: str | None = None) -> Dataset:
        """The rows of a ``.npy`` file, or of several: :meth:`from_files` of that format.

        Args:
            path: of a file that ``numpy.save`` or :func:`tensorferry.save_npy` wrote; a pattern; or a list of those.
        """
        return Files.from_files(path, "npy")

    def save(
        self,
        path: Any,
        compression: str | None = None,
        shard_func: Any = None,
        checkpoint_args: Any = None,
    ) -> None:
        """Writes the elements of the next epoch to a directory, from which :meth:`load` has them by
        index.

        The directory gets its name when it is whole: whatever happens before, nothing of that name
        is to be seen, or what was saved there before. A dataset saved there before is replaced, in
        one step on Linux; where something else is, nothing is written. Memory does not grow with
        the dataset.

        Args:
            path: of the directory, a str or PathLike.
            compression: None or "NONE": files that are mapped into memory cannot be compressed.
            shard_func, checkpoint_args: have to be None. There are no shards, and a dataset that was not wholly written is not kept.

        Raises:
            tensorferry.errors.ValueError: the dataset is infinite.
            tensorferry.errors.TypeError: elements hold datasets, or are held in a class that could not be had again.
            OSError: there is something of that name, or the system refuses.

        >>> import os, tempfile, tensorferry as tfy
        >>> path = os.path.join(tempfile.mkdtemp(), "squares")
        >>> tfy.Dataset.range(4).with_format("numpy").map(lambda x: {"x": x, "square": x * x}).save(path)
        >>> tfy.Dataset.load(path).batch(4).with_format("numpy").element_spec
        {'x': TensorSpec(shape=(None,), dtype=int64), 'square': TensorSpec(shape=(None,), dtype=int64)}
        """
        _uncompressed(compression, "save")
        _none(
            shard_func,
            "save",
            "shard_func",
            "there are no shards: all elements lie in one directory",
        )
        _none(
            checkpoint_args,
            "save",
            "checkpoint_args",
            "a dataset that was not wholly written is not kept",
        )
        _internal.check_eager("save")
        options = self._options
        structure = saved_structure.dumps(self._structure)
        _internal.save_dataset(
            self._plan, path, structure, options.threads, options.memory_limit, options.read_ahead
        )

    @staticmethod
    @recorded
    def load(
        path: Any,
        element_spec: Any = None,
        compression: str | None = None,
        reader_func: Any = None,
        wait: bool = False,
    ) -> Dataset:
        """The elements that :meth:`save` wrote. The files are mapped into memory: any element can
        be had by its index, a shuffle is one of all, and nothing is read until it is needed.

        Args:
            path: of the directory.
            element_spec: None for what was saved; else the elements have to be so.
            compression: None or "NONE".
            reader_func, wait: have to be None and False. There are no shards, and what can be loaded is whole.

        Raises:
            OSError: there is nothing of that name.
            tensorferry.errors.FileFormatError: it is no saved dataset, or a file of it is damaged.
            tensorferry.errors.ValueError: the elements are not as ``element_spec`` says.
        """
        _uncompressed(compression, "load")
        _none(reader_func, "load", "reader_func", "there are no shards")
        if wait:
            raise errors.make(
                "argument",
                "load: wait=True: a dataset has its name when it is whole; there is nothing to "
                "wait for",
            )
        plan, text = _internal.load_dataset(path)
        structure = saved_structure.loads(text, len(plan.spec), path)
        if element_spec is not None:
            _check(structure, plan.spec, element_spec, path)
        from tensorferry.dataset import Dataset

        return Dataset._of(plan, structure, "tensorflow")


def _uncompressed(compression: str | None, stage: str) -> None:
    if compression not in (None, "NONE"):
        raise errors.make(
            "argument",
            f"{stage}: compression={compression!r}: files that are mapped into memory cannot be compressed. Pass None.",
        )


def _none(value: Any, stage: str, name: str, why: str) -> None:
    if value is not None:
        raise errors.make("argument", f"{stage}: {name} has to be None: {why}")


def _check(structure: Any, spec: list[specs.Part], element_spec: Any, path: Any) -> None:
    """Refuses elements that are not as the user says."""
    asked, parts = specs.parse(element_spec, "load: element_spec")
    if structures.equal(structure, asked) and all(
        _is(one, other) for one, other in zip(spec, parts, strict=True)
    ):
        return
    found = specs.element_spec(structure, spec, tensorflow=False)
    raise errors.make(
        "element_mismatch",
        f"load: the elements of {path} are {found}, not as element_spec says, {element_spec}",
    )


def _is(part: specs.Part, asked: specs.Part) -> bool:
    """Whether a component is of a dtype, and of a shape that says no less."""
    if not isinstance(asked, tuple) or part[0] != asked[0]:
        return False
    dims, wanted = part[1], asked[1]
    if wanted is None:
        return True
    same = dims is not None and len(dims) == len(wanted)
    return same and all(want is None or want == dim for dim, want in zip(dims, wanted, strict=True))
