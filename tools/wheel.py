"""Checks a built wheel, or the size of the extension module that `make build` makes.

    python tools/wheel.py WHEEL ...
    python tools/wheel.py --extension FILE

A wheel has to be for every CPython from 3.11 on (the tag, and the symbols: abi3audit), for Linux
with glibc 2.28 (auditwheel), for the processor of its tag (its machine code), at most BUDGET bytes,
and complete. Nearly all of it is the extension: its compressed size tells that of the wheel.
"""

import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

BUDGET = 12_000_000
#: The oldest glibc, and the symbols of it that may be needed.
GLIBC = (2, 28)
NAME = re.compile(
    r"tensorferry-[^-]+-cp311-abi3-(?P<platform>manylinux_2_(?P<glibc>\d+)_(?P<machine>\w+))\.whl"
)
#: What `e_machine` of an ELF file says for the machine of a platform tag.
MACHINES = {"x86_64": 62, "aarch64": 183}
FILES = (
    "tensorferry/_internal.abi3.so",
    "tensorferry/_internal.pyi",
    "tensorferry/py.typed",
    "licenses/LICENSE-APACHE",
    "licenses/LICENSE-MIT",
    "entry_points.txt",
)
JUNK = re.compile(r"__pycache__|\.pyc$|(^|/)(tests|target|benchmarks)/")


def problems_of(wheel):
    """What is wrong with a wheel."""
    match = NAME.fullmatch(wheel.name)
    if not match or int(match["glibc"]) > GLIBC[1]:
        yield f"its name is not that of an abi3 wheel for glibc {GLIBC[0]}.{GLIBC[1]}"
        return
    if (size := wheel.stat().st_size) > BUDGET:
        yield f"{size:,} bytes, more than {BUDGET:,}"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        yield from (
            f"{file} is missing" for file in FILES if not any(n.endswith(file) for n in names)
        )
        yield from (f"{name} does not belong there" for name in names if JUNK.search(name))
        extensions = [name for name in names if name.endswith(".so")]
        if extensions != ["tensorferry/_internal.abi3.so"]:
            yield f"its extension modules are {extensions}"
            return
        machine = int.from_bytes(archive.read(extensions[0])[18:20], "little")
    if machine != MACHINES.get(match["machine"]):
        yield f"its code is for machine {machine}, not {match['machine']}"
    yield from audited(wheel, match["platform"])


def audited(wheel, platform):
    """What auditwheel and abi3audit find."""
    said = output("auditwheel", "show", wheel)
    print(said.strip())
    if f'"{platform}"' not in said and platform not in said:
        yield f"auditwheel does not call it {platform}"
    done = run("abi3audit", "--strict", "--summary", wheel)
    print((done.stdout + done.stderr).strip())
    if done.returncode:
        yield "abi3audit finds symbols outside the stable ABI"


def run(program, *arguments):
    command = [Path(sys.executable).with_name(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def output(program, *arguments):
    done = run(program, *arguments)
    if done.returncode:
        sys.exit(f"{program}: {done.stderr}")
    return done.stdout


def extension_problems(path):
    size = len(zlib.compress(path.read_bytes()))
    print(f"{path}: {size:,} bytes compressed, of {BUDGET:,}")
    if size > BUDGET:
        yield f"the wheel would be more than {BUDGET:,} bytes"


def main(arguments):
    if arguments[:1] == ["--extension"]:
        check, paths = extension_problems, arguments[1:]
    else:
        check, paths = problems_of, arguments
    if not paths:
        sys.exit(__doc__)
    found = [f"{path}: {problem}" for path in map(Path, paths) for problem in check(path)]
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main(sys.argv[1:])
