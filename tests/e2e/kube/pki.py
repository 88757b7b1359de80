# SPDX-License-Identifier: Apache-2.0
"""The certificates and kubeconfigs of a Kubernetes, by the openssl command."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

DAYS = "3650"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _openssl(*args: str) -> None:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.strip()}")


class Authority:
    """One certificate authority and what it has signed, in one folder: NAME.crt, NAME.key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / "ca.crt").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        _openssl("req", "-x509", *CURVE, "-days", DAYS, "-subj", "/CN=tests-e2e",
                 "-keyout", str(folder / "ca.key.new"), "-out", str(folder / "ca.crt.new"))
        (folder / "ca.key.new").rename(folder / "ca.key")
        (folder / "ca.crt.new").rename(folder / "ca.crt")

    def issue(self, name: str, common_name: str, organization: str = "",
              addresses: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> Path:
        """Issues NAME.crt and NAME.key unless they are there; for clients and servers alike. Returns the
        path without its ending."""
        path = self.folder / name
        if path.with_suffix(".crt").exists():
            return path
        subject = (f"/O={organization}" if organization else "") + f"/CN={common_name}"
        extensions = ["keyUsage=critical,digitalSignature,keyEncipherment",
                      "extendedKeyUsage=clientAuth,serverAuth", "basicConstraints=CA:FALSE"]
        wanted = [f"IP:{one}" for one in addresses] + [f"DNS:{one}" for one in names]
        if wanted:
            extensions.append("subjectAltName=" + ",".join(wanted))
        path.with_suffix(".ext").write_text("\n".join(extensions) + "\n")
        _openssl("req", "-new", *CURVE, "-subj", subject,
                 "-keyout", str(path.with_suffix(".key")), "-out", str(path.with_suffix(".csr")))
        _openssl("x509", "-req", "-days", DAYS, "-in", str(path.with_suffix(".csr")),
                 "-CA", str(self.folder / "ca.crt"), "-CAkey", str(self.folder / "ca.key"),
                 "-CAcreateserial", "-extfile", str(path.with_suffix(".ext")),
                 "-out", str(path.with_suffix(".crt")))
        return path

    def key_pair(self, name: str) -> Path:
        """NAME.key and NAME.pub, with which tokens of service accounts are signed."""
        path = self.folder / name
        if not path.with_suffix(".pub").exists():
            _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                     "-out", str(path.with_suffix(".key")))
            _openssl("ec", "-in", str(path.with_suffix(".key")), "-pubout",
                     "-out", str(path.with_suffix(".pub")))
        return path

    def kubeconfig(self, name: str, server: str, common_name: str, organization: str = "") -> str:
        """A kubeconfig (as JSON, which is YAML) with everything in it."""
        path = self.issue(name, common_name, organization)

        def inline(file: Path) -> str:
            return base64.b64encode(file.read_bytes()).decode()

        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": {
                "server": server, "certificate-authority-data": inline(self.folder / "ca.crt")}}],
            "users": [{"name": name, "user": {
                "client-certificate-data": inline(path.with_suffix(".crt")),
                "client-key-data": inline(path.with_suffix(".key"))}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
        }, indent=1) + "\n"
