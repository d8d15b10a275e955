"""Ingress and IngressClass.  Source: https://kubernetes.io/docs/concepts/services-networking/ingress/"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, legacy_ip, name_errors, parse_ip
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["Ingress", "IngressClass"]

Errors = list[FieldError]
_CLASS = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES = ("/..", "/.")


def _backend(errors: Errors, path: str, backend: Obj | None) -> None:
    backend = backend or {}
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None and service is not None:
        errors.append(fe.invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        at = f"{path}.resource"
        group = resource.get("apiGroup")
        if group:
            name_errors(errors, f"{at}.apiGroup", group, names.is_dns1123_subdomain)
        for key in ("kind", "name"):
            value = resource.get(key) or ""
            if not value:
                errors.append(fe.required(f"{at}.{key}"))
            else:
                name_errors(errors, f"{at}.{key}", value, names.is_path_segment_name)
    elif service is not None:
        name, port = service.get("name") or "", service.get("port") or {}
        at = f"{path}.service"
        if not name:
            errors.append(fe.required(f"{at}.name"))
        else:
            name_errors(errors, f"{at}.name", name, names.is_dns1123_label)
        has_name, number = bool(port.get("name")), port.get("number") or 0
        if has_name and number:
            errors.append(fe.invalid(path, "", "cannot set both port name & port number"))
        elif has_name:
            name_errors(errors, f"{at}.port.name", port["name"], names.is_port_name)
        elif number:
            errors += [
                fe.invalid(f"{at}.port.number", number, m) for m in names.is_port_number(number)
            ]
        else:
            errors.append(fe.required(path, "port name or number is required"))
    else:
        errors.append(fe.invalid(path, "", "resource or service backend is required"))


def _path(errors: Errors, at: str, item: Obj) -> None:
    kind, value = item.get("pathType"), item.get("path") or ""
    if kind is None:
        errors.append(fe.required(f"{at}.pathType", "pathType must be specified"))
        return
    if kind in ("Exact", "Prefix"):
        if not value.startswith("/"):
            errors.append(fe.invalid(f"{at}.path", value, "must be an absolute path"))
        if value:
            errors += [
                fe.invalid(f"{at}.path", value, f"must not contain '{s}'")
                for s in _SEQUENCES
                if s in value
            ]
            errors += [
                fe.invalid(f"{at}.path", value, f"cannot end with '{s}'")
                for s in _SUFFIXES
                if value.endswith(s)
            ]
    elif kind == "ImplementationSpecific":
        if value and not value.startswith("/"):
            errors.append(fe.invalid(f"{at}.path", value, "must be an absolute path"))
    else:
        errors.append(fe.not_supported(f"{at}.pathType", kind, _PATH_TYPES))
    _backend(errors, f"{at}.backend", item.get("backend"))


def _host(errors: Errors, path: str, host: str) -> None:
    if parse_ip(host) is not None:
        errors.append(fe.invalid(path, host, "must be a DNS name, not an IP address"))
    if "*" in host:
        name_errors(errors, path, host, names.is_wildcard_dns1123_subdomain)
    else:
        name_errors(errors, path, host, names.is_dns1123_subdomain)


class Ingress(Kind):
    """HTTP from outside to Services."""

    generation = True
    status = True
    empty_status = MappingProxyType({"loadBalancer": {}})

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors = self._validate(obj)
        spec = obj.get("spec") or {}
        annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS)
        name = spec.get("ingressClassName")
        if annotation is not None and name is not None and annotation != name:
            errors.append(
                fe.invalid(
                    f"annotations.{_CLASS}",
                    annotation,
                    "must match `ingressClassName` when both are specified",
                )
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self._validate(obj)

    def _validate(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
        if not rules and backend is None:
            errors.append(
                fe.invalid(
                    "spec",
                    spec.get("rules"),
                    "either `defaultBackend` or `rules` must be specified",
                )
            )
        if backend is not None:
            _backend(errors, "spec.defaultBackend", backend)
        for i, rule in enumerate(rules):
            if rule.get("host"):
                _host(errors, f"spec.rules[{i}].host", rule["host"])
            http = rule.get("http")
            if http is None:
                continue
            paths = http.get("paths") or []
            at = f"spec.rules[{i}].http.paths"
            if not paths:
                errors.append(fe.required(at))
            for n, item in enumerate(paths):
                _path(errors, f"{at}[{n}]", item)
        for i, tls in enumerate(spec.get("tls") or ()):
            for n, host in enumerate(tls.get("hosts") or ()):
                at = f"spec.tls[{i}].hosts[{n}]"
                if "*" in host:
                    name_errors(errors, at, host, names.is_wildcard_dns1123_subdomain)
                else:
                    name_errors(errors, at, host, names.is_dns1123_subdomain)
            if tls.get("secretName"):
                name_errors(
                    errors,
                    f"spec.tls[{i}].secretName",
                    tls["secretName"],
                    names.is_dns1123_subdomain,
                )
        if spec.get("ingressClassName") is not None:
            name_errors(
                errors,
                "spec.ingressClassName",
                spec["ingressClassName"],
                names.is_dns1123_subdomain,
            )
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        path = "status.loadBalancer.ingress"
        balancer = (obj.get("status") or {}).get("loadBalancer") or {}
        before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        known = [i["ip"] for i in before if i.get("ip")]
        for i, ingress in enumerate(balancer.get("ingress") or ()):
            if ingress.get("ip"):
                legacy_ip(errors, f"{path}[{i}].ip", ingress["ip"], known)
            host = ingress.get("hostname")
            if host:
                name_errors(errors, f"{path}[{i}].hostname", host, names.is_dns1123_subdomain)
                if parse_ip(host) is not None:
                    errors.append(
                        fe.invalid(
                            f"{path}[{i}].hostname", host, "must be a DNS name, not an IP address"
                        )
                    )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if old is None and _CLASS in (obj["metadata"].get("annotations") or ()):
            return [
                f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
            ]
        return []

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        rules = spec.get("rules") or []
        name = spec.get("ingressClassName")
        ingresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        addresses = sorted({i.get("ip") or i.get("hostname") or "" for i in ingresses} - {""})
        return [
            obj["metadata"].get("name", ""),
            "<none>" if name is None else name,
            _hosts(rules),
            ",".join(addresses),
            "80, 443" if spec.get("tls") else "80",
            age(obj, now),
        ]


def _hosts(rules: list[Obj]) -> str:
    shown: list[str] = []
    more = False
    for rule in rules:
        if len(shown) == 3:
            more = True
            break
        if rule.get("host"):
            shown.append(rule["host"])
    if not shown:
        return "*"
    text = ",".join(shown)
    return f"{text} + {len(rules) - 3} more..." if more else text


class IngressClass(Kind):
    """Who serves an Ingress."""

    generation = True

    def default(self, obj: Obj) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None and parameters.get("scope") is None:
            parameters["scope"] = "Cluster"

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        controller = spec.get("controller") or ""
        path = "spec.controller"
        if len(controller) > 250:
            errors.append(fe.too_long(path, 250))
        if not controller:
            errors.append(fe.required(path))
        else:
            domain_prefixed(errors, path, controller)
        parameters = spec.get("parameters")
        if parameters is not None:
            self._parameters(errors, parameters)
        return errors

    def _parameters(self, errors: Errors, parameters: Obj) -> None:
        path = "spec.parameters"
        group = parameters.get("apiGroup")
        if group:
            name_errors(errors, f"{path}.apiGroup", group, names.is_dns1123_subdomain)
        for key in ("kind", "name"):
            value = parameters.get(key) or ""
            if not value:
                errors.append(fe.required(f"{path}.{key}"))
            else:
                name_errors(errors, f"{path}.{key}", value, names.is_path_segment_name)
        scope, namespace = parameters.get("scope"), parameters.get("namespace")
        at = f"{path}.namespace"
        if scope is None:
            errors.append(fe.required(f"{path}.scope"))
        elif scope not in ("Cluster", "Namespace"):
            errors.append(fe.not_supported(f"{path}.scope", scope, ("Cluster", "Namespace")))
        elif scope == "Namespace":
            if namespace is None:
                errors.append(fe.required(at, "`parameters.scope` is set to 'Namespace'"))
            else:
                name_errors(errors, at, namespace, names.is_dns1123_label)
        elif namespace is not None:
            errors.append(fe.forbidden(at, "`parameters.scope` is set to 'Cluster'"))

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        immutable(errors, "spec.controller", new.get("controller"), before.get("controller"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        parameters, told = spec.get("parameters"), "<none>"
        if parameters is not None:
            told = parameters.get("kind") or ""
            if parameters.get("apiGroup") is not None:
                told += f".{parameters['apiGroup']}"
            told += f"/{parameters.get('name') or ''}"
        return [obj["metadata"].get("name", ""), spec.get("controller") or "", told, age(obj, now)]


def domain_prefixed(errors: Errors, path: str, value: str) -> None:
    """``acme.io/foo``."""
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        errors.append(
            fe.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        )
        return
    errors += [fe.invalid(path, domain, m) for m in names.is_dns1123_subdomain(domain)]
    errors += [fe.invalid(path, rest, m) for m in names.is_http_path(rest)]
