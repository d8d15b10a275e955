"""The generators by their names, and what files each gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from cove.operator.definitions import crds
from cove.operator.entities import Entity, info
from cove.operator.errors import EntityError
from cove.operator.generate.chart import chart
from cove.operator.generate.docker import docker
from cove.operator.generate.files import File, Format
from cove.operator.generate.options import Options
from cove.operator.generate.workload import deployment, service
from cove.operator.rbac.roles import roles, service_account

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["GENERATORS", "generate", "kinds"]

Doc = dict[str, Any]
_KUSTOMIZE = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_NOTE = "# Yours to change: it is not written again once it is there.\n"


def kinds(operator: Operator) -> list[type[Entity]]:
    """Every class of a kind that an operator speaks of, versions that are converted among them."""
    found: list[type[Entity]] = list(operator.entities)
    for spec in (*operator.validators, *operator.mutators):
        found.append(spec.cls)
    for converter in operator.converters:
        found += [converter.hub, converter.spoke]
    return list(dict.fromkeys(found))


def _kustomization(folder: str, names: Iterable[str], **more: Any) -> File:
    doc = {**_KUSTOMIZE, **more, "resources": list(names)}
    return File(f"{folder}/kustomization.yaml", text=yaml.safe_dump(doc, sort_keys=False))


def _folder(folder: str, files: dict[str, Sequence[Doc]], format: Format) -> list[File]:
    """Files of a folder, and the kustomization that names them."""
    out = [File(f"{folder}/{name}", tuple(docs)) for name, docs in files.items() if docs]
    names = [f"{file.path.partition('/')[2]}.{format}" for file in out]
    return [*out, _kustomization(folder, names)]


def crd_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """A CustomResourceDefinition for each kind of its own.

    How versions are converted is not in it: the operator registers that itself, with the
    certificates of now.
    """
    return _folder("crds", {d["metadata"]["name"]: [d] for d in crds(kinds(operator))}, format)


def rbac_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """Its service account, the roles it needs, and their bindings."""
    documents = roles(operator, options.namespace, settings=options.settings(operator))
    account = service_account(operator, options.namespace)
    return _folder("rbac", {"service-account": [account], "roles": documents}, format)


def operator_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """The Deployment, and the Service of its webhooks and metrics."""
    found = service(operator, options)
    return _folder(
        "operator",
        {"deployment": [deployment(operator, options)], "service": [found] if found else []},
        format,
    )


def webhook_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """What is registered, to look at: the operator registers it itself, with its certificate."""
    from cove.operator.webhooks import ClientConfig, conversion, webhook_configurations

    config = ClientConfig(service=(options.namespace, operator.name))
    hubs = {info(spec.hub).crd_name for spec in operator.converters}
    files: dict[str, Sequence[Doc]] = {"webhooks": webhook_configurations(operator, config)}
    for doc in crds(kinds(operator)):
        if doc["metadata"]["name"] in hubs:
            files[doc["metadata"]["name"]] = [conversion(doc, config)]
    return _folder("webhooks", files, format) if any(files.values()) else []


def installer_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """A kustomization of all of it: prefix, namespace, image."""
    name, _, tag = options.image.rpartition(":")
    if not name or "/" in tag:
        name, tag = options.image, "latest"
    more: Doc = {}
    documents = roles(operator, options.namespace, settings=options.settings(operator))
    places = {d["metadata"].get("namespace", options.namespace) for d in documents}
    if places <= {options.namespace}:
        # Kustomize would move what is in other namespaces, too.
        more["namespace"] = options.namespace
    if options.prefix:
        more["namePrefix"] = options.prefix
    more["images"] = [{"name": name, "newName": name, "newTag": tag}]
    if options.prefix and service(operator, options):
        env = "spec.template.spec.containers.[name=operator].env.[name=COVE_OPERATOR_SERVICE].value"
        more["replacements"] = [
            {
                "source": {"kind": "Service", "name": operator.name, "fieldPath": "metadata.name"},
                "targets": [
                    {"select": {"kind": "Deployment", "name": operator.name}, "fieldPaths": [env]}
                ],
            }
        ]
    space: Doc = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": options.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    resources = ["namespace.yaml", "../crds", "../rbac", "../operator"]
    made = _kustomization("installer", resources, **more)
    return [
        File(made.path, text=_NOTE + made.text, keep=True),
        File(
            "installer/namespace.yaml",
            text=_NOTE + yaml.safe_dump(space, sort_keys=False),
            keep=True,
        ),
    ]


def docker_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """A Dockerfile, and what stays out of its context."""
    return docker(operator, options)


def helm_files(operator: Operator, options: Options, format: Format) -> list[File]:
    """A chart of all of it."""
    return chart(operator, options, crds(kinds(operator)))


Generator = Callable[["Operator", Options, Format], list[File]]
GENERATORS: dict[str, Generator] = {
    "crd": crd_files,
    "rbac": rbac_files,
    "operator": operator_files,
    "webhooks": webhook_files,
    "installer": installer_files,
    "docker": docker_files,
    "helm": helm_files,
}


def generate(
    what: str,
    operator: Operator,
    options: Options | None = None,
    *,
    format: Format = "yaml",
    skip: Iterable[str] = (),
) -> list[File]:
    """The files of one generator, or of ``all`` but those to ``skip``.

    Raises EntityError for a generator that there is not, and SchemaError for kinds that
    Kubernetes would not take.
    """
    names = [what] if what != "all" else [n for n in GENERATORS if n not in set(skip)]
    unknown = [name for name in (*names, *skip) if name not in GENERATORS]
    if unknown:
        raise EntityError(f"{unknown[0]}: there is no such generator: {', '.join(GENERATORS)}, all")
    chosen = (options or Options()).complete(operator)
    return [file for name in names for file in GENERATORS[name](operator, chosen, format)]
