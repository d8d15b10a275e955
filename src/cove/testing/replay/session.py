"""One recording, from the context of a kubeconfig to a file: what ``cove record`` does."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cove.client import HttpTransport, kubeconfig
from cove.engines.cluster import ClusterOptions
from cove.engines.existing import ExistingCluster
from cove.testing.replay.proxy import RecordingProxy
from cove.testing.replay.recording import RecordingError, Writer

__all__ = ["Plan", "run", "session"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be recorded; see ``cove record --help``."""

    file: Path
    command: tuple[str, ...] = ()
    context: str | None = None
    kubeconfig: Path | None = None
    secrets: bool = False
    companions: bool = True
    limit: int = 256 * 1024 * 1024
    force: bool = False


def run(plan: Plan, say: Callable[[str], None]) -> int:
    """Record; the command's exit code, 128 and the signal's number where one ended it."""
    return asyncio.run(session(plan, say))


async def session(plan: Plan, say: Callable[[str], None]) -> int:
    """Record until the command ends, or until this process is interrupted where there is none.

    Raises KubeconfigError and NotAllowedError for the context, UnreachableError for its cluster,
    RecordingError for the file or a command that cannot be run.
    """
    options = ClusterOptions(context=plan.context, kubeconfig=plan.kubeconfig)
    async with ExistingCluster("record", options, log=say) as cluster:
        connection = await asyncio.to_thread(kubeconfig.load, str(cluster.kubeconfig_path))
        with Writer(
            plan.file,
            context=cluster.context,
            server=cluster.properties["version"],
            secrets=plan.secrets,
            limit=plan.limit,
            force=plan.force,
        ) as writer:
            async with HttpTransport(connection, timeout=None) as transport:
                async with RecordingProxy(
                    transport,
                    writer,
                    context=cluster.context,
                    namespace=connection.namespace,
                    companions=plan.companions,
                ) as proxy:
                    with tempfile.TemporaryDirectory(prefix="cove-") as folder:
                        path = Path(folder) / "kubeconfig"
                        path.touch(mode=0o600)
                        path.write_text(proxy.kubeconfig)
                        if plan.command:
                            code = await _command(plan.command, path)
                        else:
                            say(
                                f"recording the context {cluster.context}; in another shell: "
                                f"export KUBECONFIG={shlex.quote(str(path))}; "
                                "interrupt this one to end it"
                            )
                            code = await _interrupted()
    told = f"{writer.written} requests are in {plan.file}"
    if writer.dropped:
        told += f"; {writer.dropped} did not fit: --limit allows for more"
    if plan.secrets:
        told += "; secrets are in it"
    say(told)
    return code


async def _command(command: tuple[str, ...], path: Path) -> int:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "KUBECONFIG": str(path)}
        )
    except OSError as e:
        raise RecordingError(f"{command[0]} cannot be run: {e.strerror}") from e
    loop = asyncio.get_running_loop()
    # A terminal interrupts both of us; what ends the recording is the command's end.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
    return code if code >= 0 else 128 - code


async def _interrupted() -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await ended.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return 0
