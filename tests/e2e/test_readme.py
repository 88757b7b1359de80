#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README's quick starts: every `sh` block below "Quick start" is run as it stands there.

Nothing in the README is marked for this: a section is a heading, and its blocks are run in their order, each by a shell
that ends at the first failure. What a reader brings along is put in place before: kubectl, helm and docker compose in the
PATH, the images that Docker would pull. Between the blocks stands one step that depends on the reader's cluster, giving
the image to its nodes; `between` does that here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Callable, ClassVar

REPO = Path(__file__).resolve().parents[2]
README = REPO / "README.md"
CHAPTER = "Quick start"
LAB, KUBERNETES, COMPOSE = "In the lab", "On Kubernetes", "With Docker Compose"
STATE = os.environ.get("E2E_STATE", "")
IMAGE = "muster:0.1.0"
PROJECT = "docker/docker-compose.yml"
# of one block, images built and servers fetched included
BLOCK_SECONDS = 600


def sections() -> dict[str, list[str]]:
    """Title -> the `sh` blocks below it, of the sections of the chapter; AssertionError for what would not be run."""
    text = README.read_text()
    chapter = re.search(rf"^## {CHAPTER}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert chapter, f"the README has no chapter '{CHAPTER}'"
    _, *parts = re.split(r"^### (.+)\n", chapter[1], flags=re.MULTILINE)
    found = {}
    for title, body in zip(parts[::2], parts[1::2]):
        blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        assert blocks and all(kind == "sh" for kind, _ in blocks), f"{title}: its blocks are not all of kind sh"
        assert body.count("```") == 2 * len(blocks), f"{title}: a block that is not recognised"
        found[title] = [block for _, block in blocks]
    return found


class Readme(unittest.TestCase):
    """One test for each section."""

    bin: ClassVar[Path]
    environment: ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(tempfile.mkdtemp(prefix="readme-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.bin = folder / "bin"
        cls.bin.mkdir()
        for name in ("kubectl", "helm"):
            program = shutil.which(os.environ.get(name.upper(), name))
            if program:
                (cls.bin / name).symlink_to(program)
        cls.environment = {**os.environ, "PATH": f"{cls.bin}:{os.environ['PATH']}"}
        if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
            plugin = folder / "docker/cli-plugins/docker-compose"
            plugin.parent.mkdir(parents=True)
            found = subprocess.run([REPO / "tests/chart/compose.sh", "--plugin"], stdout=subprocess.PIPE, text=True,
                                   check=True, timeout=BLOCK_SECONDS)
            plugin.symlink_to(found.stdout.strip())
            cls.environment["DOCKER_CONFIG"] = str(folder / "docker")
        subprocess.run([REPO / "tests/chart/base-image.sh"], check=True, timeout=BLOCK_SECONDS)

    def run_block(self, block: str) -> str:
        """What it prints, with standard error; fails when it does."""
        try:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=REPO, env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  check=False, timeout=BLOCK_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.fail(f"not done within {BLOCK_SECONDS} s:\n{block}\n{error.output!r}")
        self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}")
        return done.stdout

    def tidy(self, *argv: str) -> None:
        """What a failed test may have left."""
        subprocess.run(argv, cwd=REPO, env=self.environment, capture_output=True, check=False, timeout=BLOCK_SECONDS)

    def run_section(self, title: str, between: Callable[[], None] = lambda: None) -> str:
        """What its blocks print, one after the other; `between` is called after the first."""
        first, *others = sections()[title]
        printed = self.run_block(first)
        between()
        return printed + "".join(self.run_block(block) for block in others)

    def test_every_section_is_run_here(self) -> None:
        self.assertEqual(set(sections()), {LAB, KUBERNETES, COMPOSE})

    def test_lab(self) -> None:
        printed = self.run_section(LAB)
        self.assertIn("The cluster stands", printed)

    def test_kubernetes(self) -> None:
        def give_image() -> None:
            # a cluster of one's own (KUBECONFIG) was given it before
            if STATE:
                subprocess.run([REPO / "tests/e2e/cluster", "--state", STATE, "load", IMAGE], check=True,
                               timeout=BLOCK_SECONDS)
        self.addCleanup(self.tidy, "kubectl", "delete", "namespace", "shop", "--ignore-not-found")
        printed = self.run_section(KUBERNETES, give_image)
        self.assertRegex(printed, r"(?m)^healthy$")
        self.assertRegex(printed, r"(?m)^OK$")

    def test_compose(self) -> None:
        self.addCleanup(self.tidy, "docker", "compose", "--file", PROJECT, "down", "--volumes")
        printed = self.run_section(COMPOSE)
        self.assertRegex(printed, r"(?m)^OK$")
        self.assertRegex(printed, r"(?m)^hello$")


if __name__ == "__main__":
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0:
        helper = REPO / "tests/lib/with-docker.sh"
        if "MUSTER_WITH_DOCKER" in os.environ:
            sys.exit("there is no Docker engine, and none could be started")
        os.environ["MUSTER_WITH_DOCKER"] = "1"
        os.execv(helper, [str(helper), sys.executable, *sys.argv])
    unittest.main(verbosity=2)
