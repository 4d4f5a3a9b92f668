"""Run the Python of a document: `python -m tests.support.run_document FILE`.

In its order and in one namespace: sessions as doctests, other blocks as they are.
"""

from __future__ import annotations

import doctest
import importlib
import sys
from pathlib import Path

from tests.support.documents import blocks


def run(path: Path) -> int:
    """The number of examples that fail; they are printed."""
    text = path.read_text("utf-8")
    if "import torch\n" in text:
        # Before TensorFlow is loaded: the compiler that PyTorch's optimisers load (Triton) crashes
        # if it comes second.
        importlib.import_module("torch._dynamo")
    names: dict[str, object] = {"__name__": "document"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for block in blocks(text, "pycon", "python"):
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, str(path), "exec"), names)
            continue
        parser = doctest.DocTestParser()
        test = parser.get_doctest(block.text, names, path.name, str(path), block.line)
        assert test.examples
        runner.run(test, clear_globs=False)
        names.update(test.globs)
    return runner.summarize().failed


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])) > 0)
