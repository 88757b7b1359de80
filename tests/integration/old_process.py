# SPDX-License-Identifier: Apache-2.0
"""A server that goes on at a pod's address after the pod."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, resp, wait_until  # noqa: E402

from config import server_program  # noqa: E402


class OldProcess:
    """What goes on at a pod's address after the pod: a server of the same node with the same data."""

    def __init__(self, lab: Lab, pod: str, address: str, server: str, auth: bool,
                 node_timeout: int) -> None:
        """Takes the data of now; start() is for later."""
        self.lab, self.address = lab, address
        self.directory = Path(tempfile.mkdtemp(prefix="muster-twin-", dir="/tmp"))
        wait_until(lambda: self._is_calm(lab, pod), 20, f"{pod} rewrites no file")
        self._copy(lab.state / "pods" / pod / "data")
        settings = {"port": 6379, "bind": address, "bind-source-addr": address,
                    "protected-mode": "no", "cluster-enabled": "yes", "dir": self.directory,
                    "save": '""', "appendonly": "yes", "cluster-announce-ip": address,
                    "cluster-node-timeout": node_timeout}
        if auth:
            secret = (lab.state / "secret/password").read_text().strip()
            settings.update(requirepass=secret, masterauth=secret)
        conf = self.directory / "twin.conf"
        conf.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        self.command = [server_program(server), str(conf)]
        self.process: Optional["subprocess.Popen[bytes]"] = None

    @staticmethod
    def _is_calm(lab: Lab, pod: str) -> bool:
        if not lab.pods()[pod]["ip"]:
            return True          # its server is gone
        return "aof_rewrite_in_progress:0" in lab.text(pod, "INFO", "persistence")

    def _copy(self, data: Path) -> None:
        """Of a server that runs, and may rename a file just then."""
        for again in (True, True, False):
            try:
                shutil.copytree(data, self.directory, dirs_exist_ok=True)
                return
            except shutil.Error:
                if not again:
                    raise

    def start(self) -> "OldProcess":
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        return self

    def __enter__(self) -> "OldProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def ask(self, *words: str) -> Any:
        return resp.command(self.address, *words, timeout=1, access=self.lab.access)

    def writes(self, key: str, value: str) -> bool:
        try:
            return bool(self.ask("SET", key, value) == "OK")
        except (OSError, resp.RespError):
            return False

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
