#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The probes of muster-hook, and what is true of each server's version: addresses, settings, life line."""
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from hook_case import PEER, PORT, PROGRAMS, REPLICA, HookTest, listens, main, redis, wait_until

SERVERS = ("redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9")


class Probes(HookTest):
    def hold_lock(self):
        f = open(os.path.join(os.path.dirname(self.socket), "server.lock"), "w")
        self.addCleanup(f.close)
        fcntl.flock(f, fcntl.LOCK_EX)
        return f

    def answering(self, *answers):
        """Plays an agent that answers one request."""
        agent = self.agent()
        seen = []

        def serve():
            connection = agent.accept()
            seen.append(connection.message())
            for verdict, *lines in answers:
                connection.say(verdict, *lines)
                time.sleep(0.1)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return seen

    def write_ready(self, verdict, port):
        with open(os.path.join(os.path.dirname(self.socket), "ready"), "w") as f:
            f.write(f"muster-agent/1 {verdict}\nreason=as it was\nserver=127.0.0.1 {port}\n\n")

    def test_ready_says_what_the_agent_says(self):
        seen = self.answering(("ok", "reason=in sync"))
        self.assertEqual(self.run_hook("ready").returncode, 0)
        self.assertEqual(seen[0][0], "muster-hook/1 ready")
        self.answering(("no", "reason=the link is down"))
        done = self.run_hook("ready")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the link is down", done.stdout)

    def test_ready_of_a_silent_agent_is_the_last_verdict(self):
        with socket.socket() as server:
            server.bind(("127.0.0.1", PORT))
            server.listen()
            done = self.run_hook("ready")
            self.assertEqual(done.returncode, 1)
            self.assertIn("no earlier verdict", done.stdout)
            self.write_ready("ok", PORT)
            self.assertEqual(self.run_hook("ready").returncode, 0)
            # an agent that hangs: no answer within the probe's time
            self.agent()
            done = self.run_quickly("ready")
            self.assertEqual(done.returncode, 0)
            self.write_ready("no", PORT)
            done = self.run_hook("ready")
            self.assertEqual(done.returncode, 1)
            self.assertIn("as it was", done.stdout)
        self.write_ready("ok", PORT)
        done = self.run_quickly("ready")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Connection refused", done.stdout)

    def test_alive_is_the_lock(self):
        self.assertEqual(self.run_hook("alive").returncode, 1)
        lock = self.hold_lock()
        self.assertEqual(self.run_hook("alive").returncode, 0)
        lock.close()
        done = self.run_hook("alive")
        self.assertEqual(done.returncode, 1)
        self.assertIn("neither server nor gate", done.stdout)

    def test_alive_at_the_gate_and_with_the_server(self):
        agent = self.agent()
        process = self.start()
        connection = agent.accept()
        self.addCleanup(connection.close)
        connection.message()
        self.assertEqual(self.run_hook("alive").returncode, 0)
        connection.say("go")
        wait_until("the server listens", lambda: listens(PORT))
        self.assertEqual(self.run_hook("alive").returncode, 0)
        process.signal(signal.SIGKILL)
        process.wait()
        self.assertEqual(self.run_hook("alive").returncode, 1)

    def test_agent_answers_or_not(self):
        done = self.run_hook("agent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("agent.sock", done.stdout)
        self.answering(("no", "reason=there is no server"))
        self.assertEqual(self.run_hook("agent").returncode, 0)
        # one that hangs is no answer
        self.agent()
        self.assertEqual(self.run_quickly("agent").returncode, 1)

    def test_drain(self):
        seen = self.answering(("wait", "reason=handing over"), ("ok", "reason=nothing to drain yet"))
        done = self.run_hook("drain")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(seen[0][0], "muster-hook/1 drain")
        self.assertIn("handing over", done.stdout)
        self.assertIn("nothing to drain yet", done.stdout)
        self.answering(("no", "reason=not now"))
        done = self.run_hook("drain")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not now", done.stdout)

    def test_drain_of_a_silent_agent_ends(self):
        done = self.run_quickly("drain", "--silent-seconds", "1")
        self.assertEqual(done.returncode, 0)
        self.assertGreater(done.seconds, 0.9)
        self.assertIn("without a hand-over", done.stdout)
        self.agent()
        self.assertEqual(self.run_quickly("drain", "--silent-seconds", "1").returncode, 0)

    def test_install(self):
        target = os.path.join(self.dir, "bin")
        os.mkdir(target)
        for _ in range(2):
            done = subprocess.run([self.program, "install", target], stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 0)
            self.assertIn("protocol 1", done.stderr)
        installed = os.path.join(target, "muster-hook")
        self.assertEqual(os.stat(installed).st_mode & 0o7777, 0o755)
        self.assertEqual(os.listdir(target), ["muster-hook"])
        version = [subprocess.run([p, "--version"], stdout=subprocess.PIPE).stdout
                   for p in (installed, self.program)]
        self.assertEqual(version[0], version[1])
        done = subprocess.run([self.program, "install", os.path.join(self.dir, "none")],
                              stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("writable directory", done.stderr)

    def test_usage(self):
        for words in ((), ("dance",), ("start",), ("start", "--silent-seconds", "0", "--", "x"),
                      ("start", "--sockets", "x"), ("ready", "now"), ("install",), ("alive", "--socket")):
            done = subprocess.run([self.program, *words], stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 2, words)
            self.assertTrue(done.stderr.strip())
        done = subprocess.run([self.program, "--help"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("start [OPTION]... -- COMMAND...", done.stdout)


class Server(HookTest):
    """Promises that depend on the server: once for each version, see load_tests()."""

    def test_addresses_and_life_line(self):
        owner = (12345, 23456) if os.getuid() == 0 else None
        path = self.write_nodes(owner=owner)
        with open(path) as f:
            before = f.read()
        agent = self.agent()
        process = self.start()
        connection, facts = self.go(
            agent, "nodes-conf=rewrite", f"addr={PEER} 127.0.0.9 6380 16380",
            "set=cluster-announce-ip 127.0.0.5", f"set=cluster-announce-port {PORT}",
            "set=cluster-allow-replica-migration no")
        try:
            wait_until("the server listens", lambda: listens(PORT))
        except AssertionError:
            self.fail(process.text())
        with open(f"/proc/{process.pid}/status") as f:
            self.assertRegex(f.read(), r"NSpid:\s+\d+\s+1\n")
        self.assertEqual(facts["server"], [os.path.basename(self.server)])
        self.assertIn("127.0.0.5", redis(PORT, "CONFIG", "GET", "cluster-announce-ip"))
        self.assertIn("no", redis(PORT, "CONFIG", "GET", "cluster-allow-replica-migration"))
        nodes = redis(PORT, "CLUSTER", "NODES")
        self.assertIn(f"{PEER} 127.0.0.9:6380@16380", nodes)
        self.assertRegex(nodes, f"{REPLICA} :0@0[^ ]* [^ ]*noaddr")

        copies = self.copies()
        self.assertEqual(len(copies), 1)
        with open(os.path.join(self.data, copies[0])) as f:
            self.assertEqual(f.read(), before)
        if owner:
            st = os.stat(os.path.join(self.data, copies[0]))
            self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o777), (*owner, 0o640))

        process.signal(signal.SIGKILL)
        self.assertLess(connection.ended(2), 1)
        wait_until("the lock is free", self.lock_is_free, 1)

    def test_a_saving_child_does_not_hold_the_life_line(self):
        self.make_data()
        agent = self.agent()
        process = self.start()
        connection, _ = self.go(agent)
        wait_until("the key is loaded", lambda: listens(PORT) and redis(PORT, "DBSIZE") == ":1\r\n")
        redis(PORT, "CONFIG", "SET", "rdb-key-save-delay", "10000000")
        self.assertIn("started", redis(PORT, "BGSAVE"))
        self.assertIn("rdb_bgsave_in_progress:1", redis(PORT, "INFO", "persistence"))
        # it inherited both, would go on for 10 s a key, and dies as its PID 1 does
        process.signal(signal.SIGKILL)
        self.assertLess(connection.ended(2), 1)
        wait_until("the lock is free", self.lock_is_free, 1)

    def lock_is_free(self):
        with open(os.path.join(os.path.dirname(self.socket), "server.lock")) as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return False

    def test_a_stopped_server_keeps_its_life_line(self):
        agent = self.agent()
        process = self.start()
        connection, _ = self.go(agent)
        wait_until("the server listens", lambda: listens(PORT))
        process.signal(signal.SIGSTOP)
        self.assertIsNone(connection.ended(0.5))
        self.assertEqual(self.run_hook("alive").returncode, 0)
        process.signal(signal.SIGCONT)


def load_tests(loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for program in PROGRAMS:
        case = type(f"Probes_{os.path.basename(program)}", (Probes,), {"program": program})
        suite.addTests(loader.loadTestsFromTestCase(case))
    for server_name in SERVERS:
        case = type(f"Server_{server_name}", (Server,), {"server_name": server_name})
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    main()
