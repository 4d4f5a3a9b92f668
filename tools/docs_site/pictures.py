"""Make the pictures of the command, and copy the chart of the README: `pictures.py FOLDER`.

The command runs in a pseudo-terminal, and what it shows becomes an SVG. The report of `inspect` is
a page of its own, and a screenshot of it if Chromium is installed.
"""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import numpy as np
import sklearn.datasets
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("TENSORFERRY_COMMAND") or str(ROOT / "target/release/tensorferry")
CHART = ROOT / "benchmarks/record/chart.svg"
COLUMNS = 100
#: Rows of the files of tokens: enough for a few frames of the progress bar.
ROWS = 200_000
#: Rich's SVGs load a font from another host.
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def shown(words: list[str], folder: Path) -> str:
    """What a command writes to a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        os.chdir(folder)
        os.environ["TERM"] = "xterm-256color"
        os.execv(COMMAND, ["tensorferry", *words])
    output = bytearray()
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # the end, on Linux
            break
        if not data:
            break
        output += data
    os.close(terminal)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise SystemExit(f"tensorferry {' '.join(words)} failed:\n{output.decode()}")
    return output.decode()


def final(output: str) -> str:
    """The lines that stay, of a command that repaints a progress bar."""
    return "\n".join(re.split(r"\r|\x1b\[2K", line.rstrip("\r"))[-1] for line in output.split("\n"))


def under_way(output: str) -> str:
    """The state of a progress bar that is nearest to the middle."""
    states = [state.strip("\r\n ") for state in output.split("\x1b[2K") if "left" in state]
    return min(states, key=lambda state: abs(state.count("█") - state.count("░")), default="")


def draw(file: Path, command: str, output: str) -> None:
    """An SVG of a terminal with a command and its output."""
    with open(os.devnull, "w") as nothing:
        texts = [
            Text.from_ansi(text)
            for text in f"\x1b[1m$ {command}\x1b[0m\n{output}".rstrip().splitlines()
        ]
        width = max(COLUMNS, *(text.cell_len for text in texts))
        console = Console(record=True, width=width, file=nothing, force_terminal=True)
        for text in texts:
            console.print(text)
    file.write_text(FONT.sub("", console.export_svg(title=file.stem, theme=MONOKAI)), "utf-8")


def make_data(folder: Path) -> None:
    np.save(folder / "digits.npy", sklearn.datasets.load_digits().images.astype(int))
    rng = np.random.default_rng(7)
    for part in range(4):
        np.save(folder / f"tokens-{part}.npy", rng.zipf(1.5, (ROWS // 4, 128)).clip(max=49_999))


def screenshot(page: Path, picture: Path) -> None:
    """A picture of the report, which needs Chromium."""
    from browser import FLAGS, chromium

    with tempfile.TemporaryDirectory() as profile:
        command = [chromium(), "--headless", *FLAGS, f"--user-data-dir={profile}"]
        command += ["--hide-scrollbars", "--window-size=1000,1065", f"--screenshot={picture}"]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHART, folder)
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        make_data(data)

        inspect = "inspect digits.npy --bins 8"
        output = shown(inspect.split(), data)
        draw(folder / "inspect.svg", f"tensorferry {inspect}", final(output))

        convert = "convert tokens-*.npy tokens.npz --dtype uint16 --compress"
        output = shown(convert.split(), data)
        typed = "tensorferry " + convert.replace("tokens-*.npy", "'tokens-*.npy'")
        draw(folder / "convert.svg", typed, under_way(output) + "\n" + final(output))

        stream = "stream tokens-0.npy --batch 1024 --shuffle --seed 7 --dtype int32"
        output = shown(stream.split(), data)
        draw(folder / "stream.svg", f"tensorferry {stream}", final(output))

        shown(["inspect", "digits.npy", "--report", "report.html"], data)
        shutil.copy(data / "report.html", folder / "report.html")
    if os.environ.get("WITHOUT_BROWSER") != "1":
        screenshot((folder / "report.html").resolve(), (folder / "report.png").resolve())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
