"""``make fuzz``'s other half: schemathesis over every group of the server's own OpenAPI.

It lives in an environment of its own, for its plugin would make every start of pytest a
second longer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.fuzz.fuzzing import prepare

from cove.engines.embedded import EmbeddedCluster, embedded

HERE = Path(__file__).resolve().parent
# Lines of what it prints that are told of a group that failed.
TOLD = 60


def credentials(made: EmbeddedCluster, folder: Path) -> list[str]:
    """The options with which it is the administrator."""
    user = yaml.safe_load(made.kubeconfig)["users"][0]["user"]
    authority = yaml.safe_load(made.kubeconfig)["clusters"][0]["cluster"]
    files = {
        "--tls-verify": authority["certificate-authority-data"],
        "--request-cert": user["client-certificate-data"],
        "--request-cert-key": user["client-key-data"],
    }
    options = []
    for option, data in files.items():
        path = folder / option.strip("-")
        path.touch(0o600)
        path.write_bytes(b64decode(data))
        options += [option, str(path)]
    return options


async def check(
    program: str, made: EmbeddedCluster, group: str, seconds: float, seed: int
) -> tuple[int, list[str]]:
    """(how it ended for one group, what it printed); stops after ``seconds``."""
    with TemporaryDirectory(prefix="cove-fuzz-") as folder:
        process = await asyncio.create_subprocess_exec(
            program,
            "run",
            f"{made.url}/openapi/v3/{group}",
            *credentials(made, Path(folder)),
            *("--checks", "answered_in_words", "--phases", "fuzzing", "--workers", "1"),
            *("--max-examples", "50", "--max-time", f"{seconds:g}", "--seed", str(seed)),
            *("--no-shrink", "--generation-database", "none", "--request-timeout", "20"),
            *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    lines = [line[:400] for line in out.decode(errors="replace").splitlines() if line.strip()]
    assert process.returncode is not None
    return process.returncode, lines


def cluster() -> EmbeddedCluster:
    """One to be spoilt: each group gets its own, for some requests delete kinds and namespaces."""
    return embedded(nodes=0, controllers=False, disable_admission=["ServiceAccount"], history=2000)


async def run(program: str, seconds: float, seed: int) -> int:
    """All groups, one after the other; the exit code."""
    failed = 0
    async with cluster() as made:
        await prepare(made.client)
        groups = (await made.client.request("GET", "/openapi/v3"))["paths"]
    for group in groups:
        async with cluster() as made:
            await prepare(made.client)
            code, lines = await check(program, made, group, seconds, seed)
        said = next((line.strip() for line in lines if " generated, " in line), "")
        # Too little time, or hooks that do not load, are no good news.
        print(f"{group:<48}{said or 'nothing was sent'}", flush=True)
        if code or not said:
            failed += 1
            print("\n".join(lines[-TOLD:]), flush=True)
    print(f"{len(groups)} groups, {failed} with faults, seed {seed}")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="schemathesis' command")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each group")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # Faults are told by their answers.
    logging.disable(logging.CRITICAL)
    program = str(Path(arguments.program).absolute())
    return asyncio.run(run(program, arguments.seconds, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
