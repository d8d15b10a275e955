"""CommandHelm: the ``helm`` on the PATH, as a child process.

Values go through one file that only this user can read, never through ``--set``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cove.host import _program, _yaml
from cove.host.helm._drivers import Order, RefusedError

__all__ = ["CommandHelm", "arguments", "environment", "reason"]

# What a person's shell may say to Helm, and what is said on the command line here.
_OWN = ("HELM_KUBE", "HELM_NAMESPACE", "HELM_DRIVER", "HELM_DEBUG", "KUBECONFIG")
LINES = 40


def arguments(order: Order, *, kubeconfig: str, chart: str, values: str) -> list[str]:
    """Helm's arguments for an order; the paths are those that Helm sees."""
    common = [
        f"--kubeconfig={kubeconfig}",
        f"--namespace={order.namespace}",
        f"--timeout={round(order.timeout * 1000)}ms",
    ]
    if order.wait:
        common.append("--wait")
    if order.action == "uninstall":
        return ["uninstall", *common, "--", order.name]
    options = ["--install", "--reset-values", f"--values={values}", "--output=json"]
    if order.create_namespace:
        options.append("--create-namespace")
    if order.repo is not None:
        options.append(f"--repo={order.repo}")
    if order.version is not None:
        options.append(f"--version={order.version}")
    if order.plain_http:
        options.append("--plain-http")
    return ["upgrade", *common, *options, "--", order.name, chart]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would point Helm elsewhere."""
    kept = {k: v for k, v in given.items() if not k.startswith(_OWN)}
    # Where progress and results are looked for.
    return {**kept, "HELM_DRIVER": "secret"}


def reason(said: str, code: int) -> str:
    """Helm's reason out of what it wrote to its standard error."""
    lines = [line for line in said.splitlines() if not line.startswith("WARNING: Kubernetes conf")]
    text = "\n".join(lines[-LINES:]).strip()
    return text.removeprefix("Error: ") or f"helm ended ({code})"


class CommandHelm:
    """Runs a helm binary; SIGTERM tells it that nobody waits any more."""

    def __init__(self, helm: Path) -> None:
        self.helm = helm

    async def run(self, order: Order) -> None:
        """Return when it is done; raises RefusedError with Helm's reason."""
        # Made by mkdtemp for this user alone, and the file in it likewise.
        with tempfile.TemporaryDirectory(prefix="cove-helm-") as folder:
            values = write_values(Path(folder), order)
            told = arguments(
                order, kubeconfig=str(order.kubeconfig), chart=order.chart, values=str(values)
            )
            try:
                ended = await _program.run(
                    [str(self.helm), *told], environment=environment(os.environ)
                )
            except _program.ProgramError as e:
                raise RefusedError(str(e)) from e
        if ended.code != 0:
            raise RefusedError(reason(ended.err, ended.code))


def write_values(folder: Path, order: Order) -> Path:
    """The order's values as a file, mode 0600."""
    path = folder / "values.yaml"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_yaml.dump(order.values))
    return path
