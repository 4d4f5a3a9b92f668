"""The checks of `make lint` that this repository has its own tools for."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def rust_modules(folder: Path, files: dict[str, str]) -> tuple[int, str]:
    for name, text in files.items():
        file = folder / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = [sys.executable, TOOLS / "rust_modules.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout.replace(f"{folder}/src/", "")


CIRCLES = {
    "use": {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B;\npub struct A;",
            "b.rs": "use super::{a::{self as x, A}};\npub struct B;"},
    "path": {"lib.rs": "mod a; mod b;", "a.rs": "\npub fn f() { super::b::g() }",
             "b.rs": "pub fn g() { crate::a::f() }"},
    "module": {"lib.rs": "mod a; mod b;", "a.rs": "use super::b;\npub fn f() { b::g() }",
               "b.rs": "use crate::a::f as h;\npub fn g() { h() }"},
    "re-export": {"lib.rs": "mod a; mod b; pub use a::A; pub(crate) use b::*;",
                  "a.rs": "use crate::B;\npub struct A;", "b.rs": "use crate::A;\npub struct B;"},
    "glob": {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::*;\npub struct A(B);",
             "b.rs": "use crate::a::*;\npub struct B(A);"},
    "parent": {"lib.rs": "mod a;", "a/mod.rs": "mod b;\npub struct A(b::B);",
               "a/b.rs": "use super::A;\npub struct B;"},
    "inline": {"lib.rs": "mod a { pub mod b; }\npub struct A(a::b::B);",
               "a/b.rs": "use crate::A;\npub struct B;"},
}  # fmt: skip


@pytest.mark.parametrize("name", CIRCLES)
def test_rust_files_that_import_each_other_are_found(tmp_path, name):
    status, printed = rust_modules(tmp_path, CIRCLES[name])
    assert status == 1
    assert "2 files import each other in a circle" in printed
    assert " -> a.rs, " in printed or "a/b.rs:1 -> " in printed


TREES = {
    "one way": {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B;", "b.rs": "pub struct B;"},
    "table of contents": {"lib.rs": "mod a; mod b; pub use a::A; pub use b::B;",
                          "a.rs": "pub struct A;", "b.rs": "use crate::A;\npub struct B;"},
    "test": {"lib.rs": "mod a; mod b; #[cfg(test)] mod tests;",
             "a.rs": "use crate::b::B;\npub struct A;\n#[cfg(test)]\nmod tests { use super::*; }",
             "b.rs": "pub struct B;\n#[cfg(test)]\nmod tests {\n  use crate::a::A;\n}",
             "tests.rs": "use crate::a::A;"},
    "words": {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B;\npub struct A;",
              "b.rs": "// crate::a::A\n/* crate::a::A */\n"
                      "pub struct B<'a>(&'a str);\nconst C: &str = r#\"crate::a::A\"#;"},
    "namesake": {"lib.rs": "mod a; mod b;", "a.rs": "pub fn b() { crate::b::b() }",
                 "b.rs": "use std::a::A;\npub fn b() { c.a::<A>() }"},
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_rust_files_that_import_one_way_pass(tmp_path, name):
    assert rust_modules(tmp_path, TREES[name]) == (0, "")


FILES = {
    "Cargo.toml": '[workspace.package]\nversion = "1.2.3"\n[workspace.dependencies]\nlog = "0.4"\n'
                  'core = { path = "core", version = "1.2.3" }\n',
    "CITATION.cff": "cff-version: 1.2.0\nversion: 1.2.3\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3 - 2026-01-31\n\nNew.\n\n"
                    "## 1.2.2 - 2026-01-01\n\nOld.\n",
}  # fmt: skip


def versions(folder: Path, files: dict[str, str], *options: str) -> tuple[int, str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    command = [sys.executable, TOOLS / "versions.py", "--root", folder, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_versions_that_agree_pass_and_give_the_notes_of_the_release(tmp_path):
    assert versions(tmp_path, FILES) == (0, "")
    assert versions(tmp_path, FILES, "--tag", "v1.2.3", "--notes") == (0, "New.\n")
    unreleased = {**FILES, "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\nNew.\n"}
    assert versions(tmp_path, unreleased) == (0, "")


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("Cargo.toml", 'core", version = "1.2.3"', 'core", version = "1.2.2"', "core is 1.2.2"),
        ("CITATION.cff", "\nversion: 1.2.3", "\nversion: 1.2.2", "version is 1.2.2, not 1.2.3"),
        ("CHANGELOG.md", "1.2.3 - 2026-01-31", "1.2.4 - 2026-01-31", "begins with '1.2.4'"),
    ],
)
def test_a_version_that_differs_is_named_with_its_file(tmp_path, name, old, new, problem):
    status, printed = versions(tmp_path, {**FILES, name: FILES[name].replace(old, new)})
    assert status == 1
    assert printed.startswith(f"{name}: ")
    assert problem in printed


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2.4"])
def test_a_tag_of_another_version_is_refused(tmp_path, tag):
    assert versions(tmp_path, FILES, "--tag", tag) == (1, f"the tag is {tag}, not v1.2.3\n")


def test_a_release_without_its_dated_section_is_refused(tmp_path):
    unreleased = {**FILES, "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\nNew.\n"}
    status, printed = versions(tmp_path, unreleased, "--tag", "v1.2.3", "--notes")
    assert (status, printed) == (1, "CHANGELOG.md: does not begin with `## 1.2.3 - YYYY-MM-DD`\n")
