"""Check the built site: `check.py SITE`.

Every link and anchor leads somewhere, also in the Rust documentation; no page loads anything from
another host; the reference has every public name of the package; the pictures were made.
"""

import argparse
import ast
import importlib
import re
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

PACKAGE = "tensorferry"
#: Modules that import a framework: their public names are read from the source.
FRAMEWORKS = ("tensorflow", "torch", "jax", "keras")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
#: Scripts that rustdoc writes only if crates outside the documentation implement a trait; and a
#: page of the crate tracing, whose traits every type has.
OPTIONAL = re.compile(r"/(?:trait|type)\.impl/|^dispatcher$")
#: Of `link`, what a browser fetches when it shows the page.
FETCHED = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}
STYLE_URL = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""")


class Document(HTMLParser):
    """The anchors of a page, its links, what it loads, and where it leads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.moved = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if values.get("http-equiv") == "refresh":
            self.moved = values["content"].partition("=")[2]
        fetched = tag != "link" or FETCHED & set(values.get("rel", "").split())
        if fetched and LOADED.get(tag) in values:
            self.loads.append(values[LOADED[tag]])


def line_anchor(anchor: str) -> bool:
    """Lines of Rust sources, which a script of rustdoc makes."""
    return re.fullmatch(r"\d+(-\d+)?", anchor) is not None


def broken_links(site: Path) -> Iterator[str]:
    documents = {path: Document(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, document in sorted(documents.items()):
        name = path.relative_to(site)
        for url in document.loads:
            if urlsplit(url).netloc:
                yield f"{name}: loads {url}"
        for url in document.links + document.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or OPTIONAL.search(parts.path):
                continue
            base = site if parts.path.startswith("/") else path.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{name}: broken link: {url}"
                continue
            if target in documents and (moved := documents[target].moved):
                target = (target.parent / moved).resolve()
            if parts.fragment and target in documents:
                # The anchors of rustdoc are escaped themselves.
                anchors = {parts.fragment, unquote(parts.fragment)}
                if not anchors & documents[target].anchors and not line_anchor(parts.fragment):
                    yield f"{name}: no such anchor: {url}"


def foreign_styles(site: Path) -> Iterator[str]:
    for path in site.rglob("*.css"):
        for url in STYLE_URL.findall(path.read_text("utf-8")):
            yield f"{path.relative_to(site)}: loads {url}"


def public_names() -> Iterator[str]:
    """The names that users may use, with the public attributes of classes."""
    package = importlib.import_module(PACKAGE)
    for name in package.__all__:
        yield f"{PACKAGE}.{name}"
        value = getattr(package, name)
        if isinstance(value, type) and not issubclass(value, (Exception, tuple)):
            # Fields are described as arguments of their class.
            inner = set(dir(value)) - set(vars(value).get("__annotations__", ()))
            yield from (f"{PACKAGE}.{name}.{method}" for method in inner if method[0] != "_")
    yield from (f"{PACKAGE}.errors.{name}" for name in package.errors.__all__)
    for module in FRAMEWORKS:
        places = Path(package.__path__[0]).glob(f"{module}*")
        source = next(path / "__init__.py" if path.is_dir() else path for path in places)
        for node in ast.parse(source.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                yield from (f"{PACKAGE}.{module}.{name}" for name in ast.literal_eval(node.value))


def documented(inventory: bytes) -> set[str]:
    """The names in an inventory of Sphinx's format: four lines, then compressed entries."""
    entries = zlib.decompress(inventory.split(b"\n", 4)[4]).decode()
    return {line.split(" ", 1)[0] for line in entries.splitlines()}


def missing_names(site: Path, names: Iterator[str]) -> Iterator[str]:
    known = documented((site / "objects.inv").read_bytes())
    for name in names:
        # The methods of Mapping are Python's own.
        if name not in known and not re.fullmatch(r"\w+\.Arrays\.(get|items|keys|values)", name):
            yield f"reference: {name} is missing"


def empty_pictures(site: Path) -> Iterator[str]:
    pictures = list((site / "pictures").glob("*.*"))
    if not pictures:
        yield "pictures: none was made"
    for path in pictures:
        if path.stat().st_size < 1000:
            yield f"pictures/{path.name}: {path.stat().st_size} bytes"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    site = parser.parse_args().site.resolve()
    problems = [
        *broken_links(site),
        *foreign_styles(site),
        *missing_names(site, public_names()),
        *empty_pictures(site),
    ]
    print(*problems, sep="\n", end="\n" if problems else "")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
