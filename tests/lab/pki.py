# SPDX-License-Identifier: Apache-2.0
"""The lab's certificate authorities, made with the openssl command (1.1.1 or newer)."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


CERTS = Path(__file__).resolve().parent.parent / "lib" / "certs.sh"


def _run(*args: str) -> None:
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{args[0]} {args[1]} failed: {done.stderr.strip().splitlines()[-1:]}")


def _openssl(*args: str) -> None:
    _run("openssl", *args)


def make_ca(directory: Path, name: str = "ca") -> Path:
    """Create DIR/<name>.crt and DIR/<name>.key and return the certificate's path."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-sha256", "-days", "30", "-subj", f"/CN=muster-lab-{name}",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             "-keyout", str(key), "-out", str(cert))
    return cert


@dataclass
class Request:
    """What a certificate is to say."""

    subject: str
    names: str                       # subjectAltName, "" for none
    usage: str = "serverAuth"
    days: int = 30                   # negative: expired that many days ago
    digest: str = "sha256"
    key: str = "ec"                  # or rsa:BITS


def issue(directory: Path, name: str, ca: Path, request: Request) -> tuple[Path, Path]:
    """DIR/<name>.crt and .key, signed by the authority whose certificate is `ca` (CA.key beside)."""
    cert, key, csr = (directory / f"{name}.{ext}" for ext in ("crt", "key", "csr"))
    extensions = directory / f"{name}.ext"
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\n"
        f"extendedKeyUsage={request.usage}\n"
        + (f"subjectAltName={request.names}\n" if request.names else ""))
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if request.key == "ec" else []
    _openssl("req", "-new", "-newkey", request.key, *curve, "-nodes", "-sha256",
             "-subj", f"/CN={request.subject}", "-keyout", str(key), "-out", str(csr))
    _run(str(CERTS), "sign", str(csr), str(cert), str(ca), str(ca.with_suffix(".key")),
         str(extensions), str(request.days), request.digest)
    return cert, key


def make_server_cert(directory: Path, address: str, name: str = "apiserver",
                     ca: str = "ca") -> tuple[Path, Path]:
    """Issue a server certificate for an IP address and the names a real API server carries."""
    return issue(directory, name, directory / f"{ca}.crt", Request(
        "kube-apiserver", f"IP:{address},DNS:kubernetes,DNS:kubernetes.default,"
        "DNS:kubernetes.default.svc,DNS:localhost"))


SERVER_CERTS = ("good", "other-ca", "expired", "wrong-name", "self-signed", "sha1",
                "weak-key")


def make_server_cert_of(directory: Path, address: str, kind: str) -> tuple[Path, Path]:
    """A certificate for the API server: what it should be, or one way in which it may be wrong.

    The authority of "other-ca" is made anew: DIR/ca-next.crt, which a rotation makes the right one.
    """
    if kind == "good":
        return make_server_cert(directory, address)
    if kind == "other-ca":
        make_ca(directory, "ca-next")
        return make_server_cert(directory, address, "apiserver-next", "ca-next")
    if kind == "self-signed":
        cert = make_ca(directory, "self-signed")
        return cert, cert.with_suffix(".key")
    request = Request("kube-apiserver", f"IP:{address}")
    if kind == "expired":
        request.days = -1
    elif kind == "wrong-name":
        request.names = "IP:192.0.2.1,DNS:kubernetes"
    elif kind == "sha1":
        request.digest = "sha1"
    elif kind == "weak-key":
        request.key = "rsa:1024"
    else:
        raise ValueError(f"certificate {kind!r} is none of {' '.join(SERVER_CERTS)}")
    return issue(directory, f"apiserver-{kind}", directory / "ca.crt", request)


def server_context(cert: Path, key: Path, weak: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if weak:                         # OpenSSL refuses to show it without this
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
