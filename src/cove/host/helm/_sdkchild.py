"""The process that Helm's SDK runs in: an order on standard input, a result on standard output.

It imports nothing of cove.  SIGTERM cancels the operation, which Helm then notes as
failed.  Fetching a chart cannot be cancelled, and leaves nothing to note: the process ends.
"""

from __future__ import annotations

import glob
import json
import math
import os
import signal
import sys
import threading
from typing import Any

# Seconds that Helm has to note a release as failed; less than it is given to end at all.
GRACE = 4.0


def fetch(order: dict[str, Any]) -> dict[str, Any]:
    """The order with a chart that is here, fetched into its folder if it was not."""
    import helm_python

    if order["local"]:
        return order
    helm_python.pull(
        order["chart"],
        destination=order["folder"],
        version=order["version"],
        repo_url=order["repo"],
        plain_http=order["plain_http"],
    )
    (chart,) = glob.glob(os.path.join(glob.escape(order["folder"]), "*.tgz"))
    return {**order, "chart": chart}


def perform(order: dict[str, Any], context: Any) -> None:
    """Do it with a chart that is here, blocking."""
    import helm_python

    timeout = max(1, math.ceil(order["timeout"]))
    with helm_python.Config(
        kubeconfig_path=order["kubeconfig"],
        namespace=order["namespace"],
        storage_driver="secret",
    ) as config:
        if order["action"] == "uninstall":
            config.uninstall(
                order["name"], timeout=timeout, wait="watcher" if order["wait"] else "hookOnly"
            )
            return
        options = {
            "context": context,
            "namespace": order["namespace"],
            "timeout": timeout,
            "wait": "watcher" if order["wait"] else "hookOnly",
        }
        if order["action"] == "install":
            config.install(
                order["chart"],
                order["name"],
                order["values"],
                create_namespace=order["create_namespace"],
                **options,
            )
        else:
            # Without it an upgrade without values would keep those of before.
            config.upgrade(
                order["chart"], order["name"], order["values"], reset_values=True, **options
            )


def main() -> None:
    """One order, then the end of the process, whatever threads are left."""
    result: dict[str, str] = {"error": "cancelled"}
    stopping = threading.Event()
    fetched = threading.Event()
    ended = threading.Event()
    # Before the library is loaded: who is asked to end while it loads, ends.
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    order = json.load(sys.stdin)

    try:
        import helm_python

        context = helm_python.HelmContext()
    except Exception as e:
        sys.stdout.write(json.dumps({"error": f"Helm's SDK cannot be loaded: {e}"}))
        sys.exit(1)

    def work() -> None:
        try:
            here = fetch(order)
            fetched.set()
            if not stopping.is_set():
                perform(here, context)
                result.pop("error")
        except Exception as e:
            result["error"] = str(e) or type(e).__name__
        finally:
            ended.set()
            stopping.set()

    threading.Thread(target=work, daemon=True).start()
    stopping.wait()
    if fetched.is_set() and not ended.is_set():
        context.cancel()
        ended.wait(GRACE)
    sys.stdout.write(json.dumps(result))
    sys.stdout.flush()
    # Not sys.exit: the library's thread may be waiting for a server that never answers.
    os._exit(1 if "error" in result else 0)


if __name__ == "__main__":
    main()
