#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lab's API server keeps Kubernetes' rules: an agent must meet no others on a real one."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from muster_test import Lab, LabError, MusterTestCase, main

from kube import Kube

FAKE = Path(__file__).resolve().parent / "fake"
MAPS = "/api/v1/namespaces/lab/configmaps"
PODS = "/api/v1/namespaces/lab/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/lab/leases"
EVENTS = "/api/v1/namespaces/lab/events"


def config_map(name: str, labels: Any = None, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": labels or {}}, "data": data}


def until(events: Iterator[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    """The type and name of the next events that are not bookmarks."""
    seen: list[tuple[str, str]] = []
    for event in events:
        if event["type"] != "BOOKMARK":
            seen.append((event["type"], event["object"]["metadata"].get("name", "")))
        if len(seen) == count:
            break
    return seen


class ApiTestCase(MusterTestCase):
    lab: Lab
    timeout = 60

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab(build=FAKE, pods=2, settings={"lab.bookmarkSeconds": 0.3})
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.lab.up(wait="ready", timeout=30)
        state = cls.lab.state
        cls.admin = Kube(state, state / "admin.token")
        cls.pod = Kube(state, state / "pods/muster-0/token")

    def setUp(self) -> None:
        super().setUp()
        for item in self.admin.get(MAPS)[1]["items"]:
            self.admin.request("DELETE", f"{MAPS}/{item['metadata']['name']}")

    @contextlib.contextmanager
    def opened(self, version: str) -> Iterator[Iterator[dict[str, Any]]]:
        """A watch that runs: what is made from now on is not in its first list."""
        watch = self.admin.watch(MAPS, resourceVersion=version, allowWatchBookmarks="true")
        with contextlib.closing(watch):
            self.assertEqual(next(watch)["type"], "BOOKMARK")
            yield watch

    def make(self, name: str, labels: Any = None, **data: str) -> dict[str, Any]:
        code, made = self.admin.request("POST", MAPS, config_map(name, labels, **data))
        self.assertEqual(code, 201, made)
        result: dict[str, Any] = made
        return result

    def version(self) -> str:
        return str(self.admin.get(MAPS)[1]["metadata"]["resourceVersion"])

    def assert_status(self, answer: Any, code: int, reason: str) -> None:
        self.assertEqual((answer[0], answer[1]["kind"], answer[1]["reason"], answer[1]["code"]),
                         (code, "Status", reason, code), answer)


class Writing(ApiTestCase):
    def test_versions_only_grow_and_uids_differ(self) -> None:
        first, second = self.make("a"), self.make("b")
        self.assertGreater(int(second["metadata"]["resourceVersion"]),
                           int(first["metadata"]["resourceVersion"]))
        self.assertNotEqual(first["metadata"]["uid"], second["metadata"]["uid"])

    def test_a_put_on_an_old_version_is_a_conflict(self) -> None:
        made = self.make("a", x="1")
        code, _ = self.admin.request("PUT", f"{MAPS}/a", {**made, "data": {"x": "2"}})
        self.assertEqual(code, 200)
        answer = self.admin.request("PUT", f"{MAPS}/a", {**made, "data": {"x": "3"}})
        self.assert_status(answer, 409, "Conflict")
        self.assertEqual(self.admin.get(f"{MAPS}/a")[1]["data"], {"x": "2"})

    def test_a_put_of_another_uid_is_a_conflict(self) -> None:
        made = self.make("a")
        made["metadata"].update(uid="00000000-0000-0000-0000-000000000000", resourceVersion="")
        self.assert_status(self.admin.request("PUT", f"{MAPS}/a", made), 409, "Conflict")

    def test_a_put_that_changes_nothing_is_no_revision(self) -> None:
        made = self.make("a", x="1")
        _, again = self.admin.request("PUT", f"{MAPS}/a", made)
        self.assertEqual(again["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"])

    def test_creating_twice_is_already_exists(self) -> None:
        self.make("a")
        self.assert_status(self.admin.request("POST", MAPS, config_map("a")), 409, "AlreadyExists")

    def test_a_missing_object_is_not_found(self) -> None:
        self.assert_status(self.admin.get(f"{MAPS}/a"), 404, "NotFound")
        self.assert_status(self.admin.request("PUT", f"{MAPS}/a", config_map("a")), 404, "NotFound")

    def test_a_lease_needs_its_version_to_be_updated(self) -> None:
        lease: dict[str, Any] = {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 15}}
        self.assertEqual(self.admin.request("POST", LEASES, lease)[0], 201)
        self.assert_status(self.admin.request("PUT", f"{LEASES}/l", lease), 422, "Invalid")
        self.admin.request("DELETE", f"{LEASES}/l")

    def test_two_writers_of_one_version_cannot_both_win(self) -> None:
        made, codes = self.make("a", x="0"), []

        def write(value: str) -> None:
            codes.append(self.admin.request("PUT", f"{MAPS}/a", {**made, "data": {"x": value}})[0])
        threads = [threading.Thread(target=write, args=(str(i),)) for i in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(codes), [200] + [409] * 7)

    def test_a_merge_patch_removes_what_is_null(self) -> None:
        self.make("a", x="1", y="2")
        _, patched = self.admin.request("PATCH", f"{MAPS}/a", {"data": {"x": None, "z": "3"}},
                                        "application/merge-patch+json")
        self.assertEqual(patched["data"], {"y": "2", "z": "3"})
        answer = self.admin.request("PATCH", f"{MAPS}/a", [], "application/json-patch+json")
        self.assert_status(answer, 415, "UnsupportedMediaType")

    def test_what_is_wrong_is_refused(self) -> None:
        for body, code in ((config_map("Upper"), 422), (config_map("x" * 254), 422),
                           ({**config_map("a"), "kind": "Secret"}, 400),
                           ({**config_map("a"), "data": {"x": 1}}, 400),
                           (config_map("a", x="y" * 1024 * 1024), 422)):
            with self.subTest(str(body)[:60]):
                self.assertEqual(self.admin.request("POST", MAPS, body)[0], code)


class Listing(ApiTestCase):
    def test_pages_show_one_version(self) -> None:
        for i in range(7):
            self.make(f"m{i}")
        _, page = self.admin.get(MAPS, limit=3)
        version, names = page["metadata"]["resourceVersion"], []
        self.assertEqual(page["metadata"]["remainingItemCount"], 4)
        self.make("m00")                     # sorts before, and must not appear
        self.admin.request("DELETE", f"{MAPS}/m5")
        while True:
            names += [i["metadata"]["name"] for i in page["items"]]
            self.assertEqual(page["metadata"]["resourceVersion"], version)
            if "continue" not in page["metadata"]:
                break
            _, page = self.admin.get(MAPS, limit=3, **{"continue": page["metadata"]["continue"]})
        self.assertEqual(names, [f"m{i}" for i in range(7)])

    def test_an_old_continue_token_is_410(self) -> None:
        for i in range(3):
            self.make(f"m{i}")
        token = self.admin.get(MAPS, limit=1)[1]["metadata"]["continue"]
        self.make("later")
        self.lab.api("compact")
        self.assert_status(self.admin.get(MAPS, limit=1, **{"continue": token}), 410, "Expired")
        self.assert_status(self.admin.get(MAPS, **{"continue": "%%%"}), 400, "BadRequest")

    def test_selectors_select(self) -> None:
        self.make("a", {"app": "x", "tier": "1"})
        self.make("b", {"app": "x"})
        self.make("c", {"app": "y"})
        for selector, names in (("app=x", "ab"), ("app==x,tier", "a"), ("app!=x", "c"),
                                ("app in (x, y),!tier", "bc"), ("app notin (x)", "c")):
            _, found = self.admin.get(MAPS, labelSelector=selector)
            self.assertEqual("".join(i["metadata"]["name"] for i in found["items"]), names,
                             selector)
        _, found = self.admin.get(MAPS, fieldSelector="metadata.name=b")
        self.assertEqual([i["metadata"]["name"] for i in found["items"]], ["b"])
        answer = self.admin.get(MAPS, fieldSelector="spec.nodeName=x")
        self.assert_status(answer, 400, "BadRequest")

    def test_a_list_has_its_kind_and_its_items_have_none(self) -> None:
        self.make("a")
        _, found = self.admin.get(MAPS)
        self.assertEqual((found["kind"], found["apiVersion"]), ("ConfigMapList", "v1"))
        self.assertNotIn("kind", found["items"][0])

    def test_metadata_only_is_another_form(self) -> None:
        form = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
        query = {"limit": 1, "resourceVersion": 0}
        _, whole = self.pod.get(PODS)
        _, page = self.pod.get(PODS, accept=form.format("List") + ",application/json", **query)
        self.assertEqual((page["kind"], page["apiVersion"]),
                         ("PartialObjectMetadataList", "meta.k8s.io/v1"))
        self.assertEqual(page["items"], [{"kind": "PartialObjectMetadata",
                                          "apiVersion": "meta.k8s.io/v1",
                                          "metadata": whole["items"][0]["metadata"]}])
        self.assertEqual(page["metadata"]["resourceVersion"], whole["metadata"]["resourceVersion"])
        answer = self.pod.get(PODS, **query, **{"continue": page["metadata"]["continue"]})
        self.assert_status(answer, 400, "BadRequest")
        _, one = self.pod.get(PODS + "/muster-1", accept=form.format(""))
        self.assertEqual(one["metadata"], whole["items"][1]["metadata"])
        self.assertNotIn("spec", one)
        for path, asked in ((PODS, ""), (PODS + "/muster-1", "List")):
            self.assert_status(self.pod.get(path, accept=form.format(asked)), 406, "NotAcceptable")
        unknown = form.format("List").replace("v1", "v9")
        self.assert_status(self.pod.get(PODS, accept=unknown), 406, "NotAcceptable")
        _, plain = self.pod.get(PODS, accept=unknown + ",application/json")
        self.assertEqual(plain["kind"], "PodList")

    def test_a_version_from_the_future_is_refused(self) -> None:
        answer = self.admin.get(MAPS, resourceVersion=10**9)
        self.assert_status(answer, 504, "Timeout")


class Watching(ApiTestCase):
    def test_events_after_a_version(self) -> None:
        version = self.version()
        made = self.make("a")
        self.admin.request("PUT", f"{MAPS}/a", {**made, "data": {"x": "1"}})
        self.admin.request("DELETE", f"{MAPS}/a")
        events = until(self.admin.watch(MAPS, resourceVersion=version), 3)
        self.assertEqual(events, [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")])

    def test_without_a_version_the_state_comes_first(self) -> None:
        self.make("a")
        watch = self.admin.watch(MAPS)
        self.assertEqual(until(watch, 1), [("ADDED", "a")])

    def test_live_events_arrive(self) -> None:
        version = self.version()
        timer = threading.Timer(0.4, lambda: self.make("late"))
        timer.start()
        self.assertEqual(until(self.admin.watch(MAPS, resourceVersion=version), 1),
                         [("ADDED", "late")])
        timer.join()

    def test_leaving_a_selection_is_deleted_and_entering_is_added(self) -> None:
        version = self.version()
        made = self.make("a", {"app": "x"})
        for label in ("y", "x"):
            made["metadata"]["labels"] = {"app": label}
            _, made = self.admin.request("PUT", f"{MAPS}/a", made)
        events = []
        for event in self.admin.watch(MAPS, resourceVersion=version, labelSelector="app=x"):
            events.append(event)
            if len(events) == 3:
                break
        self.assertEqual([e["type"] for e in events], ["ADDED", "DELETED", "ADDED"])
        left = events[1]["object"]["metadata"]
        self.assertEqual(left["labels"], {"app": "x"}, "DELETED carries the last that matched")
        self.assertGreater(int(left["resourceVersion"]),
                           int(events[0]["object"]["metadata"]["resourceVersion"]))

    def test_bookmarks_carry_the_newest_version(self) -> None:
        version = int(self.version())
        self.make("other", {"app": "x"})
        for event in self.admin.watch(MAPS, resourceVersion=version, labelSelector="app=z",
                                      allowWatchBookmarks="true", timeoutSeconds=2):
            self.assertEqual(event["type"], "BOOKMARK")
            self.assertGreater(int(event["object"]["metadata"]["resourceVersion"]), version)
            break
        else:
            self.fail("no bookmark")

    def test_without_being_asked_there_are_no_bookmarks(self) -> None:
        version, began = self.version(), time.monotonic()
        events = list(self.admin.watch(MAPS, resourceVersion=version, timeoutSeconds=1))
        self.assertEqual(events, [])
        self.assertGreaterEqual(time.monotonic() - began, 0.95)
        self.assertLess(time.monotonic() - began, 4)

    def test_a_compacted_version_is_410_as_an_event(self) -> None:
        version = self.version()
        self.make("a")
        self.lab.api("compact")
        events = list(self.admin.watch(MAPS, resourceVersion=version))
        self.assertEqual([e["type"] for e in events], ["ERROR"])
        self.assertEqual((events[0]["object"]["code"], events[0]["object"]["reason"]),
                         (410, "Expired"))


class Access(ApiTestCase):
    def test_a_pod_may_do_what_the_role_says_and_no_more(self) -> None:
        sets = "/apis/apps/v1/namespaces/lab/statefulsets"
        slices = "/apis/discovery.k8s.io/v1/namespaces/lab/endpointslices"
        event = {"metadata": {"generateName": "e-"},
                 "involvedObject": {"kind": "Pod", "name": "muster-0", "namespace": "lab"}}
        allowed = [("GET", PODS, None), ("GET", f"{PODS}/muster-0", None), ("GET", sets, None),
                   ("GET", slices, None), ("GET", LEASES, None), ("GET", MAPS, None),
                   ("POST", MAPS, config_map("mine")), ("PUT", f"{MAPS}/mine", config_map("mine")),
                   ("POST", EVENTS, event)]
        refused = [("GET", "/api/v1/namespaces/lab/secrets", None), ("GET", EVENTS, None),
                   ("GET", "/api/v1/nodes", None), ("GET", "/api/v1/pods", None),
                   ("GET", "/api/v1/namespaces/other/pods", None),
                   ("DELETE", f"{PODS}/muster-1", None), ("DELETE", f"{MAPS}/mine", None),
                   ("PUT", f"{PODS}/muster-1/status", {}), ("PUT", f"{sets}/muster", {}),
                   ("PATCH", f"{MAPS}/mine", {}), ("PATCH", f"{LEASES}/muster", {})]
        for method, path, body in allowed:
            with self.subTest(f"{method} {path}"):
                code, answer = self.pod.request(method, path, body)
                self.assertIn(code, (200, 201), answer)
        for method, path, body in refused:
            with self.subTest(f"{method} {path}"):
                answer = self.pod.request(method, path, body, "application/merge-patch+json")
                self.assert_status(answer, 403, "Forbidden")
                self.assertIn("system:serviceaccount:lab:muster", answer[1]["message"])

    def test_without_a_token_there_is_no_access(self) -> None:
        path = self.lab.directory / "wrong"
        path.write_text("wrong")
        self.assert_status(Kube(self.lab.state, path).get(PODS), 401, "Unauthorized")

    def test_a_rotated_token_ends_the_old_one(self) -> None:
        token = self.lab.state / "pods/muster-0/token"
        old = self.lab.directory / "old"
        old.write_text(token.read_text())
        self.lab.api("rotate-tokens")
        self.assertEqual(Kube(self.lab.state, old).get(PODS)[0], 401)
        self.assertEqual(self.pod.get(PODS)[0], 200)

    def test_requests_are_counted_by_pod_and_verb(self) -> None:
        def count() -> int:
            rows = self.lab.api("stats")["requests"]
            return sum(r["count"] for r in rows if (r["client"], r["verb"], r["resource"]) ==
                       ("muster-0", "list", "pods"))
        before = count()
        self.pod.get(PODS)
        self.assertEqual(count(), before + 1)


class Faults(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.lab.api, "fault", "clear")

    def test_a_status_is_answered_as_often_as_told(self) -> None:
        self.lab.api("fault", "list,pods,status=429/7,times=2")
        codes = []
        for _ in range(3):
            codes.append(self.pod.get(PODS)[0])
            if codes[-1] == 429:
                self.assertEqual(self.pod.headers["Retry-After"], "7")
        self.assertEqual(codes, [429, 429, 200])

    def test_a_delay_delays(self) -> None:
        self.lab.api("fault", "get,pods,delay=300")
        began = time.monotonic()
        self.pod.get(f"{PODS}/muster-0")
        self.assertGreaterEqual(time.monotonic() - began, 0.3)

    def test_a_drop_is_no_answer(self) -> None:
        self.lab.api("fault", "list,*,drop,times=1")
        with self.assertRaises((http.client.HTTPException, ConnectionError, ssl.SSLError)):
            self.pod.get(PODS)
        self.assertEqual(self.pod.get(PODS)[0], 200)

    def test_a_truncated_answer_is_short(self) -> None:
        self.lab.api("fault", "list,pods,truncate=100,times=1")
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.pod.get(PODS)
        self.assertEqual(len(caught.exception.partial), 100)

    def test_a_stale_list_is_an_older_version(self) -> None:
        self.make("a")
        time.sleep(3.2)
        self.make("b")
        now = int(self.version())
        self.lab.api("fault", "*,configmaps,stale=3,times=2")
        _, found = self.admin.get(MAPS)
        self.assertEqual([i["metadata"]["name"] for i in found["items"]], ["a"])
        self.assertLess(int(found["metadata"]["resourceVersion"]), now)
        self.assertEqual(self.admin.get(f"{MAPS}/b")[0], 404)

    def test_gone_ends_a_list_and_a_running_watch(self) -> None:
        self.lab.api("fault", "list,pods,gone,times=1")
        self.assert_status(self.pod.get(PODS), 410, "Expired")
        self.lab.api("fault", "watch,pods,gone=http,times=1")
        self.assertEqual(list(self.pod.watch(PODS))[0]["type"], "HTTP")
        timer = threading.Timer(0.3, self.lab.api, ("fault", "watch,configmaps,gone,times=1"))
        timer.start()
        events = list(self.pod.watch(MAPS, resourceVersion=self.version()))
        timer.join()
        self.assertEqual([(e["type"], e["object"]["code"]) for e in events], [("ERROR", 410)])

    def test_reordered_events_change_places(self) -> None:
        with self.opened(self.version()) as watch:
            self.lab.api("fault", "watch,configmaps,reorder,times=1")
            self.make("a")
            self.make("b")
            events = until(watch, 2)
        self.assertEqual(events, [("ADDED", "b"), ("ADDED", "a")])

    def test_events_are_sent_twice_or_never(self) -> None:
        for kind, names in (("duplicate", ["a", "a", "b"]), ("skip", ["b"])):
            for name in "ab":
                self.admin.request("DELETE", f"{MAPS}/{name}")
            with self.opened(self.version()) as watch:
                self.lab.api("fault", f"watch,configmaps,{kind},times=1")
                self.make("a")
                self.make("b")
                events = until(watch, len(names))
            self.assertEqual([name for _, name in events], names, kind)

    def test_a_hole_says_nothing_and_stays_open(self) -> None:
        self.lab.api("fault", "list,pods,hole,times=1")
        connection = self.pod.connection(timeout=0.5)
        with contextlib.closing(connection), self.assertRaises(TimeoutError):
            self.pod.request("GET", PODS, connection=connection)
        watch = self.pod.watch(MAPS, timeout=2, resourceVersion=self.version(),
                               allowWatchBookmarks="true")
        self.assertEqual(next(watch)["type"], "BOOKMARK")
        self.lab.api("fault", "watch,configmaps,hole,times=1")
        with self.assertRaises(TimeoutError):
            for event in watch:
                self.assertEqual(event["type"], "BOOKMARK", "sent before the fault")

    def test_half_an_object_is_whole_http(self) -> None:
        self.lab.api("fault", "list,pods,half=100,times=1")
        self.assertEqual(self.pod.get(PODS), (200, None))
        self.assertEqual(self.pod.headers["Content-Length"], "100")

    def test_a_crowd_is_paged_behind_what_there_is(self) -> None:
        self.lab.api("fault", "list,pods,crowd=250")
        names, query = [], {}
        while True:
            _, page = self.pod.get(PODS, limit=100, **query)
            names += [i["metadata"]["name"] for i in page["items"]]
            self.assertLessEqual(len(page["items"]), 100)
            self.assertFalse(any("ownerReferences" in i["metadata"] for i in page["items"]
                                 if i["metadata"]["name"].startswith("zz-")))
            query = {"continue": page["metadata"].get("continue")}
            if not query["continue"]:
                break
        self.assertEqual(names[:2], ["muster-0", "muster-1"])
        self.assertEqual((len(names), len(set(names))), (252, 252))

    def test_another_certificate_is_shown(self) -> None:
        self.addCleanup(self.lab.api, "cert", "good")
        for kind in ("other-ca", "expired", "wrong-name", "self-signed", "sha1", "weak-key"):
            self.lab.api("cert", kind)
            with self.subTest(kind), self.assertRaises(ssl.SSLError):
                self.pod.get(PODS)
        self.lab.api("cert", "good")
        self.assertEqual(self.pod.get(PODS)[0], 200)

    def test_a_fault_may_be_for_one_pod(self) -> None:
        self.lab.api("fault", "list,pods,status=403,pod=muster-1")
        self.assertEqual(self.pod.get(PODS)[0], 200)
        other = Kube(self.lab.state, self.lab.state / "pods/muster-1/token")
        self.assertEqual(other.get(PODS)[0], 403)

    def test_nonsense_is_refused(self) -> None:
        for spec in ("list,pods", "jump,pods,drop", "list,pots,drop", "list,pods,burn",
                     "list,pods,status=200", "list,pods,drop=1", "list,pods,drop,times=0"):
            with self.subTest(spec), self.assertRaises(LabError):
                self.lab.api("fault", spec)

    def test_down_refuses_and_cuts_and_up_is_back(self) -> None:
        connection = self.pod.connection()
        self.assertEqual(self.pod.request("GET", PODS, connection=connection)[0], 200)
        self.assertEqual(self.pod.request("GET", PODS, connection=connection)[0], 200)
        self.lab.api("down")
        with self.assertRaises((http.client.HTTPException, OSError)):
            connection.request("GET", PODS)
            connection.getresponse()
        with self.assertRaises(ConnectionRefusedError):
            self.pod.get(PODS)
        self.lab.api("up")
        self.assertEqual(self.pod.get(PODS)[0], 200)


if __name__ == "__main__":
    main()
