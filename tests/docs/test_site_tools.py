"""The tools that assemble and check the documentation site."""

from __future__ import annotations

import runpy
import zlib
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools" / "docs_site"
PAGES = runpy.run_path(str(TOOLS / "pages.py"))
CHECK = runpy.run_path(str(TOOLS / "check.py"))
ROOT = PAGES["ROOT"]


def indented(text: str) -> str:
    return PAGES["indented"](text, lambda line: line)


def test_the_content_of_lists_is_indented_by_four_columns() -> None:
    text = "* one\n  more\n\n  ```pycon\n  >>> 1\n    2\n  ```\n\n  * inner\n    more\n\nafter\n"
    assert indented(text) == (
        "* one\n    more\n\n    ```pycon\n    >>> 1\n      2\n    ```\n\n"
        "    * inner\n        more\n\nafter\n"
    )
    assert indented("1. one\n   more\n") == "1. one\n    more\n"


def test_a_list_after_a_paragraph_gets_an_empty_line() -> None:
    assert indented("text:\n* one\n* two\n") == "text:\n\n* one\n* two\n"


def test_code_stays_as_it_is() -> None:
    text = "```text\n* not a list\n  more\n[not](a-link.md)\n```\n"
    assert PAGES["indented"](text, lambda line: "prose") == text


LINKS = {
    "[a](docs/guides/shuffle.md#x)": "[a](guides/shuffle.md#x)",
    "[`a`](CONTRIBUTING.md)": "[`a`](project/contributing.md)",
    "[a](Makefile)": "[a](https://github.com/tensorferry/tensorferry/blob/main/Makefile)",
    "[a](benchmarks)": "[a](https://github.com/tensorferry/tensorferry/tree/main/benchmarks)",
    "[a](crates/tensorferry-io)": "[a](rust/tensorferry_io/index.html)",
    "[a](#x) [b](https://example.org/a.md)": "[a](#x) [b](https://example.org/a.md)",
    "see docs/guides/shuffle.md.": "see [docs/guides/shuffle.md](guides/shuffle.md).",
    "`docs/guides/shuffle.md`, docs/no.md": "`docs/guides/shuffle.md`, docs/no.md",
}


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_to_pages_or_to_the_repository(link) -> None:
    assert PAGES["linked"](link, ROOT / "README.md", "index.md") == LINKS[link]


def test_links_are_relative_to_their_page() -> None:
    page = ROOT / "docs" / "guides" / "shuffle.md"
    assert PAGES["linked"]("[a](../../SECURITY.md)", page, "guides/shuffle.md") == (
        "[a](../project/security.md)"
    )


def test_a_link_to_a_missing_file_is_an_error() -> None:
    with pytest.raises(Exception, match=r"README\.md: broken link: no\.md"):
        PAGES["linked"]("[a](no.md)", ROOT / "README.md", "index.md")


def site(folder: Path, **pages: str) -> list[str]:
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return [*CHECK["broken_links"](folder), *CHECK["foreign_styles"](folder)]


def test_links_and_anchors_of_a_site_are_followed(tmp_path) -> None:
    (tmp_path / "rust").mkdir()
    (tmp_path / "rust" / "index.html").write_text("<a href='../a.html#x'>a</a>")
    good = "<h2 id='x'></h2><a href='b.html'>b</a><a href='#x'>x</a><a href='rust'>r</a>"
    assert site(tmp_path, a=good, b="<a href='https://example.org'>e</a>") == []
    bad = "<a href='no.html'>b</a><a href='#y'>y</a><img src='no.png'><a href='b.html#z'>z</a>"
    assert site(tmp_path, a=bad, b="") == [
        "a.html: broken link: no.html",
        "a.html: no such anchor: #y",
        "a.html: no such anchor: b.html#z",
        "a.html: broken link: no.png",
        "rust/index.html: no such anchor: ../a.html#x",
    ]


def test_anchors_of_pages_that_moved_are_those_of_the_new_page(tmp_path) -> None:
    moved = "<meta http-equiv='refresh' content='0;URL=b.html'>"
    assert site(tmp_path, a=moved, b="<p id='x'>", c="<a href='a.html#x'>x</a>") == []
    assert site(tmp_path, c="<a href='a.html#y'>y</a>") == ["c.html: no such anchor: a.html#y"]


@pytest.mark.parametrize(
    "tag",
    [
        "<script src='https://example.org/a.js'></script>",
        "<link rel='stylesheet' href='//example.org/a.css'>",
        "<img src='https://example.org/a.png'>",
    ],
)
def test_what_is_loaded_from_another_host_is_found(tmp_path, tag) -> None:
    (found,) = site(tmp_path, a=tag)
    assert found.startswith("a.html: loads ")
    assert site(tmp_path, a="<link rel='canonical' href='https://example.org'>") == []


def test_fonts_of_another_host_are_found(tmp_path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/a.woff2) }")
    assert site(tmp_path) == ["a.css: loads https://example.org/a.woff2"]


def test_public_names_that_the_reference_lacks_are_found(tmp_path) -> None:
    entries = zlib.compress(b"tensorferry.open py:function 1 files.html#$ -\n")
    (tmp_path / "objects.inv").write_bytes(b"#\n#\n#\n#\n" + entries)
    missing = list(CHECK["missing_names"](tmp_path, iter(["tensorferry.open", "tensorferry.save"])))
    assert missing == ["reference: tensorferry.save is missing"]


def test_the_public_names_are_those_of_the_package_its_classes_and_modules() -> None:
    names = set(CHECK["public_names"]())
    assert {
        "tensorferry.Tensor",
        "tensorferry.Tensor.astype",
        "tensorferry.Dataset.shuffle",
        "tensorferry.errors.FileFormatError",
        "tensorferry.torch.IterableDataset",
    } <= names
    assert not [name for name in names if "._" in name]


def test_empty_pictures_are_found(tmp_path) -> None:
    (tmp_path / "pictures").mkdir()
    assert list(CHECK["empty_pictures"](tmp_path)) == ["pictures: none was made"]
    (tmp_path / "pictures" / "a.svg").write_text("<svg/>")
    assert list(CHECK["empty_pictures"](tmp_path)) == ["pictures/a.svg: 6 bytes"]
