"""Finds files of a Rust crate that import each other in a circle.

    python tools/rust_modules.py [CRATE_FOLDER ...]        (default: crates/*)

A file imports another where a `use` tree or a path such as `super::layout::rows(` names an item
that the other one defines; re-exports are followed to the definition. A `mod x;`, and a re-export
of a name that its file does not use itself, import nothing. Code under `#[cfg(test)]` is exempt.
Prints each circle with its imports; the exit status is 1 if there is one.

Limitations: macros are not expanded. A name that a macro makes counts for the file that its path
leads to, and `#[path]` is not read.
"""

import re
import sys
from pathlib import Path

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|b?r(?P<hash>\#+)".*?"(?P=hash)|b?r"[^"]*"
    |[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])'|'\w+|\d[\w.]*)
    |(?P<token>(?:r\#)?\w+|::|.)""",
    re.DOTALL | re.VERBOSE,
)
ITEMS = {"fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"}
UNTIL_SEMICOLON = {"use", "let", "const", "static", "type"}
OPEN, CLOSE = set("([{"), set(")]}")


class Module:
    def __init__(self, file, parent, name):
        self.file, self.parent, self.name = file, parent, name
        self.items, self.modules = set(), {}
        self.uses, self.exports = {}, {}  # name -> path; name -> (line, path), those re-exported
        self.globs = []  # (line, path)
        self.wanted = []  # (line, path): what the code of this module names
        self.bare = set()  # names in the code that could be those of a re-export


def tokens_of(text):
    line, found = 1, []
    for match in TOKEN.finditer(text):
        if match["token"]:
            found.append((match["token"], line))
        line += match[0].count("\n")
    return found


def closing(tokens, at):
    """The place after the bracket that closes the one at this place."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place][0] in OPEN) - (tokens[place][0] in CLOSE)
        if depth == 0:
            return place + 1
    return len(tokens)


def after_item(tokens, at):
    """The place after the item, statement, field or arm that begins at this place."""
    words = [token for token, _ in tokens[at : at + 8]]
    names_item = next((w for w in words if w in ITEMS | UNTIL_SEMICOLON | {"impl", "mod"}), None)
    is_value = names_item in UNTIL_SEMICOLON and "fn" not in words
    while at < len(tokens):
        token = tokens[at][0]
        if token == ";" or (token == "," and names_item is None):
            return at + 1
        if token in CLOSE:
            return at
        if token in OPEN:
            at = closing(tokens, at)
            if token == "{" and not is_value:
                return at
        else:
            at += 1
    return at


def use_tree(tokens, at, prefix, leaves):
    """Reads one tree into (path, name it gets, line); returns the place after it."""
    path = list(prefix)
    while tokens[at][0] not in ",;}":
        token, line = tokens[at]
        if token == "{":
            at += 1
            while tokens[at][0] != "}":
                at = use_tree(tokens, at, path, leaves)
                at += tokens[at][0] == ","
            return at + 1
        if token == "as":
            leaves.append((path, tokens[at + 1][0], line))
            return at + 2
        if token != "::" and not (token == "self" and path):
            path.append(token)
        at += 1
    leaves.append((path, path[-1], tokens[at - 1][1]))
    return at


def read(module, folder):
    tokens = tokens_of(module.file.read_text())
    scan(module, folder, tokens, 0, len(tokens))


def scan(module, folder, tokens, at, end):
    depth = 0
    while at < end:
        token, line = tokens[at]
        before = tokens[at - 1][0] if at else ""
        after = tokens[at + 1][0] if at + 1 < end else ""
        if token == "#" and (after == "[" or (after == "!" and tokens[at + 2][0] == "[")):
            stop = closing(tokens, at + 1 + (after == "!"))
            words = "".join(t for t, _ in tokens[at:stop])
            at = stop
            if re.match(r"#\[(cfg\((all\()?test\b|test\])", words):
                while tokens[at][0] == "#":
                    at = closing(tokens, at + 1)
                at = after_item(tokens, at)
            continue
        if token == "use" and after != "<":
            leaves = []
            at = use_tree(tokens, at + 1 + (after == "::"), [], leaves)
            exported = before == ")" or before == "pub"
            for path, name, where in leaves:
                if name == "*":
                    module.globs.append((where, path[:-1]))
                    continue
                module.uses[name] = path
                if not exported:
                    module.wanted.append((where, path))
                else:
                    module.exports[name] = (where, path)
            continue
        if token == "mod" and depth == 0 and tokens[at + 2][0] in ";{":
            name = after.removeprefix("r#")
            inner = Module(module.file, module, name)
            module.modules[after] = inner
            if tokens[at + 2][0] == "{":
                stop = closing(tokens, at + 2)
                scan(inner, folder / name, tokens, at + 3, stop - 1)
                at = stop
                continue
            files = [folder / f"{name}.rs", folder / name / "mod.rs"]
            inner.file = next((file for file in files if file.exists()), files[0])
            read(inner, folder / name)
            at += 3
            continue
        if token in ITEMS and depth == 0:
            name = tokens[at + 2][0] if token == "macro_rules" else after
            module.items.add(name)
        depth += (token in OPEN) - (token in CLOSE)
        if re.match(r"\w", token) and before not in (".", "::", "mod", *ITEMS):
            path, at = [token], at + 1
            while at + 1 < end and tokens[at][0] == "::" and re.match(r"\w", tokens[at + 1][0]):
                path.append(tokens[at + 1][0])
                at += 2
            module.bare.add(path[0])
            if len(path) > 1:
                module.wanted.append((line, path))
            continue
        at += 1


def look_up(module, name, as_module, seen=frozenset()):
    """What a name is in a module: a Module, the file that defines the item, or None.

    Of a module and an item of the same name, the one that was asked for comes first.
    """
    if (module, name, as_module) in seen:
        return None
    seen = seen | {(module, name, as_module)}
    inner = module.modules.get(name)
    if inner and as_module:
        return inner
    if name in module.items:
        return module.file
    if name in module.uses:
        return resolve(module, module.uses[name], as_module, seen) or inner
    for _, path in module.globs:
        target = resolve(module, path, True, seen)
        found = isinstance(target, Module) and look_up(target, name, as_module, seen)
        if found:
            return found
    return inner


def resolve(module, path, as_module=False, seen=frozenset()):
    """Where a path leads: a Module, the file that defines the item, or None for other crates."""
    here, entered = module, False
    for at, part in enumerate(path):
        if part == "crate" and not entered:
            while here.parent:
                here = here.parent
        elif part == "super":
            here = here.parent or here
        elif part != "self":
            found = look_up(here, part, as_module or at + 1 < len(path), seen)
            if not isinstance(found, Module):
                return found or (here.file if entered else None)
            here = found
        entered = True
    return here


def every(module):
    yield module
    for inner in module.modules.values():
        yield from every(inner)


def imports(root):
    """{file: {file: [(line, path)]}} of the crate with this root module."""
    graph = {}
    for module in every(root):
        edges = graph.setdefault(module.file, {})
        wanted = list(module.wanted)
        wanted += [import_ for name, import_ in module.exports.items() if name in module.bare]
        for line, path in module.globs:
            target = resolve(module, path, as_module=True)
            if isinstance(target, Module):
                named = sorted(name for name in module.bare if look_up(target, name, False))
                wanted += [(line, [*path, name]) for name in named]
        for line, path in wanted:
            target = resolve(module, path)
            names_again = path[0] in module.uses and len(path) > 1  # an imported type's function
            if names_again and isinstance(resolve(module, path[:1]), Path):
                continue
            if isinstance(target, Path) and target != module.file:
                edges.setdefault(target, []).append((line, "::".join(path)))
    return graph


def circles(graph):
    """Sets of files each of which leads to each other (Tarjan's algorithm)."""
    number, low, stack, found = {}, {}, [], []

    def visit(file):
        number[file] = low[file] = len(number)
        stack.append(file)
        for target in graph.get(file, {}):
            if target not in number:
                visit(target)
            if target in stack:
                low[file] = min(low[file], low[target])
        if low[file] == number[file]:
            at = stack.index(file)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for file in sorted(graph):
        if file not in number:
            visit(file)
    return found


def main(folders):
    status = 0
    for folder in [Path(f) for f in folders] or sorted(Path("crates").iterdir()):
        for root in (folder / "src" / name for name in ("lib.rs", "main.rs")):
            if not root.exists():
                continue
            module = Module(root, None, "crate")
            read(module, root.parent)
            graph = imports(module)
            for circle in circles(graph):
                status = 1
                print(f"{folder}: {len(circle)} files import each other in a circle:")
                for file in circle:
                    for target in sorted(set(graph[file]) & set(circle)):
                        first = {path: line for line, path in sorted(graph[file][target])[::-1]}
                        for path, line in sorted(first.items(), key=lambda item: item[1]):
                            print(f"  {file}:{line} -> {target}, {path}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
