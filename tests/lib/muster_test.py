# SPDX-License-Identifier: Apache-2.0
"""What integration tests share: a lab that is always torn down, and waiting with a reason.

    class Formation(MusterTestCase):
        timeout = 120

        def test_six_pods_form(self) -> None:
            with Lab(pods=6, server="redis-7.0") as lab:
                lab.up()
                lab.kill("muster-0")
                self.wait_until(lambda: lab.status()["formed"], 30, "formed again")

A promise that holds on several servers names them (on_servers), the one of the default tier first.

When a test fails, the ends of the lab's logs are printed before the lab goes. Needs root.
MUSTER_BUILD says which binaries run; MUSTER_TEST_KEEP=1 leaves a failed lab's files. SERVERS is
`first`, the default; `rest`, the other servers and no test that names none; or `all` of them.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import functools
import importlib.machinery
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import unittest
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Union

REPO = Path(__file__).resolve().parents[2]
LAB = REPO / "tests/lab/lab"
sys.path.insert(0, str(REPO / "tests/lab"))

import resp  # noqa: E402
from access import Access  # noqa: E402

_FILE = importlib.machinery.SourceFileLoader("lab_cli", str(LAB))
CLI: Any = types.ModuleType(_FILE.name)
CLI.__file__ = _FILE.path
_FILE.exec_module(CLI)
PARSER = CLI.make_parser()
LOG_TAIL_LINES = 60
CLIENT_PORT = 6379


class LabError(AssertionError):
    """A lab command failed; the message is its reason."""


class Timeout(BaseException):
    """The time of a whole test is over; not an Exception, so that nothing swallows it."""


def wait_until(check: Callable[[], Any], timeout: float, what: str = "the condition",
               period: float = 0.2) -> Any:
    """Call `check` until it returns something true, and return that; AssertionError at the end.

    A RespError or LabError in `check` counts as "not yet" and is named if it was the last word.
    """
    end, last = time.monotonic() + timeout, ""
    while True:
        try:
            value = check()
            if value:
                return value
            last = ""
        except (resp.RespError, LabError) as error:
            last = f" (last: {error})"
        if time.monotonic() >= end:
            raise AssertionError(f"{what} did not come true within {timeout:g} s{last}")
        time.sleep(period)


def on_servers(*servers: Any, first: int = 1) -> Callable[[Any], Any]:
    """A test that is given the name of a server, or a class of tests that finds it as self.server.

    The `first` of them are the default tier's, the others are for the tier `versions`: see SERVERS.
    A test runs on its servers side by side, a class on one after another. Where more than the server
    changes, each of `servers` is a tuple that names one.
    """
    parts = {"first": servers[:first], "rest": servers[first:], "all": servers}
    names = parts[os.environ.get("SERVERS", "first")]

    def decorate(what: Any) -> Any:
        if isinstance(what, type):
            setattr(what, "servers", names)
            setattr(what, "server", (names or servers)[0])
            return what

        @functools.wraps(what)
        def run(self: MusterTestCase) -> None:
            self.at_once(lambda server: what(self, server), *(names or servers))
        setattr(run, "servers", names)
        return run
    return decorate


def _option(name: str, value: Any) -> list[str]:
    """pods=6 -> --pods 6; volumes=False -> --volumes no; ordered=True -> --ordered"""
    flag = "--" + name.replace("_", "-")
    if name == "volumes" and isinstance(value, bool):
        return [flag, "yes" if value else "no"]
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, str(value)]


class Lab:
    """One lab, driven through its command line; options are `lab up`'s, with underscores."""

    def __init__(self, build: Union[str, Path, None] = None,
                 settings: Optional[dict[str, Any]] = None, under: Sequence[str] = (),
                 **options: Any) -> None:
        """`under`: a command line that takes another; all of the lab's processes are its children."""
        self.directory = Path(tempfile.mkdtemp(prefix="mlt-", dir="/tmp"))
        self.state = self.directory / "lab"
        self._settings, self._options = settings or {}, options
        self._env = dict(os.environ)
        if build is not None:
            self._env["MUSTER_BUILD"] = str(build)
        self._under = list(under)
        self._started = False
        self.access = Access(self.state)     # to the servers: for resp.command() and the like

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, kind: Any, _value: Any, _trace: Any) -> None:
        failed = kind is not None
        if failed and self._started:
            self.dump()
        keep = failed and bool(os.environ.get("MUSTER_TEST_KEEP"))
        self.down(keep)
        if keep:
            print(f"kept: {self.state}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def up(self, wait: str = "formed", timeout: float = 120) -> "Lab":
        args = ["--wait", wait, "--timeout", f"{timeout:g}"]
        for name, value in self._options.items():
            args += _option(name, value)
        for key, value in self._settings.items():
            shown = str(value).lower() if isinstance(value, bool) else value
            args += ["--set", f"{key}={shown}"]
        self._started = True
        self.run("up", *args, timeout=timeout + 60)
        return self

    def down(self, keep: bool = False) -> None:
        if self._started and (self.state / "config.json").exists():
            control = self.state / "control.sock"
            with socket.socket(socket.AF_UNIX) as probe:     # a test may have killed the daemon
                runs = probe.connect_ex(str(control)) == 0
            if runs:
                self._ask("down", {}, 60)
                wait_until(lambda: not control.exists(), 30, "the end of the daemon", 0.02)
            if not keep:
                shutil.rmtree(self.state)
        self._started = False

    def run(self, command: str, *args: Any, timeout: float = 300) -> str:
        """One subcommand; its output. LabError with the lab's reason when it fails."""
        words = [str(LAB), "--state", str(self.state), command, *map(str, args)]
        if command == "up":
            words = self._under + words
        done = subprocess.run(words, env=self._env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, check=False)
        if done.returncode != 0:
            raise LabError(f"lab {command} {' '.join(map(str, args))}: "
                           f"{done.stderr.strip() or done.returncode}")
        return done.stdout

    def ask(self, command: str, **args: Any) -> Any:
        """As the command line does, without starting it: tests look a hundred times."""
        return self._ask(command, args)

    def _ask(self, command: str, args: dict[str, Any], limit: float = 300) -> Any:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(limit)
            try:
                client.connect(str(self.state / "control.sock"))
                client.sendall(json.dumps({"command": command, "args": args}).encode() + b"\n")
                answer = json.loads(client.makefile().readlines()[-1])
            except TimeoutError as error:
                raise LabError(f"lab {command}: no answer for {limit:g} s") from error
            except (OSError, IndexError) as error:
                raise LabError(f"lab {command}: no lab is running in {self.state}") from error
        if "error" in answer:
            raise LabError(f"lab {command}: {answer['error']}")
        return answer["result"]

    def _do(self, command: str, *args: Any, timeout: float = 300) -> Any:
        """Like run() for a command that is the daemon's alone; its result."""
        parsed = PARSER.parse_args([command, *map(str, args)])
        assert parsed.function is CLI.cmd_simple, command
        return self._ask(command, CLI.simple_arguments(parsed), timeout)

    def _change(self, command: str, *args: Any, wait: bool = True, timeout: float = 180) -> None:
        more = ["--timeout", f"{timeout:g}"] + ([] if wait else ["--no-wait"])
        self._do(command, *args, *more, timeout=timeout + 30)

    # -- changing --------------------------------------------------------------------------------

    def wait(self, state: str, timeout: float = 120) -> None:
        """Wait until "formed", "ready" or "running"."""
        self._do("wait", state, "--timeout", f"{timeout:g}", timeout=timeout + 30)

    def scale(self, replicas: int, **options: Any) -> None:
        self._change("scale", replicas, **options)

    def roll(self, server: Optional[str] = None, **options: Any) -> None:
        if server:
            CLI.server_program(server)
        self._change("roll", *(["--server", server] if server else []), **options)

    def delete_set(self, orphan: bool = False, **options: Any) -> None:
        self._change("delete-set", *(["--orphan"] if orphan else []), **options)

    def create_set(self, **options: Any) -> None:
        self._change("create-set", **options)

    def kill(self, pod: str, container: str = "redis", number: int = 9, **options: Any) -> None:
        self._change("kill", pod, "--container", container, "--signal", number, **options)

    def pause(self, pod: str, container: Optional[str] = None) -> None:
        self._do("pause", pod, *(["--container", container] if container else []))

    def resume(self, pod: str, container: Optional[str] = None, **options: Any) -> None:
        self._change("resume", pod, *(["--container", container] if container else []), **options)

    def delete(self, *pods: str, grace: Optional[int] = None, **options: Any) -> None:
        self._pods("delete", pods, grace, options)

    def readdress(self, *pods: str, grace: Optional[int] = None, swap: bool = False,
                  **options: Any) -> None:
        self._pods("readdress", pods, grace, options, ["--swap"] if swap else [])

    def _pods(self, command: str, pods: tuple[str, ...], grace: Optional[int],
              options: dict[str, Any], more: Sequence[str] = ()) -> None:
        """No pod named: all of them."""
        args = [*(pods or ("--all",)), *(["--grace", grace] if grace is not None else []), *more]
        self._change(command, *args, **options)

    def hold(self, pod: str) -> None:
        """Its next sandbox is not made before release(): Pending, without an address."""
        (self.state / "pods" / pod / "hold").touch()

    def release(self, pod: str) -> None:
        (self.state / "pods" / pod / "hold").unlink()

    def lose_volume(self, *pods: str, **options: Any) -> None:
        """No pod named: all of them."""
        self._change("lose-volume", *(pods or ("--all",)), **options)

    def drain_node(self, node: str, **options: Any) -> None:
        self._change("drain-node", node, **options)

    def lose_node(self, node: str) -> list[str]:
        pods: list[str] = self._do("lose-node", node)
        return pods

    def return_node(self, node: str, **options: Any) -> None:
        self._change("return-node", node, **options)

    def partition(self, *pods: str, api: bool = False) -> None:
        self._do("partition", *pods, *(["--api"] if api else []))

    def heal(self) -> None:
        self._do("heal")

    def api(self, action: str, spec: Optional[str] = None) -> Any:
        """down, cut, up, compact, rotate-tokens, stats; fault with a SPEC or "clear"."""
        return self._do("api", action, *([spec] if spec else []))

    def dns(self, spec: str) -> None:
        """How the lab's name server answers from now on (tests/lab/dns.py)."""
        self._do("dns", spec)

    # -- the load --------------------------------------------------------------------------------

    def load_start(self, **options: Any) -> None:
        args = [word for name, value in options.items() for word in _option(name, value)]
        self.run("load", "start", *args)

    def load_stop(self) -> None:
        self.run("load", "stop")

    def load_report(self, timeout: float = 60) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(
            self.run("load", "report", "--timeout", f"{timeout:g}", timeout=timeout + 60))
        return report

    # -- seeing ----------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("status")
        return status

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods of `lab status --json`, by name."""
        return {p["name"]: p for p in self.status()["pods"]}

    def address(self, pod: str) -> str:
        ip: str = self.get("pods", pod)["status"].get("podIP", "")
        if not ip:
            raise LabError(f"{pod} has no address")
        return ip

    def redis(self, pod: str, *words: resp.Argument, timeout: float = 5.0) -> Any:
        """A command to a pod's server. Replies as RESP gives them: bytes, int, list, None, str."""
        return resp.command(self.address(pod), *words, port=CLIENT_PORT, timeout=timeout,
                            access=self.access)

    def text(self, pod: str, *words: resp.Argument) -> str:
        return resp.text(self.redis(pod, *words))

    def create(self, resource: str, obj: dict[str, Any]) -> None:
        self._do("create", resource, json.dumps(obj))

    def get(self, resource: str, name: Optional[str] = None) -> Any:
        """An API object (or all of a resource), as stored."""
        return self.ask("get", resource=resource, name=name)

    def muster(self, pod: str, *words: str,
               timeout: float = 30) -> "subprocess.CompletedProcess[str]":
        """`muster WORDS` in a pod's agent container; the exit code is the caller's to judge."""
        identity = self.ask("identity", pod=pod)
        return subprocess.run(
            ["muster", *words], executable=identity["program"], env=CLI.environment_in(identity),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=timeout, check=False)

    def muster_json(self, pod: str, *words: str) -> Any:
        done = self.muster(pod, *words, "--json")
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise LabError(f"muster {' '.join(words)} --json in {pod}: exit {done.returncode}, "
                           f"{done.stdout[:200]!r} {done.stderr[:200]!r}") from error

    def log(self, pod: str, container: str = "agent") -> str:
        path = self.state / "pods" / pod / "logs" / f"{container}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def dump(self) -> None:
        """The ends of all logs, and what the lab sees, on standard error."""
        out = sys.stderr
        print(f"\n--- lab {self.state}", file=out)
        try:
            print(self.run("status", timeout=20), file=out)
        except (LabError, subprocess.TimeoutExpired) as error:
            print(error, file=out)
        paths = [self.state / "daemon.log"] + sorted(self.state.glob("pods/*/logs/*.log"))
        for path in paths:
            if path.exists() and path.stat().st_size:
                print(f"--- {path.relative_to(self.state)}", file=out)
                lines = path.read_text(errors="replace").splitlines()
                print("\n".join(lines[-LOG_TAIL_LINES:]), file=out)
        out.flush()


class MusterTestCase(unittest.TestCase):
    """A test with a time limit of its own (`timeout`, in seconds)."""

    timeout: float = 180.0
    parallel = 4                 # at_once()
    maxDiff = None

    def setUp(self) -> None:
        def ring(_signal: int, _frame: Any) -> None:
            faulthandler.dump_traceback(all_threads=False)
            raise Timeout(f"{self.id()} took longer than {self.timeout:g} s")
        began = time.monotonic()
        self.addCleanup(lambda: print(f"({time.monotonic() - began:.1f} s)", end=" "))
        self._old = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self.timeout)
        self.addCleanup(signal.signal, signal.SIGALRM, self._old)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)

    def wait_until(self, check: Callable[[], Any], timeout: float, what: str = "the condition",
                   period: float = 0.2) -> Any:
        return wait_until(check, timeout, what, period)

    def at_once(self, one: Callable[[Any], None], *cases: Any) -> None:
        """The same with each of the cases, `parallel` at a time; for what mostly waits."""
        if len(cases) == 1:
            one(cases[0])
            return
        with concurrent.futures.ThreadPoolExecutor(self.parallel) as pool:
            running = [pool.submit(one, case) for case in cases]
            for case, future in zip(cases, running):
                with self.subTest(case=case):
                    future.result()


class _Loader(unittest.TestLoader):
    """Loads what SERVERS asks for."""

    def getTestCaseNames(self, testCaseClass: Any) -> list[str]:
        def wanted(name: str) -> bool:
            test = getattr(testCaseClass, name)
            servers = getattr(test, "servers", getattr(testCaseClass, "servers", None))
            return bool(servers) if servers is not None else os.environ.get("SERVERS") != "rest"
        return list(filter(wanted, super().getTestCaseNames(testCaseClass)))

    def loadTestsFromTestCase(self, testCaseClass: Any) -> unittest.TestSuite:
        load = super().loadTestsFromTestCase
        cases = [type(f"{testCaseClass.__name__}_{server}", (testCaseClass,),
                      {"server": server, "__module__": testCaseClass.__module__})
                 for server in getattr(testCaseClass, "servers", ())]
        return self.suiteClass(map(load, cases or [testCaseClass]))


def main() -> None:
    """Run the tests of the calling file; prints each with its time. None at all is a failure."""
    if os.geteuid() != 0:
        sys.exit("integration tests must run as root: the lab makes PID namespaces")
    result = unittest.main(verbosity=2, exit=False, testLoader=_Loader()).result
    if result.testsRun == len(result.skipped):
        sys.exit("no test ran")
    sys.exit(not result.wasSuccessful())
