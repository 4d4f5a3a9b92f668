"""Stages that call a function of the user's for each element, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorferry import _internal
from tensorferry._nest import structures
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._functions import calls, identity

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset


class Functions(Base):
    """The methods that take a function. It is called with what iteration would hand out, in the
    dataset's format; a tuple is unpacked into arguments. What it raises surfaces at its element,
    and the iteration can go on after it."""

    __slots__ = ()

    @recorded
    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        synchronous: bool | None = None,
        use_unbounded_threadpool: bool = False,
        name: str | None = None,
        *,
        output_signature: Any = None,
    ) -> Dataset:
        """What ``map_func`` makes of each element.

        Args:
            map_func: called with each element, in order; returns a tensor, array, number, or a tuple or dict of them. A
                list is a tuple if it is outermost, and else stacked into one tensor.
            num_parallel_calls, deterministic, synchronous, use_unbounded_threadpool, name: accepted for tf.data's sake.
            output_signature: what it returns, as ``TensorSpec`` s. Without it, a function in the format "tensorflow" is traced, as
                tf.data does it; where that fails, and in other formats, it is called once with the first element when the dataset is
                made, and dtype and number of dimensions of what it returns then are those of all.

        >>> import tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.range(4).with_format("numpy").map(lambda x: x * 10)]
        [0, 10, 20, 30]
        """
        calls.check_callable(map_func, "map", "map_func")
        result = calls.inferred(self, map_func, output_signature, "map")
        flat = calls.flattener(map_func, result, "map")
        plan = _internal.map(
            self._plan,
            identity.known_as(map_func),
            flat,
            self._packed(),
            result[1],
            structures.names(result[0]),
        )
        return self._with(plan, result[0])

    @recorded
    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements for which ``predicate`` returns true.

        Args:
            predicate: called with each element; has to return one bool. A function that does not is refused when the dataset is made,
                if TensorFlow finds it out by tracing it, else at its element.

        >>> import tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.range(6).with_format("numpy").filter(lambda x: x % 2 == 1)]
        [1, 3, 5]
        """
        calls.check_predicate(self, predicate, "filter")
        return self._with(
            _internal.filter(self._plan, identity.known_as(predicate), predicate, self._packed())
        )

    @recorded
    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements before the first for which ``predicate`` returns false.

        >>> import tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.range(6).with_format("numpy").take_while(lambda x: x < 3)]
        [0, 1, 2]
        """
        calls.check_predicate(self, predicate, "take_while")
        return self._with(
            _internal.take_while(
                self._plan, identity.known_as(predicate), predicate, self._packed()
            )
        )

    @recorded
    def scan(
        self,
        initial_state: Any,
        scan_func: Callable[..., Any],
        name: str | None = None,
        *,
        output_signature: Any = None,
    ) -> Dataset:
        """Elements that ``scan_func`` makes of a running state and each element.

        Args:
            initial_state: the state at first: a tensor, number, or structure of them. Its dtypes never change: a next state of another
                is an error in the format "tensorflow", as it is for tf.data, and converted, every value checked, in the others.
            scan_func: called with the state and the element; returns the next state and an element.
            output_signature: what the elements are. Without it, it is found out as by ``map``.

        >>> import numpy as np, tensorferry as tfy
        >>> sums = tfy.Dataset.range(5).with_format("numpy").scan(np.int64(0), lambda state, x: (state + x, state + x))
        >>> [int(x) for x in sums]
        [0, 1, 3, 6, 10]
        """
        calls.check_callable(scan_func, "scan", "scan_func")
        state = calls.State(initial_state, self._format, "scan")
        result = calls.scanned(self, state, scan_func, output_signature)
        structure = (state.structure, result[0])
        flat = calls.flattener(
            scan_func, (structure, [*state.spec, *result[1]]), "scan", state=state.fixed
        )
        packers = (state.packer, self._packed())
        called = identity.known_as(scan_func)
        names = state.names, structures.names(result[0])
        return self._with(
            _internal.scan(
                self._plan, state.flat, called, flat, packers, (state.spec, result[1]), names
            ),
            result[0],
        )

    def reduce(
        self, initial_state: Any, reduce_func: Callable[..., Any], name: str | None = None
    ) -> Any:
        """All elements made into one: ``reduce_func`` is called with the state so far and each
        element, and returns the next state.

        Args:
            initial_state: the state at first. Its dtypes never change, as those of ``scan``.
            reduce_func: called with the state and the element.

        >>> import numpy as np, tensorferry as tfy
        >>> int(tfy.Dataset.range(5).with_format("numpy").reduce(np.int64(0), lambda state, x: state + x))
        10
        """
        calls.check_callable(reduce_func, "reduce", "reduce_func")
        _internal.check_eager("reduce")
        state = calls.State(initial_state, self._format, "reduce")
        flat = calls.flattener(
            reduce_func, (state.structure, state.spec), "reduce", state=state.fixed
        )
        packers = (state.packer, self._packed())
        called = identity.known_as(reduce_func)
        return _internal.fold(
            self._plan, state.flat, called, flat, packers, state.spec, state.names
        )
