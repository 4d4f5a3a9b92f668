"""`tensorferry doctor`: the facts, and what is broken."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.cli import COMMAND

MODULE = [sys.executable, "-m", "tensorferry"]
BOTH = pytest.mark.parametrize("command", [[COMMAND], MODULE], ids=["binary", "python"])


def doctor(command, *arguments, path=None, **variables):
    """The finished process; `path` is searched for modules before all others."""
    environment = os.environ | variables
    if path is not None:
        inherited = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), inherited]))
    return subprocess.run(
        [*command, "doctor", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def found(command, *arguments, **options):
    """The document of `--json`, whose verdict is that of the exit status."""
    done = doctor(command, "--json", *arguments, **options)
    document = json.loads(done.stdout)
    assert document["version"] == 1
    assert document["ok"] == (document["problems"] == []) == (done.returncode == 0), done
    return document


def problem(document):
    """The only problem, in one line."""
    (only,) = document["problems"]
    return f"{only['what']} {only['way_out']}"


def module(folder, name, text):
    """A module that is found instead of a framework."""
    (folder / f"{name}.py").write_text(text)
    return folder


@BOTH
def test_it_names_versions_and_limits_of_this_machine(command, tmp_path) -> None:
    done = found(command, "--timeout", "0", TMPDIR=str(tmp_path))
    assert done["problems"] == []
    sections = done["sections"]
    version = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert f"tensorferry {sections['tensorferry']['version']}" == version.stdout.strip()
    assert sections["tensorferry"]["instructions"] == tfy._internal.cpu_level()
    assert sections["tensorferry"]["compiler"].startswith("rustc 1.")
    assert sections["system"]["architecture"] == platform.machine()
    assert sections["system"]["kernel"] == platform.release()
    assert sections["system"]["threads"] <= os.cpu_count()
    assert 0 < sections["memory"]["usable"] <= sections["memory"]["physical"]
    assert isinstance(sections["files"]["io_uring"], bool)
    temporary = sections["files"]["temporary files"]
    assert temporary["path"] == str(tmp_path)
    assert temporary["writable"]
    assert temporary["free_bytes"] <= temporary["bytes"]
    assert sections["environment"]["TMPDIR"] == str(tmp_path)
    assert os.listdir(tmp_path) == []
    if command == MODULE:
        assert sections["packages"]["numpy"] == np.__version__
        assert platform.python_version() in sections["python"]["version"]


@BOTH
def test_its_text_has_the_sections_of_its_json_and_a_verdict(command) -> None:
    done = doctor(command, "--timeout", "0")
    assert (done.returncode, done.stderr) == (0, "")
    titles = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert titles == [*found(command, "--timeout", "0")["sections"], "problems"]
    assert done.stdout.endswith("problems\n  none\n")


@BOTH
def test_the_folder_of_the_user_is_not_shown(command, tmp_path) -> None:
    (tmp_path / "temporary").mkdir()
    shown = doctor(
        command, "--timeout", "0", HOME=str(tmp_path), TMPDIR=str(tmp_path / "temporary")
    ).stdout
    assert "~/temporary: " in shown
    assert str(tmp_path) not in shown


@BOTH
@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"TMPDIR": "/nowhere"}, "/nowhere: temporary files cannot be written: No such file"),
        ({"TENSORFERRY_CPU_LEVEL": "sse9"}, 'TENSORFERRY_CPU_LEVEL="sse9" has no effect. Set it'),
        ({"TENSORFERRY_POOL_BYTES": "1G"}, 'TENSORFERRY_POOL_BYTES="1G" has no effect. Set it'),
    ],
)
def test_a_broken_environment_is_named_with_the_way_out(command, variables, says) -> None:
    assert says in problem(found(command, "--timeout", "0", **variables))


def test_a_lowered_level_of_instructions_is_shown() -> None:
    lowered = doctor([COMMAND], TENSORFERRY_CPU_LEVEL="baseline")
    assert lowered.returncode == 0
    assert "  instructions      baseline" in lowered.stdout


@pytest.mark.slow
def test_installed_frameworks_are_tried(tf, jax) -> None:
    done = found(MODULE)
    assert done["problems"] == []
    frameworks = done["sections"]["frameworks"]
    assert frameworks["tensorflow"]["version"] == tf.__version__
    assert frameworks["tensorflow"]["works"] == ["import", "tensors", "ops"]
    assert frameworks["jax"]["version"] == jax.__version__
    assert frameworks["jax"]["works"] == ["import", "tensors"]


FINE = "__version__ = '0'; backend = type('', (), {'backend': lambda: 'fake'})"
ABORTS = "import os, sys; print('no such symbol', file=sys.stderr, flush=True); os.abort()"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module", "import failed: ModuleNotFoundError: No module named 'no_such"),
        ("raise SystemExit(3)", "import failed: SystemExit: 3"),
        (ABORTS, "import failed: the process was ended by SIGABRT"),
        ("import os; os._exit(0)", "import failed: the process ended with status 0"),
        ("import time; time.sleep(600)", "import failed: it took more than 1 s (--timeout)"),
    ],
    ids=["ImportError", "SystemExit", "abort", "exit", "hang"],
)
def test_a_broken_framework_is_named_and_does_not_end_the_doctor(tmp_path, text, says) -> None:
    for name in ("tensorflow", "torch", "jax"):
        module(tmp_path, name, "raise ImportError('not in this test')")
    limit = ["--timeout", "1"] if "--timeout" in says else []
    done = found(MODULE, *limit, path=module(tmp_path, "keras", text))
    assert len(done["problems"]) == 4
    only = next(each for each in done["problems"] if each["what"].startswith("keras"))
    assert says in only["what"]
    assert only["way_out"].endswith("Install keras again, or remove it.")


def test_a_framework_that_fails_after_its_import_is_to_be_reported(tmp_path) -> None:
    for name in ("tensorflow", "jax", "keras"):
        module(tmp_path, name, FINE if name == "keras" else "raise ImportError('not in this test')")
    done = found(MODULE, path=module(tmp_path, "torch", "__version__ = '9.9'"))
    torch = next(each for each in done["problems"] if each["what"].startswith("torch"))
    assert torch["what"].startswith("torch 9.9: tensors failed: AttributeError: ")
    assert torch["way_out"].startswith("Report it, with this output: https://")
    assert done["sections"]["frameworks"]["keras"]["works"] == ["import"]


def test_a_framework_that_is_not_installed_is_no_problem(tmp_path) -> None:
    """A path without site-packages, where only tensorferry and NumPy are found."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for package in (tfy, np):
        (packages / package.__name__).symlink_to(os.path.dirname(package.__file__))
    for libraries in os.scandir(os.path.dirname(os.path.dirname(np.__file__))):
        if libraries.name == "numpy.libs":
            (packages / libraries.name).symlink_to(libraries.path)
    command = [sys.executable, "-S", "-m", "tensorferry"]
    done = found(command, PYTHONPATH=str(packages))
    assert done["problems"] == []
    assert set(done["sections"]["frameworks"].values()) == {None}
