"""What a k3s cluster of cove's is given once its API answers: names, certificate, a word on
its registry; and the wait for what k3s deploys.

Keys are made in memory and sent to the API server: no file of one is ever written, so that
none can be left.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.engines.k3s import addons
from cove.engines.k3s.registries import REGISTRY, alias
from cove.engines.k3s_options import OptionError
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError
from cove.node.registry.hosting import announce
from cove.pki import Pair

if TYPE_CHECKING:
    from cove.client import Client, Clock
    from cove.engines.cluster import ClusterOptions
    from cove.pki.authority import Authority

__all__ = ["authority_in", "deployments", "equip", "names_of", "register", "rolled_out", "words"]

Doc = dict[str, Any]

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
EVENTS = GVR("", "v1", "events")
PODS = GVR("", "v1", "pods")
SECRETS = GVR("", "v1", "secrets")
MANAGER = "cove"
# Seconds from one look at roll-outs to the next, those that telling of them may take.
POLL = 0.25
PATIENCE = 5.0
WARNINGS = 12


def authority_in(folder: Path, *, make: bool) -> Authority | None:
    """The authority kept in a folder as ``ca.crt`` and ``ca.key``.

    With ``make`` it is made where there is none; else None is that.  Raises OptionError for
    what is none.
    """
    from cove.engines.variants import publish
    from cove.pki.authority import Authority

    certificate, key = folder / "ca.crt", folder / "ca.key"
    try:
        return Authority.load(Pair(certificate.read_bytes(), key.read_bytes()))
    except FileNotFoundError:
        if not make:
            return None
    except (OSError, ValueError, TypeError) as e:
        raise OptionError(f"{folder} holds no authority that can sign: {e}") from e
    made = Authority.new()
    publish(key, made.pair.key.decode())
    publish(certificate, made.certificate.decode())
    return made


def names_of(name: str, options: ClusterOptions) -> tuple[str, ...]:
    """The names that mean the server, in pods, with all below them."""
    own = (alias(name),) if options.k3s.registry else ()
    served = options.domains if addons.serves_ingress(options) else ()
    return (*own, *served)


async def equip(
    client: Client,
    name: str,
    options: ClusterOptions,
    *,
    address: str,
    port: int,
    authority: Authority | None,
) -> None:
    """Have names lead to the server's ``address``, the certificate there, the registry known.

    ``port`` is the registry's on this machine.  What is there already is brought up to date;
    hosts that were registered since are kept.
    """
    if authority is not None and addons.serves_ingress(options) and options.domains:
        pair = await asyncio.to_thread(
            authority.server, addons.domains_of(options), common_name=options.domains[0]
        )
        await client.apply(SECRETS, _secret(pair), field_manager=MANAGER, force=True)
    names = names_of(name, options)
    if names:
        await _resolve(client, names, address)
    if options.k3s.registry:
        await announce(client, port, f"{alias(name)}:{REGISTRY}")


def _secret(pair: Pair) -> Doc:
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": addons.SECRET, "namespace": addons.NAMESPACE},
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


async def register(client: Client, host: str, address: str) -> None:
    """Have one more name lead to the server; CoreDNS reads it within its own half minute."""
    if not host or any(c in host for c in ' \t\n{}":/'):
        raise OptionError(f'"{host}" is no name of a host')
    await _resolve(client, (host,), address)


async def _resolve(client: Client, names: Iterable[str], address: str) -> None:
    addresses = dict.fromkeys(names, address)
    try:
        found = await client.get(CONFIG_MAPS, "coredns-custom", addons.NAMESPACE)
    except StatusError as e:
        if e.code != 404:
            raise
    else:
        for line in str((found.get("data") or {}).get("cove.server") or "").splitlines():
            # Whatever was registered: the server may have another address by now.
            if line.endswith(":53 {"):
                addresses.setdefault(line.removesuffix(":53 {"), address)
    await client.apply(CONFIG_MAPS, addons.coredns(addresses), field_manager=MANAGER, force=True)


def deployments(options: ClusterOptions) -> list[str]:
    """What k3s deploys of cove's, to be waited for."""
    found = ["cove-registry"] if options.k3s.registry else []
    return [*found, addons.INGRESS] if addons.serves_ingress(options) else found


async def rolled_out(client: Client, names: Iterable[str], clock: Clock) -> None:
    """Return when all these deployments are ready; they are looked at together."""
    while True:
        missing = await _missing(client, names)
        if not missing:
            return
        await clock.sleep(POLL)


async def _missing(client: Client, names: Iterable[str]) -> list[str]:
    """Each deployment that is not ready: its name, and how many of its pods are."""
    listed = (await client.list(DEPLOYMENTS, addons.NAMESPACE)).items
    found = {d["metadata"]["name"]: d for d in listed}
    missing = []
    for name in names:
        deployment = found.get(name)
        if deployment is None:
            missing.append(f"{name}: k3s has not deployed it yet")
            continue
        status = deployment.get("status") or {}
        wanted = (deployment.get("spec") or {}).get("replicas", 1)
        ready = status.get("readyReplicas") or 0
        current = status.get("observedGeneration") == deployment["metadata"].get("generation")
        if not current or ready < wanted or (status.get("updatedReplicas") or 0) < wanted:
            missing.append(f"{name}: {ready}/{wanted} ready")
    return missing


async def words(client: Client, names: Iterable[str]) -> str:
    """Why deployments are not ready, with the system's pods and the last warnings.

    Never raises: whatever is wrong with the cluster, it is the time-out that is to be told.
    """
    told: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            told += await _missing(client, names)
            for pod in (await client.list(PODS, addons.NAMESPACE)).items:
                told.append(f"pod {pod['metadata']['name']}: {_of(pod)}")
            events = await client.list(EVENTS, None, field_selector="type=Warning")
            events.items.sort(key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
            for event in events.items[-WARNINGS:]:
                of = event.get("involvedObject") or {}
                told.append(
                    f"warning {str(of.get('kind', '')).lower()}/{of.get('name', '')}: "
                    f"{event.get('reason', '')}: {event.get('message', '')}"
                )
    except (CoveError, OSError, TimeoutError, LookupError, TypeError, AttributeError) as e:
        told.append(f"the cluster does not tell the rest: {str(e) or type(e).__name__}")
    return "\n".join(f"  {line}" for line in told)


def _of(pod: Doc) -> str:
    """A pod's phase, and why each container that waits does."""
    status = pod.get("status") or {}
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    reasons = [(each.get("name"), (each.get("state") or {}).get("waiting")) for each in statuses]
    waiting = [
        f"{name} waits: {state.get('reason', '')}: {state.get('message', '')}".rstrip(": ")
        for name, state in reasons
        if state
    ]
    unmet = [
        f"{c.get('reason', '')}: {c['message']}"
        for c in status.get("conditions") or ()
        if c.get("status") != "True" and c.get("message") and not waiting
    ]
    return "; ".join([str(status.get("phase") or "Pending"), *waiting, *unmet])
