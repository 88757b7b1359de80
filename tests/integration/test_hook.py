#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gate of muster-hook: what it tells the agent, what it obeys, and what it does when the agent is silent."""
import contextlib
import fcntl
import os
import signal
import subprocess
import time
import unittest

from hook_case import ME, PEER, PORT, PROGRAMS, REPLICA, HookTest, Process, listens, main, redis, wait_until


class Gate(HookTest):
    """What is independent of the server's version."""

    def test_wait_holds_and_go_starts(self):
        agent = self.agent()
        process = self.start()
        connection = agent.accept()
        self.addCleanup(connection.close)
        connection.message()
        for reason in ("first reason", "second reason"):
            connection.say("wait", f"reason={reason}")
            process.wait_text(f"the agent holds the server back: {reason}")
            time.sleep(0.5)
            self.assertFalse(listens(PORT))
            self.assertFalse(listens(PORT + 10000))
        connection.say("go")
        wait_until("the server listens", lambda: listens(PORT))

    def test_facts(self):
        self.make_data("--appendonly", "yes")
        self.write_nodes()
        agent = self.agent()
        self.start(*self.arguments("--appendonly", "yes"))
        _, facts = self.go(agent)
        self.assertEqual(facts["server"], ["redis-server"])
        self.assertEqual(facts["pid"], ["1"])
        self.assertEqual(facts["data-dir"], [self.data])
        self.assertEqual(facts["data-dir-empty"], ["no"])
        self.assertEqual(facts["cluster-enabled"], ["yes"])
        self.assertEqual(facts["nodes-conf"], ["present"])
        self.assertEqual(facts["myself"], [f"{ME} myself,master 1 5461 -"])
        self.assertEqual(facts["peer"], [f"{PEER} 192.0.2.7 6379 16379 master",
                                         f"{REPLICA} 192.0.2.8 6379 16379 slave"])
        self.assertEqual((facts["appendonly"], facts["save"]), (["yes"], ["no"]))
        self.assertEqual((facts["aof"], facts["aof-complete"], facts["aof-keys"]), (["yes"],) * 3)
        self.assertGreater(int(facts["aof-base-bytes"][0]), 0)
        self.assertGreater(int(facts["aof-incr-bytes"][0]), 0)
        self.assertEqual(facts["rdb"], ["no"])

    def test_configuration_file_and_working_directory(self):
        self.make_data()
        conf = os.path.join(self.dir, "redis.conf")
        more = os.path.join(self.dir, "more.conf")
        with open(conf, "w") as f:
            f.write(f'# a comment\nport {PORT}\ncluster-enabled yes\nappendonly yes\ninclude "{more}"\n')
        with open(more, "w") as f:
            f.write("APPENDONLY no\nsave 60 1\ncluster-config-file other.conf\n")
        agent = self.agent()
        process = Process([self.program, "start", "--socket", self.socket, "--", self.server, conf],
                          cwd=self.data)
        self.addCleanup(process.stop)
        _, facts = self.go(agent)
        self.assertEqual(facts["data-dir"], [self.data])
        self.assertEqual(facts["nodes-conf-file"], [f"{self.data}/other.conf"])
        self.assertEqual(facts["nodes-conf"], ["absent"])
        self.assertEqual((facts["appendonly"], facts["save"]), (["no"], ["yes"]))
        self.assertEqual((facts["rdb"], facts["rdb-keys"]), (["yes"], ["yes"]))
        wait_until("the server listens", lambda: listens(PORT))

    def test_unchanged_addresses_write_nothing(self):
        path = self.write_nodes()
        before = os.stat(path)
        agent = self.agent()
        process = self.start()
        self.go(agent, "nodes-conf=rewrite", f"addr={PEER} 192.0.2.7 6379 16379",
                f"addr={REPLICA} 192.0.2.8 6379 16379")
        process.wait_text("event=starting")
        self.assertEqual(self.copies(), [])
        self.assertEqual(os.stat(path).st_ino, before.st_ino)

    def test_keep_leaves_the_file(self):
        path = self.write_nodes()
        with open(path) as f:
            before = f.read()
        agent = self.agent()
        process = self.start("true")
        self.go(agent, f"addr={PEER} 10.0.0.9 6379 16379")
        process.wait()
        with open(path) as f:
            self.assertEqual(f.read(), before)
        self.assertEqual(self.copies(), [])

    def test_two_copies_are_kept(self):
        path = self.write_nodes()
        mine = os.path.join(self.data, "nodes.conf.muster-mine")
        with open(mine, "w") as f:
            f.write("not a copy of ours")
        agent = self.agent()
        for i in range(4):
            process = self.start("true", options=["--data-dir", self.data])
            self.go(agent, "nodes-conf=rewrite", f"addr={PEER} 10.0.0.{i} 6379 16379")
            self.assertEqual(process.wait(), 0, process.text())
            with open(path) as f:
                self.assertIn(f"{PEER} 10.0.0.{i}:6379@16379 master", f.read())
        copies = self.copies()
        self.assertEqual(len(copies), 3)
        self.assertTrue(os.path.exists(mine))
        with open(os.path.join(self.data, copies[1])) as f:
            self.assertIn("10.0.0.2:6379", f.read())

    def test_a_file_in_use_is_not_rewritten(self):
        path = self.write_nodes()
        agent = self.agent()
        process = self.start()
        with open(path) as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.go(agent, "nodes-conf=rewrite")
            self.assertEqual(process.wait(), 1)
        self.assertIn("another server uses", process.text())
        self.assertFalse(listens(PORT))

    def test_what_is_set_aside_is_kept_and_the_server_starts_empty(self):
        path = self.write_nodes()
        with open(path, "r+") as f:
            f.truncate(200)
            broken = f.read()
        with open(os.path.join(self.data, "dump.rdb"), "w") as f:
            f.write("not even a header: the server would refuse it")
        agent = self.agent()
        process = self.start()
        self.go(agent, "nodes-conf=aside")
        wait_until("the server listens", lambda: listens(PORT))
        self.assertIn("2 old files were renamed to *.muster-aside-*", process.text())
        aside = sorted(f for f in os.listdir(self.data) if ".muster-aside-" in f)
        self.assertEqual([f.partition(".muster-")[0] for f in aside], ["dump.rdb", "nodes.conf"])
        with open(os.path.join(self.data, aside[1])) as f:
            self.assertEqual(f.read(), broken)

    def test_corrupt_nodes_conf_is_told_and_left(self):
        path = self.write_nodes()
        with open(path, "r+") as f:
            f.truncate(200)
        agent = self.agent()
        process = self.start("true", options=["--data-dir", self.data])
        _, facts = self.go(agent, "nodes-conf=rewrite")
        self.assertEqual(facts["nodes-conf"], ["corrupt"])
        self.assertIn("cut", facts["nodes-conf-error"][0])
        self.assertEqual(process.wait(), 0)
        self.assertEqual(os.path.getsize(path), 200)
        self.assertEqual(self.copies(), [])

    def test_entrypoint_script_and_wrapper(self):
        script = os.path.join(self.dir, "docker-entrypoint.sh")
        with open(script, "w") as f:
            f.write('#!/bin/sh\nexec "$@"\n')
        os.chmod(script, 0o755)
        agent = self.agent()
        self.start("nice", script, *self.arguments())
        connection, _ = self.go(agent, "set=cluster-announce-ip 10.1.2.3")
        wait_until("the server listens", lambda: listens(PORT))
        self.assertIn("10.1.2.3", redis(PORT, "CONFIG", "GET", "cluster-announce-ip"))
        connection.sock.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            connection.sock.recv(1)

    def test_unknown_command_gets_an_include(self):
        include = os.path.join(os.path.dirname(self.socket), "server.conf")
        conf = os.path.join(self.dir, "redis.conf")
        with open(conf, "w") as f:
            f.write(f"port {PORT}\ndir {self.data}\ncluster-enabled yes\ninclude {include}\n")
        agent = self.agent()
        process = self.start("sh", "-c", f"exec {self.server} {conf}")
        _, facts = self.go(agent, "set=cluster-announce-ip 10.1.2.3", "set=cluster-announce-port 7000")
        self.assertIn("no server whose configuration can be found", facts["config-error"][0])
        self.assertNotIn("appendonly", facts)
        process.wait_text(f"include {include}")
        wait_until("the server listens", lambda: listens(PORT))
        self.assertIn("10.1.2.3", redis(PORT, "CONFIG", "GET", "cluster-announce-ip"))
        self.assertIn("7000", redis(PORT, "CONFIG", "GET", "cluster-announce-port"))

    def test_nothing_but_our_settings_reaches_the_server(self):
        agent = self.agent()
        self.start()
        self.go(agent, "set=requirepass evil", "set=cluster-announce-port 7001")
        wait_until("the server listens", lambda: listens(PORT))
        self.assertIn("7001", redis(PORT, "CONFIG", "GET", "cluster-announce-port"))
        self.assertNotIn("evil", redis(PORT, "CONFIG", "GET", "requirepass"))

    def test_garbage_is_refused_and_the_gate_holds(self):
        agent = self.agent()
        process = self.start(options=["--silent-seconds", "60"])
        for garbage in (b"\0" * (1 << 20), b"muster-agent/1 wait\nreason=" + b"x" * (1 << 20),
                        b"muster-agent/1 go\nset=cluster-announce-ip x y\n\n",
                        b"muster-agent/1 go\naddr=" + PEER.encode() + b" not-an-ip 1 2\n\n"):
            connection = agent.accept()
            connection.message()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sock.sendall(garbage)
            self.assertIsNotNone(connection.ended(2))
            connection.close()
            self.assertFalse(listens(PORT))
        self.assertIsNone(process.outer.poll())
        self.go(agent)
        wait_until("the server listens", lambda: listens(PORT))

    def test_sigterm_while_waiting_ends_at_once(self):
        agent = self.agent()
        for waits in (False, True):
            process = self.start()
            if waits:
                connection = agent.accept()
                self.addCleanup(connection.close)
                connection.message()
                connection.say("wait", "reason=until SIGTERM")
                process.wait_text("until SIGTERM")
            else:
                connection = agent.accept()      # which says nothing
                self.addCleanup(connection.close)
                connection.message()
            start = time.monotonic()
            process.signal(signal.SIGTERM)
            self.assertEqual(process.wait(5), 143)
            self.assertLess(time.monotonic() - start, 1)
            self.assertIn("nothing was started", process.text())

    def test_a_second_server_waits_for_the_first(self):
        agent = self.agent()
        first = self.start()
        self.go(agent)
        wait_until("the server listens", lambda: listens(PORT))
        second = self.start()
        second.wait_text("another server of this pod still runs")
        first.signal(signal.SIGKILL)
        self.go(agent)
        wait_until("the second listens", lambda: listens(PORT))

    def test_command_that_does_not_exist(self):
        agent = self.agent()
        process = self.start(os.path.join(self.dir, "no-such-server"))
        self.go(agent)
        self.assertEqual(process.wait(), 127)
        self.assertIn("No such file", process.text())

    def test_a_missing_directory_is_told(self):
        self.socket = os.path.join(self.dir, "not-mounted", "agent.sock")
        process = self.start()
        process.wait_text("is the agent's volume mounted here")
        process.signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 143)


class SilentAgent(HookTest):
    """DESIGN 5.4: with a silent agent only those start that cannot harm."""

    def starts(self, *more, seconds=1):
        process = self.start(*self.arguments(*more), options=["--silent-seconds", str(seconds)])
        time.sleep(seconds / 2)
        self.assertFalse(listens(PORT))
        wait_until("the server listens", lambda: listens(PORT))
        self.assertIn("event=starting-alone", process.text())
        return process

    def holds(self, *more, why):
        process = self.start(*self.arguments(*more), options=["--silent-seconds", "1"])
        process.wait_text("without the agent it does not start")
        time.sleep(2)
        self.assertFalse(listens(PORT))
        self.assertIn(why, process.text())
        return process

    def test_virgin_starts(self):
        self.assertIn("it starts as a new node", self.starts().text())

    def test_replica_starts(self):
        self.write_nodes("myself,slave", "")
        self.assertIn("it was a replica", self.starts().text())

    def test_primary_without_slots_starts(self):
        self.write_nodes("myself,master", "")
        self.assertIn("it owned no slots", self.starts().text())

    def test_primary_with_its_rdb_starts(self):
        self.make_data()
        self.assertIn("its data is there", self.starts().text())
        wait_until("the key is back", lambda: "value" in redis(PORT, "GET", "key"))

    def test_primary_with_its_aof_starts(self):
        self.make_data("--appendonly", "yes")
        self.starts("--appendonly", "yes")
        wait_until("the key is back", lambda: "value" in redis(PORT, "GET", "key"))

    def test_primary_without_data_is_held(self):
        self.write_nodes()
        process = self.holds(why="it was the primary of 5461 slots and has not an RDB file with keys")
        # an agent that comes late is heard
        self.go(self.agent())
        wait_until("the server listens", lambda: listens(PORT))
        self.assertNotIn("starting-alone", process.text())

    def test_primary_with_the_rdb_of_an_empty_server_is_held(self):
        self.make_data()
        process = subprocess.Popen(self.arguments(), stdout=subprocess.DEVNULL)
        wait_until("the key is back", lambda: listens(PORT) and "value" in redis(PORT, "GET", "key"))
        redis(PORT, "FLUSHALL")
        redis(PORT, "SAVE")
        process.terminate()
        process.wait(10)
        self.assertGreater(os.path.getsize(os.path.join(self.data, "dump.rdb")), 50)
        self.holds(why="has not an RDB file with keys")

    def test_primary_with_the_wrong_data_set_is_held(self):
        self.make_data()
        self.holds("--appendonly", "yes", why="has not an append-only file with keys")

    def test_primary_that_lost_a_file_of_its_aof_is_held(self):
        self.make_data("--appendonly", "yes")
        directory = os.path.join(self.data, "appendonlydir")
        incr = [name for name in os.listdir(directory) if name.endswith(".incr.aof")]
        os.unlink(os.path.join(directory, incr[0]))
        self.holds("--appendonly", "yes", why="has not an append-only file with keys")

    def test_corrupt_nodes_conf_is_held(self):
        with open(self.write_nodes(), "a") as f:
            f.write("garbage\n")
        self.holds(why="nodes.conf is corrupt")

    def test_an_agent_that_stops_after_wait_is_silent(self):
        agent = self.agent()
        process = self.start(options=["--silent-seconds", "2"])
        connection = agent.accept()
        self.addCleanup(connection.close)
        connection.message()
        for _ in range(3):
            connection.say("wait", "reason=patience")
            time.sleep(1)
        self.assertFalse(listens(PORT))
        process.wait_text("event=starting-alone")
        # a late answer finds nobody
        self.assertIsNotNone(connection.ended(2))
        wait_until("the server listens", lambda: listens(PORT))


def load_tests(loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for program in PROGRAMS:
        case = type(f"Gate_{os.path.basename(program)}", (Gate,), {"program": program})
        suite.addTests(loader.loadTestsFromTestCase(case))
    suite.addTests(loader.loadTestsFromTestCase(SilentAgent))
    return suite


if __name__ == "__main__":
    main()
