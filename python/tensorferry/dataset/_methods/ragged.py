"""Methods for rows of different lengths."""

from __future__ import annotations

from typing import Literal, Self, SupportsIndex

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import ragged
from tensorferry._files import megatron, storage
from tensorferry._nest import structures
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._nest.text import TEXT, Texts
from tensorferry._typing import DTypeLike, Nest, Path, RaggedLike, StorageOptions, TensorLike
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods import padding, ragged_structure, strings


class RaggedRows(Base):
    """The methods that make elements of different lengths, and batches and windows of them."""

    __slots__ = ()

    @classmethod
    @recorded
    def from_ragged(
        cls,
        values: Nest[RaggedLike],
        row_splits: TensorLike | None = None,
        *,
        row_lengths: TensorLike | None = None,
        name: str | None = None,
    ) -> Self:
        """Rows of different lengths: element ``i`` is ``values[row_splits[i]:row_splits[i + 1]]``.

        Nothing is copied, and values in files are read when they are needed. The length of a row is
        known before the row is read: :meth:`padded_batch`, :meth:`ragged_batch`,
        :meth:`bucket_by_sequence_length` and :meth:`pack` read rows directly into their batches.

        Args:
            values: with ``row_splits`` or ``row_lengths``, an array of all values, one row after
                the other, of any kind that ``from_tensor_slices`` takes. Without them, rows as
                other libraries have them: a :class:`tensorferry.Ragged`, a ``tf.RaggedTensor``, a
                nested tensor of PyTorch, an Arrow array of lists (a column of pyarrow, polars or
                pandas), or a list of arrays or of lists, which is packed once. Or a structure
                (tuple, dict) of them and of arrays with as many rows.
            row_splits: whole numbers that rise from 0 to the number of values, one more than there
                are rows. int32 and int64 are used in place, in files too.
            row_lengths: the length of each row, instead of ``row_splits``.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: ``row_splits`` fall, or do not run from 0 to
                the number of values; ``row_lengths`` do not add up to it; rows are nested twice;
                the parts of a structure have different numbers of rows.

        >>> import numpy as np, tensorferry as tfy
        >>> rows = tfy.Dataset.from_ragged(np.arange(6), [0, 2, 2, 6]).with_format("numpy")
        >>> [row.tolist() for row in rows]
        [[0, 1], [], [2, 3, 4, 5]]
        >>> words = {"tokens": [[7, 8], [9]], "label": np.array([0, 1])}
        >>> for batch in tfy.Dataset.from_ragged(words).with_format("numpy").padded_batch(2):
        ...     print(batch["tokens"].tolist(), batch["label"].tolist())
        [[7, 8], [9, 0]] [0, 1]
        """
        stage = "from_ragged"
        if row_splits is not None and row_lengths is not None:
            raise errors.make("argument", f"{stage}: pass row_splits= or row_lengths=, not both")
        if row_splits is not None or row_lengths is not None:
            how, rows = ("lengths", row_lengths) if row_splits is None else ("splits", row_splits)
            part = ragged.of_values(values, how, [rows], stage)
            return cls._of(_internal.from_ragged([part]), LEAF)
        return cls._of(*ragged_structure.plan(values, stage, lists=True))

    @classmethod
    @recorded
    def from_megatron(
        cls,
        path: Path,
        name: str | None = None,
        *,
        storage_options: StorageOptions | None = None,
        cache: Path | None = None,
        cache_bytes: SupportsIndex | None = None,
    ) -> Self:
        """The token rows of a dataset that Megatron-LM's preprocessing wrote: a ``.bin`` file of
        tokens and the ``.idx`` file beside it. Element ``i`` is sequence ``i``.

        Both files are used in place.

        Args:
            path: of either file, or of both without the extension; or a URL.
            name: accepted for compatibility with tf.data.
            storage_options, cache, cache_bytes: as for :func:`tensorferry.open`.

        Raises:
            OSError: a file cannot be opened.
            tensorferry.errors.FileFormatError: the ``.idx`` file is damaged or of another version.
        """
        where = storage.storage("from_megatron", storage_options, cache, cache_bytes)
        return cls._of(_internal.from_ragged([megatron.rows(path, where)]), LEAF)

    @recorded
    def ragged_batch(
        self,
        batch_size: SupportsIndex,
        drop_remainder: bool = False,
        row_splits_dtype: DTypeLike = "int64",
        name: str | None = None,
    ) -> Self:
        """Batches of elements of different lengths, without padding.

        A part of the elements whose first length is unknown becomes a ``tf.RaggedTensor``, or in
        other formats a :class:`tensorferry.Ragged` of values and row splits, of which
        ``torch.nested.nested_tensor_from_jagged(*batch)`` makes a nested tensor. Other parts are
        stacked.

        Args:
            batch_size: elements of a batch; at least 1.
            drop_remainder: leaves out a last batch that is not full.
            row_splits_dtype: int64 or int32. A batch of more values than int32 counts is an error.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: ``batch_size`` is less than 1, or a length
                other than the first is unknown.

        >>> import numpy as np, tensorferry as tfy
        >>> rows = tfy.Dataset.from_ragged(np.arange(6), [0, 2, 2, 6])
        >>> next(iter(rows.ragged_batch(3).with_format("numpy")))
        Ragged(values=array([0, 1, 2, 3, 4, 5]), row_splits=array([0, 2, 2, 6]))
        """
        size = _arguments.positive(batch_size, "ragged_batch", "batch_size")
        drop = _arguments.flag(drop_remainder, "ragged_batch", "drop_remainder")
        spec = iter(self._plan.spec)
        strings.refuse_several(self, "ragged_batch")
        ragged_structure.refuse_batches(self._structure, "ragged_batch")

        def batched(leaf: Structure) -> Structure:
            part = next(spec)
            if leaf is TEXT:
                return Texts(LEAF, LEAF)
            unknown = not isinstance(part, list) and part[1] and part[1][0] is None
            return Ragged(LEAF, LEAF) if unknown else leaf

        structure = structures.map_structure(batched, self._structure)
        plan = _internal.ragged_batch(self._plan, size, drop)
        splits = _internal.dtype_name(row_splits_dtype)
        if splits not in ("int64", "int32"):
            raise errors.make(
                "argument", f"ragged_batch: row_splits_dtype has to be int64 or int32, not {splits}"
            )
        if splits == "int32":
            plan = _internal.cast(plan, _splits_dtypes(structure), "checked")
        return self._with(plan, structure)

    @recorded
    def pack(
        self,
        length: SupportsIndex,
        *,
        eos: TensorLike | None = None,
        strategy: Literal["concat", "best_fit"] = "concat",
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Self:
        """Rows of tokens, packed into windows of ``length`` tokens for training a language model.

        Elements are a dict of ``tokens``, ``segment_ids`` and ``positions``, each of shape
        ``(length,)``. Segments number the rows of a window from 1 on; 0 is padding. Positions count
        from 0 in each segment. With them, attention can stop at the ends of rows. Elements that are
        dicts of several rows of equal length, such as tokens and labels, keep their keys.

        If the rows come from :meth:`from_ragged` and every epoch has the same rows, with "concat"
        in any order, the result has random access: ``pack(n).shuffle()`` shuffles windows exactly.
        Other rows are packed as they come.

        Args:
            length: tokens of a window.
            eos: a token to append to each row.
            strategy: "concat": rows follow one another, and a row is cut where a window is full.
                "best_fit": a row is cut only if it is longer than a window; windows are planned
                256 at a time, and their ends are padded.
            drop_remainder: with "concat", leaves out a last window that is not full. Otherwise it
                is padded with ``eos``, or 0.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: an element is not a row of one dimension, or a
                dict of them; while iterating, the parts of an element have different lengths.

        >>> import numpy as np, tensorferry as tfy
        >>> rows = tfy.Dataset.from_ragged(np.arange(1, 6), row_lengths=[2, 3])
        >>> for window in rows.pack(4, eos=0).as_numpy_iterator():
        ...     print(*(window[key].tolist() for key in ("tokens", "segment_ids", "positions")))
        [1, 2, 0, 3] [1, 1, 1, 2] [0, 1, 2, 0]
        [4, 5, 0, 0] [1, 1, 1, 0] [0, 1, 2, 0]
        """
        size = _arguments.positive(length, "pack", "length")
        if strategy not in ("concat", "best_fit"):
            raise errors.make(
                "argument", f'pack: strategy has to be "concat" or "best_fit", not {strategy!r}'
            )
        drop = _arguments.flag(drop_remainder, "pack", "drop_remainder")
        keys = _keys(self._structure)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        token = None if eos is None else padding.number(eos, self._plan.spec, "pack: eos")
        flags = (strategy == "best_fit", drop)
        plan = _internal.pack(self._plan, size, token, flags, order)
        return self._with(plan, dict.fromkeys(keys, LEAF))


def _splits_dtypes(structure: Structure) -> list[str | None]:
    """For each component of a batch "int32" if it is a row split of a ragged part, else None."""
    if isinstance(structure, Ragged):
        return [None, "int32"]
    if not structures.is_container(structure):
        return [None] * len(structures.flatten(structure))
    return [dtype for part in structures.parts(structure) for dtype in _splits_dtypes(part)]


def _keys(structure: Structure) -> list[str]:
    """The keys of packed elements, in the order of the components in ``_internal``."""
    if isinstance(structure, dict):
        keys = sorted(structure)
        taken = [key for key in keys if key in ("segment_ids", "positions")]
        if taken:
            raise errors.make(
                "argument", f"pack: elements already have the key {taken[0]!r}. Rename it."
            )
        if all(structure[key] is LEAF for key in keys):
            return [*keys, "segment_ids", "positions"]
    elif structure is LEAF:
        return ["tokens", "segment_ids", "positions"]
    raise errors.make(
        "argument",
        f"pack: an element is {structures.describe(structure)}; it has to be a row of tokens, or a "
        "dict of rows. Map it to one.",
    )
