"""``Options``: threads and memory of an iteration."""

from __future__ import annotations

import dataclasses

from tensorferry import _arguments, errors

#: The most threads that Linux allows a process, and more than any machine has processors.
MOST_THREADS = 2**15


@dataclasses.dataclass(frozen=True)
class Options:
    """Threads and memory of an iteration. They never change the elements or their order.

    Args:
        threads: how many threads compute elements ahead; None for as many as the process may use.
        memory_limit: the most bytes of memory that an iteration takes: elements that are computed
            and not yet handed out, the element handed out last, the groups of
            ``shuffle(buffer_size, block=)`` over files that are read, and, for files opened with
            ``mode="direct"``, 4 MiB for each thread that reads and each array that is read in
            order. With a low limit, fewer threads read, and fewer groups are held. One element,
            and the reads of one thread, are always allowed; a group that does not fit is a
            ValueError of the first elements. None for 256 MiB of elements alone.
        read_ahead: how many elements to compute ahead, 0 for none; None for the number that
            ``prefetch`` sets.
    """

    __module__ = "tensorferry"

    threads: int | None = None
    memory_limit: int | None = None
    read_ahead: int | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("threads", 1, MOST_THREADS),
            ("memory_limit", 0, None),
            ("read_ahead", 0, None),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, str):
                way = "an int, as 2**30" if name == "memory_limit" else "an int"
                raise errors.make(
                    "wrong_type", f"Options: {name} has to be a whole number, {way}, not {value!r}"
                )
            number = _arguments.at_least(value, least, "Options", name)
            if most is not None and number > most:
                raise errors.make(
                    "argument", f"Options: {name} has to be at most {most}, not {number}"
                )
            object.__setattr__(self, name, number)


#: Every option at its default.
DEFAULT = Options()


def limits(options: Options) -> tuple[int | None, int | None, int | None]:
    """The options as ``_internal`` takes them."""
    return options.threads, options.memory_limit, options.read_ahead
