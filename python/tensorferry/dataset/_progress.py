"""Progress of an iteration, shown by tqdm."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from tensorferry import _internal

#: Seconds between lines of a log, and before the first.
LINES = 30.0


class Passes(Protocol):
    """What :class:`Progress` needs of a dataset."""

    def __iter__(self) -> _internal.DatasetIterator: ...
    def __len__(self) -> int: ...
    def cardinality(self) -> int: ...


class Progress:
    """One pass over a dataset with a progress bar, from :meth:`tensorferry.Dataset.progress`.

    ``bar`` is the bar, a ``tqdm.tqdm``. It is closed when the pass ends, and when the loop over it
    ends in any way.
    """

    __slots__ = ("_dataset", "_iterator", "bar")

    bar: Any

    def __init__(self, dataset: Passes, desc: str | None, options: dict[str, Any]) -> None:
        self._dataset = dataset
        self.bar = _bar({"desc": desc, "total": max(dataset.cardinality(), 0) or None, **options})
        self._iterator = iter(dataset)

    def __iter__(self) -> Iterator[Any]:
        try:
            while True:
                try:
                    element = next(self)
                except StopIteration:
                    return
                yield element
        finally:
            self.close()

    def __next__(self) -> Any:
        try:
            element = next(self._iterator)
        except StopIteration:
            self.close()
            raise
        except Exception:
            self.bar.update()  # an element that fails counts too
            raise
        self.bar.update()
        return element

    def __len__(self) -> int:
        return len(self._dataset)

    def __bool__(self) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        """The position of the iteration: ``state_dict`` of the dataset's iterator."""
        return self._iterator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes where ``state_dict`` was called, and moves the bar there. Rate and time left
        count from now on.
        """
        self._iterator.load_state_dict(state)
        bar, position = self.bar, self._iterator.state_dict()["position"]
        bar.initial = bar.n = bar.last_print_n = position
        bar.unpause()
        if not bar.disable and bar.delay <= 0:
            bar.refresh()

    def set_description(self, desc: str | None = None) -> None:
        """Changes the text before the bar, at its next update."""
        self.bar.set_description(desc, refresh=False)

    def set_postfix(self, **values: object) -> None:
        """Shows values after the bar, at its next update: ``set_postfix(loss=loss)``."""
        self.bar.set_postfix(refresh=False, **values)

    def close(self) -> None:
        """Stops updating the bar. The iteration can continue."""
        self.bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _bar(options: dict[str, Any]) -> Any:
    """A bar in a terminal or a notebook; elsewhere a line every ``LINES`` seconds."""
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tqdm"):
            raise
        message = "progress: the bar is drawn by tqdm, which is not installed: pip install tqdm"
        raise ModuleNotFoundError(message, name=error.name) from None
    notebook = sys.modules.get("tqdm.notebook")
    file = options.get("file") or sys.stderr
    watched = (notebook is not None and issubclass(tqdm, notebook.tqdm)) or (
        hasattr(file, "isatty") and file.isatty()
    )
    if file is None:  # a program without a console
        return tqdm(**{**options, "disable": True})
    if watched:
        return tqdm(**options)
    lines = {"mininterval": LINES, "maxinterval": LINES, "delay": LINES, "ncols": 0, "position": 0}
    return tqdm(**{**lines, **options, "file": _Lines(file)})


class _Lines:
    """A file to which each state of a bar is written as a line."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self._file.write(line + "\n")

    def flush(self) -> None:
        with contextlib.suppress(AttributeError):
            self._file.flush()
