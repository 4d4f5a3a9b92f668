"""nginx, the HTTP server of the tests: a folder, with ranges, ETags and If-Match."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from tests.support.paths import ROOT
from tests.support.storage import process
from tests.support.storage.process import Running
from tests.support.storage.store import Store, request

# One process: a killed master would leave its workers behind.
CONFIGURATION = """
daemon off;
master_process off;
pid {data}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {data}/body;
    proxy_temp_path {data}/proxy;
    fastcgi_temp_path {data}/fastcgi;
    uwsgi_temp_path {data}/uwsgi;
    scgi_temp_path {data}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {data}/www;
        location /refused/ {{ return 403; }}
    }}
}}
"""


def executable() -> str | None:
    folders = [os.environ.get("PATH", ""), "/usr/sbin", str(ROOT / ".servers" / "usr" / "sbin")]
    return shutil.which("nginx", path=os.pathsep.join(folders))


class Program(process.Program):
    name = "nginx"
    absent = "nginx is not installed: make servers, or apt install nginx-light"

    def installed(self) -> bool:
        return executable() is not None

    def command(self, data: Path, ports: list[int]) -> list[str]:
        (data / "www").mkdir()
        configuration = data / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(data=data, port=ports[0]))
        return [str(executable()), "-p", str(data), "-c", str(configuration), "-e", "stderr"]

    def answers(self, ports: list[int]) -> bool:
        return request(f"http://127.0.0.1:{ports[0]}", "GET", "/refused/").status == 403


class Nginx(Store):
    """A folder that nginx serves. Over HTTP, it is neither written nor listed."""

    writable = False
    listable = False

    def __init__(self, port: int, root: Path, folder: str):
        super().__init__(f"http://127.0.0.1:{port}")
        self.root = root
        self.folder = folder
        self._times: dict[str, int] = {}

    @classmethod
    def of(cls, running: Running, folder: str) -> Nginx:
        return cls(running.ports[0], running.data / "www", folder)

    @property
    def options(self) -> dict[str, str]:
        return {"allow_http": "true"}

    def url(self, name: str) -> str:
        return self.endpoint + self.path(self.prefix + name)

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        return f"{self.endpoint}/refused{self.path(self.prefix + name)}", self.options

    def put(self, name: str, data: bytes) -> None:
        """Replaces the file. Its time is later than before by a second at least: the ETag of nginx
        is made of the length and the seconds.
        """
        path = self._file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._times[str(path)] = max(int(time.time()), self._times.get(str(path), 0) + 1)
        with tempfile.NamedTemporaryFile(dir=self.root, delete=False) as file:
            file.write(data)
        os.utime(file.name, (self._times[str(path)],) * 2)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)

    def delete(self, name: str) -> None:
        self._file(name).unlink()

    def names(self, prefix: str = "") -> list[str]:
        folder = self.root / self.folder
        files = [path for path in folder.rglob("*") if path.is_file()]
        names = [path.relative_to(folder).as_posix() for path in files]
        return self._shortened([name for name in names if name.startswith(self.prefix + prefix)])

    def path(self, name: str) -> str:
        return quote(f"/{self.folder}/{name}", safe="/-_.~")

    def _file(self, name: str) -> Path:
        return self.root / self.folder / (self.prefix + name)
