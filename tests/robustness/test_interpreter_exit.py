"""The interpreter ends while daemon threads are inside calls: the process ends as it would without
them.
"""

import random
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SOURCES = ROOT / "crates/tensorferry-python/src"

PROGRAM = """
import gc, pickle, sys, tempfile, threading, time
import numpy as np
import tensorferry as tfy

def busy(n=40):
    for _ in range(n):
        pass

class Finalized:  # a cycle, whose finalizer runs in any garbage collection
    def __init__(self):
        self.me = self

    def __del__(self):
        busy()

class Arrayed:
    def __array__(self, dtype=None, copy=None):
        busy()
        return np.arange(3)

class Lent:
    def __init__(self):
        self.array = np.arange(4.0)

    def __dlpack__(self, **options):
        busy()
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        busy()
        return self.array.__dlpack_device__()

class Interfaced:
    @property
    def __array_interface__(self):
        busy()
        return np.arange(3).__array_interface__ | {"data": bytes(24)}

class Index:
    def __index__(self):
        busy()
        return 1

class Slow:
    def __eq__(self, other):
        busy()
        return True

    __hash__ = None

    def __repr__(self):
        busy()
        return "slow"

    def __fspath__(self):
        busy()
        return "/nowhere/at/all.npy"

class Shown(np.ndarray):
    def __array_finalize__(self, other):
        busy()

t = tfy.tensor(np.arange(6).reshape(2, 3))
big = np.arange(200_000)
out = np.empty(200_000, np.float32)
objects = np.array([Slow(), Slow()], object)
numbers = tfy.Dataset.range(1000).with_format("numpy")

def failing(function, *args, **options):
    try:
        function(*args, **options)
    except (tfy.Error, OSError, TypeError, ValueError, RuntimeError):
        pass

def generated():
    while True:
        busy()
        yield 1

def half_way(dataset):
    iterator = iter(dataset)
    next(iterator)
    failing(iterator.load_state_dict, iterator.state_dict())

def mapped(x):
    busy()
    return x + 1

CALLS = {
    "array": lambda: tfy.tensor(Arrayed()),
    "array_inside": lambda: failing(tfy.tensor, [Arrayed(), Arrayed()]),
    "dlpack": lambda: tfy.tensor(Lent()),
    "interface": lambda: tfy.tensor(Interfaced()),
    "subclass": lambda: tfy.tensor(np.arange(3).view(Shown)),
    "index": lambda: (t[Index()], t[Index() :]),
    "bad_index": lambda: failing(t.__getitem__, "x"),
    "repr": lambda: repr(t),
    "equal": lambda: t == t,
    "equal_slow": lambda: t[0, 0] == Slow(),
    "truth": lambda: (bool(t[0, 0]), int(t[0, 1]), float(t[0, 2]), [1, 2, 3][t[0, 1]]),
    "attributes": lambda: (t.shape, t.dtype, t.strides, len(t), t.ndim),
    "rows": lambda: list(t),
    "numpy": lambda: np.asarray(t),
    "buffer": lambda: memoryview(t[0]).tolist(),
    "export": lambda: np.from_dlpack(t),
    "export_version": lambda: t.__dlpack__(max_version=(Index(), 0), dl_device=(Index(), 0)),
    "pickle": lambda: pickle.loads(pickle.dumps(t)),
    "pickle_dataset": lambda: pickle.loads(pickle.dumps(numbers.batch(3))),
    "detached": lambda: tfy.convert_into(big, out),
    "misfit": lambda: failing(tfy.convert_into, big, np.empty(200_000, np.int8)),
    "dtype": lambda: failing(tfy.tensor, [1], Slow()),
    "objects": lambda: failing(tfy.tensor, objects),
    "range": lambda: tfy.value_range(big),
    "can_convert": lambda: tfy.can_convert(Arrayed(), "int8"),
    "fspath": lambda: failing(tfy.open_npy, Slow()),
    "empty": lambda: tfy.empty((3, 4)),
    "state": lambda: half_way(numbers.shuffle(10).batch(4)),
    "iterate": lambda: list(numbers.take(20)),
    "map": lambda: list(numbers.take(20).map(mapped)),
    "filter": lambda: list(numbers.take(20).filter(lambda x: mapped(x) > 5)),
    "generator": lambda: list(
        tfy.Dataset.from_generator(generated, tfy.int32 if hasattr(tfy, "int32") else "int32")
        .with_format("numpy")
        .take(9)
    ),
    "reduce": lambda: numbers.take(9).reduce(np.int64(0), lambda a, b: a + mapped(b)),
    "groups": lambda: list(
        numbers.take(9).group_by_window(lambda x: mapped(x) % 2, lambda k, w: w.batch(2), 2)
    ),
    "windows": lambda: list(numbers.window(3).flat_map(lambda w: w.batch(3)).take(3)),
    "prefetched": lambda: list(numbers.map(mapped).prefetch(4).take(30)),
    "repr_dataset": lambda: (repr(numbers.batch(2)), numbers.element_spec, len(numbers)),
}

def loop(call):
    while True:
        call()
        Finalized()

def storm(names, pause, collect):
    if collect:
        gc.set_threshold(collect)
    for name in names:
        CALLS[name]()  # works
    sys.setswitchinterval(1e-5)
    for name in names:
        threading.Thread(target=loop, args=(CALLS[name],), daemon=True).start()
    time.sleep(pause)
"""
ALONE = """
storm(sys.argv[1].split(), float(sys.argv[2]), int(sys.argv[3]))
"""
#: Each thread is in user code called by its first call of the library.
FIRST = """
def busy():
    while True:
        time.sleep(0.0001)  # and takes the GIL again, until the interpreter ends

def first(call):
    call()

for name in CALLS:
    threading.Thread(target=first, args=(CALLS[name],), daemon=True).start()
time.sleep(0.5)
"""
#: Each child ends like an interpreter of its own, and starts faster than one.
FORKED = """
import faulthandler, os, random
faulthandler.enable()
chance = random.Random(int(sys.argv[1]))
for number in range(int(sys.argv[2])):
    chosen = chance.sample(list(CALLS), 6), chance.random() * 0.03, chance.choice([0, 0, 5, 50])
    child = os.fork()
    if not child:
        storm(*chosen)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, (number, status, chosen)
"""

NAMES = [
    line.split('"')[1]
    for line in PROGRAM.splitlines()
    if line.startswith('    "') and "lambda" in line
]


def _end(names, pause, collect=0):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM + ALONE, " ".join(names), str(pause), str(collect)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), (names, pause, collect, ran.stderr[-2000:])


@pytest.mark.parametrize("start", range(0, len(NAMES), 6))
def test_daemon_threads_inside_calls_do_not_abort_the_exit(start):
    names = NAMES[start : start + 6]
    _end(names, 0.01)
    _end(names, 0.02, collect=5)


def test_a_thread_is_guarded_from_its_first_call_on():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM + FIRST], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.slow
def test_a_storm_of_a_thousand_exits():
    chance = random.Random(7)
    for _ in range(30):
        _end(chance.sample(NAMES, 8), chance.random() * 0.03, chance.choice([0, 0, 5, 50]))
    storms = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM + FORKED, str(seed), "500"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(2)
    ]
    for storm in storms:
        _, said = storm.communicate(timeout=600)
        assert storm.returncode == 0, said[-2000:]
        assert not said


def test_every_function_that_python_calls_guards_its_thread():
    """Every function that Python calls guards its thread. Rust's own threads enter by attach.rs and
    gil.rs, as Clippy checks."""
    function = re.compile(r"^( *)(?:pub(?:\([a-z]+\))? )?(?:unsafe )?fn (\w+)")
    seen, unguarded = 0, []
    for path in SOURCES.rglob("*.rs"):
        lines = path.read_text().splitlines()
        methods = exported = False
        for number, line in enumerate(lines):
            methods = (methods or line == "#[pymethods]") and line != "}"
            exported = exported or line.startswith("#[pyfunction")
            found = function.match(line)
            if not found or not (exported or (methods and len(found[1]) == 4)):
                continue
            exported = False
            start = next(at for at in range(number, len(lines)) if lines[at].endswith("{"))
            seen += 1
            if (
                lines[start + 1].strip() != "guard();" and found[2] != "__traverse__"
            ):  # which runs no Python code
                unguarded.append((path.name, found[2]))
    assert seen > 150
    assert not unguarded, f"begin them with guard(); see unwinding.rs: {unguarded}"
