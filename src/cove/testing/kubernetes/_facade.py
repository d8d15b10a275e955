"""Kubernetes: a cluster as a test sees it — what the fixture ``k8s`` is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from cove.client._client import path_of
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.testing.kubernetes._body import camel, document, documents
from cove.testing.kubernetes._groups import Group, Method
from cove.testing.kubernetes._ingress import Ingress
from cove.testing.kubernetes._programs import Done, execute
from cove.testing.kubernetes._targets import Target, resolve
from cove.testing.kubernetes._watching import Watching
from cove.testing.place import READS, NotHereError, Place, Read
from cove.testing.recording import slot
from cove.testing.timeline import Link
from cove.testing.values import unwrap, wrap

if TYPE_CHECKING:
    from cove.client import Client
    from cove.testing.kubernetes._objects import Objects
    from cove.testing.kubernetes._past import Past

__all__ = ["Kubernetes"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

Doc = dict[str, Any]
# Who writes what a test applies, unless it says another name.
MANAGER = "cove-test"
_PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "replace": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
# Options of the official clients' methods that go into the query.
_OPTIONS = frozenset(
    (
        *("pretty", "dry_run", "field_manager", "field_validation", "force", "label_selector"),
        *("field_selector", "limit", "resource_version", "resource_version_match"),
        *("timeout_seconds", "grace_period_seconds", "propagation_policy", "orphan_dependents"),
        *("container", "previous", "tail_lines", "since_seconds", "timestamps", "limit_bytes"),
        *("insecure_skip_tls_verify_backend", "stream", "allow_watch_bookmarks"),
    )
)
_GROUPS = {
    "core": ("", "v1"),
    "apps": ("apps", "v1"),
    "batch": ("batch", "v1"),
    "networking": ("networking.k8s.io", "v1"),
    "rbac": ("rbac.authorization.k8s.io", "v1"),
    "storage": ("storage.k8s.io", "v1"),
    "autoscaling": ("autoscaling", "v2"),
    "policy": ("policy", "v1"),
    "coordination": ("coordination.k8s.io", "v1"),
    "discovery": ("discovery.k8s.io", "v1"),
    "events": ("events.k8s.io", "v1"),
    "scheduling": ("scheduling.k8s.io", "v1"),
    "admission": ("admissionregistration.k8s.io", "v1"),
    "extensions": ("apiextensions.k8s.io", "v1"),
    "certificates": ("certificates.k8s.io", "v1"),
}


class Bound(NamedTuple):
    """What a method's arguments say."""

    name: str
    namespace: str | None
    body: Any


class Kubernetes:
    """One cluster, as one test has it.

    Methods wait and return; on :attr:`aio` the same methods return awaitables, for tests that are
    coroutines on a loop of their own.  What calls return are recorded values (see
    :mod:`cove.testing.values`).  Raises :class:`cove.StatusError` for what the API server
    refuses.
    """

    def __init__(
        self, place: Place, run: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
    ) -> None:
        self._place = place
        self._run = run or place.bridge.call

    def __repr__(self) -> str:
        return f"<Kubernetes {self.name}: {self._place.engine}, {self._place.url}>"

    # -- what it is

    @property
    def aio(self) -> Kubernetes:
        """The same, to be awaited, on any event loop."""
        return Kubernetes(self._place, self._place.bridge.wait)

    @property
    def name(self) -> str:
        """The name it was declared by."""
        return self._place.name

    @property
    def engine(self) -> str:
        """``embedded``, ``k3s`` or ``existing``."""
        return self._place.engine

    @property
    def namespace(self) -> str:
        """The test's own; ``default`` where the test has the whole cluster for itself."""
        return self._place.namespace

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self._place.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for any program on this machine."""
        return self._place.kubeconfig

    @property
    def client(self) -> Client:
        """cove's own client; its coroutines run on the cluster's loop: ``k8s.run(k8s.client.…)``."""
        return self._place.client

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where what runs beside pods is, by name: ``registry``, ``http``, ``https`` …"""
        return dict(self._place.addresses)

    @property
    def registry(self) -> str:
        """``localhost:PORT``: the image registry, as this machine pushes to it.

        Raises LookupError where there is none.
        """
        return self._beside("registry", 'declare the cluster with pods="containers"')

    @property
    def registry_name(self) -> str:
        """``NAME.internal:5000``: the same registry as pods push to it and as images are named."""
        return self._beside("registry_name", 'declare the cluster with pods="containers"')

    @property
    def ingress(self) -> Ingress:
        """What leads to the pods from outside: HTTP and trusted HTTPS, names, browsers."""
        return Ingress(self._place, self._run)

    def _beside(self, what: str, hint: str) -> str:
        found = self._place.addresses.get(what)
        if not found and self.engine == "existing":
            raise NotHereError(
                f"{self.name} is there already: cove knows no registry of it; push to one that its "
                "nodes pull from, and name the image so"
            )
        if not found:
            raise LookupError(f"{self.name} has no {what}: {hint}")
        return found

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine on the cluster's loop, as it is (not wrapped)."""
        return self._run(work)

    # -- the API, as the official clients have it

    def __getattr__(self, name: str) -> Group:
        found = _GROUPS.get(name)
        if found is None:
            raise AttributeError(
                f"a cluster has no {name}; its groups are {', '.join(_GROUPS)}, any other is "
                'k8s.api("GROUP/VERSION")'
            )
        return Group(self, *found)

    def api(self, api_version: str) -> Group:
        """A built-in group and version: ``k8s.api("apps/v1")``."""
        group, _, version = api_version.rpartition("/")
        return Group(self, group, version)

    @property
    def objects(self) -> Objects:
        """Any kind, custom ones included, by documents."""
        from cove.testing.kubernetes._objects import Objects

        return Objects(self)

    def _invoke(
        self, name: str, method: Method, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        bound = self._bind(name, method, args, options)
        return self._run(self._perform(name, method, bound, options))

    def _bind(
        self, name: str, method: Method, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Bound:
        """Names are the texts among the arguments, the body what is none."""
        given = [unwrap(arg) for arg in args]
        texts = [arg for arg in given if isinstance(arg, str)]
        bodies = [arg for arg in given if not isinstance(arg, str)]
        wanted = []
        named = method.verb not in ("list", "create", "deletecollection") or method.subresource
        if named:
            wanted.append("name")
        if method.namespaced and not method.everywhere:
            wanted.append("namespace")
        if len(texts) > len(wanted) or len(bodies) > 1:
            raise TypeError(
                f"{name}() takes {' and '.join([*wanted, 'a body'])}: got {given!r}"[:300]
            )
        values = dict(zip(wanted, texts, strict=False))
        for key in ("name", "namespace", "body"):
            if key in options:
                values[key] = unwrap(options.pop(key))
        if bodies:
            values["body"] = bodies[0]
        body = document(values.get("body"))
        if named and not values.get("name"):
            raise TypeError(f"{name}() needs the object's name")
        if method.verb in ("create", "replace", "patch") and body is None:
            raise TypeError(f"{name}() needs a body")
        namespace: str | None = None
        if method.namespaced and not method.everywhere:
            meant = ((body or {}).get("metadata") or {}) if isinstance(body, Mapping) else {}
            own = "" if method.subresource else meant.get("namespace")
            namespace = values.get("namespace") or own or self.namespace
        return Bound(values.get("name", ""), namespace, body)

    async def _perform(
        self, name: str, method: Method, bound: Bound, options: dict[str, Any]
    ) -> Any:
        query, content = _query(name, method, bound.body, options)
        path = path_of(method.gvr, bound.namespace, bound.name, method.subresource)
        text = method.subresource == "log"
        body = b"" if bound.body is None else orjson.dumps(bound.body)
        made = await self._linked(
            self._place.client.raw(
                _METHODS[method.verb],
                path,
                query=query,
                body=body,
                content_type=content if body else "",
                accept="*/*" if text else "",
            ),
            lambda data: data.decode(errors="replace") if text else _decoded(data, method),
        )
        return self._read(method, bound, made)

    def _read(self, method: Method, bound: Bound, made: Any) -> Any:
        if method.verb in ("get", "list"):
            self._note(
                method.gvr, bound.namespace, bound.name, made, watchable=not method.subresource
            )
        return made

    def _note(
        self, gvr: GVR, namespace: str | None, name: str, made: Any, *, watchable: bool = True
    ) -> None:
        """Tell whoever wants to know that this was read."""
        reads = READS.get()
        if reads is None:
            return
        plain = unwrap(made)
        metadata = plain.get("metadata") if isinstance(plain, dict) else None
        version = str((metadata or {}).get("resourceVersion") or "")
        reads.append(Read(self._place, gvr, namespace, name, version, watchable))

    async def _linked(
        self, work: Coroutine[Any, Any, Any], decode: Callable[[Any], Any] = lambda made: made
    ) -> Any:
        """The result, wrapped, with a link to the call that gave it."""
        with slot() as calls:
            made = decode(await work)
        timeline, last = self._place.timeline, calls.last
        link = Link(timeline, last.id) if timeline is not None and last is not None else None
        return wrap(made, link)

    # -- writing

    def apply(
        self,
        source: Any,
        *,
        namespace: str | None = None,
        field_manager: str = MANAGER,
        force: bool = True,
    ) -> Any:
        """Server-side apply of YAML text, a file (a Path), or documents; what they are then.

        In their order; documents that are null or without a kind are left out.  Those that name
        no namespace go to ``namespace``, None: the test's own.  ``force`` takes fields from
        other managers.  Custom resources may follow their definitions.
        """
        return self._run(self._apply(source, namespace, field_manager, force))

    async def _apply(
        self, source: Any, namespace: str | None, manager: str, force: bool
    ) -> list[Any]:
        timeline = self._place.timeline
        docs = list(documents(source))
        parent = 0
        if timeline is not None:
            parent = timeline.note("apply", f"apply {len(docs)} documents").id
        made = []
        for doc in docs:
            with slot(parent=parent) as calls:
                answer = await self._apply_one(doc, namespace, manager, force)
            last = calls.last
            link = None if timeline is None or last is None else Link(timeline, last.id)
            made.append(wrap(answer, link))
        return made

    async def _apply_one(self, doc: Doc, namespace: str | None, manager: str, force: bool) -> Doc:
        client = self._place.client
        resource = await client.resource_of(doc)
        place = None
        if resource.namespaced:
            own = (doc.get("metadata") or {}).get("namespace")
            place = own or namespace or self.namespace
        answer = await client.apply(resource.gvr, doc, place, field_manager=manager, force=force)
        if resource.kind == "CustomResourceDefinition":
            await self._established(resource.gvr, answer)
        return answer

    async def _established(self, gvr: GVR, crd: Doc) -> None:
        """Return when a definition serves: what follows may be of its kind."""
        name = crd["metadata"]["name"]
        client = self._place.client
        plain = self._place.plain
        async with asyncio.timeout(30), Watching(plain, gvr, None, name) as watching:
            async for obj in watching.states():
                conditions = ((obj or {}).get("status") or {}).get("conditions") or ()
                if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                    client.discovery.invalidate()
                    return

    # -- reading by what people type

    def get(self, what: str, name: str = "", namespace: str | None = None) -> Any:
        """An object by its kind as kubectl takes it: ``k8s.get("deploy/web")``, ``("pods", "web")``.

        Raises StatusError (404) if there is none, LookupError for a kind there is not.
        """
        return self._run(self._get(f"{what}/{name}" if name else what, namespace))

    async def _get(self, what: str, namespace: str | None) -> Any:
        target = await self._target(what, namespace)
        made = await self._linked(self._place.client.get(target.gvr, target.name, target.namespace))
        self._note(target.gvr, target.namespace, target.name, made)
        return made

    async def _target(self, what: Any, namespace: str | None) -> Target:
        return await resolve(self._place.plain, what, namespace or self.namespace)

    def exists(self, what: str, name: str = "", namespace: str | None = None) -> bool:
        """Whether there is such an object: ``k8s.exists("pod/web")``."""

        async def ask() -> bool:
            try:
                await self._get(f"{what}/{name}" if name else what, namespace)
            except StatusError as e:
                if e.code != 404:
                    raise
                # Somebody may wait for it to come.
                target = await self._target(f"{what}/{name}" if name else what, namespace)
                self._note(target.gvr, target.namespace, target.name, None)
                return False
            return True

        return self._run(ask())  # type: ignore[no-any-return]

    # -- waiting

    def eventually(
        self, what: Callable[[], Any], timeout: float = 10.0, *, message: str = ""
    ) -> Any:
        """What ``what()`` returns, once it neither raises AssertionError nor returns False.

        It is called again when something changes that it has read — not at intervals, unless it
        reads what no watch tells of (logs, other servers).  What is not there (404,
        LookupError) counts as not yet.  On :attr:`aio` it may be a coroutine function.  After
        ``timeout`` seconds AssertionError tells what was seen last, and how pods are.
        """
        from cove.testing.kubernetes._eventually import eventually, eventually_async

        if self._run == self._place.bridge.call:
            return eventually(self._place, what, timeout, message)
        return eventually_async(self._place, what, timeout, message)

    def wait_for(
        self,
        what: Any,
        condition: str | Callable[[Any], Any] = "condition=Ready",
        *,
        namespace: str | None = None,
        timeout: float = 30.0,
    ) -> Any:
        """The object, once the condition holds; as ``kubectl wait``, with objects to come.

        ``what`` is ``pod/web`` or an object.  ``condition`` is ``condition=Ready``,
        ``condition=Ready=False``, ``jsonpath={.status.phase}=Running``, ``create``, ``delete`` (gives
        None) or a function of the object.  After ``timeout`` seconds AssertionError tells what
        was seen last.
        """
        from cove.testing.kubernetes._waiting import wait_for

        return self._run(wait_for(self, what, condition, namespace, timeout))

    def wait_rollouts(
        self, *what: str, namespace: str | None = None, timeout: float = 120.0
    ) -> None:
        """Return when workloads are rolled out; all of the namespace where none is named.

        They are awaited together.  AssertionError tells those that are not after ``timeout``
        seconds, their pods with reasons, and the last warnings.
        """
        from cove.testing.kubernetes._waiting import wait_rollouts

        return self._run(wait_rollouts(self, what, namespace, timeout))  # type: ignore[no-any-return]

    def settle(self) -> None:
        """Return when the controllers of an embedded cluster have done what there is to do."""
        running = self._place.running
        if running is None:
            raise NotHereError(f"only embedded clusters settle, not {self.engine}")
        return self._run(running.settle())  # type: ignore[no-any-return]

    def watch(self, what: str, namespace: str | None = None, *, everywhere: bool = False) -> Any:
        """Changes of a collection from now on: ``with k8s.watch("pods") as events: next(events)``."""
        from cove.testing.kubernetes._events import Events

        return Events(self, what, None if everywhere else namespace or self.namespace)

    # -- history

    @property
    def revision(self) -> int:
        """The embedded cluster's revision now: every write makes another."""
        return self._history().revision()

    def at(self, revision: int) -> Kubernetes:
        """The cluster as it was, to be read: ``k8s.at(revision).core.read_namespaced_pod(…)``.

        Raises LookupError where the engine keeps no history.
        """
        return Kubernetes(self._history().at(int(unwrap(revision))), self._run)

    def history(self, what: str, namespace: str | None = None) -> Any:
        """The versions of an object, oldest first, of ``pod/web``; see :class:`cove.client.Version`."""
        return self._run(self._history().versions(self, what, namespace))

    def diff(self, before: int, after: int | None = None) -> Any:
        """What differs between two revisions (None: now), an entry for each object."""
        second = None if after is None else int(unwrap(after))
        return self._history().diff(int(unwrap(before)), second)

    def _history(self) -> Past:
        from cove.testing.kubernetes._past import Past

        return Past(self._place)

    # -- programs

    def kubectl(self, *args: Any, stdin: str = "", check: bool = True) -> Done:
        """Run the real kubectl against this cluster; what it said.

        Raises AssertionError with its standard error if it fails, unless ``check`` is False;
        LookupError where there is no kubectl (``pip install 'cove[kubectl]'``).
        """
        return self.execute("kubectl", *args, stdin=stdin, check=check)

    def execute(self, *command: Any, stdin: str = "", check: bool = True, **env: str) -> Done:
        """Run any program to its end, with ``KUBECONFIG`` set; what it said."""
        work = execute(self._place, command, stdin=stdin, check=check, env=env)
        return self._run(work)  # type: ignore[no-any-return]


def _decoded(data: bytes, method: Method) -> Any:
    if not data:
        return None
    made = orjson.loads(data)
    # Items of a list do not say what they are; who reads one likes to know.
    if method.verb == "list" and isinstance(made, dict):
        version = made.get("apiVersion", "")
        for item in made.get("items") or ():
            item.setdefault("apiVersion", version)
            item.setdefault("kind", method.kind)
    return made


def _query(
    name: str, method: Method, body: Any, options: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The query and content type of a call; raises TypeError for options that there are not."""
    content = "application/json"
    query: dict[str, Any] = {}
    for key, value in options.items():
        value = unwrap(value)
        if key == "watch":
            raise TypeError(f'{name}() does not watch: `with k8s.watch("pods") as events`')
        if key in ("content_type", "_content_type"):
            content = _PATCHES.get(value, value)
        elif key == "_continue":
            query["continue"] = value
        elif key in _OPTIONS:
            if value is not None:
                query[camel(key)] = str(value).lower() if isinstance(value, bool) else value
        elif not key.startswith("_"):
            raise TypeError(f"{name}() has no option {key}")
    if method.verb == "patch" and content == "application/json":
        content = _PATCHES["json" if isinstance(body, list) else "strategic"]
    return query, content
