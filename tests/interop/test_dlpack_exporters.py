"""Tensors that another library's exporter cannot export, or aborts on, are refused before it is
called. Each test runs in a new process.
"""

from __future__ import annotations

import pytest

from tests.support.processes import run_python

#: Tensors without numbers, by the code that makes them.
VALUES = {
    "string": "tf.constant(['a', 'b'])",
    "string scalar": "tf.constant('a')",
    "variant": "tf.raw_ops.TensorListReserve(element_shape=tf.constant([], tf.int32), "
    "num_elements=2, element_dtype=tf.float32)",
    "dataset variant": "tf.data.Dataset.range(3)._variant_tensor",
    "resource": "tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[2])",
    "variable of strings": "tf.Variable(['a', 'b'])",
    "qint8": "tf.quantization.quantize([1.0, 2.0], 0.0, 3.0, tf.qint8).output",
    "quint8": "tf.quantization.quantize([1.0, 2.0], 0.0, 3.0, tf.quint8).output",
    "qint32": "tf.bitcast(tf.constant([1, 2]), tf.qint32)",
    "float8": "tf.cast(tf.constant([1.0, 2.0]), tf.dtypes.experimental.float8_e5m2)",
    "int4": "tf.cast(tf.constant([1, 2]), tf.dtypes.experimental.int4)",
}
#: Calls on a value. Each ends in an error, or returns TensorFlow's own tensor.
FUNCTIONS = {
    "tensor": "tfy.tensor(value)",
    "tensor of a dtype": "tfy.tensor(value, 'int32')",
    "convert_to_tensor": "tfy.convert_to_tensor(value)",
    "convert_to_tensor of a dtype": "tfy.convert_to_tensor(value, 'int32')",
    "list": "tfy.tensor([value, value])",
    "convert_to_tensor of a list": "tfy.convert_to_tensor([value, value])",
    "save": "tfy.save('/nonexistent/x.npy', value)",
    "save by name": "tfy.save('/nonexistent/x.npz', {'x': value})",
    "save_npy": "tfy.save_npy('/nonexistent/x.npy', value)",
    "convert_into": "tfy.convert_into(value, np.empty(2))",
    "can_convert": "tfy.can_convert(value, 'int32')",
    "value_range": "tfy.value_range(value)",
    "smallest_dtype": "tfy.smallest_dtype(value)",
    "from_tensor_slices": "list(D.from_tensor_slices(value))",
    "from_tensor_slices of a list": "list(D.from_tensor_slices([value, value]))",
    "from_tensors": "list(D.from_tensors({'x': (value,)}))",
    "token_windows": "list(D.token_windows(value, 1))",
    "map": "list(numbers.map(lambda x: value))",
    "map to a structure": "list(numbers.map(lambda x: {'x': (x, value)}))",
    "map to a list": "list(numbers.map(lambda x: (x, [value, value])))",
    "map with a signature": "list(numbers.map(lambda x: value, "
    "output_signature=tfy.TensorSpec(None, 'int32')))",
    "filter": "list(numbers.filter(lambda x: value))",
    "take_while": "list(numbers.take_while(lambda x: value))",
    "scan": "list(numbers.scan(0, lambda state, x: (state, value)))",
    "scan from": "list(numbers.scan(value, lambda state, x: (state, x)))",
    "reduce": "numbers.reduce(0, lambda state, x: value)",
    "reduce from": "numbers.reduce(value, lambda state, x: state)",
    "from_generator": "list(D.from_generator(lambda: [value], "
    "output_signature=tfy.TensorSpec(None, 'int32')))",
    "group_by_window": "list(numbers.group_by_window(lambda x: value, lambda k, w: w.batch(2), "
    "window_size=2))",
    "padded_batch": "list(numbers.padded_batch(2, padding_values=value))",
    "lookup": "list(numbers.lookup(value))",
    "pad_to": "list(numbers.batch(1).pad_to([2], value))",
    "torch": "__import__('tensorferry.torch').torch.convert_to_tensor(value)",
    "jax": "__import__('tensorferry.jax').jax.convert_to_tensor(value)",
    "checked_cast": "tfy.tensorflow.checked_cast(value, tf.int32)",
}

PROGRAM = """
    import os, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np, tensorflow as tf, tensorferry as tfy, tensorferry.tensorflow
    D = tfy.Dataset
    value = eval(sys.argv[1])
    numbers = D.range(2)
    for name, function in [line.split("\\t") for line in sys.argv[2].splitlines()]:
        for format in ("numpy", "tensorflow"):
            numbers = D.range(2).with_format(format)
            try:
                found = eval(function)
            except Exception as error:
                words = str(error)
                assert "bug in tensorferry" not in words, (name, words)
                assert "panic" not in type(error).__name__.lower(), (name, words)
            else:
                kinds = (tf.Tensor, tf.Variable, bool, tuple, np.dtype, list)
                kept = isinstance(found, kinds) or found is None or hasattr(found, "shape")
                assert kept, (name, found)
            print(name, flush=True)
"""


QUICK = ("string", "variant", "resource")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in VALUES],
)
def test_no_exporter_ends_the_process(tf, name):
    functions = {key: code for key, code in FUNCTIONS.items() if key != "torch"}
    printed = run_python(
        PROGRAM,
        VALUES[name],
        "\n".join(f"{key}\t{code}" for key, code in functions.items()),
        timeout=300,
    )
    assert set(printed.splitlines()) == set(functions)


@pytest.mark.torch
@pytest.mark.parametrize("name", QUICK)
def test_no_exporter_of_pytorch_ends_the_process(tf, torch, name):
    assert run_python(PROGRAM, VALUES[name], f"torch\t{FUNCTIONS['torch']}", timeout=300)


@pytest.mark.parametrize("name", QUICK)
def test_the_error_names_the_dtype(tf, name):
    code = """
        import sys, tensorflow as tf, tensorferry as tfy

        value = eval(sys.argv[1])
        # Datasets carry strings.
        carrying = [
            tfy.Dataset.from_tensors,
            lambda x: list(tfy.Dataset.range(2).with_format("numpy").map(lambda _: (x, 1))),
        ]
        for call in (
            tfy.tensor,
            tfy.value_range,
            tfy.smallest_dtype,
            lambda x: tfy.can_convert(x, "int32"),
            lambda x: list(tfy.Dataset.range(2).with_format("numpy").filter(lambda _: x)),
            *(carrying if sys.argv[2] != "string" else []),
        ):
            try:
                call(value)
            except tfy.errors.Error as error:
                assert sys.argv[2] in str(error), error
            else:
                raise AssertionError(call)
        print("refused")
    """
    assert run_python(code, VALUES[name], name).strip() == "refused"
