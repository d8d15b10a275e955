"""What a request line means on a timeline."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.testing.recording import Asked, asked, is_discovery
from cove.testing.recording.paths import bare_path

HTTP = Asked()


def kube(verb: str, resource: str, **more: str) -> Asked:
    return Asked("kube", verb, resource=resource, **{"version": "v1", **more})


@pytest.mark.parametrize(
    ("method", "path", "query", "verb"),
    [
        ("GET", "/api/v1/pods", "", "list"),
        ("HEAD", "/api/v1/pods", "", "list"),
        ("get", "/api/v1/pods", "", "list"),
        ("GET", "/api/v1/pods", "watch=true", "watch"),
        ("GET", "/api/v1/pods", "limit=3&watch=1", "watch"),
        ("HEAD", "/api/v1/pods", "watch=1", "watch"),
        ("GET", "/api/v1/pods", "watch=false", "list"),
        ("GET", "/api/v1/pods", "watch=0", "list"),
        ("GET", "/api/v1/pods", "watch=", "list"),
        ("GET", "/api/v1/pods", "watch", "list"),
        ("GET", "/api/v1/pods", "labelSelector=watch%3Dtrue", "list"),
        ("GET", "/api/v1/pods", "allowWatchBookmarks=true", "list"),
        ("GET", "/api/v1/namespaces/a/pods/b", "", "get"),
        ("HEAD", "/api/v1/namespaces/a/pods/b", "", "get"),
        ("GET", "/api/v1/namespaces/a/pods/b", "watch=true", "get"),
        ("POST", "/api/v1/namespaces/a/pods", "", "create"),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", "", "create"),
        ("PUT", "/api/v1/namespaces/a/pods/b", "", "update"),
        ("PATCH", "/api/v1/namespaces/a/pods/b", "", "patch"),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "", "delete"),
        ("DELETE", "/api/v1/namespaces/a/pods", "", "deletecollection"),
        ("OPTIONS", "/api/v1/pods", "", "options"),
        ("Trace", "/api/v1/pods", "", "trace"),
    ],
)
def test_verbs_come_from_method_path_and_query(
    method: str, path: str, query: str, verb: str
) -> None:
    assert asked(method, path, query).verb == verb


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", kube("list", "pods")),
        ("/api/v1/nodes/n", kube("get", "nodes", name="n")),
        ("/api/v1/namespaces/a/pods", kube("list", "pods", namespace="a")),
        ("/api/v1/namespaces/a/pods/b", kube("get", "pods", namespace="a", name="b")),
        ("/api/v1/namespaces/a/pods/b/log", kube("get", "pods", namespace="a", name="b", subresource="log")),
        ("/apis/apps/v1/deployments", kube("list", "deployments", group="apps")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", kube("get", "deployments", group="apps", namespace="a", name="d", subresource="scale")),
        ("/apis/a.b.dev/v1beta1/caches/c/status", kube("get", "caches", group="a.b.dev", version="v1beta1", name="c", subresource="status")),
        # A namespace is not in itself.
        ("/api/v1/namespaces", kube("list", "namespaces")),
        ("/api/v1/namespaces/a", kube("get", "namespaces", name="a")),
        ("/api/v1/namespaces/a/status", kube("get", "namespaces", name="a", subresource="status")),
        ("/api/v1/namespaces/a/finalize", kube("get", "namespaces", name="a", subresource="finalize")),
        ("/api/v1/namespaces/status/pods", kube("list", "pods", namespace="status")),
        # What follows a subresource is the proxied server's.
        ("/api/v1/namespaces/a/services/s:80/proxy/metrics/x", kube("get", "services", namespace="a", name="s:80", subresource="proxy")),
        ("/api/v1/namespaces/a%2Db/pods/c%3Ad", kube("get", "pods", namespace="a-b", name="c:d")),
        ("/api/v1/pods/", kube("list", "pods")),
        # The same at another address.
        ("/forks/0a1b2c/api/v1/namespaces/a", kube("get", "namespaces", name="a")),
        ("/revisions/17/apis/apps/v1/deployments", kube("list", "deployments", group="apps")),
        ("/forks/0a1b2c/revisions/17/api/v1/pods", kube("list", "pods")),
    ],
)  # fmt: skip
def test_paths_name_a_resource(path: str, expected: Asked) -> None:
    assert asked("GET", path) == expected


@pytest.mark.parametrize(
    "path",
    ["/version", "/healthz", "/healthz/etcd", "/livez", "/readyz", "/openapi/v2", "/openapi/v3/api/v1",
     "/metrics", "/", "", "/cove/history/api/v1/pods", "/api/v1//pods", "//api/v1/pods", "/apix/v1/pods",
     "/forks/x", "/revisions/17", "/revisions/latest/api/v1/pods", "no-slash", "/api//pods"],
)  # fmt: skip
def test_what_is_no_resource_stays_http(path: str) -> None:
    assert asked("GET", path) == HTTP
    assert not is_discovery(path)


@pytest.mark.parametrize(
    ("path", "discovery"),
    [
        ("/api", True),
        ("/api/", True),
        ("/api/v1", True),
        ("/api/v1/", True),
        ("/apis", True),
        ("/apis/apps", True),
        ("/apis/apps/v1", True),
        ("/forks/abc/apis/apps/v1", True),
        ("/revisions/3/api", True),
        ("/api/v1/pods", False),
        ("/apis/apps/v1/deployments", False),
        ("/apiserver", False),
        ("/version", False),
        ("/", False),
    ],
)
def test_discovery_is_told_from_the_rest(path: str, discovery: bool) -> None:
    assert is_discovery(path) is discovery
    if discovery:
        assert asked("GET", path) == HTTP


NAME = st.text("abcz09-.:%/ü", min_size=1, max_size=8)
NAMESPACE = NAME
RESOURCE = st.from_regex(r"[a-z]{3,9}", fullmatch=True).filter(lambda r: r != "namespaces")
SUBRESOURCE = st.sampled_from(["", "status", "scale", "log", "exec"])
GROUP = st.sampled_from(["", "apps", "a.example.dev"])


@settings(deadline=None)
@given(GROUP, RESOURCE, st.one_of(st.just(""), NAMESPACE), st.one_of(st.just(""), NAME), SUBRESOURCE,
       st.sampled_from(["", "/forks/abc", "/revisions/4", "/forks/abc/revisions/4"]))  # fmt: skip
def test_what_goes_into_a_path_comes_out_of_it(
    group: str, resource: str, namespace: str, name: str, subresource: str, prefix: str
) -> None:
    if namespace in ("status", "finalize") and not name:
        namespace = "x"
    if resource in ("status", "finalize"):
        resource = "pods"
    subresource = subresource if name else ""
    path = f"/apis/{group}/v1" if group else "/api/v1"
    if namespace:
        path += f"/namespaces/{quote(namespace, safe='')}"
    path += f"/{resource}"
    if name:
        path += f"/{quote(name, safe='')}"
    if subresource:
        path += f"/{subresource}"

    found = asked("GET", prefix + path)

    verb = "get" if name else "list"
    assert found == Asked("kube", verb, group, "v1", resource, subresource, namespace, name)
    assert not is_discovery(prefix + path)
    assert bare_path(prefix + path) == path


@settings(deadline=None)
@given(st.text("/api svn123%watch=.?&", max_size=40), st.text("/apiswatch=1&", max_size=20))
def test_no_path_is_too_strange(path: str, query: str) -> None:
    found = asked("GET", path, query)
    assert found == HTTP or (found.resource and found.version and found.verb)
