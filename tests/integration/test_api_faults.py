#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Six pods form one cluster whatever the API server does meanwhile, or wait and say what for.

Every test injects one kind of failure (agent/FAULTS.md, A) before or amid a formation, and at the
end asks the servers themselves: one cluster of six ids, settings given back, one record. No agent
may have died, stormed the API server or flooded its log.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, MusterTestCase, main, wait_until  # noqa: E402

PODS = 6
NAMES = [f"muster-{i}" for i in range(PODS)]
# Per agent: what a start takes, and per second. A calm agent sends 1.2/s at leaseSeconds 3.
REQUESTS_START, REQUESTS_SECOND = 40, 4.0
LINES_START, LINES_SECOND = 60, 2.0
RSS_MAX_MIB = 64            # of a release build
SANITIZER_MIB = 448         # AddressSanitizer keeps 256 MiB of freed memory, and its shadow


class Formation:
    """A lab of six, what was asked of its API server, and the judgement at the end."""

    def __init__(self, test: MusterTestCase, faults: str = "", **settings: Any) -> None:
        given = {"kubernetes.leaseSeconds": 3, "lab.bookmarkSeconds": 1.0, "lab.backoff": 30,
                 "lab.faults": faults,
                 **{key.replace("__", "."): value for key, value in settings.items()}}
        self.test = test
        self.lab = Lab(pods=PODS, server="redis-7.0", settings=given)
        self.killed: list[str] = []
        self.more_requests = 0
        self.refused = 0

    def __enter__(self) -> "Formation":
        try:
            self.begin = time.monotonic()
            self.lab.up(wait="running")
        except BaseException:
            self.lab.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *why: Any) -> None:
        try:
            if why[0] is None:
                self.judge()
        except BaseException:
            why = sys.exc_info()
            raise
        finally:
            self.lab.__exit__(*why)

    # -- steering --------------------------------------------------------------------------------

    def fault(self, *specs: str) -> None:
        for spec in specs:
            self.lab.api("fault", spec)

    def clear(self) -> None:
        self.lab.api("fault", "clear")

    def log(self, pod: str) -> str:
        return self.lab.log(pod)

    def say(self, pattern: str, timeout: float = 20, pods: Optional[list[str]] = None) -> None:
        """Wait until the log of each of these pods has a line like this."""
        names = NAMES if pods is None else pods
        wait_until(lambda: all(re.search(pattern, self.log(pod)) for pod in names), timeout,
                   f"every agent says {pattern!r}")

    def stored(self, resource: str) -> list[Any]:
        """Objects as the lab has them, past its API server and the faults: fast enough to be in time."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.lab.state / "control.sock"))
            client.sendall(json.dumps({"command": "get", "args": {"resource": resource}}).encode()
                           + b"\n")
            answer = json.loads(client.makefile().readlines()[-1])
        result: list[Any] = answer["result"]
        return result

    def intent(self, timeout: float = 40) -> None:
        """Wait until the formation is decided and under way."""
        def written() -> bool:
            return any(i["metadata"]["name"] == "muster-muster" for i in self.stored("configmaps"))
        wait_until(written, timeout, "the intent is in the record", period=0.02)
        self.test.assertNotIn("event=formed", "".join(map(self.log, NAMES)))

    def leader(self) -> str:
        holder: str = self.lab.get("leases", "muster-muster")["spec"]["holderIdentity"]
        return holder.partition("_")[0]

    def recorded(self) -> bool:
        """The record says that the cluster is formed."""
        return any('"formed"' in json.dumps(i.get("data", {})).replace('\\"', '"')
                   for i in self.stored("configmaps")
                   if i["metadata"]["name"] == "muster-muster")

    def unformed(self) -> None:
        """Nobody met anybody: the wait is real."""
        for pod in NAMES:
            self.test.assertIn("cluster_known_nodes:1", self.lab.text(pod, "CLUSTER", "INFO"), pod)

    # -- judging ---------------------------------------------------------------------------------

    def judge(self) -> None:
        test, lab = self.test, self.lab
        lab.wait("formed", timeout=75)
        took = time.monotonic() - self.begin
        views = {pod: lab.text(pod, "CLUSTER", "NODES").splitlines() for pod in NAMES}
        ids = {line.split()[0] for line in views["muster-0"]}
        test.assertEqual(len(ids), PODS)
        for pod, lines in views.items():
            test.assertEqual({line.split()[0] for line in lines}, ids, f"{pod}: one cluster")
        maps = [i["metadata"]["name"] for i in self.stored("configmaps")]
        test.assertEqual(maps.count("muster-muster"), 1)

        def restored() -> bool:
            return all(lab.redis(pod, "CONFIG", "GET", "cluster-node-timeout")[1] == b"15000"
                       for pod in NAMES)
        wait_until(restored, 20, "cluster-node-timeout is given back everywhere")
        stats = lab.api("stats")
        seconds = time.monotonic() - self.begin
        busiest = max(self.requests(stats, pod) for pod in NAMES)
        longest = max(len(self.log(pod).splitlines()) for pod in NAMES)
        print(f"formed after {took:.1f} s; at most {busiest} requests "
              f"({busiest / seconds:.1f}/s) and {longest} log lines of an agent", end=" ")
        self.refused = self.requests(stats, "-", code=401)
        test.assertLessEqual(busiest, REQUESTS_START + self.more_requests +
                             REQUESTS_SECOND * seconds, stats)
        test.assertLessEqual(longest, LINES_START + LINES_SECOND * seconds)
        for pod in NAMES:
            log = self.log(pod)
            test.assertNotRegex(log, "AddressSanitizer|runtime error|assert", pod)
            if pod not in self.killed:
                test.assertNotIn(" starts, restart 1", log, f"{pod}: the agent never died")

    def requests(self, stats: Any, pod: str, **like: Any) -> int:
        return sum(row["count"] for row in stats["requests"] if row["client"] == pod
                   and all(row[key] == value for key, value in like.items()))

    def count(self, pod: str, **like: Any) -> int:
        return self.requests(self.lab.api("stats"), pod, **like)


class ApiFaults(MusterTestCase):
    timeout = 150

    def amid(self, *specs: str, seconds: float = 3.0, **settings: Any) -> None:
        """The faults begin when the intent is written, and end that much later."""
        with Formation(self, **settings) as formation:
            formation.intent()
            formation.fault(*specs)
            time.sleep(seconds)
            formation.clear()


class Watches(ApiFaults):
    def test_a1_gone_as_an_event_and_as_an_answer(self) -> None:
        """A version that is compacted: list again, and act on nothing older."""
        with Formation(self, "watch,*,gone=http,times=24 list,*,gone,times=6") as formation:
            formation.intent()
            for _ in range(3):
                formation.fault("watch,*,gone,times=24")
                time.sleep(0.3)

    def test_a3_a_watch_that_only_hangs(self) -> None:
        """Bookmarks, then nothing, and no end: found out by the silence, then listed again."""
        with Formation(self, "watch,*,hole", lab__agentEnv="MUSTER_TEST_WATCH_SILENCE_MS=2500",
                       ) as formation:
            formation.say("watch: nothing for 2500 ms")

    def test_a3_a_watch_that_is_cut_without_a_word(self) -> None:
        self.amid("watch,*,drop,times=30", "watch,pods,truncate=20,times=10", seconds=1)

    def test_a3_a_server_that_accepts_and_never_answers(self) -> None:
        """Requests have a deadline of their own."""
        with Formation(self) as formation:
            formation.intent()
            formation.fault("*,*,hole")
            time.sleep(2)
            formation.clear()

    def test_a4_events_in_disorder(self) -> None:
        """Moved, sent twice, and never: the same end, at the latest after the next list."""
        seed = int(time.time())
        print(f"seed {seed}", end=" ")
        with Formation(self, " ".join((
                f"watch,*,reorder=30,seed={seed}", f"watch,*,duplicate=30,seed={seed + 1}",
                f"watch,pods,skip=20,seed={seed + 2}"))) as formation:
            time.sleep(6)
            formation.clear()
            # what was never sent is found by the next list: an API server cannot forget for ever
            formation.fault("watch,*,gone,times=24")


class Answers(ApiFaults):
    def test_a2_a_stale_list_after_a_restart(self) -> None:
        """The leader's agent dies amid its work and is told of the past when it is back."""
        with Formation(self, lab__backoff=1) as formation:
            formation.intent()
            pod = formation.leader()
            formation.killed.append(pod)
            formation.fault(f"list,*,stale=2,pod={pod}", f"get,*,stale=2,pod={pod}")
            formation.lab.kill(pod, "agent")
            time.sleep(3)
            formation.clear()

    def test_a5_too_many_requests(self) -> None:
        """Retry-After is obeyed, and by nobody at the same moment."""
        with Formation(self, "*,*,status=429/3,times=18") as formation:
            formation.say("HTTP 429")
            first = formation.count("muster-0", code=429)
            self.assertLessEqual(first, 4)
            formation.intent()
            formation.fault("*,*,status=429/2")
            begin, before = time.monotonic(), formation.lab.api("stats")
            time.sleep(4)
            stats, seconds = formation.lab.api("stats"), time.monotonic() - begin
            formation.clear()
            for pod in NAMES:
                sent = formation.requests(stats, pod) - formation.requests(before, pod)
                # six kinds of requests, each at once, and then not before two seconds are over
                self.assertLessEqual(sent, 6 * (1 + seconds / 2) + 6, pod)

    def test_a6_errors_of_a_gateway(self) -> None:
        with Formation(self, "*,*,status=502,times=12") as formation:
            formation.say("HTTP 502")
            formation.intent()
            formation.fault("*,*,status=500,times=10", "*,*,status=504,times=20")

    def test_a6_half_an_answer(self) -> None:
        """Cut JSON, in a whole answer and in a broken one, is no object."""
        faults = [f"list,*,half={n},times=4" for n in (0, 1, 40, 400)]
        faults += ["list,*,truncate=100,times=6", "get,*,half=30,times=3",
                   "watch,*,half=60,times=6"]
        with Formation(self, " ".join(faults)) as formation:
            formation.say("malformed|JSON|bytes remaining|transfer closed")
            formation.intent()
            formation.fault("watch,*,half=200,times=6", "update,*,half=100,times=4",
                            "get,leases,truncate=30,times=4", "update,*,truncate=50,times=4")

    def test_a15_ten_thousand_foreign_pods(self) -> None:
        """50 MB of them, page by page; memory stays bounded, and they are nobody's."""
        faults = "list,pods,crowd=10000,pod=muster-0 list,pods,crowd=300"
        with Formation(self, faults, kubernetes__leaseSeconds=15) as formation:
            formation.more_requests = 101
            formation.say("watch_connected what=pods", timeout=100)
            formation.lab.wait("formed", timeout=60)
            agents = agents_of(formation.lab)
            self.assertEqual(len(agents), PODS)
            largest = max(map(mib_of, agents))
            print(f"largest agent {largest:.0f} MiB", end=" ")
            self.assertLess(largest, RSS_MAX_MIB + (SANITIZER_MIB if is_sanitized(agents[0]) else 0))
            self.assertIn("cluster_known_nodes:6", formation.lab.text("muster-0", "CLUSTER", "INFO"))

    def test_a16_a_conflict_on_every_write(self) -> None:
        """Read again and try again, without a storm."""
        writes = ("create,leases,status=409", "update,leases,status=409",
                  "create,configmaps,status=409", "update,configmaps,status=409")
        with Formation(self, " ".join(writes)) as formation:
            time.sleep(5)
            sent = [formation.count(pod) for pod in NAMES]
            print(f"requests with every write refused: {sent}", end=" ")
            self.assertLessEqual(max(sent), 40)
            formation.unformed()
            formation.clear()
            formation.intent()
            formation.fault(*writes)
            time.sleep(4)
            formation.clear()


class Access(ApiFaults):
    def test_a9_a_token_that_is_rotated(self) -> None:
        with Formation(self) as formation:
            formation.intent()
            formation.lab.api("rotate-tokens")
            time.sleep(1)
            formation.lab.api("rotate-tokens")
        print(f"{formation.refused} answers of 401", end=" ")
        self.assertLessEqual(formation.refused, 10 * PODS)

    def test_a10_a_token_file_that_is_missing_or_empty(self) -> None:
        with Formation(self, "*,*,status=503,pod=nobody") as formation:
            formation.intent()
            tokens = [formation.lab.state / "pods" / pod / "token" for pod in NAMES]
            formation.lab.api("rotate-tokens")
            kept = [path.read_text() for path in tokens]
            for number, path in enumerate(tokens):
                if number % 2:
                    path.unlink()
                else:
                    path.write_text("")
            time.sleep(3)
            for path, text in zip(tokens, kept):
                path.write_text(text)

    def deny_in_turn(self, *stages: tuple[str, str]) -> None:
        """What is denied is named, once; what is granted is used at once."""
        denied = [f"{verb},{resource},status=403" for verb, resource in stages]
        with Formation(self, " ".join(denied + ["create,events,status=403"])) as formation:
            for (verb, resource), fault in zip(stages, denied):
                method = {"create": "POST", "update": "PUT"}.get(verb, verb.upper())
                name = rf"{method} \S*/{resource}\S*: HTTP 403"
                # leases and records are written by whoever leads
                enough = any if verb in ("create", "update") else all
                wait_until(lambda: enough(re.search(name, formation.log(pod)) for pod in NAMES),
                           40, f"{verb} {resource} is missed")
                formation.fault(f"clear {fault}")
            formation.lab.wait("formed", timeout=75)
            for pod in NAMES:
                lines = formation.log(pod).splitlines()
                self.assertLessEqual(sum("events_denied" in line for line in lines), 1, pod)
                for verb, resource in stages:
                    named = sum(f"/{resource}" in line and "HTTP 403" in line and
                                "event=turn" not in line for line in lines)
                    self.assertLessEqual(named, 6, f"{pod}: {resource} is said once by each")

    # Each list denies every part of the agent one right at most: what is denied twice waits longer.
    def test_a11_rights_to_read_are_denied_in_turn(self) -> None:
        self.deny_in_turn(("get", "pods"), ("list", "statefulsets"), ("list", "pods"),
                          ("get", "leases"), ("create", "configmaps"))

    def test_a11_rights_to_write_are_denied_in_turn(self) -> None:
        self.deny_in_turn(("list", "configmaps"), ("watch", "statefulsets"), ("watch", "pods"),
                          ("create", "leases"), ("update", "configmaps"))

    def test_a11_rights_to_stay_are_denied_in_turn(self) -> None:
        self.deny_in_turn(("watch", "configmaps"), ("update", "leases"))

    def test_a12_an_authority_that_is_rotated(self) -> None:
        """Certificates that prove nothing are refused; the new authority's file is enough."""
        with Formation(self, "*,*,status=503") as formation:
            formation.say("HTTP 503")
            lab = formation.lab
            reasons = (("expired", "certificate has expired"), ("self-signed", "self.signed"),
                       ("wrong-name", "no alternative certificate subject name"),
                       ("other-ca", "unable to get local issuer certificate"))
            for kind, reason in reasons:
                lab.api("cert", kind)
                before = [formation.count(pod) for pod in NAMES]
                formation.clear()
                wait_until(lambda: any(re.search(reason, formation.log(pod)) for pod in NAMES), 40,
                           f"{kind} is refused: {reason}")
                self.assertEqual([formation.count(pod) for pod in NAMES], before,
                                 f"{kind}: not one request")
                formation.unformed()
            for pod in NAMES:
                new = lab.state / "pods" / pod / "ca.new"
                new.write_bytes((lab.state / "ca-next.crt").read_bytes())
                new.rename(lab.state / "pods" / pod / "ca.crt")
            (lab.state / "ca.crt").write_bytes((lab.state / "ca-next.crt").read_bytes())


class Leaders(ApiFaults):
    def test_a14_a_leader_that_sleeps_through_its_lease(self) -> None:
        """Another takes over; the sleeper wakes, and does nothing in the name of its old Lease."""
        with Formation(self) as formation:
            formation.intent()
            pod = formation.leader()
            formation.lab.pause(pod, "agent")
            others = [name for name in NAMES if name != pod]
            wait_until(lambda: formation.leader() in others, 20, "another leads")
            # the sleeper's pod keeps its last verdict, so the servers are asked, not the pods
            wait_until(lambda: all("cluster_state:ok" in formation.lab.text(n, "CLUSTER", "INFO")
                                   for n in NAMES), 60, "the servers stand without the sleeper")
            wait_until(formation.recorded, 20, "the record says formed")
            mark = len(formation.log(pod))
            formation.lab.resume(pod, "agent")
            wait_until(lambda: "event=" in formation.log(pod)[mark:], 20, "the sleeper is awake")
            time.sleep(2)
            self.assertNotIn("event=did", formation.log(pod)[mark:])


def agents_of(lab: Lab) -> list[Path]:
    """The agents of the lab, in /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if len(words) > 3 and words[1] == b"agent" and f"{lab.state}/".encode() in words[3]:
            found.append(process)
    return found


def is_sanitized(agent: Path) -> bool:
    return b"__asan_init" in (agent / "exe").read_bytes()


def mib_of(agent: Path) -> float:
    size = re.search(r"VmRSS:\s+(\d+)", (agent / "status").read_text())
    return int(size[1]) / 1024 if size else 0.0


if __name__ == "__main__":
    main()
