"""Opening the files of a test where they lie, in one mode, or by the URLs of copies in a store."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import tensorferry as tfy

from tests.support.storage.store import Store

#: Kinds of stores: names of the fixtures of `tests/support/storage/fixtures.py`, and `file` for
#: `file://` URLs.
PLACES = ["file", "s3", "azure", "web"]

File: TypeAlias = str | bytes | os.PathLike[Any]


def openers(*modes: str) -> pytest.MarkDecorator:
    """Runs a test, which takes the fixture `opener`, in these modes and at every place."""
    return pytest.mark.parametrize("opener", [*modes, *PLACES], indirect=True)


class Opener:
    """Opens local files in one mode."""

    #: The `block` of a shuffle whose order is the same everywhere.
    block: int | None = None

    def __init__(self, mode: str):
        self.mode = mode

    def open(self, paths: File | Iterable[File], *arguments: Any, **options: Any) -> Any:
        return self._call(tfy.open, paths, *arguments, mode=self.mode, **options)

    def open_raw(self, paths: File | Iterable[File], *arguments: Any, **options: Any) -> Any:
        return self._call(tfy.open_raw, paths, *arguments, mode=self.mode, **options)

    def from_files(self, paths: File | Iterable[File], *arguments: Any, **options: Any) -> Any:
        return self._call(tfy.Dataset.from_files, paths, *arguments, mode=self.mode, **options)

    def from_megatron(self, path: File) -> Any:
        return self._call(tfy.Dataset.from_megatron, path)

    def open_npy(self, path: File) -> tfy.Tensor:
        return tfy.open_npy(path)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)


class RemoteOpener(Opener):
    """Copies the files of a folder to a store when they are opened, and opens the copies. If that
    fails, opening the files themselves has to fail with the same class and code.
    """

    block = 8  # by default, rows of a store are shuffled in larger blocks

    def __init__(self, store: Store, folder: Path):
        super().__init__("auto")
        self.store = store
        self.folder = folder
        self._copied: dict[str, bytes] = {}

    def from_megatron(self, path: File) -> Any:
        for file in self.folder.iterdir():
            self._copy(file)
        return super().from_megatron(path)

    def open_npy(self, path: File) -> tfy.Tensor:
        return tfy.tensor(self.open(path, "npy"))

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        paths, *others = arguments
        stored = options | {"storage_options": self.store.options}
        try:
            return function(self._urls(paths), *others, **stored)
        except Exception as error:
            found = _failure(error)
            try:
                function(paths, *others, **options)
                local = None
            except Exception as other:
                local = _failure(other)
            assert found == local
            raise

    def _urls(self, paths: File | Iterable[File]) -> str | list[str]:
        if isinstance(paths, str | bytes | os.PathLike):
            urls = self._url(Path(os.fsdecode(paths)))
            return urls[0] if len(urls) == 1 else urls
        return [url for path in paths for url in self._url(Path(os.fsdecode(path)))]

    def _url(self, path: Path) -> list[str]:
        """The URL of a file or of a pattern. Where nothing can be listed, those of the files that
        match it.
        """
        if path.exists() or not glob.has_magic(str(path)):
            self._copy(path)
        else:
            gone = [self.folder / name for name in self._copied]
            for file in {*self.folder.rglob("*"), *gone}:
                self._copy(file)
            if not self.store.listable:
                return [self.store.url(self._name(file)) for file in _matches(path)]
        return [self.store.url(self._name(path))]

    def _copy(self, file: Path) -> None:
        name = self._name(file)
        if file.is_file():
            data = file.read_bytes()
            if self._copied.get(name) != data:
                self.store.put(name, data)
                self._copied[name] = data
        elif self._copied.pop(name, None) is not None:
            self.store.delete(name)

    def _name(self, path: Path) -> str:
        inside = path.is_relative_to(self.folder)
        return path.relative_to(self.folder).as_posix() if inside else path.name


def _failure(error: Exception) -> tuple[type, str | None]:
    """What a program can tell of an error."""
    return type(error), getattr(error, "code", None)


def _matches(pattern: Path) -> list[Path]:
    """The files of a pattern in the order of their numbers."""

    def key(name: str) -> list[Any]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return [Path(name) for name in sorted(glob.glob(str(pattern)), key=key)]
