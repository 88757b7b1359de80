#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long until a cluster serves again whose pods were all deleted at once and came back elsewhere.

    bench_return.py [--sizes 6,30] [--rounds 10,3] [--cases all,late,swap,api] [--server redis-7.0]

Every address is new, every volume is kept, NT is 15000. Counted from the last server's first PONG
until each primary has taken a write; every server is asked each 10 ms. Each round also sees that
every key is there and that no role has moved. A Redis primary does not serve within 2 s of its start
(CLUSTER_WRITABLE_DELAY), which is the floor of every figure. The limit is the project's promise, on the
median; exit 1 when it is not kept.
"""
import argparse
import pathlib
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

import comeback  # noqa: E402
from muster_test import Lab, resp  # noqa: E402

LIMIT_SECONDS = 3.0
GIVE_UP_SECONDS = 180
LATE_SECONDS = 60
APART_SECONDS = 0.2
AWAY_SECONDS = 20
KEYS = 300


def owners(lab):
    """By pod: the slots of each primary, as it says itself."""
    found = {}
    for name in lab.pods():
        for node in resp.parse_nodes(lab.redis(name, "CLUSTER", "NODES")):
            if "myself" in node.flags and "master" in node.flags:
                found[name] = node.slots
    return found


def write_all(lab, shards, found):
    for number in range(KEYS):
        name = comeback.owner_of(f"key:{number}", shards)
        if comeback.ask(found[name], "SET", f"key:{number}", f"value:{number}") is None:
            raise SystemExit(f"key:{number} was not written")


def lost(shards, found):
    return sum(comeback.ask(found[comeback.owner_of(f"key:{n}", shards)], "GET", f"key:{n}")
               != f"value:{n}".encode() for n in range(KEYS))


def delete_all(lab, _pods):
    lab.delete(wait=False)


def delete_all_half_late(lab, pods):
    """The first half gets its addresses so much later than the others, one pod after the other.

    In it are all the primaries of six, and most of those of thirty.
    """
    late = pods[:len(pods) // 2]
    for pod in late:
        lab.hold(pod)
    lab.delete(wait=False)
    time.sleep(LATE_SECONDS)
    for pod in late:
        lab.release(pod)
        time.sleep(APART_SECONDS)


def delete_all_two_swapped(lab, pods):
    """Two primaries get each other's address, all the others new ones."""
    lab.delete(*pods[2:], wait=False)
    lab.readdress(pods[0], pods[1], grace=0, swap=True, wait=False)  # else they hand over


def delete_all_api_away(lab, _pods):
    """The agents hear nothing of the API for so long, beginning with the deletion."""
    lab.api("cut")
    lab.delete(wait=False)
    time.sleep(AWAY_SECONDS)
    lab.api("up")


CASES = {"all": delete_all, "late": delete_all_half_late, "swap": delete_all_two_swapped,
         "api": delete_all_api_away}


def one_round(lab, shards, case):
    uids = {name: pod["uid"] for name, pod in lab.pods().items()}

    def addresses():
        return {name: pod["ip"] for name, pod in lab.pods().items()
                if pod["ip"] and pod["uid"] != uids.get(name)}

    acting = threading.Thread(target=CASES[case], args=(lab, sorted(uids)))
    acting.start()
    try:
        took = comeback.seconds_to_serve(uids, shards, addresses, GIVE_UP_SECONDS)
    except AssertionError as error:
        raise SystemExit(error) from error
    finally:
        acting.join()
    lab.wait("formed", timeout=GIVE_UP_SECONDS)
    moved = owners(lab) != shards
    return took, lost(shards, addresses()), moved


def measure(lab, size, case, rounds):
    """Prints the line of this case; True if the promise was kept."""
    shards = owners(lab)
    took, bad = [], False
    for _ in range(rounds):
        seconds, missing, moved = one_round(lab, shards, case)
        took.append(seconds)
        if missing or moved:
            bad = True
            print(f"  {missing} keys lost, roles {'moved' if moved else 'kept'}")
    median = statistics.median(took)
    ok = median <= LIMIT_SECONDS and not bad
    print(f"  {size:3} pods, {case:4}: median {median:.2f} of {rounds} (limit {LIMIT_SECONDS:.1f}), "
          f"from {min(took):.2f} to {max(took):.2f}{'' if ok else '  NOT KEPT'}", flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="6,30")
    parser.add_argument("--rounds", default="10,3")
    parser.add_argument("--cases", default=",".join(CASES), help="the other cases: one round each")
    parser.add_argument("--server", default="redis-7.0")
    args = parser.parse_args()
    kept = []
    print(f"{args.server}: every pod deleted at once, new addresses, volumes kept; seconds from the "
          f"last server's first PONG to a write on every shard (late: half of them {LATE_SECONDS} s "
          f"later; swap: two exchange their addresses; api: cut for {AWAY_SECONDS} s)")
    for size, rounds in zip(map(int, args.sizes.split(",")), map(int, args.rounds.split(","))):
        with Lab(pods=size, server=args.server, node_timeout=15000) as lab:
            lab.up(timeout=GIVE_UP_SECONDS)
            found = {name: pod["ip"] for name, pod in lab.pods().items()}
            write_all(lab, owners(lab), found)
            for case in args.cases.split(","):
                kept.append(measure(lab, size, case, rounds if case == "all" else 1))
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
