#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docker/init.c with stand-ins for agent, hook and server, each of which writes down what happens to it."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docker/init.c")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion",
         "-Wsign-conversion", "-Wwrite-strings", "-Wvla", "-Wstrict-prototypes", "-Wmissing-prototypes",
         "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# each says who it is and with which words; ends on SIGTERM, or as the file NAME.exit tells
STAND_IN = """#!/bin/bash
name=${0##*/}
[ "$name" != muster-hook ] || name=hook-$1
echo "$name $*" >>"$LOG"
case $name in
    hook-drain) echo "drained" >>"$LOG"; exit 0 ;;
    hook-start) name=server ;;
    *) name=agent ;;
esac
trap 'echo "$name: TERM" >>"$LOG"; exit 7' TERM
echo $$ >"$LOG.$name"
while :; do
    if [ -e "$LOG.$name.exit" ]; then
        status=$(cat "$LOG.$name.exit")
        rm "$LOG.$name.exit"
        exit "$status"
    fi
    sleep 0.05
done
"""


class Init(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = tempfile.mkdtemp(prefix="muster-init-built-")
        cls.addClassCleanup(shutil.rmtree, cls.built)
        subprocess.run(["gcc", *FLAGS, "-o", cls.built + "/muster-init", SOURCE], check=True)

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="muster-init-")
        self.addCleanup(shutil.rmtree, self.dir)
        for name in ("muster", "muster-hook"):
            path = os.path.join(self.dir, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(STAND_IN)
            os.chmod(path, 0o755)
        self.log = os.path.join(self.dir, "log")
        self.process = None

    def start(self, *words, **env):
        self.process = subprocess.Popen(
            [self.built + "/muster-init", *words], stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={"PATH": f"{self.dir}:{os.environ['PATH']}", "LOG": self.log, "SERVER": "redis-server",
                 "MUSTER_HOOK_SOCKET": self.dir + "/kept/agent.sock",
                 "PASSWORD_CONFIG": self.dir + "/password.conf", **env})
        self.addCleanup(self.kill, self.process)
        self.wait("both run", lambda: os.path.exists(self.log + ".agent") and
                  os.path.exists(self.log + ".server"))

    @staticmethod
    def kill(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()

    def wait(self, what, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail(f"not in time: {what}; {self.lines()}")
            time.sleep(0.02)

    def lines(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as f:
            return f.read().splitlines()

    def end(self, name, status):
        with open(f"{self.log}.{name}.new", "w", encoding="utf-8") as f:
            f.write(str(status))
        os.rename(f"{self.log}.{name}.new", f"{self.log}.{name}.exit")

    def started(self, what):
        return sum(line.startswith(what) for line in self.lines())

    def test_server_is_drained_then_stopped_then_the_agent(self):
        self.start("--loglevel", "debug")
        self.assertIn("hook-start start --socket " + self.dir + "/kept/agent.sock -- redis-server "
                      "/etc/muster/redis.conf --loglevel debug", self.lines())
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.assertEqual(self.process.returncode, 7)
        drain = [i for i, line in enumerate(self.lines()) if line.startswith("hook-drain")]
        self.assertEqual(len(drain), 1)
        self.assertEqual(self.lines()[drain[0] + 1:], ["drained", "server: TERM", "agent: TERM"])

    def test_the_sockets_folder_is_made(self):
        self.start()
        self.assertTrue(os.path.isdir(self.dir + "/kept"))
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(20), 7)
        # and is found the next time
        for name in ("agent", "server"):
            os.unlink(f"{self.log}.{name}")
        self.start()
        self.assertIsNone(self.process.poll())

    def test_what_ends_starts_again(self):
        self.start()
        self.end("server", 1)
        self.wait("a second server", lambda: self.started("hook-start") == 2)
        self.assertEqual(self.started("muster agent"), 1)
        self.end("agent", 134)
        self.wait("a second agent", lambda: self.started("muster agent") == 2)
        self.assertEqual(self.started("hook-start"), 2)
        self.assertIsNone(self.process.poll())

    def test_a_stop_while_the_server_is_away_ends(self):
        self.start()
        self.end("server", 1)
        self.wait("the server is gone", lambda: not os.path.exists(self.log + ".server.exit"))
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.assertEqual(self.lines()[-1], "agent: TERM")

    def test_a_wrong_configuration_ends_it(self):
        self.start()
        self.end("agent", 2)
        self.assertEqual(self.process.wait(20), 2)

    def test_the_password_goes_into_a_file_only(self):
        password = os.path.join(self.dir, "secret")
        with open(password, "w", encoding="utf-8") as f:
            f.write('with "quotes" and \\\\ all\n')
        self.start(MUSTER_REDIS_PASSWORDFILE=password)
        made = self.dir + "/password.conf"
        with open(made, encoding="utf-8") as f:
            self.assertEqual(f.read().splitlines()[0],
                             'requirepass "with \\"quotes\\" and \\\\\\\\ all"')
        self.assertEqual(os.stat(made).st_mode & 0o777, 0o600)
        self.assertNotIn("quotes", "".join(self.lines()))
        self.assertIn(f"/etc/muster/redis.conf --include {made}", "".join(self.lines()))


if __name__ == "__main__":
    unittest.main(verbosity=1)
