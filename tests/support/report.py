"""The reports of `tensorferry inspect`, as JSON and as HTML."""

from __future__ import annotations

import html.parser
import json
import re

import numpy as np

from tests.support.cli import run


def inspected(*arguments, **options) -> list[dict]:
    document = json.loads(run("inspect", "--json", *arguments, **options).stdout)
    assert document["version"] == 1
    return document["arrays"]


class Page(html.parser.HTMLParser):
    """The content of a page. Fails if elements are not closed in order."""

    VOID = ("meta", "img", "line", "rect", "br", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes += [(name, value or "") for name, value in attributes]
        if tag not in self.VOID or (tag == "rect" and self.get_starttag_text()[-2] != "/"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def page(tmp_path, *paths) -> Page:
    run("inspect", *paths, "--report", tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text("utf-8")
    assert not re.search(r"https?://|<script|<link|@import|url\(|srcset", text)
    parsed = Page(text)
    for name, value in parsed.attributes:
        assert name not in ("src", "href") or value.startswith(("data:image/png;base64,", "#")), (
            value
        )
    return parsed


def saved(directory, name: str, array) -> list[str]:
    np.save(directory / f"{name}.npy", array)
    return [str(directory / f"{name}.npy")]
