"""SdkHelm: the real Helm out of a wheel, in a process of its own.

The SDK is a Go library that blocks.  It is not loaded here: it would stay in memory
(60 MB before it does anything), and what it fetches from a repository that does not
answer ends for nobody.  A process ends, always.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from cove.host import _program
from cove.host.helm._drivers import Order, RefusedError

__all__ = ["SdkHelm", "document"]

CHILD = Path(__file__).with_name("_sdkchild.py")


def document(order: Order, folder: str) -> dict[str, Any]:
    """The order as the child process reads it."""
    return {
        "action": order.action,
        "name": order.name,
        "namespace": order.namespace,
        "kubeconfig": str(order.kubeconfig),
        "chart": order.chart,
        "local": order.local is not None,
        "folder": folder,
        "repo": order.repo,
        "version": order.version,
        "values": order.values,
        "timeout": order.timeout,
        "wait": order.wait,
        "create_namespace": order.create_namespace,
        "plain_http": order.plain_http,
    }


class SdkHelm:
    """Runs Helm's SDK; a cancelled operation is noted as failed by Helm itself."""

    async def run(self, order: Order) -> None:
        """Return when it is done; raises RefusedError with Helm's reason."""
        # Charts that are fetched lie here meanwhile.
        with tempfile.TemporaryDirectory(prefix="cove-helm-") as folder:
            ended = await self._run(document(order, folder))
        if ended.code == 0:
            return
        try:
            reason = str(json.loads(ended.out)["error"])
        except (ValueError, KeyError, TypeError):
            reason = ended.err.strip()[-4000:] or f"its process ended ({ended.code})"
        raise RefusedError(reason)

    async def _run(self, said: dict[str, Any]) -> _program.Ended:
        places = os.pathsep.join(filter(None, sys.path))
        try:
            return await _program.run(
                # -P: the folder of the script holds modules of ours, not of the SDK.
                [sys.executable, "-P", str(CHILD)],
                stdin=json.dumps(said).encode(),
                environment={**os.environ, "PYTHONPATH": places},
            )
        except _program.ProgramError as e:
            raise RefusedError(str(e)) from e
