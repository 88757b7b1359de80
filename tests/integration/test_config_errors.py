#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A wrong configuration ends the agent at once, in words, before it reaches for anything.

The keys come from `muster agent --help-config`, so a new key is tried without being named here.
Each gets values that its kind does not allow, from the file and from the environment, and must say
where (FILE:LINE or the variable), which key, what it was given and what is allowed, and exit with 2.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import REPO, MusterTestCase, main  # noqa: E402

CPU_SECONDS = 0.8       # of one process, with sanitizers
WALL_SECONDS = 1.0      # the promise; judged by the median, as other tests run beside this one
IDENTITY = {"POD_NAME": "muster-0", "POD_NAMESPACE": "lab", "POD_UID": "a-uid",
            "POD_IP": "127.0.0.1"}
SHOWN_MAX = 63          # of a value in a message
KEY = re.compile(r"^(\S+) +(MUSTER_\S+) +default (\S+) +(.+)$")


def binary() -> Path:
    named = os.environ.get("MUSTER_BUILD")
    for place in [Path(named)] if named else [REPO / "build/dev", REPO / "build/release"]:
        for path in (place / "muster", place / "bin/muster"):
            if path.exists():
                return path
    raise AssertionError("no muster: set MUSTER_BUILD")


@dataclass
class Ended:
    code: int
    text: str           # of standard error
    output: str
    wall: float
    cpu: float


@dataclass
class Key:
    """A row of --help-config."""

    name: str
    variable: str
    fallback: str
    allowed: str

    @property
    def kind(self) -> str:
        for kind, pattern in (("number", r"a whole number from"), ("bool", r"true or false$"),
                              ("word", r"one of "), ("path", r"an absolute path "),
                              ("address", r"a literal IPv4 or IPv6 address$"),
                              ("list", r"a list of ")):
            if re.match(pattern, self.allowed):
                return kind
        return "text"

    def good(self) -> str:
        """A value that is allowed, as YAML."""
        return "[]" if self.kind == "list" else f'"{self.fallback.strip(chr(34))}"' \
            if self.kind in ("text", "path", "address") else self.fallback

    def yaml(self, value: str) -> tuple[str, int]:
        """A file that gives the key this value, and the line the value is on."""
        parts = self.name.split(".")
        lines = ["# a comment", ""]
        lines += ["  " * i + part + ":" for i, part in enumerate(parts)]
        lines[-1] += " " + value
        return "\n".join(lines) + "\n", len(lines)


@dataclass
class Bad:
    """A value that is refused: as YAML, as text (None: only a file can say it), and as shown."""

    yaml: str
    text: Optional[str] = None
    shown: Optional[str] = None     # None: any

    @classmethod
    def plain(cls, text: str) -> "Bad":
        return cls(text, text, text[:SHOWN_MAX])

    @classmethod
    def quoted(cls, text: str) -> "Bad":
        escaped = "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}"
                          for c in text)
        shown = "".join(c if " " <= c <= "~" else "?" for c in text)
        raw = "".join("?" * len(c.encode()) if c > "~" else s for c, s in zip(text, shown))
        return cls(f'"{escaped}"', None if "\0" in text else text, raw[:SHOWN_MAX])


ANYWHERE = [
    Bad("", None, "no value"), Bad("null", None, "null"), Bad("{a: b}", None, "a mapping"),
    Bad.quoted("a\nb"), Bad.quoted("a\0b"), Bad.quoted("\x1b[31mred"), Bad.quoted("a\u00e9\u4e2d"),
    Bad.quoted("x" * 5000),
]
NOT_A_LIST = [Bad("[a, b]", None, "a list")]
OF_KIND = {
    "number": [Bad.plain(v) for v in (
        "-0", "1.5", "1e3", "0x10", "015", "5s", "15m", "1_0", "10 0", "+5", "NaN", "true",
        "99999999999999999999999", "-99999999999999999999999")] +
    [Bad('"6"', None, "6"), Bad("", " 6", None)],
    "bool": [Bad.plain(v) for v in ("yes", "on", "1", "True", "FALSE", "tru")] +
    [Bad('"true"', None, "true")],
    "word": [Bad.plain(v) for v in ("nonsense", "1")],
    "path": [Bad.plain(v) for v in ("relative/path", "~/file", "/" + "x" * 256)],
    "address": [Bad.plain(v) for v in (
        "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4:80", "01.2.3.4", "1.2.3.4/8")] +
    [Bad('"[1.2.3.4]"', "[1.2.3.4]", "[1.2.3.4]"), Bad('"::g"', "::g", "::g"),
     Bad('"fe80::1%lo"', "fe80::1%lo", "fe80::1%lo")],
    "list": [Bad("host:1", None, "a single value"), Bad("{a: b}", None, "a mapping"),
             Bad("[[a]]", None, "a nested value")] +
    [Bad(f'["{v}"]', v, v) for v in ("host", "host:0", "host:65536", ":1", "a b:1", "host:55536",
                                     "host:-1", "[::1:6379")] +
    [Bad('["h:1", "h:1"]', "h:1,h:1", "h:1")],
    "text": [],
}
OF_KEY = {
    "kubernetes.apiServer": [Bad(f'"{v}"', v, v) for v in (
        "10.0.0.1:443", "http://10.0.0.1", "https://name.example", "ftp://127.0.0.1",
        "https://127.0.0.1:0", "https://127.0.0.1:65536", "https://u:p@127.0.0.1",
        "https://127.0.0.1/path", "https://127.0.0.1#a", "https://[::1", "https://")],
    "redis.port": [Bad.plain("55536")],      # its cluster bus would listen above 65535
    "dns.port": [Bad.plain("55536")],
}


def bad_values(key: Key) -> Iterator[Bad]:
    if key.kind == "list":
        yield Bad("", None, "a single value")
        yield from (Bad(f"[{bad.yaml}]", bad.text, bad.shown) for bad in ANYWHERE
                    if bad.yaml.startswith('"'))
    else:
        yield from ANYWHERE
        yield from NOT_A_LIST
    yield from OF_KIND[key.kind]
    yield from OF_KEY.get(key.name, [])
    if key.kind == "number":
        low, high = re.findall(r"-?\d+", key.allowed)[:2]
        yield Bad.plain(str(int(low) - 1))
        yield Bad.plain(str(int(high) + 1))
    if key.kind == "word":
        first = key.allowed[len("one of "):].split(", ")[0]
        yield Bad.plain(first.upper())
        yield Bad.plain(first[:-1])
        yield Bad.quoted(first + " ")


class Listener:
    """Counts who connects: nobody should."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connects = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.connects += 1


class ConfigCase(MusterTestCase):
    timeout = 600

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(tempfile.mkdtemp(prefix="mce-", dir="/tmp"))
        cls.directory.chmod(0o755)
        cls.muster = cls.directory / "muster"
        shutil.copy(binary(), cls.muster)        # where another user may run it
        cls.listener = Listener()
        cls.environment = {
            **IDENTITY, "PATH": "/usr/bin:/bin", "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(cls.listener.port),
            "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1",
            "MUSTER_HOOK_SOCKET": str(cls.directory / "agent.sock"),
            "MUSTER_REDIS_PORT": str(cls.listener.port),
            "MUSTER_HTTP_ADDRESS": "127.0.0.1", "MUSTER_HTTP_PORT": "27490",
        }
        rows = (KEY.match(line) for line in cls.run_muster(["--help-config"]).output.splitlines())
        cls.keys = [Key(*row.groups()) for row in rows if row]
        cls.walls: list[float] = []

    @classmethod
    def tearDownClass(cls) -> None:
        cls.listener.socket.close()
        shutil.rmtree(cls.directory, ignore_errors=True)

    @classmethod
    def run_muster(cls, words: list[str], change: Optional[dict[str, Optional[str]]] = None,
                   **options: Any) -> Ended:
        environment = dict(cls.environment)
        for name, value in (change or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        begin = time.monotonic()
        process = subprocess.Popen([str(cls.muster), "agent", *words], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, **options)
        timer = threading.Timer(20, process.kill)
        timer.start()
        assert process.stdout and process.stderr
        with process.stdout, process.stderr:
            output, text = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(process.returncode, text.decode(errors="backslashreplace"),
                     output.decode(errors="replace"), time.monotonic() - begin,
                     usage.ru_utime + usage.ru_stime)

    def file(self, text: str) -> Path:
        handle, name = tempfile.mkstemp(prefix="c", dir=self.directory)
        os.write(handle, text.encode())
        os.close(handle)
        os.chmod(name, 0o644)
        return Path(name)

    def judge(self, what: str, ended: Ended, words: list[str], code: int = 2) -> list[str]:
        """What is wrong with this end; a list, so that one run shows all."""
        self.walls.append(ended.wall)
        wrong = []
        if ended.code != code:
            wrong.append(f"exit {ended.code}")
        if ended.text.count("\n") != 1 or not ended.text.endswith("\n"):
            wrong.append("not one line")
        if not re.fullmatch(r"[\n -~]*", ended.text):
            wrong.append("not plain text")
        if ended.cpu > CPU_SECONDS:
            wrong.append(f"{ended.cpu:.2f} s of CPU")
        wrong += [f"does not say {word!r}" for word in words if word not in ended.text]
        return [f"{what}: {', '.join(wrong)}: {ended.text[:300]!r}"] if wrong else []

    def judge_all(self, cases: list[tuple[str, list[str], dict[str, Optional[str]], list[str]]],
                  ) -> None:
        """Each case: its name, the arguments, changes of the environment, words of the message."""
        def one(case: tuple[str, list[str], dict[str, Optional[str]], list[str]]) -> list[str]:
            name, args, change, words = case
            return self.judge(name, self.run_muster(args, change), words)
        self.assertTrue(cases)
        connects = self.listener.connects
        with ThreadPoolExecutor(2) as pool:
            wrong = [line for lines in pool.map(one, cases) for line in lines]
        self.assertEqual(len(wrong), 0, f"of {len(cases)}:\n" + "\n".join(wrong))
        self.assertEqual(self.listener.connects, connects, "nothing is contacted")
        self.assertFalse((self.directory / "agent.sock").exists(), "no socket was made")
        self.assertLess(statistics.median(self.walls), WALL_SECONDS)
        print(f"{len(cases)} configurations refused, median {statistics.median(self.walls):.3f} s")


class Values(ConfigCase):
    def test_the_table_has_keys_of_every_kind(self) -> None:
        self.assertGreaterEqual(len(self.keys), 33)
        self.assertEqual({key.kind for key in self.keys},
                         {"number", "bool", "word", "path", "address", "list", "text"})

    def test_every_key_refuses_bad_values_from_the_file(self) -> None:
        cases = []
        for key in self.keys:
            for bad in bad_values(key):
                text, line = key.yaml(bad.yaml)
                path = self.file(text)
                where = f"{path}:{line}: {key.name}: "
                cases.append((f"{key.name}: {bad.yaml[:40]}", ["--config", str(path)], {},
                              [where + (f"{bad.shown}: " if bad.shown else ""), key.allowed]))
        self.judge_all(cases)

    def test_every_variable_refuses_bad_values(self) -> None:
        cases: list[tuple[str, list[str], dict[str, Optional[str]], list[str]]] = []
        for key in self.keys:
            for bad in bad_values(key):
                if bad.text is not None:
                    cases.append((f"{key.variable}={bad.text[:40]!r}", [],
                                  {key.variable: bad.text},
                                  [f"{key.variable}: {bad.shown or ''}", key.allowed]))
        self.judge_all(cases)

    def test_a_key_given_twice_is_refused(self) -> None:
        cases = []
        for key in self.keys:
            text, line = key.yaml(key.good())
            path = self.file(text + text.splitlines()[-1] + "\n")
            cases.append((key.name, ["--config", str(path)], {},
                          [f"{path}:{line + 1}: {key.name}: given twice"]))
        self.judge_all(cases)

    def test_an_unknown_key_is_refused_beside_every_key(self) -> None:
        cases: list[tuple[str, list[str], dict[str, Optional[str]], list[str]]] = []
        sections = sorted({key.name.rpartition(".")[0] for key in self.keys})
        for section in sections:
            name = f"{section}.nonsense".lstrip(".")
            text, line = Key(name, "", "", "").yaml("1")
            path = self.file(text)
            cases.append((name, ["--config", str(path)], {},
                          [f"{path}:{line}: {name}: unknown key; known here:"]))
        for key in self.keys:
            variable = key.variable + "S"
            cases.append((variable, [], {variable: "secret"}, [f"{variable}: unknown variable"]))
        self.judge_all(cases)

    def test_keys_that_need_each_other_are_missed(self) -> None:
        self.judge_all([
            ("dns without a name", [], {"MUSTER_DISCOVERY": "dns"}, ["dns.name: needed"]),
            ("static without peers", [], {"MUSTER_DISCOVERY": "static"}, ["static.peers: needed"]),
            ("a user without a password", [], {"MUSTER_REDIS_USERNAME": "u"},
             ["redis.passwordFile: needed with redis.username"]),
            ("a certificate without its key", [], {"MUSTER_REDIS_TLS_CERTFILE": "/c"},
             ["redis.tls.certFile, redis.tls.keyFile: both or neither"]),
        ])


class Files(ConfigCase):
    def refused(self, text: str, *words: str) -> tuple[str, list[str], dict[str, Optional[str]],
                                                       list[str]]:
        path = self.file(text)
        return text[:40], ["--config", str(path)], {}, [f"{path}", *words]

    def test_what_is_not_our_yaml_is_refused(self) -> None:
        bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, "
                                         f"*{chr(97 + i)}]\n" for i in range(20))
        self.judge_all([
            self.refused(bomb, "unknown key"),
            self.refused("redis: &a {port: 6379}\n", ":1: anchors and tags are not allowed"),
            self.refused("redis: *a\n", ":1: ", "aliases are not allowed"),
            self.refused("redis: !!python/object {port: 1}\n", "anchors and tags"),
            self.refused("redis:\n  port: &x 6379\n", ":2: anchors and tags"),
            self.refused("[" * 20000, ":1: ", "not a mapping"),
            self.refused("redis: " + "{a: " * 5000, ":1: ", "unknown key"),
            self.refused("redis: " + "[" * 20000, ":1: redis: a list"),
            self.refused("redis: {port: 6379\n", ":1: not YAML"),
            self.refused("redis:\n\tport: 6379\n", ":2: not YAML"),
            self.refused("just text\n", ":1: not a mapping"),
            self.refused("--- {}\n--- {}\n", ":2: only one document"),
            self.refused("log: {level: info}\n\nredis: {port: 1}\nlog: {format: json}\n",
                         ":4: log: given twice"),
            self.refused("? [a, b]\n: c\n", "unknown key"),
            self.refused("x" * 10_000_000, "longer than 65536 bytes"),
            self.refused("# " + "x" * 70000, "longer than 65536 bytes"),
        ])

    def test_bytes_that_are_no_text_are_refused(self) -> None:
        cases: list[tuple[str, list[str], dict[str, Optional[str]], list[str]]] = []
        for name, data in (("nul", b"redis: {port: 1\0}\n"), ("utf8", b"redis: {port: \xff}\n"),
                           ("utf16", "redis: {port: 1}".encode("utf-16"))):
            path = self.directory / f"{name}.yaml"
            path.write_bytes(data)
            cases.append((name, ["--config", str(path)], {}, [f"{path}:1: not YAML"]))
        self.judge_all(cases)

    def test_a_file_that_cannot_be_read_is_named(self) -> None:
        pipe = self.directory / "pipe"
        os.mkfifo(pipe)
        self.judge_all([
            ("missing", ["--config", "/nowhere/a.yaml"], {}, ["/nowhere/a.yaml: No such file"]),
            ("directory", ["--config", str(self.directory)], {}, ["Is a directory"]),
            ("endless", ["--config", "/dev/zero"], {}, ["/dev/zero: not a regular file"]),
            ("pipe", ["--config", str(pipe)], {}, [f"{pipe}: not a regular file"]),
        ])
        closed = self.file("redis: {port: 6379}\n")
        closed.chmod(0)
        ended = self.run_muster(["--config", str(closed)], user=65534, group=65534,
                                extra_groups=[])
        self.assertEqual(self.judge("closed", ended, [f"{closed}: Permission denied"]), [])


class Surroundings(ConfigCase):
    def test_who_i_am_is_checked(self) -> None:
        cases: list[tuple[str, list[str], dict[str, Optional[str]], list[str]]] = []
        for name in IDENTITY:
            for value in (None, ""):
                cases.append((f"{name}={value}", [], {name: value},
                              [f"{name} is not set: give it by the downward API"]))
        wrong = {
            "POD_NAME": ["Upper-0", "a_b", "..", "-a", "a" * 300, "a\nlevel=error", "\x1b[2J",
                         "\u00e9"],
            "POD_NAMESPACE": ["a.b", "../..", "a/b", "x" * 64, "a\nb"],
            "POD_UID": ["x" * 200, "a b", "a\nb", '"', "\u00e9"],
            "POD_IP": ["localhost", "1.2.3.4 ", "1.2.3", "::1%lo", "[::1]", "1.2.3.4\n", "x" * 300],
        }
        for name, values in wrong.items():
            cases += [(f"{name}={value!r}", [], {name: value}, [f"{name}: "]) for value in values]
        self.judge_all(cases)

    def test_arguments_that_nobody_knows_are_refused(self) -> None:
        for words in (["--confg", "x"], ["--config"], ["start"], ["--config", "/x", "y"]):
            ended = self.run_muster(words)
            self.assertEqual(ended.code, 2, ended)
            self.assertIn(f"muster agent: {words[-1] if len(words) > 2 else words[0]}: "
                          "not understood", ended.text)

    def test_a_port_that_is_taken_is_named(self) -> None:
        port = str(self.listener.port)
        ended = self.run_muster([], {"MUSTER_HTTP_PORT": port, "MUSTER_REDIS_PORT": None})
        self.assertEqual(self.judge("taken", ended, ["cannot-start", f"127.0.0.1 port {port}",
                                                     "Address already in use"], code=1), [])

    def test_without_an_api_server_it_says_what_to_set(self) -> None:
        ended = self.run_muster([], {"KUBERNETES_SERVICE_HOST": None})
        self.assertEqual(self.judge("no API server", ended, [
            "neither kubernetes.apiServer nor KUBERNETES_SERVICE_HOST is set"], code=1), [])
        for host in ("name.example", "1.2.3", "a b"):
            ended = self.run_muster([], {"KUBERNETES_SERVICE_HOST": host})
            self.assertEqual(self.judge(host, ended, ["literal address"], code=1), [])

    def test_a_path_that_is_too_long_for_a_socket_is_refused(self) -> None:
        long = "/" + "x" * 107
        self.judge_all([("hook.socket", [], {"MUSTER_HOOK_SOCKET": long},
                         ["MUSTER_HOOK_SOCKET: ", "at most 107 bytes"])])


if __name__ == "__main__":
    main()
