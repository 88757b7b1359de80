#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Six pods form one cluster whatever the API server does meanwhile, or wait and say what for.

Every test injects one kind of failure (agent/FAULTS.md, A) before or amid a formation.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, main, on_servers  # noqa: E402

from formation import NAMES, PODS, ApiFaults, Formation  # noqa: E402

RSS_MAX_MIB = 64            # of a release build
SANITIZER_MIB = 448         # AddressSanitizer keeps 256 MiB of freed memory, and its shadow


@on_servers("redis-7.0", "valkey-9")
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


@on_servers("redis-7.0", "valkey-9")
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
        # each pod's share: who starts late meets them as well
        faults = " ".join(f"*,*,status=502,times=2,pod={pod}" for pod in NAMES)
        with Formation(self, faults) as formation:
            formation.say("HTTP 502")
            formation.intent()
            formation.fault("*,*,status=500,times=10", "*,*,status=504,times=20")

    def test_a6_half_an_answer(self) -> None:
        """Cut JSON, in a whole answer and in a broken one, is no object."""
        faults = [f"list,*,half={n},times=4" for n in (0, 1, 40, 400)]
        faults += ["list,*,truncate=100,times=6", "watch,*,half=60,times=6"]
        faults += [f"get,pods,half=30,times=1,pod={pod}" for pod in NAMES]
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
