"""describe.txt: an object in words, as ``kubectl describe`` lays it out.

Every kind is told by its own fields; pods say first what people look for first.  Times are
absolute, so that the file changes only when the object does.  Values of secrets are never
told, only their sizes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any

from cove.files.documents import LAST_APPLIED
from cove.files.events import Row

__all__ = ["describe"]

Doc = dict[str, Any]
# Maps whose keys are somebody's own words.
_OWN_KEYS = frozenset(
    {
        "annotations",
        "binaryData",
        "data",
        "labels",
        "matchLabels",
        "nodeSelector",
        "parameters",
        "selector",
        "stringData",
    }
)
_SKIPPED = frozenset({"apiVersion", "kind", "metadata"})
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_INITIALISMS = {"Ip": "IP", "Ips": "IPs", "Uid": "UID", "Id": "ID", "Url": "URL", "Cidr": "CIDR"}


def describe(doc: Doc, events: Sequence[Row]) -> str:
    """The text; ``events`` are those of the object."""
    metadata = doc["metadata"]
    lines = [_pair("Name", metadata["name"])]
    if metadata.get("namespace"):
        lines.append(_pair("Namespace", metadata["namespace"]))
    lines += _block("Labels", metadata.get("labels") or {})
    annotations = {
        k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED
    }
    lines += _block("Annotations", annotations, colon=": ")
    lines.append(_pair("API Version", doc.get("apiVersion", "")))
    lines.append(_pair("Kind", doc.get("kind", "")))
    lines.append(_pair("Created", metadata.get("creationTimestamp", "-")))
    if metadata.get("deletionTimestamp"):
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        lines.append(
            _pair("Status", f"Terminating (since {metadata['deletionTimestamp']}, grace {grace}s)")
        )
    if metadata.get("finalizers"):
        lines.append(_pair("Finalizers", ", ".join(metadata["finalizers"])))
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            lines.append(_pair("Controlled By", f"{owner['kind']}/{owner['name']}"))
    kind, core = doc.get("kind"), doc.get("apiVersion") == "v1"
    if kind == "Pod" and core:
        lines += _pod(doc)
    elif kind == "Secret" and core:
        lines += _sizes(doc)
    else:
        lines += _rest(doc)
    lines += _events(events)
    return "\n".join(lines) + "\n"


def _pair(name: str, value: Any, indent: int = 0) -> str:
    return f"{' ' * indent}{name + ':':<{max(18 - indent, 1)}} {_one(value)}".rstrip()


def _one(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _title(key: str) -> str:
    """``restartPolicy`` as "Restart Policy"; what is no such word stays as it is."""
    if not key[:1].islower() or not key.isalnum():
        return key
    words = _WORDS.sub(" ", key[0].upper() + key[1:]).split()
    return " ".join(_INITIALISMS.get(w, w) for w in words)


def _block(title: str, pairs: Doc, *, colon: str = "=") -> list[str]:
    if not pairs:
        return [_pair(title, None)]
    told = [f"{k}{colon}{_one(v)}".splitlines()[0] for k, v in sorted(pairs.items())]
    return [_pair(title, told[0]), *(f"{' ' * 19}{line}" for line in told[1:])]


def _rest(doc: Doc) -> Iterator[str]:
    """All fields below the metadata, the conditions as a table."""
    for key in sorted(doc.keys() - _SKIPPED):
        value = doc[key]
        conditions = value.get("conditions") if isinstance(value, dict) else None
        if key == "status" and isinstance(conditions, list) and conditions:
            others = {k: v for k, v in value.items() if k != "conditions"}
            if others:
                yield from _field(key, others, 0)
            yield from _conditions(conditions)
        else:
            yield from _field(key, value, 0)


def _field(key: str, value: Any, indent: int, *, verbatim: bool = False) -> Iterator[str]:
    name = key if verbatim else _title(key)
    if isinstance(value, dict) and value:
        yield f"{' ' * indent}{name}:"
        for inner in sorted(value):
            yield from _field(inner, value[inner], indent + 2, verbatim=key in _OWN_KEYS)
    elif isinstance(value, list) and value:
        yield f"{' ' * indent}{name}:"
        for item in value:
            yield from _item(item, indent + 2)
    elif isinstance(value, str) and "\n" in value:
        yield f"{' ' * indent}{name}:"
        yield from (f"{' ' * (indent + 2)}{line}" for line in value.splitlines())
    elif isinstance(value, dict | list):
        yield _pair(name, None, indent)
    else:
        yield _pair(name, value, indent)


def _item(item: Any, indent: int) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"{' ' * indent}- {_one(item)}"
        return
    lines = [line for key in sorted(item) for line in _field(key, item[key], indent + 2)]
    for number, line in enumerate(lines):
        yield f"{' ' * indent}- {line[indent + 2 :]}" if number == 0 else line


def _conditions(conditions: Sequence[Doc]) -> list[str]:
    heads = ("Type", "Status", "Since", "Reason", "Message")
    table = [heads]
    for c in conditions:
        when = c.get("lastTransitionTime") or "-"
        message = " ".join((c.get("message") or "").split())
        table.append((c.get("type", ""), c.get("status", ""), when, c.get("reason") or "", message))
    return ["Conditions:", *_aligned(table)]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)]
    return [
        "  "
        + "  ".join(
            [*(cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=True)), row[-1]]
        ).rstrip()
        for row in table
    ]


def _events(events: Sequence[Row]) -> list[str]:
    if not events:
        return [_pair("Events", None)]
    heads = ("Type", "Reason", "Last Seen", "Count", "From", "Message")
    table = [
        heads,
        *((r.type, r.reason, r.seen, str(r.times), r.source, r.message) for r in events),
    ]
    return ["Events:", *_aligned(table)]


def _sizes(doc: Doc) -> Iterator[str]:
    yield _pair("Type", doc.get("type", "Opaque"))
    data = doc.get("data") or {}
    if not data:
        yield _pair("Data", None)
        return
    yield "Data:"
    for key in sorted(data):
        try:
            yield _pair(key, f"{len(base64.b64decode(data[key]))} bytes", 2)
        except (binascii.Error, ValueError):
            yield _pair(key, f"{len(str(data[key]))} characters", 2)


# -- pods


def _pod(doc: Doc) -> Iterator[str]:
    spec, status = doc.get("spec") or {}, doc.get("status") or {}
    node = spec.get("nodeName")
    if node and status.get("hostIP"):
        node = f"{node}/{status['hostIP']}"
    yield _pair("Node", node)
    yield _pair("Start Time", status.get("startTime"))
    if not doc["metadata"].get("deletionTimestamp"):
        yield _pair("Status", status.get("phase"))
    for name in ("reason", "message"):
        if status.get(name):
            yield _pair(_title(name), status[name])
    yield _pair("IP", status.get("podIP"))
    yield _pair("QoS Class", status.get("qosClass"))
    yield _pair("Service Account", spec.get("serviceAccountName"))
    for title, field, told in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        statuses = {s["name"]: s for s in status.get(told) or ()}
        if spec.get(field):
            yield f"{title}:"
            for container in spec[field]:
                yield from _container(container, statuses.get(container["name"], {}))
    if status.get("conditions"):
        yield from _conditions(status["conditions"])
    yield from _field("volumes", spec.get("volumes") or [], 0)
    yield from _block("Node-Selectors", spec.get("nodeSelector") or {})
    tolerations = [_toleration(t) for t in spec.get("tolerations") or ()]
    yield _pair("Tolerations", tolerations[0] if tolerations else None)
    yield from (f"{' ' * 19}{line}" for line in tolerations[1:])


def _container(container: Doc, status: Doc) -> Iterator[str]:
    yield f"  {container['name']}:"
    yield _pair("Container ID", status.get("containerID", ""), 4)
    yield _pair("Image", container.get("image", ""), 4)
    yield _pair("Image ID", status.get("imageID", ""), 4)
    ports = [f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in container.get("ports", ())]
    yield _pair("Ports", ", ".join(ports) or None, 4)
    for field in ("command", "args"):
        if container.get(field):
            yield from _field(field, container[field], 4)
    yield from _state("State", status.get("state") or {})
    if status.get("lastState"):
        yield from _state("Last State", status["lastState"])
    yield _pair("Ready", status.get("ready", False), 4)
    yield _pair("Restart Count", status.get("restartCount", 0), 4)
    resources = container.get("resources") or {}
    for field in ("limits", "requests"):
        if resources.get(field):
            yield from _field(field, resources[field], 4)
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(field):
            yield from _field(field, container[field], 4)
    yield from _environment(container)
    mounts = container.get("volumeMounts") or ()
    yield "    Mounts:" if mounts else _pair("Mounts", None, 4)
    for mount in mounts:
        mode = "ro" if mount.get("readOnly") else "rw"
        yield f"      {mount['mountPath']} from {mount['name']} ({mode})"


def _state(title: str, state: Doc) -> Iterator[str]:
    if not state:
        yield _pair(title, "Waiting", 4)
        return
    ((name, told),) = tuple(state.items())[:1]
    yield _pair(title, name.capitalize(), 4)
    for key in ("reason", "message", "exitCode", "signal", "startedAt", "finishedAt"):
        if told and told.get(key) not in (None, ""):
            yield _pair(_title(key), " ".join(str(told[key]).split()), 6)


def _environment(container: Doc) -> Iterator[str]:
    variables = container.get("env") or ()
    sources = container.get("envFrom") or ()
    yield "    Environment:" if variables or sources else _pair("Environment", None, 4)
    for source in sources:
        for key, said in source.items():
            if isinstance(said, dict):
                yield f"      all of {_title(key.removesuffix('Ref'))} {said.get('name', '')}"
    for variable in variables:
        yield f"      {variable['name']}: {_value(variable)}".rstrip()


def _value(variable: Doc) -> str:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value", ""))
    ((key, said),) = tuple(source.items())[:1]
    if "fieldPath" in said:
        return f"<{said['fieldPath']}>"
    if "resource" in said:
        return f"<{said['resource']}>"
    return f"<{said.get('key', '')} of {_title(key.removesuffix('KeyRef'))} {said.get('name', '')}>"


def _toleration(t: Doc) -> str:
    text = str(t.get("key", ""))
    if t.get("value"):
        text += f"={t['value']}"
    if t.get("effect"):
        text += f":{t['effect']}"
    if t.get("operator") == "Exists":
        text += " op=Exists"
    if t.get("tolerationSeconds") is not None:
        text += f" for {t['tolerationSeconds']}s"
    return text
