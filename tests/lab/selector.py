# SPDX-License-Identifier: Apache-2.0
"""labelSelector and fieldSelector, and what they make of a change (apimachinery/pkg/labels)."""

from __future__ import annotations

import re
from typing import Callable, Optional

import status
from store import Change, Object

Match = Callable[[Object], bool]

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s*\(([^()]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([\w./-]+)\s*(==|!=|=)\s*([\w.-]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([\w./-]+)\s*$")
_FIELDS = {
    "metadata.name": lambda o: o["metadata"].get("name", ""),
    "metadata.namespace": lambda o: o["metadata"].get("namespace", ""),
    "spec.nodeName": lambda o: o.get("spec", {}).get("nodeName", ""),
    "status.phase": lambda o: o.get("status", {}).get("phase", ""),
    "status.podIP": lambda o: o.get("status", {}).get("podIP", ""),
}
_POD_ONLY = {"spec.nodeName", "status.phase", "status.podIP"}


def _split(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label_term(term: str) -> Match:
    match = _SET.match(term)
    if match:
        key, op, values = match.group(1), match.group(2), match.group(3)
        wanted = {v.strip() for v in values.split(",")}
        if op == "in":
            return lambda o: o["metadata"].get("labels", {}).get(key) in wanted
        return lambda o: o["metadata"].get("labels", {}).get(key) not in wanted
    match = _EQUAL.match(term)
    if match:
        key, op, value = match.groups()
        if op == "!=":
            return lambda o: o["metadata"].get("labels", {}).get(key) != value
        return lambda o: o["metadata"].get("labels", {}).get(key) == value
    match = _EXISTS.match(term)
    if match:
        key, present = match.group(2), not match.group(1)
        return lambda o: (key in o["metadata"].get("labels", {})) == present
    raise status.bad_request(f"unable to parse requirement: {term!r}")


def _field_term(resource: str, term: str) -> Match:
    match = _EQUAL.match(term)
    if not match:
        raise status.bad_request(f"invalid field selector: {term!r}")
    key, op, value = match.groups()
    if key not in _FIELDS or (key in _POD_ONLY and resource != "pods"):
        raise status.bad_request(f"field label not supported: {key}")
    read = _FIELDS[key]
    return lambda o: (read(o) == value) == (op != "!=")


def compile_selector(resource: str, labels: str, fields: str, namespace: str) -> Match:
    """One predicate out of both selectors and the namespace ("" = all)."""
    terms = [_label_term(t) for t in _split(labels)]
    terms += [_field_term(resource, t) for t in _split(fields)]
    if namespace:
        terms.append(lambda o: o["metadata"].get("namespace") == namespace)
    return lambda o: all(term(o) for term in terms)


def project(change: Change, match: Match) -> Optional[tuple[str, Object]]:
    """What a watcher with this selector sees of a change.

    An object that leaves the selection is DELETED and one that enters it ADDED; a DELETED event
    carries the last state that matched, under the version of the deletion (watch_cache.go).
    """
    was = change.prev is not None and match(change.prev)
    now = change.type != "DELETED" and match(change.obj)
    if now:
        return ("MODIFIED" if was else "ADDED"), change.obj
    if not was:
        return None
    assert change.prev is not None
    last = {**change.prev,
            "metadata": {**change.prev["metadata"], "resourceVersion": str(change.version)}}
    return "DELETED", last
