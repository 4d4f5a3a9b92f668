"""Look at every page of the built site in Chromium: `browser.py SITE SCREENSHOTS`.

Pages are opened from disk, 1280 and 400 pixels wide, light and dark. Finds errors in the console,
requests for anything outside the site, text wider than the window, violations that axe-core
reports, and a search that does not find what the pages hold. Prints the names of the screenshots.
"""

import argparse
import concurrent.futures
import contextlib
import http.server
import json
import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")
#: Chromium starts nothing in the background, and runs as root in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: The rules of axe-core for each look at a page: contrast takes most of the time, and depends on
#: the colours alone.
CONTRAST = "color-contrast"
RULES = {
    (1280, "light"): {"rules": {}},
    (1280, "dark"): {"runOnly": [CONTRAST]},
    (400, "light"): {"rules": {CONTRAST: {"enabled": False}}},
}
AXE = """async (options) => {
  const all = { ...options, preload: false, resultTypes: ["violations"] };
  const found = await axe.run(document, all);
  return found.violations.map(v => [v.id, v.help, v.nodes.map(n => n.target.join(" ")).slice(0, 3),
    v.nodes.length, v.nodes[0].any.concat(v.nodes[0].all).map(c => c.message)[0] ?? ""]);
}"""
#: What sticks out of the window. Boxes that scroll by themselves may be wider inside.
OVERFLOW = """() => {
  const root = document.scrollingElement;
  return root.scrollWidth > root.clientWidth ? root.scrollWidth : 0;
}"""

#: After a change of the width, a script of the site lets the keyboard reach what scrolls.
REACHED = """() => [...document.querySelectorAll("pre > code")].every(
  code => code.scrollWidth <= code.clientWidth || code.hasAttribute("tabindex"))"""
REACHED_MS = 5000


def chromium() -> str:
    """The path of the browser."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("Chromium is not installed (on Debian and Ubuntu: apt install chromium).")
    return found


class Visit:
    """One page of the browser, and what is wrong with the pages that it opens."""

    def __init__(self, browser: Browser, scheme: str) -> None:
        self.problems: list[str] = []
        self.where = ""
        self.page: Page = browser.new_page(color_scheme=scheme, reduced_motion="reduce")
        self.page.on("console", lambda m: m.type == "error" and self.note(f"console: {m.text}"))
        self.page.on("pageerror", lambda error: self.note(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.note(f"not loaded: {request.url}"))
        self.page.on("request", lambda request: self.request(request.url))

    def note(self, problem: str) -> None:
        self.problems.append(f"{self.where}: {problem}")

    def request(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1")):
            self.note(f"loads {url}")

    def axe(self, options: dict[str, object]) -> None:
        with contextlib.suppress(PlaywrightTimeout):  # then axe-core says what is wrong
            self.page.wait_for_function(REACHED, timeout=REACHED_MS)
        found = self.page.evaluate(AXE, options)
        for rule, help_, targets, count, message in found:
            self.note(f"axe: {rule}: {help_} ({count}: {', '.join(targets)}) {message}")


def look(site: Path, names: list[str], scheme: str, screenshots: Path) -> list[str]:
    """The problems of the pages in one colour scheme."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        visit = Visit(browser, scheme)
        for name in names:
            for width in WIDTHS:
                visit.where = f"{name} ({width}, {scheme})"
                visit.page.set_viewport_size({"width": width, "height": 900})
                if width == WIDTHS[0]:
                    visit.page.goto((site / name).as_uri())
                    visit.page.evaluate(AXE_SCRIPT)
                if wide := visit.page.evaluate(OVERFLOW):
                    visit.note(f"is {wide} pixels wide")
                if options := RULES.get((width, scheme)):
                    visit.axe(options)
                picture = f"{name.removesuffix('.html').replace('/', '-')}-{width}-{scheme}.png"
                visit.page.screenshot(path=screenshots / picture)
        browser.close()
    return visit.problems


def search(url: str, word: str, screenshot: Path) -> list[str]:
    """The problems of searching for a word from a page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        visit = Visit(browser, "light")
        visit.where = f"search from {url}"
        visit.page.goto(url)
        visit.page.click(".md-search__button")
        field = visit.page.locator("input[role=combobox]")
        field.fill(word)
        try:
            visit.page.locator("[role=option]", has_text=word).first.wait_for()
            expect(field).to_have_value(word)
        except Exception as error:
            visit.note(f"does not find {word!r}: {str(error).splitlines()[0]}")
        visit.page.screenshot(path=screenshot)
        browser.close()
    return visit.problems


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("screenshots", type=Path)
    parser.add_argument("pages", nargs="*", help="default: all of the site outside rust/")
    arguments = parser.parse_args()
    site = arguments.site.resolve()
    shutil.rmtree(arguments.screenshots, ignore_errors=True)
    arguments.screenshots.mkdir(parents=True)
    names = arguments.pages or sorted(
        name
        for path in site.rglob("*.html")
        if not (name := str(path.relative_to(site))).startswith(("rust/", "404", "pictures/"))
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hosted = f"http://127.0.0.1:{server.server_port}/index.html"
    with concurrent.futures.ProcessPoolExecutor(len(SCHEMES)) as pool:
        jobs = [pool.submit(look, site, names, s, arguments.screenshots) for s in SCHEMES]
        from_disk = arguments.screenshots / "search-from-disk.png"
        jobs.append(pool.submit(search, (site / "index.html").as_uri(), "shuffle", from_disk))
        served = arguments.screenshots / "search-served.png"
        jobs.append(pool.submit(search, hosted, "shuffle", served))
        problems = [problem for job in jobs for problem in job.result()]
    for picture in sorted(arguments.screenshots.iterdir()):
        print(picture)
    print(*problems, sep="\n", file=sys.stderr)
    print(json.dumps({"pages": len(names), "problems": len(problems)}))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
