# SPDX-License-Identifier: Apache-2.0
"""The daemon's side of `lab load`: starts the load process and talks to it over DIR/load.sock."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from container import PATH

if TYPE_CHECKING:
    from daemon import Lab


class LoadError(Exception):
    """The load could not do what was asked, in one sentence."""


async def run(lab: "Lab", args: dict[str, Any], progress: Callable[[str], None]) -> Any:
    action = args["action"]
    if action == "start":
        return await _start(lab, args, progress)
    if lab.load is None or lab.load.returncode is not None:
        raise LoadError("no load is running; `lab load start` starts one")
    return await ask(lab.config.directory / "load.sock", action, args.get("timeout", 60.0))


async def ask(path: Path, action: str, timeout: float) -> Any:
    """One request to the load process: stop or report."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=16 * 1024 * 1024)
    try:
        writer.write(json.dumps({"action": action, "timeout": timeout}).encode() + b"\n")
        line = await asyncio.wait_for(reader.readline(), timeout + 10)
    except asyncio.TimeoutError as error:
        raise LoadError(f"the load process did not answer {action} in time") from error
    finally:
        writer.close()
    if not line:
        raise LoadError("the load process died; see load.log")
    reply = json.loads(line)
    if "error" in reply:
        raise LoadError(reply["error"])
    return reply["result"]


async def _start(lab: "Lab", args: dict[str, Any], progress: Callable[[str], None]) -> Any:
    directory = lab.config.directory
    if lab.load is not None and lab.load.returncode is None:
        raise LoadError("a load is running already; `lab load report` ends in its figures, "
                        "`lab load stop --forget` ends it")
    socket = directory / "load.sock"
    socket.unlink(missing_ok=True)
    with open(directory / "load.log", "ab") as log:
        lab.load = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("load.py")),
            "--seeds-file", str(directory / "endpoints.json"), "--socket", str(socket),
            "--access", str(directory),
            "--writers", str(args.get("writers", 8)), "--readers", str(args.get("readers", 2)),
            "--gaps", str(args.get("gaps", 64)), *["--real-time"] * bool(args.get("realTime")),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": PATH})
    progress("the load looks for the cluster")
    while not socket.exists():
        if lab.load.returncode is not None:
            last = (directory / "load.log").read_text().strip().splitlines()[-1:]
            raise LoadError(f"the load did not start: {' '.join(last)}")
        await asyncio.sleep(0.05)
    return await ask(socket, "started", args.get("timeout", 60.0))
