"""Differences between one pipeline in tensorferry and in the real tf.data.

A pipeline is a function of the `Dataset` class that it uses. Values are compared bit by bit.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorferry as tfy
import tensorflow as tf

INFINITE, UNKNOWN = tf.data.INFINITE_CARDINALITY, tf.data.UNKNOWN_CARDINALITY

#: The number of elements compared, of a window and of an endless dataset.
LIMIT = 30


def kind(error: BaseException) -> str:
    """The kind of an error: the builtin that catches it. TensorFlow's classes are mapped by
    meaning.
    """
    if isinstance(
        error,
        tf.errors.InvalidArgumentError | tf.errors.OutOfRangeError | ValueError | OverflowError,
    ):
        return "value"
    if isinstance(error, TypeError):
        return "type"
    return type(error).__name__


@dataclasses.dataclass
class Run:
    """The result of a pipeline in one library."""

    #: The error, if no dataset was made.
    refused: BaseException | None = None
    dataset: Any = None
    #: The first elements, with leaves as returned by `leaf`.
    elements: list[Any] = dataclasses.field(default_factory=list)
    #: The error that ended the iteration early.
    failed: BaseException | None = None
    #: Whether the iteration came to its end.
    ended: bool = False


def bits(array: Any) -> Any:
    """dtype, shape and the bytes of the elements, with equal bytes for every NaN."""
    array = np.asarray(array)
    if array.dtype.kind in "fcV":
        array = np.where(array != array, np.array(np.nan, array.dtype), array)
    return (
        array.dtype.name,
        array.shape,
        array.tobytes(),
        repr(array.tolist()) if array.size < 9 else ...,
    )


def tensor(value: Any) -> Any:
    """A leaf of an iterated element. A window is the list of its elements."""
    if isinstance(value, tfy.Dataset | tf.data.Dataset):
        return [plain(element) for element in itertools.islice(value, LIMIT)]
    assert isinstance(value, tf.Tensor), f"a {type(value).__name__} where tf.data has tensors"
    return bits(value.numpy())


def array(value: Any) -> Any:
    """A leaf from `as_numpy_iterator`: an array or a scalar."""
    return type(value), bits(value)


def plain(element: Any, leaf: Callable[[Any], Any] = tensor) -> Any:
    """An element for comparison: containers by type, leaves bit by bit."""
    if element is None:
        return None
    if isinstance(element, dict):
        return type(element), [(key, plain(part, leaf)) for key, part in element.items()]
    if isinstance(element, tuple):
        return type(element), [plain(part, leaf) for part in element]
    return leaf(element)


def run(build: Callable[[Any], Any], Dataset: Any) -> Run:
    """Builds and iterates a pipeline."""
    result = Run()
    try:
        result.dataset = build(Dataset)
        elements = (
            iter(result.dataset)
            if isinstance(result.dataset, tfy.Dataset | tf.data.Dataset)
            else None
        )
    except Exception as error:
        result.refused = error
        return result
    if elements is not None:
        iterate(result, elements, plain)
    return result


def iterate(result: Run, iterator: Any, shown: Callable[[Any], Any]) -> None:
    """Takes elements until the end, an error, or the limit."""
    for _ in range(LIMIT):
        try:
            element = next(iterator)
        except StopIteration:
            result.ended = True
            return
        except Exception as error:
            result.failed = error
            return
        result.elements.append(shown(element))


#: Messages of refusals by tf.data alone. Such pipelines are not compared.
THEIRS_ALONE = (
    "`tf.data.Dataset.unique` does not support type",  # tensorferry compares values of every dtype
    # tf.data miscounts the components of None in windows
    "Number of components does not match",
    "`padded_batch` is only supported for datasets that produce tensor elements but type spec of "
    "elements in the input dataset is not a "
    "subclass of TensorSpec: `NoneTensorSpec()`",  # None pads to None
    # from reduce, before it calls the function
    "The element types for the new state must match",
)

#: Messages of refusals by tensorferry when the pipeline is built.
REFUSED_EARLY = (
    # tf.data also batches windows, into values that can only be unbatched
    "holds datasets, not tensors",
    # tf.data reports it at the first element, unless another stage fails
    "unbatch: the components have different numbers of rows",
)

#: Messages of refusals by tensorferry alone while iterating.
OURS_ALONE = (
    # tf.data accepts a row of another shape with as many bytes.
    r"rebatch: element \d+: component .+: shape",
)


def assert_agree(build: Callable[[Any], Any]) -> None:
    """Fails if a pipeline differs between tensorferry and tf.data."""
    ours, theirs = run(build, tfy.Dataset), run(build, tf.data.Dataset)
    if any(words in str(theirs.refused or theirs.failed) for words in THEIRS_ALONE):
        return
    if theirs.refused and not ours.refused and re.search(r"(skip|shard).*reduce", repr(build)):
        return  # as below: a skipped element failed in tf.data
    if ours.refused or theirs.refused:
        assert_refused_alike(ours, theirs)
        return
    if any(re.search(words, str(ours.failed)) for words in OURS_ALONE):
        assert ours.elements == theirs.elements[: len(ours.elements)]
        return
    if not isinstance(theirs.dataset, tf.data.Dataset):  # the result of `reduce`
        assert plain(ours.dataset) == plain(theirs.dataset)
        return
    assert_specs_agree(ours.dataset.element_spec, theirs.dataset.element_spec)
    if theirs.failed and not ours.failed and re.search("skip|shard", repr(build)):
        # tensorferry does not compute skipped elements, so they cannot fail.
        assert theirs.elements == ours.elements[: len(theirs.elements)]
        return
    assert ours.elements == theirs.elements
    assert (ours.failed is None) == (theirs.failed is None), (
        f"ours: {ours.failed!r}, tf.data's: {theirs.failed!r}"
    )
    if ours.failed is not None and theirs.failed is not None:
        assert kind(ours.failed) == kind(theirs.failed), (
            f"ours: {ours.failed!r}, tf.data's: {theirs.failed!r}"
        )
    assert ours.ended == theirs.ended
    assert_cardinalities_agree(ours, theirs)
    assert_numpy_iterators_agree(ours.dataset, theirs.dataset)


def assert_refused_alike(ours: Run, theirs: Run) -> None:
    """Invalid pipelines are refused with the same kind of error.

    tf.data finds some errors only while iterating; tensorferry may find them when the pipeline is
    built.
    """
    if any(words in str(ours.refused) for words in REFUSED_EARLY):
        return
    reason = theirs.refused or theirs.failed
    assert ours.refused is not None, f"tf.data refuses it: {theirs.refused!r}"
    assert reason is not None, f"tf.data takes it; ours: {ours.refused!r}"
    assert kind(ours.refused) == kind(reason), f"ours: {ours.refused!r}, tf.data's: {reason!r}"


def assert_specs_agree(ours: Any, theirs: Any) -> None:
    """Equal structures of equal specifications, with static shapes."""
    assert str(ours) == str(theirs)
    assert ours == theirs


def assert_cardinalities_agree(ours: Run, theirs: Run) -> None:
    """Equal, or known only to tensorferry and confirmed by the elements."""
    known, expected = int(ours.dataset.cardinality()), theirs.dataset.cardinality().numpy()
    if known != expected:
        # tf.data reports an endless repetition of an empty dataset as infinite.
        assert expected == UNKNOWN or (expected == INFINITE and ours.ended and not ours.elements)
        assert known == (len(ours.elements) if ours.ended else INFINITE) or (
            not ours.ended and known > LIMIT
        )
    for dataset, count in ((ours.dataset, known), (theirs.dataset, expected)):
        try:
            length = len(dataset)
        except TypeError:
            assert count < 0
        else:
            assert length == count


def assert_numpy_iterators_agree(ours: Any, theirs: Any) -> None:
    """`as_numpy_iterator` yields the same arrays and scalars, or refuses windows alike."""
    runs = []
    for dataset in (ours, theirs):
        result = Run()
        try:
            iterator = dataset.as_numpy_iterator()
        except TypeError as error:
            result.refused = error
        else:
            iterate(result, iterator, lambda element: plain(element, array))
        runs.append(result)
    a, b = runs
    if "'NoneType' object has no attribute" in str(b.failed):
        return  # of None, before TensorFlow 2.17
    assert kind_or_none(a.refused) == kind_or_none(b.refused)
    assert a.elements == b.elements
    assert kind_or_none(a.failed) == kind_or_none(b.failed)
    assert a.ended == b.ended


def kind_or_none(error: BaseException | None) -> str | None:
    return None if error is None else kind(error)
