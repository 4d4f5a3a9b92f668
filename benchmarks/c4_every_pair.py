"""C4: every pair of integer and float dtypes, 4,096 elements, in cache: the cost of checking when
memory does not hide it.

A call has a fixed cost that 4,096 elements do not hide. It is measured with one element and
reported in separate rows; the rows marked "per element" exclude it.
"""

import itertools
from dataclasses import dataclass
from statistics import geometric_mean, median

import numpy as np
import tensorferry
from harness import interleave
from peers import aligned, require_equal
from rows import Row, quantity

MEMORY = 64 << 20
LENGTH = 4096
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = {"float16": 11, "float32": 24, "float64": 53}
"""The floats, and the number of bits up to which they hold all integers."""
COPYTO = "np.copyto(casting='unsafe')"
ASTYPE = "astype (unchecked)"

STATEMENTS = {
    "ours": "ours(source, target)",
    COPYTO: "copyto(target, source, 'unsafe')",
    ASTYPE: "source.astype(dtype)",
    "ours, 1": "ours(source1, target1)",
    f"{COPYTO}, 1": "copyto(target1, source1, 'unsafe')",
    f"{ASTYPE}, 1": "source1.astype(dtype)",
}


@dataclass(frozen=True)
class Pair:
    """One pair of dtypes: seconds per call by statement."""

    name: str
    times: dict[str, float]

    def ratio(self, peer: str) -> float:
        """The speed of a whole call relative to the peer."""
        return self.times[peer] / self.times["ours"]

    def per_element(self, name: str) -> float:
        """Seconds for 4,096 elements less those for one; at least one per cent of the call."""
        return max(self.times[name] - self.times[f"{name}, 1"], self.times[name] / 100)


def run(*, quick: bool) -> list[Row]:
    """The worst, the median and the geometric mean over the pairs of integers and over those with a
    float, against copyto and against astype.
    """
    integers = INTEGERS[1::2] if quick else INTEGERS
    names = (*integers, *FLOATS)
    pairs = [
        _measure(*names, repetitions=5 if quick else 9)
        for names in itertools.product(names, repeat=2)
    ]
    whole = [pair for pair in pairs if "float" not in pair.name]
    others = [pair for pair in pairs if "float" in pair.name]
    return [
        row
        for pairs in (whole, others)
        for peer in (ASTYPE, COPYTO)
        for row in _summary(pairs, peer)
    ] + _fixed_cost(whole)


def _measure(source_name: str, target_name: str, repetitions: int) -> Pair:
    source = _values(source_name, target_name)
    target = aligned(LENGTH, target_name)
    namespace = {
        "ours": tensorferry.convert_into,
        "copyto": np.copyto,
        "dtype": np.dtype(target_name),
        "source": source,
        "target": target,
        "source1": source[:1].copy(),
        "target1": target[:1].copy(),
    }
    samples = interleave(STATEMENTS, namespace, repetitions=repetitions, inner=1000)
    target[...] = 0
    tensorferry.convert_into(source, target)
    require_equal(target, source.astype(target_name))
    return Pair(
        f"{source_name} -> {target_name}",
        {name: median(values) for name, values in samples.items()},
    )


def _values(source_name: str, target_name: str) -> np.ndarray:
    """Values over the common range of both dtypes, so that all convert and every byte varies."""
    limits = [_limits(name) for name in (source_name, target_name)]
    low, high = max(low for low, _ in limits), min(high for _, high in limits)
    dtype = np.uint64 if high > np.iinfo(np.int64).max else np.int64
    source = aligned(LENGTH, source_name)
    source[...] = np.random.default_rng(4).integers(low, high, LENGTH, endpoint=True, dtype=dtype)
    return source


def _limits(name: str) -> tuple[int, int]:
    """The bounds of the integers that a dtype holds without gaps."""
    if bits := FLOATS.get(name):
        return -(2**bits), 2**bits
    limit = np.iinfo(name)
    return int(limit.min), int(limit.max)


def _summary(pairs: list[Pair], peer: str) -> list[Row]:
    ranked = sorted(pairs, key=lambda pair: pair.ratio(peer))
    worst, middle = ranked[0], ranked[len(ranked) // 2]
    short = sum(pair.ratio(peer) < 1 for pair in pairs)
    bound = (
        f"{short} of {len(pairs)} pairs are short of 1x; of the worst, {worst.name}, a call with "
        "1 element takes "
        f"{quantity(worst.times['ours, 1'], 's')} (the peer's "
        f"{quantity(worst.times[f'{peer}, 1'], 's')}) and the other elements "
        f"{quantity(worst.per_element('ours'), 's')} (the peer's "
        f"{quantity(worst.per_element(peer), 's')})"
    )
    spans = {
        f"{pair.name}, {side}": [pair.times[name]]
        for pair in pairs
        for side, name in (("ours", "ours"), ("peer", peer))
    }
    kind = "pairs with a float" if "float" in worst.name else "integer pairs"
    count = f"{len(pairs)} {kind} x {LENGTH:,}"
    return [
        Row(
            "C4",
            f"{count}, worst pair ({worst.name})",
            worst.times["ours"],
            peer,
            worst.times[peer],
            target=1.0,
            bound=bound,
            samples=spans,
        ),
        Row(
            "C4",
            f"{count}, median pair ({middle.name})",
            middle.times["ours"],
            peer,
            middle.times[peer],
            target=1.0,
            bound=bound,
        ),
        _mean(
            f"{count}, geometric mean",
            peer,
            [(p.times["ours"], p.times[peer]) for p in pairs],
            target=1.0,
            bound=bound,
        ),
        _mean(
            f"{count}, geometric mean per element",
            peer,
            [(p.per_element("ours"), p.per_element(peer)) for p in pairs],
        ),
    ]


def _mean(
    what: str,
    peer: str,
    times: list[tuple[float, float]],
    target: float | None = None,
    bound: str = "",
) -> Row:
    ours, theirs = (geometric_mean(column) for column in zip(*times, strict=True))
    return Row("C4", what, ours, peer, theirs, target=target, bound=bound)


def _fixed_cost(pairs: list[Pair]) -> list[Row]:
    ours = median(pair.times["ours, 1"] for pair in pairs)
    return [
        Row(
            "C4",
            "one call, 1 element",
            ours,
            peer,
            median(pair.times[f"{peer}, 1"] for pair in pairs),
        )
        for peer in (ASTYPE, COPYTO)
    ]
