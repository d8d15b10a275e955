"""Environments: what the tests of a module, a folder or a project run against, declared::

@environment
class Shop:
    k8s = cove.cluster(ingress_domains=["shop.test"])
    mail = fake(MailServer)
    api = process(["python", "-m", "api"]).reference(k8s)

    def setup(self) -> None:
        self.k8s.apply(Path("deploy.yaml"))

Its attributes become fixtures of the module (or ``conftest.py``) that declares it.  ``setup``
runs once; what the cluster is then is the warm state that every test starts from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from cove.engines.k3s_options import K3sOptions, mirrors_of
from cove.kube.status import CoveError

__all__ = [
    "ClusterDeclaration",
    "Declaration",
    "DeclarationError",
    "Environment",
    "Fake",
    "OperatorDeclaration",
    "Service",
    "cluster",
    "container",
    "environment",
    "environment_of",
    "fake",
    "image",
    "operator",
    "process",
]

Pods = Literal["simulated", "containers"]
C = TypeVar("C", bound=type)
_MARK = "__cove_environment__"
# Attributes that say something else of an environment than what it consists of.
_METHODS = ("setup", "setup_cluster")


class DeclarationError(CoveError):
    """An environment is declared in a way that cannot work."""


class Declaration:
    """Something of an environment; ``name`` is the attribute it was given to."""

    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if not self.name:
            self.name = name


@dataclass(eq=False)
class ClusterDeclaration(Declaration):
    """A cluster; see :func:`cluster`."""

    engine: str | None = None
    pods: Pods | None = None
    nodes: int = 1
    version: str | None = None
    extra_args: tuple[str, ...] = ()
    ready_timeout: float = 120.0
    registry: bool = True
    ingress_domains: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    container_engine: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None
    recording: Path | None = None
    k3s: K3sOptions = field(default_factory=K3sOptions)

    def __getattr__(self, kind: str) -> Callable[..., Service]:
        if kind not in ("helm", "manifests", "endpoint"):
            raise AttributeError(
                f"a declared cluster has no {kind}: its client is there once a test runs "
                "(self.k8s in setup, the fixture in tests)"
            )

        def declare(*args: Any, **options: Any) -> Service:
            return Service(kind, args, options, parent=self)

        return declare


class Service(Declaration):
    """A resource of the host face: a process, a container, an endpoint, a release, manifests.

    Its methods — ``reference``, ``wait_for``, ``after``, ``health`` … — are those of the
    resource; what they are given may be other declarations.  Releases and manifests belong
    to the warm state.  Everything else that refers to a cluster runs once per test, against that
    test's copy; what refers to none runs once.
    """

    def __init__(
        self,
        kind: str,
        args: tuple[Any, ...],
        options: Mapping[str, Any],
        parent: ClusterDeclaration | None = None,
    ) -> None:
        self.kind = kind
        self.args = args
        self.options = options
        self.parent = parent
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Callable[..., Service]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*args: Any, **options: Any) -> Service:
            self.calls.append((method, args, options))
            return self

        return call

    @property
    def needs(self) -> list[Declaration]:
        """The declarations that it speaks of."""
        found: list[Declaration] = [] if self.parent is None else [self.parent]
        for args, options in [
            (self.args, self.options),
            *((args, options) for _, args, options in self.calls),
        ]:
            found += [v for v in (*args, *options.values()) if isinstance(v, Declaration)]
        return found

    @property
    def warm(self) -> bool:
        """Whether it belongs to the warm state."""
        return self.kind in ("helm", "manifests", "image")

    def per_test(self) -> bool:
        """Whether every test has its own, since it speaks of a cluster."""
        return not self.warm and any(
            isinstance(need, ClusterDeclaration)
            or (isinstance(need, Service) and (need.per_test() or need.parent is not None))
            for need in self.needs
        )


@dataclass(eq=False)
class Fake(Declaration):
    """Something in this process that stands for something else; see :func:`fake`."""

    make: Callable[..., Any]
    scope: Literal["test", "session"] = "test"


@dataclass(eq=False)
class OperatorDeclaration(Declaration):
    """An operator in the process of the tests; see :func:`operator`."""

    operator: Any
    cluster: ClusterDeclaration | None = None
    rbac: bool = False


def cluster(
    *,
    engine: str | None = None,
    pods: Pods | None = None,
    nodes: int = 1,
    version: str | None = None,
    extra_args: Iterable[str] = (),
    ready_timeout: float = 120.0,
    registry: bool = True,
    ingress_domains: Iterable[str] = (),
    disable: Iterable[str] = (),
    mirrors: Mapping[str, str] | str | None = None,
    images: Mapping[str, str] | None = None,
    container_engine: str | None = None,
    context: str | None = None,
    kubeconfig: Path | str | None = None,
    k3s: K3sOptions | None = None,
    recording: Path | str | None = None,
) -> Any:
    """Declare a cluster.

    ``engine`` None leaves it to ``--cove-engine``, ``COVE_ENGINE``, else the embedded one.
    ``pods`` ``simulated`` (each becomes Running at once, nothing runs; forks take a fraction of
    a millisecond) or ``containers`` (they run in Docker or Podman; a test's copy of the cluster
    takes a second and has an image registry, cluster DNS and ingress); None is ``containers``
    where ``ingress_domains`` are given, ``simulated`` otherwise.  ``registry`` leaves the image
    registry out.  ``ready_timeout`` are the seconds that the cluster, and each roll-out of the
    environment, may take.  ``version``, ``extra_args`` (last on the server's command line),
    ``disable``, ``mirrors`` (registries by host, or ``"http://cache.test/{host}"`` for all that
    are common) and ``images`` are the engine's, ``k3s`` is read by that one alone; see
    :class:`cove.engines.cluster.ClusterOptions`.  ``context`` and ``kubeconfig`` are of an
    existing cluster.  ``recording`` is a file of ``cove record``: the cluster is an embedded one
    with what was there, in which nothing moves by itself.
    """
    return ClusterDeclaration(
        engine=engine,
        pods=pods,
        nodes=nodes,
        version=version,
        extra_args=tuple(extra_args),
        ready_timeout=ready_timeout,
        registry=registry,
        ingress_domains=tuple(ingress_domains),
        disable=tuple(disable),
        mirrors=mirrors_of(mirrors),
        images=dict(images or {}),
        container_engine=container_engine,
        context=context,
        kubeconfig=None if kubeconfig is None else Path(kubeconfig),
        recording=None if recording is None else Path(recording),
        k3s=k3s or K3sOptions(),
    )


def process(command: Iterable[str], **options: Any) -> Any:
    """Declare a program on this machine; the options of :meth:`cove.App.process`."""
    return Service("process", (tuple(command),), options)


def container(image: Any, **options: Any) -> Any:
    """Declare a container; the options of :meth:`cove.App.container`."""
    return Service("container", (image,), options)


def image(context: str | Path = ".", **options: Any) -> Any:
    """Declare an image that is built before who uses it starts; see :meth:`cove.App.image`."""
    return Service("image", (context,), options)


def operator(op: Any, cluster: Any = None, *, rbac: bool = False) -> Any:
    """Declare an operator of :mod:`cove.operator` that works on every test's own cluster.

    It runs in the process of the tests, its kinds are installed and its webhooks registered.
    ``cluster`` None is the environment's first.  ``rbac`` has it run as a service account
    with exactly the roles that are generated for it.  The embedded engine only; elsewhere an
    operator is a :func:`process`.
    """
    if cluster is not None and not isinstance(cluster, ClusterDeclaration):
        raise DeclarationError("an operator works on a declared cluster: operator(op, k8s)")
    return OperatorDeclaration(op, cluster, rbac)


def fake(make: Callable[..., Any], *, scope: Literal["test", "session"] = "test") -> Any:
    """Declare a fake: ``make()`` gives it, or a context manager that does, asynchronous or not.

    ``make`` may take the environment as its one argument.  ``scope`` ``test`` makes one for
    every test, ``session`` one for all.
    """
    if scope not in ("test", "session"):
        raise DeclarationError(f'a fake\'s scope is "test" or "session", not "{scope}"')
    return Fake(make, scope)


@dataclass(frozen=True)
class Environment:
    """What an environment's class declares; ``root`` is the folder of its file."""

    type: type
    root: Path
    declarations: Mapping[str, Declaration]

    @property
    def name(self) -> str:
        """``shop``: for names of clusters and namespaces."""
        letters = "".join(c if c.isalnum() else "-" for c in self.type.__name__.lower())
        return letters.strip("-")[:20].strip("-") or "env"

    @property
    def key(self) -> str:
        """Of this environment and no other of a test run."""
        return f"{self.type.__module__}.{self.type.__qualname__}"

    @property
    def clusters(self) -> dict[str, ClusterDeclaration]:
        """The clusters, by name; the first is the one that ``faults`` and ``clock`` are of."""
        return {n: d for n, d in self.declarations.items() if isinstance(d, ClusterDeclaration)}

    def services(self, *, warm: bool = False, per_test: bool = False) -> dict[str, Service]:
        """Those of the warm state, those of each test, or else those that run once."""
        return {
            name: d
            for name, d in self.declarations.items()
            if isinstance(d, Service) and d.warm == warm and d.per_test() == per_test
        }

    @property
    def operators(self) -> dict[str, OperatorDeclaration]:
        """The operators, by name."""
        return {n: d for n, d in self.declarations.items() if isinstance(d, OperatorDeclaration)}

    def fakes(self, scope: str) -> dict[str, Fake]:
        """Those of a scope."""
        return {
            n: d for n, d in self.declarations.items() if isinstance(d, Fake) and d.scope == scope
        }


def environment_of(type_: type) -> Environment:
    """What a class declares, decorated or not.

    Raises DeclarationError for a class that declares nothing, or a declaration twice.
    """
    declarations: dict[str, Declaration] = {}
    seen: dict[int, str] = {}
    for base in reversed(type_.__mro__):
        for name, value in vars(base).items():
            if not isinstance(value, Declaration):
                declarations.pop(name, None)
                continue
            if id(value) in seen and seen[id(value)] != name:
                raise DeclarationError(
                    f"{type_.__name__}.{name} and {type_.__name__}.{seen[id(value)]} are one and "
                    "the same declaration: declare two"
                )
            seen[id(value)] = name
            declarations[name] = value
    for name in declarations:
        if name.startswith("_") or name in _METHODS:
            raise DeclarationError(f"{type_.__name__}.{name}: this name cannot be a fixture's")
    if not any(isinstance(d, ClusterDeclaration) for d in declarations.values()):
        raise DeclarationError(
            f"the environment {type_.__name__} has no cluster: declare one, `k8s = cove.cluster()`"
        )
    file = getattr(sys.modules.get(type_.__module__), "__file__", None)
    root = Path(file).parent if file else Path.cwd()
    return Environment(type_, root, declarations)


def environment(type_: C) -> C:
    """Declare an environment: its attributes are fixtures of this module from here on.

    In a ``conftest.py`` they are those of every test below its folder.  Raises
    DeclarationError for declarations that cannot work.
    """
    from cove.testing.plugin.fixtures import fixtures_of

    declared = environment_of(type_)
    setattr(type_, _MARK, declared)
    module = sys._getframe(1).f_globals
    for name, function in fixtures_of(declared).items():
        if name in module and not getattr(module[name], _MARK, False):
            raise DeclarationError(
                f"{type_.__name__}.{name} would be the fixture {name}, but {module['__name__']} "
                f"has something of that name already: rename one"
            )
        module[name] = function
    return type_
