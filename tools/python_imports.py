"""Prints import cycles and function-local imports of the Python package; exits 1 if there are any.

    python tools/python_imports.py [PACKAGE_FOLDER]

An import anywhere in a file counts: at the top, in a function, and under ``if TYPE_CHECKING``.
``from package import name`` is an import of the module ``package.name`` if there is one. An import
of ``package.folder.module`` from outside of ``package.folder`` is also one of ``package.folder``;
from inside of it is not: no module counts as importing the packages that contain it.

A function may import a module of the package only if that module imports a framework at its top:
such modules are imported on first use.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FRAMEWORKS = frozenset({"jax", "keras", "ray", "tensorflow", "torch", "tqdm"})


class Import:
    """One imported name, and the line and function in which it is imported."""

    def __init__(self, name: str, line: int, function: str | None) -> None:
        self.name, self.line, self.function = name, line, function


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by module name. A stub stands for a compiled module."""
    found = {}
    for path in sorted([*package.rglob("*.pyi"), *package.rglob("*.py")]):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(node: ast.AST, function: str | None = None) -> Iterator[Import]:
    """The imports in a syntax tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, function)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, function)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = getattr(child, "name", "lambda")
            yield from imports(child, function or name)
        else:
            yield from imports(child, function)


def targets(name: str, importer: str, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that an import of ``name`` runs."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        inside = importer == module or importer.startswith(f"{module}.")
        last = module == name or f"{module}.{parts[end]}" not in known
        if module in known and importer != module and (last or not inside):
            yield module
            if last:
                return


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(group)

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def main(package: Path) -> int:
    """Checks a package, prints what is wrong with it, and returns the exit status."""
    known = modules(package)
    found = {
        module: list(imports(ast.parse(path.read_text(), str(path))))
        for module, path in known.items()
    }
    frameworks = {
        module
        for module, names in found.items()
        if any(not each.function and each.name.split(".")[0] in FRAMEWORKS for each in names)
    }
    graph: dict[str, set[str]] = {module: set() for module in known}
    problems = []
    for module, names in found.items():
        for each in names:
            place = f"{known[module]}:{each.line}"
            if each.name.startswith("."):
                problems.append(f"{place}: a relative import. Write the absolute name.")
            reached = list(targets(each.name, module, known))
            graph[module].update(reached)
            if each.function and reached and reached[-1] not in frameworks:
                problems.append(
                    f"{place}: {each.function}() imports {reached[-1]}. Import it at the top."
                )
    for group in cycles(graph):
        problems.append("import cycle:")
        for module in group:
            edges = ", ".join(sorted(graph[module] & set(group)))
            problems.append(f"  {module} imports {edges}")
    for problem in problems:
        print(problem)
    if not problems:
        count = sum(map(len, graph.values()))
        print(f"{len(graph)} modules, {count} imports of each other, no cycle")
    return 1 if problems else 0


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / "python" / "tensorferry"
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else default))
