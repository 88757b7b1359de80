#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""values_table.py: prints the table of the chart's README from values.yaml, where each value has its comment.

--fix writes it into the README, between its two marks.
"""
import json
import re
import sys

import yaml

from chart_case import CHART, read

BEGIN, END = "<!-- values: made by tests/chart/values_table.py -->", "<!-- end of values -->"
# values that are read as one, whatever is in them
WHOLE = ("agent.resources", "server.resources", "podSecurityContext", "containerSecurityContext",
         "updateStrategy")


def comments(text):
    """{path: comment}: the lines of comment right above a key."""
    found, path, lines = {}, [], []
    for line in text.splitlines():
        comment = re.match(r"\s*# ?(.*)", line)
        key = re.match(r"( *)(\w+):", line)
        if comment:
            lines.append(comment[1])
            continue
        if key:
            path = path[:len(key[1]) // 2] + [key[2]]
            found[".".join(path)] = " ".join(lines)
        lines = []
    return found


def leaves(tree, path=()):
    """(path, value) of each value, as a person sets it."""
    for key, value in tree.items():
        here = path + (key,)
        if isinstance(value, dict) and value and ".".join(here) not in WHOLE:
            yield from leaves(value, here)
        else:
            yield ".".join(here), value


def table():
    text = read(CHART, "values.yaml")
    said = comments(text)
    rows = ["| value | default | what it is |", "|---|---|---|"]
    for path, value in leaves(yaml.safe_load(text)):
        if not said.get(path):
            sys.exit(f"values.yaml: {path} has no comment above it")
        escaped = said[path].replace("|", "\\|").replace("~*", "`~*`").replace("&*", "`&*`")
        rows.append(f"| `{path}` | `{json.dumps(value)}` | {escaped} |")
    return "\n".join(rows)


def main():
    if sys.argv[1:] != ["--fix"]:
        print(table())
        return
    readme = read(CHART, "README.md")
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    with open(CHART + "/README.md", "w", encoding="utf-8") as f:
        f.write(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
