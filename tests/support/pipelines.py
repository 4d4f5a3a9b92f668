"""Random pipelines, for hypothesis: chains of stages over sources of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.support.pipeline_functions import (
    DATASETS,
    EMPTIES,
    FOLDS,
    GROUPS,
    MAPS,
    NONES,
    PREDICATES,
    SCANS,
    WINDOWS,
)
from tests.support.pipeline_sources import Chain, Kind, booleans, sources


class Draw:
    """hypothesis' `draw`, and the permitted components of the drawn pipeline."""

    def __init__(self, draw: st.DrawFn, kind: Kind) -> None:
        self.draw, self.kind = draw, kind

    def __call__(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.draw(strategy)


counts = st.integers(-1, 9)
positive = st.integers(1, 5)


Stage = Callable[[Draw, Chain], Chain]

#: Stages for all elements, including windows.
SIMPLE: dict[str, Stage] = {
    "take": lambda draw, chain: chain.then("take", draw(counts)),
    "skip": lambda draw, chain: chain.then("skip", draw(counts)),
    "repeat": lambda draw, chain: chain.then("repeat", draw(st.integers(0, 3))),
    "repeat, endless": lambda draw, chain: chain.then(
        "repeat", *draw(st.sampled_from([(), (None,), (-1,)]))
    ),
    "shard": lambda draw, chain: chain.then(
        "shard", *draw(st.sampled_from([(1, 0), (2, 0), (2, 1), (3, 1), (9, 8)]))
    ),
    "prefetch": lambda draw, chain: chain.then(
        "prefetch", draw(st.sampled_from([0, 1, 2, tf.data.AUTOTUNE]))
    ),
    "enumerate": lambda draw, chain: chain.then(
        "enumerate", *draw(st.tuples() | st.tuples(st.integers(-3, 9)))
    ),
    "concatenate itself": lambda draw, chain: chain.then("concatenate", chain),
    "zip with a range": lambda draw, chain: Chain("zip", (chain, Chain("range", draw(counts)))),
    "zip with itself": lambda draw, chain: Chain(
        "zip", {"left": chain, "b": chain.then("skip", draw(counts))}
    ),
    "choose_from_datasets": lambda draw, chain: Chain(
        "choose_from_datasets",
        [chain, chain.then("take", draw(counts))],
        Chain(
            "from_tensor_slices", np.array(draw(st.lists(st.integers(0, 1), max_size=9)), np.int64)
        ),
        draw(booleans),
    ),
    "zip of several": lambda draw, chain: Chain("zip", chain, chain.then("take", 2)),
    "window": lambda draw, chain: chain.then(
        "window",
        draw(positive),
        draw(st.none() | positive),
        draw(st.integers(1, 3)),
        draw(booleans),
    ),
}

#: Stages for elements of tensors.
TENSORS: dict[str, Stage] = {
    "batch": lambda draw, chain: chain.then("batch", draw(positive), draw(booleans)),
    "batch, large": lambda draw, chain: chain.then("batch", 100, drop_remainder=draw(booleans)),
    "cache": lambda draw, chain: chain.then("cache"),
    "unique": lambda draw, chain: chain.then("unique"),
    "concatenate": lambda draw, chain: chain.then("concatenate", draw(sources(draw.kind))),
    "map": lambda draw, chain: chain.then("map", draw(maps(draw.kind))),
    "filter": lambda draw, chain: chain.then("filter", draw(st.sampled_from(PREDICATES))),
    "take_while": lambda draw, chain: chain.then("take_while", draw(st.sampled_from(PREDICATES))),
    "scan": lambda draw, chain: chain.then("scan", *draw(st.sampled_from(SCANS))),
    "flat_map": lambda draw, chain: chain.then("flat_map", draw(st.sampled_from(DATASETS))),
    "interleave": lambda draw, chain: chain.then(
        "interleave", draw(st.sampled_from(DATASETS)), draw(positive), draw(positive)
    ),
    "padded_batch": lambda draw, chain: chain.then(
        "padded_batch", draw(positive), drop_remainder=draw(booleans)
    ),
    "unbatch": lambda draw, chain: chain.then("unbatch"),
    "group_by_window": lambda draw, chain: chain.then(
        "group_by_window", *draw(st.sampled_from(GROUPS)), draw(positive)
    ),
    "rebatch": lambda draw, chain: chain.then(
        "rebatch", draw(positive | st.lists(positive, min_size=1, max_size=3)), draw(booleans)
    ),
}

#: Stages from windows to tensors.
FLATTEN: dict[str, Stage] = {
    "flat_map of windows": lambda draw, chain: chain.then(
        "flat_map", draw(st.sampled_from(WINDOWS))
    ),
    "interleave of windows": lambda draw, chain: chain.then(
        "interleave",
        draw(st.sampled_from(WINDOWS)),
        cycle_length=draw(positive),
        block_length=draw(positive),
    ),
}

# Stages that may run for ever or for long on endless input, or expect elements of an endless
# repetition.
SEARCHES = {
    "batch, large",
    "choose_from_datasets",
    "filter",
    "unique",
    "flat_map",
    "interleave",
    "unbatch",
    "rebatch",
    "group_by_window",
}

STAGES = {**SIMPLE, **TENSORS, **FLATTEN}


def maps(kind: Kind) -> st.SearchStrategy[Any]:
    left_out = [*([] if kind.none else NONES), *([] if kind.empty else EMPTIES)]
    return st.sampled_from([function for function in MAPS if function.name not in left_out])


def stages(kind: Kind, windows: int, endless: bool) -> list[str]:
    """The names of the stages that may follow, given the nesting of windows."""
    names = [*SIMPLE, *list(FLATTEN) * 5] if windows else [*SIMPLE, *TENSORS, *TENSORS]
    left_out = {
        *(SEARCHES if endless else ()),
        *(["window"] if kind.none else ()),
        *(["unbatch", "rebatch"] if kind.empty else ()),
    }
    return [name for name in names if name not in left_out]


@st.composite
def chains(draw: st.DrawFn, max_stages: int = 6) -> Chain:
    """A source and stages, without stages for tensors after windows."""
    kind = draw(
        st.sampled_from([Kind(), Kind(empty=True), Kind(none=True), Kind(none=True, empty=True)])
    )
    chain, windows, endless = draw(sources(kind)), 0, False
    for _ in range(draw(st.integers(0, max_stages))):
        stage = draw(st.sampled_from(stages(kind, windows, endless)))
        chain = STAGES[stage](Draw(draw, kind), chain)
        windows += (stage == "window") - (stage in FLATTEN)
        endless = endless or stage == "repeat, endless"
    if not windows and not endless and draw(st.integers(0, 9)) == 0:
        chain = chain.then("reduce", *draw(st.sampled_from(FOLDS)))
    return chain
