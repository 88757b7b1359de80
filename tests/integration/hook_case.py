# SPDX-License-Identifier: Apache-2.0
"""What the tests of muster-hook share: real servers, each PID 1 of its namespace, and an agent that is played."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MUSTER_BUILD", os.path.join(REPO, "build", "dev"))
PROGRAMS = [os.path.join(BUILD, "bin", name) for name in ("muster-hook", "muster-hook-native")]
PORT = int(os.environ.get("MUSTER_TEST_PORT", "20400"))
ME = "a" * 40
PEER = "b" * 40
REPLICA = "c" * 40


def server_path(name):
    script = os.path.join(REPO, "tests", "lib", "server.sh")
    return subprocess.run([script, name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def wait_until(what, condition, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


def read(path):
    with open(path) as f:
        return f.read()


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def redis(port, *words):
    """One command by RESP, the reply's bytes."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words))
        reply = b""
        while True:
            reply += s.recv(65536)
            if reply.startswith((b"+", b"-", b":")) and reply.endswith(b"\r\n"):
                return reply.decode()
            if reply.startswith((b"$", b"*")) and len(reply) > 4 and not more_follows(s):
                return reply.decode()


def more_follows(s):
    s.settimeout(0.1)
    try:
        return bool(s.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        s.settimeout(5)


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(10)
        self.bytes = b""

    def message(self):
        while b"\n\n" not in self.bytes:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError("the hook closed the connection")
            self.bytes += more
        text, self.bytes = self.bytes.split(b"\n\n", 1)
        first, *lines = text.decode().split("\n")
        facts = {}
        for line in lines:
            key, value = line.split("=", 1)
            facts.setdefault(key, []).append(value)
        return first, facts

    def say(self, verdict, *lines):
        self.sock.sendall("\n".join([f"muster-agent/1 {verdict}", *lines, "", ""]).encode())

    def ended(self, seconds):
        """Seconds until the other side's end, None if it did not come."""
        start = time.monotonic()
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return None
        return time.monotonic() - start

    def close(self):
        self.sock.close()


class Agent:
    """The agent's socket; the test itself gives the answers."""

    def __init__(self, path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.listener.settimeout(10)

    def accept(self):
        return Connection(self.listener.accept()[0])

    def close(self):
        self.listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


class Process:
    """A program in a PID namespace of its own; `pid` is its PID 1 as seen from here."""

    def __init__(self, words, **kwargs):
        self.log = tempfile.NamedTemporaryFile("w+", prefix="hook-log-")
        self.outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", *words],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, **kwargs)
        children = f"/proc/{self.outer.pid}/task/{self.outer.pid}/children"
        self.pid = int(wait_until("unshare forks", lambda: read(children).split())[0])

    def text(self):
        return read(self.log.name)

    def wait_text(self, what, seconds=10.0):
        try:
            return wait_until(what, lambda: re.search(what, self.text()), seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.text()}") from None

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=10.0):
        """The exit code of PID 1, as unshare passes it on."""
        return self.outer.wait(seconds)

    def stop(self):
        if self.outer.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self.outer.wait(10)
        self.log.close()


class HookTest(unittest.TestCase):
    program = PROGRAMS[0]
    server_name = "redis-7.0"

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="muster-hook-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.socket = os.path.join(self.dir, "run", "agent.sock")
        self.data = os.path.join(self.dir, "data")
        os.mkdir(os.path.dirname(self.socket))
        os.mkdir(self.data)
        self.server = server_path(self.server_name)
        self.assertFalse(listens(PORT), f"port {PORT} is in use")

    def agent(self):
        agent = Agent(self.socket)
        self.addCleanup(agent.close)
        return agent

    def arguments(self, *more):
        return [self.server, "--port", str(PORT), "--cluster-enabled", "yes", "--dir", self.data,
                "--protected-mode", "no", "--save", "", *more]

    def start(self, *command, options=()):
        process = Process([self.program, "start", "--socket", self.socket, *options, "--",
                           *(command or self.arguments())])
        self.addCleanup(process.stop)
        return process

    def run_quickly(self, *words):
        """In less than two seconds, once of three times: other tests run beside this one."""
        for _ in range(3):
            done = self.run_hook(*words)
            if done.seconds < 2:
                return done
        raise AssertionError(f"{words} took {done.seconds:.1f} s")

    def run_hook(self, *words, timeout=10):
        start = time.monotonic()
        done = subprocess.run([self.program, *words, "--socket", self.socket], timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        done.seconds = time.monotonic() - start
        return done

    def write_nodes(self, flags="myself,master", slots="0-5460", owner=None):
        """A nodes.conf with a peer and a replica of it at addresses of the past, in the server's own form."""
        primary = "-" if "master" in flags else PEER

        def aux(shard):
            return "" if self.server_name == "redis-7.0" else f",,tls-port=0,shard-id={shard * 40}"

        own = "1" if primary == "-" else "2"
        lines = [f"{ME} 127.0.0.1:{PORT}@{PORT + 10000}{aux(own)} {flags} {primary} 0 0 1 connected {slots}".rstrip(),
                 f"{PEER} 192.0.2.7:6379@16379{aux('2')} master - 0 0 2 connected 10923-16383",
                 f"{REPLICA} 192.0.2.8:6379@16379{aux('2')} slave {PEER} 0 0 2 connected",
                 "vars currentEpoch 2 lastVoteEpoch 0", ""]
        path = os.path.join(self.data, "nodes.conf")
        with open(path, "w") as f:
            f.write("\n".join(lines))
        os.chmod(path, 0o640)
        if owner:
            os.chown(path, *owner)
        return path

    def copies(self):
        return sorted(name for name in os.listdir(self.data) if ".muster-" in name)

    def go(self, agent, *lines):
        """Answers the next start; the connection is the life line."""
        connection = agent.accept()
        self.addCleanup(connection.close)
        first, facts = connection.message()
        self.assertEqual(first, "muster-hook/1 start")
        connection.say("go", *lines)
        return connection, facts

    def make_data(self, *more):
        """A real primary of all slots with a key, shut down in order."""
        process = subprocess.Popen(self.arguments(*more), stdout=subprocess.DEVNULL)
        try:
            wait_until("the server listens", lambda: listens(PORT))
            redis(PORT, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            wait_until("a key is written", lambda: redis(PORT, "SET", "key", "value") == "+OK\r\n")
            if "appendonly" not in more and "--appendonly" not in more:
                redis(PORT, "SAVE")
        finally:
            process.terminate()
            process.wait(10)


def main():
    if os.getuid() != 0:
        sys.exit("the tests of muster-hook need root: each server is PID 1 of a namespace")
    unittest.main(verbosity=2)
