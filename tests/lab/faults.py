# SPDX-License-Identifier: Apache-2.0
"""Faults injected into the API server: `verb,resource,kind[=value][,times=N][,pod=NAME][,seed=N]`.

kind      value                         effect on a matching request
status    HTTP code, e.g. 429 or 429/30 the answer; 429 and 503 carry Retry-After (default 1 s)
delay     milliseconds                  answered that much later
drop      -                             the connection is closed without an answer
hole      -                             never answered; a watch stays open and says nothing more
truncate  bytes                         the answer is cut after so many bytes of its body
half      bytes                         so many bytes of the JSON, in a whole answer or event
stale     seconds (default 60)          get and list show the state of so long ago
crowd     count                         a list has so many more objects that nobody owns
reorder   percent (default 100)         a watch holds an event back until the next one is sent
duplicate percent (default 100)         a watch sends an event twice
skip      percent (default 100)         a watch never sends an event
gone      http or event (default)       410 as the answer, or as the ERROR event of a watch

A verb or resource may be `*`. Without `times` a fault stands until `api fault clear`. A new fault
also reaches watches that already run: they are cut (or, for `gone`, ended by the ERROR event, and
for `hole` left hanging). `seed` makes other draws of the same percentages.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Optional

from store import RESOURCES

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
KINDS = ("status", "delay", "drop", "hole", "truncate", "half", "stale", "crowd", "reorder",
         "duplicate", "skip", "gone")
# Of these a watch asks for each event.
EVENT_KINDS = ("reorder", "duplicate", "skip", "half")
# These end a watch that runs, or silence it.
ENDING_KINDS = ("status", "drop", "hole", "truncate", "gone")


@dataclass
class Fault:
    """One rule; `left` counts down to zero when it was given a number of times."""

    verb: str
    resource: str
    kind: str
    value: str = ""
    left: Optional[int] = None
    pod: str = ""
    hits: int = 0
    spec: str = ""
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def matches(self, verb: str, resource: str, client: str) -> bool:
        return (self.left != 0 and self.verb in ("*", verb)
                and self.resource in ("*", resource) and self.pod in ("", client))

    def take(self) -> None:
        self.hits += 1
        if self.left is not None:
            self.left -= 1

    def number(self, default: int) -> int:
        return int(self.value) if self.value else default

    def chance(self) -> bool:
        return self._random.random() * 100 < self.number(100)

    @property
    def code(self) -> int:
        return int(self.value.split("/")[0])

    @property
    def retry_after(self) -> int:
        return int(self.value.split("/")[1]) if "/" in self.value else 1


def _check_value(kind: str, value: str, spec: str) -> None:
    number = value.isascii() and value.isdigit()
    if kind == "status":
        code, _, retry = value.partition("/")
        good = code.isdigit() and 400 <= int(code) <= 599 and (not retry or retry.isdigit())
    elif kind in ("delay", "truncate", "half", "crowd"):
        good = number
    elif kind == "gone":
        good = value in ("", "http", "event")
    elif kind in ("drop", "hole"):
        good = not value
    else:
        good = not value or number
    if not good:
        raise ValueError(f"fault {spec!r}: {value!r} is no value for {kind}")


def parse(spec: str) -> Fault:
    """Read a SPEC; raises ValueError with a sentence."""
    parts = [p.strip() for p in spec.split(",")]
    if len(parts) < 3:
        raise ValueError(f"fault {spec!r} is not "
                         "verb,resource,kind[=value][,times=N][,pod=NAME][,seed=N]")
    verb, resource = parts[0], parts[1]
    kind, _, value = parts[2].partition("=")
    if verb != "*" and verb not in VERBS:
        raise ValueError(f"fault {spec!r}: verb {verb!r} is none of * {' '.join(VERBS)}")
    if resource != "*" and resource not in RESOURCES:
        raise ValueError(f"fault {spec!r}: resource {resource!r} is none of * "
                         + " ".join(RESOURCES))
    if kind not in KINDS:
        raise ValueError(f"fault {spec!r}: kind {kind!r} is none of {' '.join(KINDS)}")
    _check_value(kind, value, spec)
    fault = Fault(verb, resource, kind, value, spec=spec)
    for option in parts[3:]:
        name, _, text = option.partition("=")
        if name == "times" and text.isdigit() and int(text) > 0:
            fault.left = int(text)
        elif name == "pod" and text:
            fault.pod = text
        elif name == "seed" and text.isdigit():
            fault._random = random.Random(int(text))
        else:
            raise ValueError(f"fault {spec!r}: {option!r} is none of times=N pod=NAME seed=N")
    return fault


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(self, spec: str) -> Fault:
        fault = parse(spec)
        self.rules.append(fault)
        return fault

    def clear(self, spec: str = "") -> None:
        """End the faults that were added by this SPEC, or all."""
        self.rules = [rule for rule in self.rules if spec and rule.spec != spec]

    def take(self, verb: str, resource: str, client: str,
             kinds: tuple[str, ...] = KINDS) -> dict[str, Fault]:
        """The faults that hit this request, one of each kind, counted as used."""
        hit: dict[str, Fault] = {}
        for rule in self.rules:
            if rule.kind in kinds and rule.kind not in hit and rule.matches(verb, resource, client):
                rule.take()
                hit[rule.kind] = rule
        self.rules = [r for r in self.rules if r.left != 0]
        return hit
