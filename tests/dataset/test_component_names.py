"""Errors name a component by its key, give the position once, and are the same through
``to_tf_data()``.
"""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

Make = Callable[[Any], Any]
Pair = collections.namedtuple("Pair", "image label")

#: Structures of a good and a bad component, and the name of the bad one.
STRUCTURES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "dict": (lambda good, bad: {"image": good, "label": bad}, '"label"'),
    "tuple": (lambda good, bad: (good, bad), "1"),
    "nested dict": (lambda good, bad: {"a": good, "x": {"y": bad}}, '["x"]["y"]'),
    "dict in a tuple": (lambda good, bad: (good, {"label": bad}), '[1]["label"]'),
    "tuple in a dict": (lambda good, bad: {"x": (good, bad)}, '["x"][1]'),
    "namedtuple": (lambda good, bad: Pair(good, bad), ".label"),
    "number as key": (lambda good, bad: {1: good, 5: bad}, "5"),
    "key with a quote": (lambda good, bad: {"a": good, 'la"bel': bad}, '"la\\"bel"'),
    "None beside": (lambda good, bad: (None, good, {"label": bad}), '[2]["label"]'),
    "OrderedDict": (lambda good, bad: collections.OrderedDict([("z", bad), ("a", good)]), '"z"'),
}
WAYS = pytest.mark.parametrize("structure", STRUCTURES)


def slices(structure: str, good: Any, bad: Any) -> Any:
    return tfy.Dataset.from_tensor_slices(
        STRUCTURES[structure][0](np.asarray(good), np.asarray(bad))
    ).with_format("numpy")


def generated(structure: str, good: Any, bad: Any, dtype: str = "int64") -> Any:
    """Elements of unknown lengths."""
    nest = STRUCTURES[structure][0]
    spec = nest(tfy.TensorSpec((None,), "int64"), tfy.TensorSpec((None,), dtype))
    elements = [nest(np.asarray(g), np.asarray(b)) for g, b in zip(good, bad, strict=True)]
    return tfy.Dataset.from_generator(lambda: iter(elements), output_signature=spec).with_format(
        "numpy"
    )


def said(dataset: Any) -> str:
    """The message of the first error, which must be the same through tf.data and give the position
    once.
    """
    with pytest.raises(errors.Error) as raised:
        list(dataset)
    words = str(raised.value)
    with pytest.raises(tf.errors.OpError) as through:
        list(dataset.to_tf_data())
    assert words in str(through.value)
    check_prefixes(words)
    return words


def check_prefixes(words: str) -> None:
    assert not re.search(r"\b(\w+): element \d+: \1: ", words), words
    assert len(re.findall(r"\bcomponent ", words)) <= 2, words


def refused(call: Callable[[], Any], structure: str) -> str:
    """The message of a method's error, which names the bad component."""
    with pytest.raises((errors.Error, TypeError, ValueError)) as raised:
        call()
    words = str(raised.value)
    assert f"component {STRUCTURES[structure][1]}" in words, words
    check_prefixes(words)
    return words


@WAYS
def test_a_value_that_does_not_fit_is_named_by_key(structure: str) -> None:
    name = STRUCTURES[structure][1]
    dataset = slices(structure, [1, 2], [1, 300])
    nest = STRUCTURES[structure][0]
    assert said(dataset.cast(nest(None, "int8"))).startswith(
        f"cast: element 1: component {name}: int64 -> int8: 1 of 1 value"
    )
    assert said(dataset.batch(2).cast(nest(None, "int8"))).startswith(
        f"cast: element 0: component {name}: int64 -> int8: 1 of 2"
    )
    assert said(dataset.cast(nest(None, "int8")).batch(2)).startswith(
        f"cast: element 1: component {name}: int64 -> int8"
    )
    assert said(dataset.one_hot(7, which=nest(False, True))).startswith(
        f"one_hot: element 1: component {name}: "
    )
    assert said(dataset.lookup(np.arange(9), which=nest(False, True))).startswith(
        f"lookup: element 1: component {name}: "
    )
    streamed = dataset.filter(lambda *_: True)
    assert said(streamed.cast(nest(None, "int8"))).startswith(
        f"cast: element 1: component {name}: int64 -> int8"
    )


@WAYS
def test_different_shapes_in_a_batch_are_named_by_key(structure: str) -> None:
    name = STRUCTURES[structure][1]
    dataset = generated(structure, [[1], [1], [1]], [[1], [1, 2], [1]])
    expected = (
        rf"batch: element 0: component {re.escape(name)}: shape \[2\] beside \[1\]\. "
        r"Elements of one batch"
    )
    assert re.match(expected, said(dataset.batch(3)))
    assert re.match(f"re{expected}", said(dataset.batch(1).rebatch(3)))
    nest = STRUCTURES[structure][0]
    assert said(dataset.padded_batch(3, padded_shapes=nest((1,), (1,)))).startswith(
        f"padded_batch: element 0: component {name}, of shape [2]: "
        "it does not fit into the padded shape [1]"
    )
    assert said(dataset.pad_to((1,))).startswith(
        f"pad_to: element 1: component {name}, of shape [2]: it is larger"
    )
    assert said(dataset.random_crop((2,), which=nest(False, True))).startswith(
        f"random_crop: element 0: component {name}, of shape [1]: it is smaller"
    )


@WAYS
def test_different_lengths_are_named_by_key(structure: str) -> None:
    words = refused(lambda: slices(structure, [1, 2], [1, 2, 3]), structure)
    assert "from_tensor_slices: the components have different numbers of rows: " in words
    assert "[2, 3] in component" in words
    dataset = generated(structure, [[1, 2]], [[1, 2, 3]])
    assert said(dataset.unbatch()).startswith(
        "unbatch: element 0: the components have different numbers of rows: [2, 3] in component "
    )
    assert f"component {STRUCTURES[structure][1]}." in said(dataset.unbatch())
    known = slices(structure, np.zeros((2, 2)), np.zeros((2, 3)))
    assert "different numbers of rows" in refused(known.unbatch, structure)


@WAYS
def test_scalars_and_texts_are_named_by_key(structure: str) -> None:
    assert "is a scalar, which has no rows" in refused(
        lambda: slices(structure, [1, 2], 3), structure
    )
    assert "is a scalar, which has no rows" in refused(
        slices(structure, np.zeros((2, 2)), [1, 2]).unbatch, structure
    )
    for bad in (["a", 2], np.array([{}, {}], object), np.ma.masked_array([1, 2], [True, False])):
        nested = STRUCTURES[structure][0](np.zeros(2), bad)
        for stage in (tfy.Dataset.from_tensor_slices, tfy.Dataset.from_tensors):
            words = refused(functools.partial(stage, nested), structure)
            assert words.startswith(f"{stage.__name__}: component ")


@WAYS
def test_components_refused_by_a_stage_are_named_by_key(structure: str) -> None:
    nest = STRUCTURES[structure][0]
    dataset = slices(structure, [1, 2], [1j, 2j])
    assert "complex" in refused(lambda: dataset.cast("float32"), structure)
    assert "complex" in refused(lambda: dataset.scale(2.0), structure)
    assert "class numbers have to be integers" in refused(lambda: dataset.one_hot(4), structure)
    images = slices(structure, np.zeros((2, 4)), np.zeros((2, 3)))
    assert "smaller than the crop" in refused(lambda: images.random_crop((4,)), structure)
    assert "larger than the shape" in refused(
        lambda: images.pad_to((2,), which=nest(False, True)), structure
    )
    assert "has no room for shape" in refused(
        lambda: images.padded_batch(2, padded_shapes=nest((4,), (2,))), structure
    )
    assert "dtype int64" in refused(
        lambda: images.padded_batch(2, padding_values=nest(0.0, np.int64(1))), structure
    )
    flat = slices(structure, np.zeros((2, 4)), [1, 2])
    assert "none of them 0" in refused(lambda: flat.flip(0), structure)
    windows = slices(structure, [1, 2], [1, 2]).window(2)
    assert "is a dataset, not a tensor" in refused(
        lambda: windows.cast(nest(None, "int8")), structure
    )


@WAYS
def test_results_of_a_function_are_named_by_key(structure: str) -> None:
    nest, name = STRUCTURES[structure]
    spec = nest(tfy.TensorSpec((), "int64"), tfy.TensorSpec((), "int8"))
    mapped = (
        tfy.Dataset.range(2)
        .with_format("numpy")
        .map(lambda x: nest(x, x + 299), output_signature=spec)
    )
    for dataset in (
        mapped,
        tfy.Dataset.from_generator(lambda: iter([nest(1, 300)]), output_signature=spec),
    ):
        with pytest.raises(
            errors.ValueOverflowError, match=rf"component {re.escape(name)}: int64 -> int8"
        ):
            list(dataset)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"component {re.escape(name)}: int64 -> int8"
        ):
            list(dataset.to_tf_data())
    wrong = (
        tfy.Dataset.range(2)
        .with_format("numpy")
        .map(lambda x: nest(x, [1, 2]), output_signature=spec)
    )
    assert said(wrong).startswith(
        f"map: element 0: component {name}: int8[2] where the dataset's element_spec says int8[]"
    )
    wrong = tfy.Dataset.from_generator(
        lambda: iter([nest(1, [1, 2])]), output_signature=spec
    ).with_format("numpy")
    assert said(wrong).startswith(f"from_generator: element 0: component {name}: int8[2] where")


@WAYS
def test_components_of_a_scan_state_are_named_by_key(structure: str) -> None:
    nest, name = STRUCTURES[structure]
    first = nest(np.int64(0), np.int8(0))
    numbers = tfy.Dataset.range(3).with_format("numpy")
    out = tfy.TensorSpec((), "int64")
    scanned = numbers.scan(first, lambda state, x: (nest(x, x + 300), x), output_signature=out)
    with pytest.raises(
        errors.ValueOverflowError, match=rf"component {re.escape(name)}: int64 -> int8"
    ):
        list(scanned)
    with pytest.raises(
        errors.ValueOverflowError, match=rf"component {re.escape(name)}: int64 -> int8"
    ):
        numbers.reduce(first, lambda state, x: nest(x, x + 300))
    theirs = tfy.Dataset.range(3)
    with pytest.raises(
        errors.InvalidTypeError,
        match=rf"scan: component {re.escape(name)}: the state is int8, "
        "but the function returns int64",
    ):
        theirs.scan(first, lambda state, x: (nest(x, x), x))


def test_a_dataset_that_a_function_returns_is_compared_by_component() -> None:
    def inner(x: Any) -> Any:
        return tfy.Dataset.from_tensors(
            {"image": x, "label": np.zeros(2, np.int8) if x else np.zeros(2, np.int64)}
        )

    dataset = tfy.Dataset.range(2).with_format("numpy").flat_map(inner)
    words = (
        'flat_map: element 1: component "label": the function returned a dataset of int8[2] '
        "where the dataset's element_spec says int64"
    )
    assert said(dataset).startswith(words)


def test_names_belong_to_the_failing_stage() -> None:
    dataset = slices("dict", [1, 2], [1, 300]).cast({"label": "int8"})
    renamed = dataset.map(
        lambda e: (e["label"], {"other": e["image"]}),
        output_signature=(tfy.TensorSpec((), "int8"), {"other": tfy.TensorSpec((), "int64")}),
    )
    for later in (
        dataset.enumerate(),
        tfy.Dataset.zip((dataset, dataset)),
        renamed,
        dataset.batch(2).repeat(2),
        dataset.shuffle(seed=1).prefetch(1),
    ):
        assert '1: component "label": int64 -> int8' in said(
            later
        ) or 'component "label": int64 -> int8' in said(later)
    words = said(
        dataset.cast({"image": "int8", "label": None}).enumerate().cast((None, {"label": "int32"}))
    )
    assert words.startswith('cast: element 1: component "label": int64 -> int8')
    numbered = slices("dict", [1, 300], [1, 2]).enumerate().cast((None, {"image": "int8"}))
    assert said(numbered).startswith('cast: element 1: component [1]["image"]: int64 -> int8')


def test_a_dataset_of_single_tensors_names_no_component() -> None:
    dataset = tfy.Dataset.from_tensor_slices([1, 300]).with_format("numpy")
    assert said(dataset.cast("int8")).startswith(
        "cast: element 1: int32 -> int8: 1 of 1 value does not fit"
    )
    only = tfy.Dataset.from_tensor_slices({"label": [1, 300]}).with_format("numpy")
    assert said(only.cast("int8")).startswith(
        'cast: element 1: component "label": int32 -> int8: 1 of 1 value does not fit'
    )


def test_names_travel_through_states_and_pickles() -> None:
    import pickle

    dataset = pickle.loads(
        pickle.dumps(slices("dict", [1, 2, 3], [1, 2, 300]).cast({"label": "int8"}))
    )
    iterator = iter(dataset)
    next(iterator)
    state = iterator.state_dict()
    resumed = iter(dataset)
    resumed.load_state_dict(state)
    next(resumed)
    with pytest.raises(errors.ValueOverflowError, match='cast: element 2: component "label"'):
        next(resumed)
    assert "label" not in str(dataset._plan)  # not part of the plan's fingerprint
