"""An extension of Griffe, which reads the docstrings for the reference.

The stubs of the extension module have signatures; its docstrings come from the built module.
Sessions become code blocks, and roles and file names become links.
"""

import importlib
import re
import textwrap
from typing import Any

import griffe

PACKAGE = "tensorferry"
EXTENSION = f"{PACKAGE}._internal"
SESSION = re.compile(r"^>>> .*(?:\n(?!\n|```).+)*", re.MULTILINE)
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`([\w.]+)`")
DOCUMENT = re.compile(r"(?<![\w/`(])docs/([\w/-]+\.md)")


def built(path: str) -> Any:
    """The object of the built extension module at a dotted path, or None."""
    value = importlib.import_module(EXTENSION)
    for name in path.removeprefix(EXTENSION).lstrip(".").split("."):
        value = getattr(value, name, None)
    return value


def target(name: str, owner: griffe.Object, package: griffe.Module) -> str | None:
    """The public path that a role names."""
    scopes = [PACKAGE, f"{PACKAGE}.Dataset", f"{PACKAGE}.errors", owner.module.path]
    if owner.parent and owner.parent.is_class:
        scopes.insert(0, f"{PACKAGE}.{owner.parent.name}")
    name = name.removeprefix(f"{PACKAGE}.")
    for scope in scopes:
        path = f"{scope}.{name}"
        try:
            found = package[path.removeprefix(f"{PACKAGE}.")]
        except (KeyError, griffe.AliasResolutionError):
            continue
        if found.docstring and not re.search(r"\._", path):
            return path
    return None


def markdown(text: str, owner: griffe.Object, package: griffe.Module) -> str:
    """A docstring with its sessions fenced and its roles as links."""

    def link(role: re.Match[str]) -> str:
        path = target(role[1], owner, package)
        return f"[`{role[1]}`][{path}]" if path else f"`{role[1]}`"

    text = ROLE.sub(link, text)
    text = DOCUMENT.sub(r"[\1](../../\1)", text)
    return SESSION.sub(lambda session: f"```pycon\n{session[0]}\n```", text)


def objects(owner: griffe.Object) -> list[griffe.Object]:
    """The objects below one, without aliases."""
    members = [member for member in owner.members.values() if isinstance(member, griffe.Object)]
    return members + [inner for member in members for inner in objects(member)]


class Docstrings(griffe.Extension):
    """Completes and rewrites each docstring once the package is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        if pkg.path != PACKAGE:
            return
        for member in [pkg, *objects(pkg)]:
            # Sections of docstrings name classes by their full path: let it resolve everywhere.
            if member.is_module and PACKAGE not in member.members:
                member.imports[PACKAGE] = PACKAGE
                member.members[PACKAGE] = griffe.Alias(PACKAGE, PACKAGE, parent=member)
            if member.docstring is None and member.path.startswith(f"{EXTENSION}."):
                text = getattr(built(member.path), "__doc__", None)
                if text and not member.name.startswith("__"):
                    text = textwrap.dedent(text).strip()
                    member.docstring = griffe.Docstring(text, parent=member)
        for member in objects(pkg):
            if member.docstring is not None:
                member.docstring.value = markdown(member.docstring.value, member, pkg)
