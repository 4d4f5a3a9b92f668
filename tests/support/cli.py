"""The command, as a user runs it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import subprocess
import time

import numpy as np

from tests.support.paths import ROOT

# What `make build` builds.
COMMAND = os.environ.get("TENSORFERRY_COMMAND") or str(ROOT / "target" / "release" / "tensorferry")


def run(*arguments, **options):
    """The finished process, which must succeed."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done


def refused(*arguments, status=None, **options):
    """The error message of a refusal."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )
    expected = (1, 2, 3) if status is None else (status,)
    assert done.returncode in expected, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("tensorferry: error: ")
    assert done.stdout == ""
    assert "panicked" not in done.stderr
    return done.stderr


COMPLETE = """
source <({command} completions bash)
complete -p tensorferry >/dev/null || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_tensorferry tensorferry "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(*words, **options):
    """The completions of the last word in bash."""
    done = subprocess.run(
        ["bash", "-c", COMPLETE.format(command=COMMAND), "bash", "tensorferry", *words],
        capture_output=True,
        text=True,
        check=True,
        **options,
    )
    return done.stdout.splitlines()


def limited(**limits):
    """A `preexec_fn` that sets limits of the process: `limited(AS=1 << 20)`."""

    def limit():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

    return limit


def names(folder):
    return sorted(os.listdir(folder))


def shards(folder, pattern="out-*"):
    return sorted(folder.glob(pattern))


def sparse(path, shape, dtype):
    """A sparse file of zeros."""
    np.lib.format.open_memmap(path, "w+", dtype, shape)
    return path


def start(*arguments, **options):
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def read_by(process):
    """The number of bytes that a process has read so far."""
    lines = pathlib.Path(f"/proc/{process.pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar:")).split()[1])


def handles_signals(process):
    """Whether the command is so far that a signal is its own to handle."""
    for name in pathlib.Path(f"/proc/{process.pid}/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # a thread that has ended
            if name.read_text() == "signals\n":
                return True
    return False


def until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
