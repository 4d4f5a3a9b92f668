"""Input to the command: dtype names, patterns, --json, TAB completion, and files that already exist
under the names of its temporary files.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess

import numpy as np
import pytest
import safetensors
import tensorferry as tfy

from tests.support import cli
from tests.support.arrays import same
from tests.support.cli import COMMAND, names, refused, run

JOURNALS = {
    "one": (".tensorferry-out.npy-resume.journal", ["--resume"], "out.npy"),
    "one, without --resume": (".tensorferry-out.npy-resume.journal", [], "out.npy"),
    "one, --force": (".tensorferry-out.npy-resume.journal", ["--force"], "out.npy"),
    "partial": (".tensorferry-out.npy-resume.part", ["--resume"], "out.npy"),
    "shards": (".tensorferry-out.npy.journal", ["--shard-rows", "3"], "out.npy"),
    "shards, --force": (
        ".tensorferry-out.npy.journal",
        ["--shard-rows", "3", "--force"],
        "out.npy",
    ),
    "shards, --resume": (
        ".tensorferry-out.npy.journal",
        ["--shard-rows", "3", "--resume"],
        "out.npy",
    ),
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    np.save(folder / "a.npy", np.arange(10))
    return folder / "a.npy"


@pytest.mark.parametrize("place", JOURNALS)
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "folder", "socket"])
def test_files_named_like_its_temporary_files_are_left_alone(tmp_path, source, place, kind):
    name, options, out = JOURNALS[place]
    folder, dear = tmp_path / "out", tmp_path / "dear.txt"
    folder.mkdir()
    dear.write_text("dear\n")
    path = folder / name
    match kind:
        case "link":
            path.symlink_to(dear)
        case "dangling link":
            path.symlink_to(tmp_path / "made.txt")
        case "hard link":
            os.link(dear, path)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
    done = subprocess.run(
        [COMMAND, "convert", source, folder / out, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert dear.read_text() == "dear\n"
    assert not (tmp_path / "made.txt").exists()
    assert path.is_symlink() or path.exists()
    assert done.returncode == 3, done
    assert done.stderr.startswith("tensorferry: error: ")
    assert name in done.stderr
    assert "Remove it" in done.stderr
    assert not [left for left in names(folder) if left != name]


@pytest.mark.parametrize("place", [place for place in JOURNALS if "partial" not in place])
def test_a_file_that_is_not_a_journal_is_neither_emptied_nor_removed(tmp_path, source, place):
    name, options, out = JOURNALS[place]
    (tmp_path / name).write_text("valuable\ndata\n")
    assert "is not a journal" in refused("convert", source, tmp_path / out, *options, status=2)
    assert (tmp_path / name).read_text() == "valuable\ndata\n"


def test_a_pipe_does_not_block_a_signal(tmp_path, source):
    os.mkfifo(tmp_path / "pipe.npy")
    for arguments in (
        ["inspect", tmp_path / "pipe.npy"],
        ["check", tmp_path / "pipe.npy"],
        ["convert", source, tmp_path / "pipe.npy"],
    ):
        process = subprocess.Popen(
            [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in (1, 2, 3, -signal.SIGTERM, 143)
        process.communicate()
    for options in ([], ["--force"], ["--resume", "--force"]):
        refused("convert", source, tmp_path / "pipe.npy", *options)
        assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.npy").st_mode)


def test_leftovers_that_are_links_are_left_alone(tmp_path, source):
    dear = tmp_path / "dear.txt"
    dear.write_text("dear")
    (tmp_path / ".tensorferry-out.npy-AbCdEf.part").symlink_to(dear)
    os.mkfifo(tmp_path / ".tensorferry-out.npy-abcdef.part")
    run("convert", source, tmp_path / "out.npy")
    assert dear.read_text() == "dear"
    assert len([name for name in names(tmp_path) if name.endswith(".part")]) == 2


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ("i4", "int32"),
        ("<i4", "int32"),
        ("=u2", "uint16"),
        ("|u1", "uint8"),
        ("f8", "float64"),
        ("f2", "float16"),
        ("half", "float16"),
        ("double", "float64"),
        ("d", "float64"),
        ("float", "float32"),
        ("int", "int32"),
        ("?", "bool"),
        ("b1", "bool"),
        ("c8", "complex64"),
        ("int64", "int64"),
    ],
)
def test_dtypes_have_the_names_of_numpy(tmp_path, said, dtype):
    np.save(tmp_path / "a.npy", np.array([0, 1, 1, 0], np.int8))
    run("convert", tmp_path / "a.npy", tmp_path / "b.npy", "--dtype", said)
    same(np.load(tmp_path / "b.npy"), np.array([0, 1, 1, 0]).astype(dtype))
    if said not in ("float", "int"):
        assert np.dtype(said) == np.dtype(dtype)
        np.load(tmp_path / "b.npy").tofile(tmp_path / "c.bin")
        run("convert", tmp_path / "c.bin", tmp_path / "d.npy", "--raw-dtype", said)
        same(np.load(tmp_path / "d.npy"), np.load(tmp_path / "b.npy"))


def test_an_unknown_dtype_is_refused_with_the_known_ones(tmp_path, source):
    for said in ("int4", "i3", "U4", "O", "float128", "", "string"):
        assert "int32" in refused("convert", source, tmp_path / "b.npy", "--dtype", said, status=2)
    assert "Pass int32" in refused(
        "convert", source, tmp_path / "b.npy", "--dtype", ">i4", status=2
    )
    said = run("convert", "--help").stdout
    assert "float is float32 and int is int32" in " ".join(said.split())


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, source):
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "pipe.html")
    for report in (
        tmp_path / "nowhere" / "a.html",
        tmp_path / "folder.html",
        tmp_path / "pipe.html",
        "/proc/a.html",
    ):
        done = subprocess.run(
            [COMMAND, "inspect", source, "--report", report],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 3, done
        assert done.stdout == ""
        assert str(report) in done.stderr
        assert "No such file" in refused(
            "inspect", "nowhere.npy", "--report", tmp_path / "ok.html", status=3
        )
    assert not (tmp_path / "ok.html").exists()
    assert sorted(names(tmp_path)) == ["folder.html", "pipe.html", "source"]


def test_check_takes_patterns_and_several_files(tmp_path):
    for number in (10, 9, 1):
        np.save(tmp_path / f"part-{number}.npy", np.arange(number))
    (tmp_path / ".part-3.npy").write_bytes(b"hidden")
    np.savez(tmp_path / "a.npz", x=np.arange(3), text=np.array(["a"]))
    said = run("check", tmp_path / "part-*.npy", tmp_path / "a.npz").stdout.splitlines()
    assert [line.split(": ")[0] for line in said] == [
        str(tmp_path / name) for name in ("part-1.npy", "part-9.npy", "part-10.npy", "a.npz")
    ]
    assert all(": ok: " in line for line in said)
    (tmp_path / "part-9.npy").write_bytes(b"\x93NUMPY")
    done = subprocess.run(
        [COMMAND, "check", tmp_path / "x-*", tmp_path / "*.npy"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert "x-*: not checked: " in lines[0]
    assert "no file matches" in lines[0]
    assert "part-9.npy: FAILED" in lines[2]
    done = subprocess.run(
        [COMMAND, "check", tmp_path / "x-*"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3


def test_check_reports_its_findings_as_json(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    np.savez(tmp_path / "c.npz", x=np.arange(3))
    done = subprocess.run(
        [
            COMMAND,
            "check",
            "--json",
            *(tmp_path / name for name in ("a.npy", "b.npy", "c.npz", "nowhere")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["version"] == 1
    a, b, c, nowhere = said["files"]
    ok = {
        "file": str(tmp_path / "a.npy"),
        "status": "ok",
        "format": "npy",
        "parts": 1,
        "bytes": 152,
    }
    assert a == ok | {"checksum": None, "trailing_bytes": 0, "error": None}
    assert c["checksum"] == "CRC-32"
    assert (b["status"], b["error"]["code"], b["error"]["exit_status"]) == (
        "failed",
        "wrong_length",
        1,
    )
    assert (nowhere["status"], nowhere["error"]["code"]) == ("not_checked", "io")
    assert "truncated" in b["error"]["message"]


def test_convert_reports_output_and_errors_as_json(tmp_path, source):
    said = json.loads(run("convert", "--json", source, tmp_path / "b.npz", "--dtype", "i2").stdout)
    assert said["error"] is None
    assert said["files"] == [str(tmp_path / "b.npz")]
    assert said["format"] == "npz"
    assert said["arrays"] == [{"name": "arr_0", "dtype": "int16", "shape": [10], "bytes": 20}]
    assert said["bytes"] == (tmp_path / "b.npz").stat().st_size
    assert said["seconds"] >= 0
    said = json.loads(
        run("convert", "--json", "-q", source, tmp_path / "c.npy", "--shard-rows", "4").stdout
    )
    assert [os.path.basename(path) for path in said["files"]] == [
        f"c-{at:05}-of-00003.npy" for at in range(3)
    ]
    np.save(tmp_path / "wide.npy", np.array([1, 300, 70000]))
    for arguments, status, code, says in [
        (
            [tmp_path / "wide.npy", tmp_path / "d.npy", "--dtype", "uint8"],
            1,
            "values_do_not_fit",
            "2 of 3 values",
        ),
        ([source, tmp_path / "b.npz"], 2, "argument", "--force"),
        ([tmp_path / "nowhere.npy", tmp_path / "d.npy"], 3, "io", "No such file"),
        ([source, tmp_path / "d.xyz"], 2, "argument", "--to"),
    ]:
        done = subprocess.run(
            [COMMAND, "convert", "--json", *arguments], capture_output=True, text=True, check=False
        )
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["exit_status"], error["code"]) == (status, status, code)
        assert says in error["message"]
        assert done.stderr.startswith("tensorferry: error: ")


@pytest.mark.parametrize("shape", [(6, 4, 5, 3), (6, 28, 28), (6, 3), (6,)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_arrays_survive_a_round_trip_by_records(tmp_path, shape, dtype):
    array = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    if shape == (6,) and dtype == "uint8":
        dtype = "int64"  # numbers of Examples, as documented
    np.save(tmp_path / "a.npy", array)
    for options in ([], ["--name", "image"]):
        run("convert", tmp_path / "a.npy", tmp_path / "b.tfrecord", "--force", *options)
        run("convert", tmp_path / "b.tfrecord", tmp_path / "c.npy", "--force")
        same(np.load(tmp_path / "c.npy"), array.astype(dtype))
    np.save(tmp_path / "wide.npy", np.arange(3.0))
    assert "--to tfrecord_bytes" in refused(
        "convert", tmp_path / "wide.npy", tmp_path / "d.tfrecord", status=2
    )
    run("convert", tmp_path / "wide.npy", tmp_path / "d.tfrecord", "--to", "tfrecord_bytes")
    assert tfy.open(tmp_path / "d.tfrecord").shape == (3, 8)


def test_metadata_is_kept_or_reported_as_left_out(tmp_path):
    tfy.save(tmp_path / "a.safetensors", {"x": np.arange(9)}, metadata={"step": "1"})
    for options in ([], ["--resume"], ["--shard-rows", "9"]):
        done = run(
            "convert",
            tmp_path / "a.safetensors",
            tmp_path / "b.safetensors",
            "--dtype",
            "i4",
            "--force",
            *options,
        )
        assert done.stderr == ""
        for path in tmp_path.glob("b*.safetensors"):
            with safetensors.safe_open(path, "np") as opened:
                assert opened.metadata() == {"step": "1"}
            path.unlink()
    done = run("convert", tmp_path / "a.safetensors", tmp_path / "a.npz")
    assert "warning: " in done.stderr
    assert "metadata (step)" in done.stderr


def test_members_that_are_not_arrays_are_reported_as_left_out(tmp_path):
    import zipfile

    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as made:
        made.writestr("notes.txt", "notes")
    done = run("convert", tmp_path / "a.npz", tmp_path / "b.npz")
    assert done.stderr.count("notes.txt") == 1
    assert done.stderr.startswith("tensorferry: warning: ")


@pytest.mark.parametrize("command", ["inspect", "check", "convert", "stream"])
def test_a_tab_completes_files_and_a_dash_options(tmp_path, command):
    for name in ("digits.npy", "data 1.npy", "other.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()

    def completed(*words):
        return sorted(cli.completed(*words, cwd=tmp_path))

    assert completed(command, "") == ["data 1.npy", "digits.npy", "folder", "other.txt"]
    assert completed(command, "d") == ["data 1.npy", "digits.npy"]
    assert completed(command, "digits.npy", "o") == ["other.txt"]
    assert completed(command, "digits.npy", "") == [
        "data 1.npy",
        "digits.npy",
        "folder",
        "other.txt",
    ]
    assert "--format" in completed(command, "--f")
    assert completed("in") == ["inspect"]
    assert "zsh" in completed("completions", "")


def test_other_shells_complete_files(tmp_path):
    zsh = run("completions", "zsh").stdout
    assert zsh.count(":_files") >= 4
    fish = run("completions", "fish").stdout
    for command in ("inspect", "check", "convert", "stream"):
        using = [line for line in fish.splitlines() if f"using_subcommand {command}" in line]
        assert using
        assert not [
            line
            for line in using
            if " -f " in line and " -a " not in line and " -l " not in line and " -s " not in line
        ]
