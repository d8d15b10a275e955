"""Deploy: a release from its declaration to ready, and away again.

Helm does the work; around it this looks at Helm's records in the cluster: to choose
between install and upgrade, to clear up after a crash, to tell what is being waited for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

from cove.client import Client, Clock, SystemClock, Tasks, UnreachableError
from cove.host.diagnose import diagnose
from cove.host.helm import _records as records
from cove.host.helm._drivers import Driver, Order, RefusedError, find
from cove.host.helm._export import values_of
from cove.host.helm._release import Deployed, HelmError, Release
from cove.host.rollout import Rollout, targets
from cove.kube.status import CoveError, StatusError

__all__ = ["deploy", "objects", "status", "uninstall"]

Log = Callable[[str], None]
DriverName = Literal["auto", "sdk", "cli"]

# Seconds between two looks for the record that says what a release consists of.
LOOK = 0.5
_SEMVER_START = "0123456789v"


async def deploy(
    release: Release,
    *,
    kubeconfig: Path,
    client: Client,
    log: Log,
    driver: DriverName | Driver = "auto",
    clock: Clock | None = None,
) -> Deployed:
    """Install the release, or upgrade it to what is declared; return when it is deployed.

    Charts and files are read now.  ``log`` gets lines that tell what is being waited for.
    A release that a crash left half-way is taken as failed and upgraded; so is one that has
    failed.  Raises HelmError with Helm's reason, warning events, what pods wait for and
    their last lines.  Who is cancelled ends Helm; the release is failed then.
    """
    runner = find(driver) if isinstance(driver, str) else driver
    values, chart = await asyncio.to_thread(lambda: (values_of(release), _chart(release)))
    told = f'release "{release.name}"'
    before = await _before(release, client, log)

    def order(action: Literal["install", "upgrade", "uninstall"]) -> Order:
        return Order(
            action=action,
            name=release.name,
            namespace=release.namespace,
            kubeconfig=kubeconfig,
            chart=chart,
            repo=release.repo,
            version=release.version,
            values=values,
            timeout=release.timeout,
            wait=release.wait,
            create_namespace=release.create_namespace,
            plain_http=release.plain_http,
        )

    if before is not None and before.status in ("uninstalled", "uninstalling"):
        log(f"{told}: was uninstalled, and its history kept: that goes now")
        await _do(runner, order("uninstall"), release.name)
        before = None
    revision = before.revision if before is not None else 0
    log(f"{told}: {'upgrading' if before else 'installing'} {os.fspath(release.chart)}")
    async with Tasks() as tasks:
        tasks.start(
            f"progress of release {release.name}",
            _progress(release, client, revision, log, clock or SystemClock()),
        )
        try:
            await runner.run(order("upgrade" if before else "install"))
        except RefusedError as e:
            await tasks.close()
            raise HelmError(await _failure(release, client, revision, str(e))) from e
    found = await _reached(release.name, records.latest(client, release.namespace, release.name))
    if found is None:
        raise HelmError(f"{told}: Helm is done, and there is no record of it in the cluster")
    return _deployed(release.name, release.namespace, found)


async def uninstall(
    name: str,
    *,
    namespace: str = "default",
    kubeconfig: Path,
    driver: DriverName | Driver = "auto",
    timeout: float = 600.0,
) -> None:
    """Remove a release with what it has in the cluster; raises HelmError, also if it is none."""
    runner = find(driver) if isinstance(driver, str) else driver
    order = Order(
        action="uninstall", name=name, namespace=namespace, kubeconfig=kubeconfig, timeout=timeout
    )
    await _do(runner, order, name)


async def status(name: str, *, namespace: str = "default", client: Client) -> Deployed | None:
    """The last revision of a release, None if there is none; raises HelmError."""
    found = await _reached(name, records.latest(client, namespace, name))
    return None if found is None else _deployed(name, namespace, found)


async def objects(name: str, *, namespace: str = "default", client: Client) -> list[dict[str, Any]]:
    """The documents of a release's last revision, its hooks left out; raises HelmError."""
    found = await _reached(name, records.latest(client, namespace, name))
    return [] if found is None else found.manifests(hooks=False)


async def _do(runner: Driver, order: Order, name: str) -> None:
    try:
        await runner.run(order)
    except RefusedError as e:
        raise HelmError(f'release "{name}": {e}') from e


async def _reached(name: str, asking: object) -> records.Record | None:
    """What the cluster answers; why it does not, as the release's error."""
    try:
        return await asking  # type: ignore[no-any-return, misc]
    except UnreachableError as e:
        raise HelmError(f'release "{name}": the cluster does not answer: {e}') from e
    except StatusError as e:
        raise HelmError(f'release "{name}": the cluster refuses: {e}') from e


async def _before(release: Release, client: Client, log: Log) -> records.Record | None:
    """The release as it is, cleared of what a crash has left."""
    name = release.name
    found = await _reached(name, records.latest(client, release.namespace, name))
    if found is None or found.status not in records.PENDING:
        return found
    # Helm refuses to touch it for ever.  If somebody is at work on it after all, his Helm
    # writes its own verdict over this one when it is done, and the next revision is ours.
    log(
        f'release "{name}": revision {found.revision} is {found.status}: whoever was at it '
        "was interrupted; it is taken as failed and upgraded"
    )
    try:
        await records.mark_failed(client, found, "interrupted, and taken up again by cove")
    except StatusError as e:
        raise HelmError(
            f'release "{name}": revision {found.revision} is {found.status} and cannot be taken '
            f"over: {e}; is another Helm at work on it?"
        ) from e
    return found


def _chart(release: Release) -> str:
    """The chart as Helm is told; raises HelmError if it is to be here and is not."""
    path = release.local
    if path is None:
        return os.fspath(release.chart)
    told = f'release "{release.name}": chart {path}'
    if not path.exists():
        raise HelmError(
            f"{told} is not there; it is looked up when the release starts. A chart of a "
            'repository needs repo="https://…", one of a registry begins with oci://'
        )
    if path.is_dir():
        _check_version(release, path, told)
    return str(path.resolve())


def _check_version(release: Release, path: Path, told: str) -> None:
    try:
        metadata = yaml.safe_load((path / "Chart.yaml").read_text())
    except FileNotFoundError:
        raise HelmError(f"{told} is no chart: it has no Chart.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise HelmError(f"{told}: Chart.yaml cannot be read: {e}") from e
    found = str((metadata or {}).get("version", "")) if isinstance(metadata, dict) else ""
    wanted = release.version or ""
    # A range (^1.2, >=1) is for repositories, which have a choice.
    exact = wanted.lstrip("v").count(".") == 2 and wanted[0] in _SEMVER_START and " " not in wanted
    if exact and "x" not in wanted and found.lstrip("v") != wanted.lstrip("v"):
        raise HelmError(f"{told} has version {found}, not {wanted}: correct one of them")


async def _progress(release: Release, client: Client, before: int, log: Log, clock: Clock) -> None:
    """Tell what is being waited for, whenever that changes; for as long as it is awaited."""
    while True:
        try:
            record = await records.latest(client, release.namespace, release.name, after=before)
        except CoveError:
            record = None
        if record is not None:
            break
        await clock.sleep(LOOK)
    wanted = targets(record.manifests(), release.namespace)
    hooks = {h.get("name") for h in record.document.get("hooks") or ()}
    async with Rollout(client, wanted, clock=clock) as rollout:
        await rollout.synced()
        told = ""
        while True:
            missing = [
                each
                for each in rollout.missing()
                # Hooks come and go; one that is not there is not waited for.
                if not (each.absent and each.target.name in hooks)
            ]
            text = "; ".join(map(str, missing))
            if text and text != told:
                log(f'release "{release.name}": waiting for {text}')
            told = text
            await rollout.changed()


async def _failure(release: Release, client: Client, before: int, reason: str) -> str:
    """Helm's reason, what to do, and what the cluster knows."""
    text = f'release "{release.name}" in namespace {release.namespace}: {reason}'
    if "deadline exceeded" in reason or "timed out" in reason:
        text += f"\nit was not ready within {release.timeout:g} s (timeout=)"
    elif advice := _advice(release, reason):
        text += f"\n{advice}"
    try:
        record = await records.latest(client, release.namespace, release.name, after=before)
    except CoveError:
        return text
    if record is None:
        return text
    known = await diagnose(client, targets(record.manifests(), release.namespace))
    return "\n".join([text, *known])


def _advice(release: Release, reason: str) -> str:
    chart = os.fspath(release.chart)
    if "missing in charts/ directory" in reason:
        return f"fetch what the chart depends on: helm dependency build {chart}"
    if release.local is not None:
        return ""
    where = release.repo or chart
    version = f" in version {release.version}" if release.version else ""
    if "no chart version found" in reason or "improper constraint" in reason:
        return f"{chart} is not there{version}: choose another"
    if "not found" in reason:
        place = f"{where} has the chart {chart}" if release.repo else f"{chart} is there"
        return f"look whether {place}{version}"
    if "cannot be reached" in reason or "dial tcp" in reason or "no such host" in reason:
        return f"{where} does not answer: look whether the address is right and you are online"
    return ""


def _deployed(name: str, namespace: str, record: records.Record) -> Deployed:
    chart = record.chart
    return Deployed(
        name=name,
        chart=str(chart.get("name", "")),
        namespace=namespace,
        version=str(chart.get("version", "")),
        app_version=str(chart.get("appVersion", "")),
        revision=record.revision,
        notes=str(record.info.get("notes", "")),
        status=record.status,
    )
