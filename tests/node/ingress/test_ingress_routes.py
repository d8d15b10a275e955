"""Which backend a host and a path lead to: Kubernetes' table, properties, and Caddy itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from edge import Edge, path, rule
from hypothesis import given
from hypothesis import strategies as st

from cove.node.ingress.backends import Backends
from cove.node.ingress.configuration import Certificates, Settings, configuration
from cove.node.ingress.routes import Route, quote, routes

Doc = dict[str, Any]


def ingress(name: str, *rules: Doc, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Doc:
    """An Ingress as the server gives it."""
    metadata = {"name": name, "namespace": "default", "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"rules": list(rules), **spec}}


def made(*ingresses: Doc) -> dict[str, list[Route]]:
    """Their routes by host; every backend answers that there is no such service."""
    return dict(routes(ingresses, Backends(lambda _: None, lambda _: (), lambda _: True)))


def chosen(listed: list[Route], asked: str) -> str:
    """The service that the first fitting route leads to, "" for none."""
    for route in listed:
        if re.search(route.pattern, asked):
            return str(route.target[0]).rpartition("/")[2]
    return ""


# https://kubernetes.io/docs/concepts/services-networking/ingress/#examples
EXAMPLES = [
    ("Prefix", ["/"], "/any/path", "/"),
    ("Exact", ["/foo"], "/foo", "/foo"),
    ("Exact", ["/foo"], "/bar", ""),
    ("Exact", ["/foo"], "/foo/", ""),
    ("Exact", ["/foo/"], "/foo", ""),
    ("Prefix", ["/foo"], "/foo", "/foo"),
    ("Prefix", ["/foo"], "/foo/", "/foo"),
    ("Prefix", ["/foo/"], "/foo", "/foo/"),
    ("Prefix", ["/foo/"], "/foo/", "/foo/"),
    ("Prefix", ["/aaa/bb"], "/aaa/bbb", ""),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
    ("Prefix", ["/aaa/bbb/"], "/aaa/bbb", "/aaa/bbb/"),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbb/", "/aaa/bbb"),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbb/ccc", "/aaa/bbb"),
    ("Prefix", ["/aaa/bbb"], "/aaa/bbbxyz", ""),
    ("Prefix", ["/", "/aaa"], "/aaa/ccc", "/aaa"),
    ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
    ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/ccc", "/"),
    ("Prefix", ["/aaa"], "/ccc", ""),
    ("Prefix", ["/foo"], "/FOO", ""),
    ("ImplementationSpecific", ["/foo"], "/foo/bar", "/foo"),
    ("ImplementationSpecific", [""], "/foo", ""),
]


@pytest.mark.parametrize(
    ("kind", "paths", "asked", "expected"),
    EXAMPLES,
    ids=[f"{k} {' '.join(p)} {a}" for k, p, a, _ in EXAMPLES],
)
def test_paths_match_as_the_documentation_says(
    kind: str, paths: list[str], asked: str, expected: str
) -> None:
    """Every line of its table."""
    doc = ingress("i", rule("h", *(path(p, f"at-{i}", kind) for i, p in enumerate(paths))))
    wanted = f"at-{paths.index(expected)}" if expected in paths else ""
    assert chosen(made(doc)["h"], asked) == wanted


elements = st.lists(st.sampled_from(["a", "aa", "b", "A", ".", "+", "a.b"]), max_size=3)
kinds = st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"])


@given(
    st.lists(st.tuples(elements, st.booleans(), kinds), min_size=1, max_size=6),
    elements,
    st.booleans(),
)
def test_the_most_specific_path_wins(
    paths: list[tuple[list[str], bool, str]], asked: list[str], slash: bool
) -> None:
    """Against the rule, put another way: elements compared as lists."""

    def text(parts: list[str], end: bool) -> str:
        return "/" + "/".join(parts) + ("/" if end and parts else "")

    listed = [path(text(parts, end), f"s{i}", kind) for i, (parts, end, kind) in enumerate(paths)]
    request = text(asked, slash)
    exact = [
        (0, 0, i)
        for i, (parts, end, kind) in enumerate(paths)
        if kind == "Exact" and text(parts, end) == request
    ]
    prefix = [
        (1, -len("/".join(parts)) - bool(parts), i)
        for i, (parts, _, kind) in enumerate(paths)
        if kind != "Exact" and asked[: len(parts)] == parts
    ]
    best = min(exact + prefix, default=None)
    expected = f"s{best[2]}" if best else ""
    assert chosen(made(ingress("i", rule("h", *listed)))["h"], request) == expected


@given(st.text())
def test_a_quoted_text_matches_itself_alone(text: str) -> None:
    """Whatever is in it."""
    assert re.fullmatch(quote(text), text)
    assert not re.fullmatch(quote(text), text + "x")


def test_the_older_ingress_wins() -> None:
    """As it is with every controller that has to choose; names decide between twins."""
    old = ingress("z", rule("h", path("/", "old")), created="2025-01-01T00:00:00Z")
    new = ingress("a", rule("h", path("/", "new"), path("/new", "new")))
    listed = made(new, old)["h"]
    assert (chosen(listed, "/"), chosen(listed, "/new")) == ("old", "new")


def test_hosts_are_tried_from_the_most_specific() -> None:
    """Exact ones, wildcards by length, those without a host."""
    docs = [ingress("i", *(rule(h, path("/", "s")) for h in ("", "*.b", "a.b", "*.a.b", "long.b")))]
    assert list(made(*docs)) == ["long.b", "a.b", "*.a.b", "*.b", ""]


def test_default_backends_take_what_is_left() -> None:
    """An Ingress' own for its hosts; one without rules for everybody else."""
    service = {"service": {"name": "all", "port": {"number": 80}}}
    own = {"service": {"name": "own", "port": {"number": 80}}}
    everybody = ingress("all", defaultBackend=service)
    one = ingress("one", rule("one", path("/a", "a")), defaultBackend=own)
    two = ingress("two", rule("two", path("/a", "a")))
    found = made(everybody, one, two)
    assert [chosen(found["one"], p) for p in ("/a", "/b")] == ["a", "own"]
    assert [chosen(found["two"], p) for p in ("/a", "/b")] == ["a", "all"]
    assert chosen(found[""], "/b") == "all"


def test_the_same_objects_give_the_same_configuration() -> None:
    """In whatever order they come: nothing is loaded twice."""
    docs = [ingress(f"i{n}", rule(f"h{n % 2}", path(f"/{n}", "s"))) for n in range(6)]
    settings = Settings("a", "b", ["fd/3"], ["fd/4"], 80, 443, "tcp/127.0.0.1:1")
    certificates = Certificates({}, {}, "x")

    def config(some: list[Doc]) -> Doc:
        backends = Backends(lambda _: None, lambda _: (), lambda _: True)
        return configuration(routes(some, backends), certificates, settings)

    assert config(docs) == config(docs[::-1])


@pytest.mark.requires("caddy")
async def test_caddy_reads_it_as_we_do(edge: Edge) -> None:
    """Hosts and paths through the real proxy."""
    for n, name in enumerate(("exact", "prefix", "deep", "root", "star", "any")):
        await edge.backend(name, f"127.0.0.{n + 2}")
    await edge.ingress(
        "table",
        rule(
            "a.test",
            path("/", "root"),
            path("/foo", "prefix"),
            path("/foo", "exact", "Exact"),
            path("/foo/bar.x", "deep"),
        ),
        rule("*.test", path("/", "star")),
    )
    await edge.ingress("any", rule("", path("/any", "any")))
    cases = [
        ("a.test", "/foo", "exact"),
        ("a.test", "/foo/", "prefix"),
        ("a.test", "/foo/bar.x/y", "deep"),
        ("a.test", "/foo/bar-x", "prefix"),
        ("a.test", "/foobar", "root"),
        ("a.test", "/FOO", "root"),
        ("A.Test", "/foo", "exact"),
        ("b.test", "/foo", "star"),
        ("b.a.test", "/", ""),
        ("test", "/", ""),
        ("other", "/any/thing", "any"),
        ("a.test", "/any", "root"),
    ]
    seen = [(host, p, (await edge.get(host, p)).backend) for host, p, _ in cases]
    assert seen == cases
