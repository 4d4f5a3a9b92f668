"""A local folder behind the same interface as the servers: `file://` URLs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from tests.support.storage.store import Store


class Folder(Store):
    """A folder. Interrupted writes leave temporary files at most, which `names` lists."""

    def __init__(self, root: Path):
        super().__init__("")
        self.root = root

    @property
    def options(self) -> dict[str, str]:
        return {}

    def url(self, name: str) -> str:
        return "file://" + quote(str(self._file(name)), safe="/-_.~")

    def put(self, name: str, data: bytes) -> None:
        path = self._file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)

    def get(self, name: str) -> bytes:
        return self._file(name).read_bytes()

    def delete(self, name: str) -> None:
        self._file(name).unlink()

    def names(self, prefix: str = "") -> list[str]:
        files = [path for path in self.root.rglob("*") if path.is_file()]
        names = [path.relative_to(self.root).as_posix() for path in files]
        return self._shortened([name for name in names if name.startswith(self.prefix + prefix)])

    def _file(self, name: str) -> Path:
        return self.root / (self.prefix + name)
