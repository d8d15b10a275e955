"""What k3s deploys for cove beside its own parts: the image registry, and ingress.  Pure.

Manifests are put where k3s looks for them before it starts; no certificate's key is among
them.  What is only known later — the server's address, the leaf certificate — is applied over
the API by :mod:`cove.engines.k3s.beside`: ingress waits for its certificate as a pod waits for
any Secret it mounts.

Sources: https://docs.k3s.io/installation/packaged-components,
https://distribution.github.io/distribution/about/configuration/,
https://doc.traefik.io/traefik/reference/install-configuration/configuration-options/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cove.engines.cluster import ClusterOptions
from cove.engines.k3s.registries import REGISTRY

__all__ = [
    "CLASS",
    "INGRESS",
    "NAMESPACE",
    "REGISTRY_DATA",
    "REGISTRY_IMAGE",
    "SECRET",
    "TRAEFIK_IMAGE",
    "coredns",
    "domains_of",
    "files",
    "manifests",
    "serves_ingress",
]

Doc = dict[str, Any]

FOLDER = "/var/lib/rancher/k3s/server/manifests"
NAMESPACE = "kube-system"
REGISTRY_IMAGE = "docker.io/library/registry:2"
TRAEFIK_IMAGE = "docker.io/library/traefik:v3.5"
# Below k3s' own data: a data volume keeps both.
REGISTRY_DATA = "/var/lib/rancher/k3s/cove-registry"
INGRESS = "cove-ingress"
CLASS = "cove"
# The domains' certificate.
SECRET = "cove-ingress-certificate"
_CERTIFICATE = "/certificate"
_CONFIG = "/config"
_TYPES = {
    "": ("services", "endpoints", "nodes", "namespaces", "secrets", "configmaps"),
    "discovery.k8s.io": ("endpointslices",),
    "networking.k8s.io": ("ingresses", "ingressclasses"),
}


def serves_ingress(options: ClusterOptions) -> bool:
    """Whether cove's proxy serves Ingresses: it was asked for, or domains were."""
    if {"ingress", "traefik"} & set(options.disable):
        return False
    return options.k3s.ingress or bool(options.domains)


def manifests(name: str, options: ClusterOptions, *, https: bool = True) -> dict[str, str]:
    """What k3s deploys when it starts, by the files' paths; none for nothing.

    ``https`` False is what there is without an authority to sign for the domains.
    """
    docs: dict[str, list[Doc]] = {}
    if options.k3s.registry:
        docs["registry"] = _registry(name, options.images)
    if serves_ingress(options):
        docs["ingress"] = _ingress(name, options, https)
    return {_path(part): yaml.safe_dump_all(each, sort_keys=False) for part, each in docs.items()}


def files(name: str, options: ClusterOptions, *, https: bool = True) -> dict[str, str]:
    """The same, and an empty file for what there is not: a volume may hold one of before.

    k3s removes what an earlier content of a file had.
    """
    empty = {_path(part): "# not asked for\n" for part in ("registry", "ingress")}
    return {**empty, **manifests(name, options, https=https)}


def _path(part: str) -> str:
    return f"{FOLDER}/cove-{part}.yaml"


def domains_of(options: ClusterOptions) -> list[str]:
    """What a certificate for the domains is for: each, and what is right below it."""
    return [name for domain in options.domains for name in (f"*.{domain}", domain)]


# -- the registry


def _registry(name: str, images: Mapping[str, str]) -> list[Doc]:
    """On the server's node, its network and its disk: the address is the node's own."""
    container = {
        "name": "registry",
        "image": images.get("registry", REGISTRY_IMAGE),
        "env": [
            {"name": "REGISTRY_HTTP_ADDR", "value": f":{REGISTRY}"},
            {"name": "REGISTRY_STORAGE_DELETE_ENABLED", "value": "true"},
            {"name": "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "value": "/var/lib/registry"},
        ],
        "ports": [{"containerPort": REGISTRY, "hostPort": REGISTRY}],
        "readinessProbe": {"httpGet": {"path": "/v2/", "port": REGISTRY}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/registry"}],
    }
    data = {"name": "data", "hostPath": {"path": REGISTRY_DATA, "type": "DirectoryOrCreate"}}
    return [_deployment("cove-registry", name, {}, container, [data])]


def _deployment(
    app: str, node: str, spec: Mapping[str, Any], container: Doc, volumes: list[Doc]
) -> Doc:
    """One pod on the server's node and in its network; never two at once, for its ports."""
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/managed-by": "cove"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": True,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "tolerations": [{"operator": "Exists"}],
                    "priorityClassName": "system-cluster-critical",
                    **spec,
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


# -- ingress


def _ingress(name: str, options: ClusterOptions, https: bool) -> list[Doc]:
    """Traefik, its rights, and the class of Ingresses that name none."""
    account = {"kind": "ServiceAccount", "name": INGRESS, "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": INGRESS}
    rules: list[Doc] = [
        {"apiGroups": [group], "resources": list(resources), "verbs": ["get", "list", "watch"]}
        for group, resources in _TYPES.items()
    ]
    status = {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"]}
    rules.append({**status, "verbs": ["update"]})
    secure = https and bool(options.domains)
    found: list[Doc] = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": INGRESS, "namespace": NAMESPACE},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": INGRESS},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": INGRESS},
            "roleRef": role,
            "subjects": [account],
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {
                "name": CLASS,
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
            },
            "spec": {"controller": "traefik.io/ingress-controller"},
        },
    ]
    if secure:
        found.append(_tls_config())
    container: Doc = {
        "name": "traefik",
        "image": options.images.get("ingress", TRAEFIK_IMAGE),
        "args": _arguments(secure),
        "ports": [{"containerPort": p, "hostPort": p} for p in ([80, 443] if secure else [80])],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": 8082}, "periodSeconds": 1},
        # The ports below 1024 are the node's own.
        "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
    }
    volumes: list[Doc] = []
    if secure:
        container["volumeMounts"] = [
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
            {"name": "certificate", "mountPath": _CERTIFICATE, "readOnly": True},
        ]
        # The Secret comes later, and the pod does not start before it.
        volumes = [
            {"name": "config", "configMap": {"name": INGRESS}},
            {"name": "certificate", "secret": {"secretName": SECRET}},
        ]
    spec = {"serviceAccountName": INGRESS}
    found.append(_deployment(INGRESS, name, spec, container, volumes))
    return found


def _arguments(secure: bool) -> list[str]:
    arguments = [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--ping=true",
        "--ping.entrypoint=ping",
        "--entrypoints.ping.address=:8082",
        "--entrypoints.web.address=:80",
        "--providers.kubernetesingress=true",
    ]
    if secure:
        arguments += [
            "--entrypoints.websecure.address=:443",
            # No Ingress has to say anything of TLS.
            "--entrypoints.websecure.http.tls=true",
            f"--providers.file.filename={_CONFIG}/tls.yaml",
        ]
    return arguments


def _tls_config() -> Doc:
    files = {"certFile": f"{_CERTIFICATE}/tls.crt", "keyFile": f"{_CERTIFICATE}/tls.key"}
    told = {"tls": {"stores": {"default": {"defaultCertificate": files}}}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": INGRESS, "namespace": NAMESPACE},
        "data": {"tls.yaml": yaml.safe_dump(told, sort_keys=False)},
    }


# -- names


def coredns(addresses: Mapping[str, str]) -> Doc:
    """k3s' ConfigMap for names of others: each name, and all below it, is that address.

    ::

        {"shop.test": "172.18.0.2"}

    Source: https://docs.k3s.io/networking/networking-services#coredns
    """
    blocks = [
        f"{name}:53 {{\n"
        "    errors\n"
        f'    template IN A {name} {{\n        answer "{{{{ .Name }}}} 5 IN A {address}"\n    }}\n'
        # Names that are there have no other records: that is not an error.
        f"    template ANY ANY {name} {{\n        rcode NOERROR\n    }}\n"
        "}\n"
        for name, address in sorted(addresses.items())
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns-custom", "namespace": NAMESPACE},
        "data": {"cove.server": "".join(blocks)},
    }
