"""Methods that call a Python function for each element, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, SupportsIndex, TypeAlias

from tensorferry import _arguments, _internal
from tensorferry._nest import structures
from tensorferry._typing import Nest, Signature, TensorLike
from tensorferry.dataset._base import Base, packer, recorded
from tensorferry.dataset._functions import batches, calls, identity, parallel
from tensorferry.dataset._methods import strings
from tensorferry.dataset._methods.columns import part_of

#: The name of a part of an element: a key, a field, or a number.
Column: TypeAlias = str | int


class Functions(Base):
    """The methods that take a function. It is called with elements in the dataset's format; a tuple
    is unpacked into arguments. An exception surfaces at its element, after which the iteration can
    continue.
    """

    __slots__ = ()

    @recorded
    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: SupportsIndex | None = None,
        deterministic: bool | None = None,
        synchronous: bool | None = None,
        use_unbounded_threadpool: bool = False,
        name: str | None = None,
        *,
        output_signature: Signature | None = None,
        workers: Literal["threads", "processes"] = "threads",
        batched: bool = False,
        batch_size: SupportsIndex = 1000,
    ) -> Self:
        """The results of ``map_func`` for each element.

        Args:
            map_func: called with each element, in order; returns a tensor, array, number, or a
                tuple or dict of them. An outermost list is a tuple; an inner list is stacked into
                one tensor.
            num_parallel_calls: how many threads call ``map_func`` at once, ahead of the consumer;
                -1 (AUTOTUNE) for one for each CPU. For functions that release the GIL: NumPy on
                large arrays, decoders, compression, waiting for files. By default one call at a
                time, when its result is asked for. The results stay in order, whatever
                ``deterministic`` says; at most ``2 * num_parallel_calls`` elements are computed or
                in progress, within ``Options.memory_limit``. If it cannot help, because the
                function holds the GIL or is too quick, the log says so once.
            deterministic: accepted for compatibility with tf.data, like the other flags.
            output_signature: the specification of the results, as ``TensorSpec`` s. By default a
                function in the format "tensorflow" is traced, as in tf.data; if that fails, and in
                other formats, it is called with the first element when the dataset is made, and all
                results have to have the dtype and number of dimensions of that one.
            workers: "processes" for functions that hold the GIL: pure Python. Each call of an
                iteration is made in one of ``num_parallel_calls`` worker processes, by default one
                for each CPU, several elements at a time if they are quick. They start by
                ``spawn``, or ``forkserver`` if the program sets that, serve all iterations, and end
                with the dataset. ``map_func`` has to be one that pickle, or cloudpickle where it is
                installed, can send. See docs/guides/functions.md.
            batched: calls ``map_func`` with batches of ``batch_size`` elements, the last one
                shorter. It returns a row for each. Elements stay elements, and
                ``output_signature`` describes them. ``batch(batch_size)`` after it takes the
                results as they are. The result has no random access; an exception takes the place
                of all elements of its batch.
            batch_size: the most elements of a batch, with ``batched``.

        >>> import tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.range(4).with_format("numpy").map(lambda x: x * 10)]
        [0, 10, 20, 30]
        """
        calls.check_callable(map_func, "map", "map_func")
        processes = parallel.in_processes(workers, "map")
        if processes and num_parallel_calls is None:
            num_parallel_calls = _arguments.AUTOTUNE
        threads = parallel.calls(num_parallel_calls, "map")
        size = _arguments.at_least(batch_size, 1, "map", "batch_size")
        data = self
        of_strings: tuple[list[int], list[int]] = ([], [])
        if _arguments.flag(batched, "map", "batched"):
            data = self._batches(size)
            result = batches.inferred(data, map_func, output_signature)
            of_strings = structures.texts(self._structure), strings.several(result[0])
            structure = strings.of_rows(*result)
        else:
            result = calls.inferred(self, map_func, output_signature, "map")
        batched_by = size if data is not self else None
        source = None if any(of_strings) else (self, batched_by)
        sessions = parallel.sessions(data, map_func, result, source) if processes else None
        plan = _internal.map(
            self._plan,
            identity.known_as(map_func),
            calls.flattener(map_func, result, "map"),
            data._packed(),
            result[1],
            structures.names(result[0]),
            threads,
            sessions,
            batched_by,
            of_strings,
        )
        return self._with(plan, structure if data is not self else result[0])

    def _batches(self, size: int) -> Self:
        """Batches for functions."""
        if structures.has_text(self._structure):
            return self._with(*strings.batched(self, size, False))
        return self._with(self._plan.batch(size, False))

    @recorded
    def filter(
        self,
        predicate: Callable[..., Any],
        name: str | None = None,
        *,
        batched: bool = False,
        input_columns: Column | Sequence[Column] | None = None,
        batch_size: SupportsIndex = 4096,
    ) -> Self:
        """The elements for which ``predicate`` returns true.

        With ``batched``, the predicate is called with many elements at once, each part stacked as
        by ``batch``, and returns one bool for each. That is many times as fast. If the dataset has
        random access, only the parts in ``input_columns`` are read for it, and all parts of the
        elements that pass; a ``batch`` that follows gathers those together.

        Args:
            predicate: called with each element; has to return one bool. Any other result is an
                error when the dataset is made, if TensorFlow can trace the function, else at its
                element. With ``batched``, it is called with a batch, and returns one dimension of
                bools. Whether an element passes must not depend on others in its batch. If a call
                fails, it is called again with each element of that batch alone, and the error
                surfaces at its element.
            name: accepted for compatibility with tf.data.
            batched: whether ``predicate`` takes batches. Datasets without random access are
                filtered in batches of one element.
            input_columns: the parts of an element that ``predicate`` takes, each as an argument: a
                key of a dict, a number of a tuple's part, a field of a namedtuple, or a list of
                them. By default it takes the element.
            batch_size: elements of one call with ``batched``, fewer if they have more than 16 MiB.

        >>> import numpy as np, tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.range(6).with_format("numpy").filter(lambda x: x % 2 == 1)]
        [1, 3, 5]
        >>> rows = {"x": np.arange(8.0).reshape(4, 2), "label": [0, 1, 0, 1]}
        >>> rows = tfy.Dataset.from_tensor_slices(rows).with_format("numpy")
        >>> ones = rows.filter(lambda y: y == 1, batched=True, input_columns="label")
        >>> next(iter(ones.batch(2)))["x"].tolist()
        [[2.0, 3.0], [6.0, 7.0]]
        """
        size = _arguments.positive(batch_size, "filter", "batch_size")
        if not _arguments.flag(batched, "filter", "batched") and input_columns is None:
            calls.check_predicate(self, predicate, "filter")
            return self._with(
                _internal.filter(
                    self._plan, identity.known_as(predicate), predicate, self._packed()
                )
            )
        calls.check_callable(predicate, "filter", "predicate")
        structure, which = self._structure, None
        if input_columns is not None:
            structure, which = part_of(self._structure, input_columns, "filter")
        texts = structures.texts(structure)
        if batched and structures.holds_several(structure):
            strings.refuse_several(self, "filter")
        shown = strings.of_batches(structure) if batched else structure
        asked = packer(type(self), shown, self._format, self._options)
        known = identity.known_as(predicate)
        if which is not None and not batched:
            return self._with(
                _internal.filter_components(self._plan, known, predicate, asked, which)
            )
        return self._with(
            _internal.filter_batched(self._plan, known, predicate, asked, which, size, texts)
        )

    @recorded
    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Self:
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
        initial_state: Nest[TensorLike],
        scan_func: Callable[..., Any],
        name: str | None = None,
        *,
        output_signature: Signature | None = None,
    ) -> Self:
        """Elements that ``scan_func`` computes from a running state and each element.

        Args:
            initial_state: the first state: a tensor, number, or structure of them. Its dtypes never
                change: a next state of another dtype is an error in the format "tensorflow", as in
                tf.data, and is converted, every value checked, in the others.
            scan_func: called with the state and the element; returns the next state and an element.
            name: accepted for compatibility with tf.data.
            output_signature: the specification of the elements. By default inferred as by ``map``.

        >>> import numpy as np, tensorferry as tfy
        >>> numbers = tfy.Dataset.range(5).with_format("numpy")
        >>> sums = numbers.scan(np.int64(0), lambda state, x: (state + x, state + x))
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
        self,
        initial_state: Nest[TensorLike],
        reduce_func: Callable[..., Any],
        name: str | None = None,
    ) -> Any:
        """The last state: ``reduce_func`` is called with the state and each element, and returns
        the next state.

        Args:
            initial_state: the first state. Its dtypes never change, as for ``scan``.
            reduce_func: called with the state and the element.
            name: accepted for compatibility with tf.data.

        >>> import numpy as np, tensorferry as tfy
        >>> numbers = tfy.Dataset.range(5).with_format("numpy")
        >>> int(numbers.reduce(np.int64(0), lambda state, x: state + x))
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
