"""The objects and uploads of the GCS stub, in memory."""

from __future__ import annotations

import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from email.utils import formatdate

LEAST_PART = 5 << 20  # bytes of every part but the last


class Refusal(Exception):
    """An error response: its status and the code in its body."""

    def __init__(self, status: int, code: str):
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Stored:
    data: bytes
    generation: int
    etag: str
    modified: str
    content_type: str


@dataclass
class Upload:
    name: str
    content_type: str
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


class Bucket:
    """What one lock guards. Objects are immutable, so that they are sent without it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations = itertools.count(1_700_000_000_000_000)
        self._objects: dict[str, Stored] = {}
        self._uploads: dict[str, Upload] = {}

    def get(self, name: str) -> Stored:
        with self._lock:
            if name not in self._objects:
                raise Refusal(404, "NoSuchKey")
            return self._objects[name]

    def put(self, name: str, data: bytes, content_type: str, generation: str | None) -> Stored:
        """`generation` is that of the object to replace, or 0 if there must be none."""
        with self._lock:
            found = self._objects.get(name)
            if generation is not None and int(generation) != (found.generation if found else 0):
                raise Refusal(412, "PreconditionFailed")
            return self._store(name, data, content_type)

    def delete(self, name: str) -> None:
        with self._lock:
            if self._objects.pop(name, None) is None:
                raise Refusal(404, "NoSuchKey")

    def listing(
        self, prefix: str, delimiter: str, after: str, most: int
    ) -> tuple[list[tuple[str, Stored]], list[str], str | None]:
        """Objects, common prefixes, and the name to continue after."""
        found: list[tuple[str, Stored]] = []
        folders: list[str] = []
        with self._lock:
            names = sorted(self._objects)
            for name in names:
                if name <= after or not name.startswith(prefix):
                    continue
                head, cut, _ = name[len(prefix) :].partition(delimiter or "\0")
                folder = prefix + head + cut if delimiter and cut else None
                if folder is not None and (folder in folders or after.startswith(folder)):
                    continue
                if len(found) + len(folders) == most:
                    return found, folders, max([*folders, *(name for name, _ in found)])
                if folder is None:
                    found.append((name, self._objects[name]))
                else:
                    folders.append(folder)
        return found, folders, None

    def start_upload(self, name: str, content_type: str) -> str:
        with self._lock:
            identity = f"upload-{next(self._generations)}"
            self._uploads[identity] = Upload(name, content_type)
            return identity

    def put_part(self, identity: str, number: int, data: bytes) -> str:
        with self._lock:
            etag = _etag(data)
            self._upload(identity).parts[number] = (etag, data)
            return etag

    def complete_upload(self, identity: str, wanted: list[tuple[int, str]]) -> Stored:
        with self._lock:
            upload = self._upload(identity)
            numbers = [number for number, _ in wanted]
            if not numbers or numbers != sorted(set(numbers)):
                raise Refusal(400, "InvalidPartOrder")
            for number, etag in wanted:
                if upload.parts.get(number, ("", b""))[0].strip('"') != etag.strip('"'):
                    raise Refusal(400, "InvalidPart")
            parts = [upload.parts[number][1] for number in numbers]
            if any(len(part) < LEAST_PART for part in parts[:-1]):
                raise Refusal(400, "EntityTooSmall")
            del self._uploads[identity]
            return self._store(upload.name, b"".join(parts), upload.content_type)

    def abort_upload(self, identity: str) -> None:
        with self._lock:
            self._upload(identity)
            del self._uploads[identity]

    def uploads(self) -> list[tuple[str, str]]:
        """The name and the id of each unfinished upload."""
        with self._lock:
            return [(upload.name, identity) for identity, upload in self._uploads.items()]

    def _upload(self, identity: str) -> Upload:
        if identity not in self._uploads:
            raise Refusal(404, "NoSuchUpload")
        return self._uploads[identity]

    def _store(self, name: str, data: bytes, content_type: str) -> Stored:
        generation = next(self._generations)
        stored = Stored(data, generation, _etag(data), formatdate(usegmt=True), content_type)
        self._objects[name] = stored
        return stored


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
