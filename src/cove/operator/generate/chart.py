"""A Helm chart of an operator; pure.

Templates are the documents of the other generators with Helm's expressions in the places that
differ from release to release, so that a chart says what the manifests say.

Source: https://helm.sh/docs/topics/charts/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from cove.operator.generate.files import File, text_of
from cove.operator.generate.options import Options
from cove.operator.generate.workload import RESOURCES, deployment, service
from cove.operator.rbac.derive import permissions
from cove.operator.rbac.permissions import CLUSTER, policy_rules
from cove.operator.rbac.roles import GROUP, placed, service_account
from cove.operator.settings import Leadership, Settings

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["chart"]

Doc = dict[str, Any]
# Names that stand for Helm's expressions until a document is text; no YAML is in either.
RELEASE = "release-name-of-helm"
NAMESPACE = "release-namespace-of-helm"
_EXPRESSIONS = {RELEASE: "{{ .Release.Name }}", NAMESPACE: "{{ .Release.Namespace }}"}
_ELECTS = "gt (int .Values.replicas) 1"


def chart(operator: Operator, options: Options, definitions: Sequence[Doc]) -> list[File]:
    """A complete chart, in the folder ``chart``; the image's tag is the chart's appVersion."""
    name, _, tag = options.image.rpartition(":")
    if not name or "/" in tag:
        name, tag = options.image, "latest"
    about = {
        "apiVersion": "v2",
        "name": operator.name,
        "description": f"The operator {operator.name}.",
        "type": "application",
        "version": "0.1.0",
        "appVersion": tag,
    }
    values = {
        "image": {"repository": name, "tag": "", "pullPolicy": "IfNotPresent"},
        "replicas": options.replicas,
        "namespaced": operator.settings.namespaced,
        "resources": RESOURCES,
    }
    files = [
        File("chart/Chart.yaml", text=yaml.safe_dump(about, sort_keys=False)),
        File("chart/values.yaml", text=_VALUES + yaml.safe_dump(values, sort_keys=False)),
        File("chart/.helmignore", text=".git\n*.tgz\n"),
        File("chart/templates/deployment.yaml", text=_deployment(operator, options)),
        File("chart/templates/rbac.yaml", text=_rbac(operator)),
        File("chart/templates/NOTES.txt", text=_NOTES),
    ]
    found = service(operator, replace(options, namespace=NAMESPACE))
    if found is not None:
        found["metadata"]["name"] = RELEASE
        found["metadata"]["labels"] = found["spec"]["selector"] = _labels(operator)
        files.append(File("chart/templates/service.yaml", text=_template([found])))
    return files + [
        File(f"chart/crds/{doc['metadata']['name']}.yaml", text=text_of([doc], "yaml"))
        for doc in definitions
    ]


_VALUES = """\
# More than one replica elect a leader. namespaced: it follows the release's namespace only.
# image.tag "" is the chart's appVersion.
"""
_NOTES = "{{ .Release.Name }} runs in {{ .Release.Namespace }}.\n"


def _labels(operator: Operator) -> Doc:
    return {"app.kubernetes.io/name": operator.name, "app.kubernetes.io/instance": RELEASE}


def _template(documents: Sequence[Doc], **places: str) -> str:
    """Documents as text, with expressions for the names that stand for them."""
    text = text_of(documents, "yaml")
    for placeholder, expression in {**_EXPRESSIONS, **places}.items():
        text = text.replace(placeholder, expression)
    return text


def _deployment(operator: Operator, options: Options) -> str:
    doc = deployment(operator, replace(options, namespace=NAMESPACE, replicas=1))
    about, pod = _labels(operator), doc["spec"]["template"]["spec"]
    doc["metadata"].update(name=RELEASE, labels=about)
    doc["spec"]["replicas"] = "REPLICAS"
    doc["spec"]["selector"]["matchLabels"] = doc["spec"]["template"]["metadata"]["labels"] = about
    pod["serviceAccountName"] = RELEASE
    container = pod["containers"][0]
    container["image"] = "IMAGE"
    container["imagePullPolicy"] = "POLICY"
    container["resources"] = "RESOURCES"
    container["args"] = [*(a for a in container["args"] if a != "--namespaced"), "ARGUMENTS"]
    for variable in container["env"]:
        if variable["name"] == "COVE_OPERATOR_SERVICE":
            variable["value"] = RELEASE
    lines = []
    for line in _template([doc]).splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        match line.strip():
            case "replicas: REPLICAS":
                line = f"{indent}replicas: {{{{ .Values.replicas }}}}"
            case "image: IMAGE":
                tag = ".Values.image.tag | default .Chart.AppVersion"
                line = f'{indent}image: "{{{{ .Values.image.repository }}}}:{{{{ {tag} }}}}"'
            case "imagePullPolicy: POLICY":
                line = f"{indent}imagePullPolicy: {{{{ .Values.image.pullPolicy }}}}"
            case "resources: RESOURCES":
                block = f"toYaml .Values.resources | nindent {len(indent) + 2}"
                line = f"{indent}resources: {{{{- {block} }}}}"
            case "- ARGUMENTS":
                line = _when(".Values.namespaced", f"{indent}- --namespaced")
                if operator.settings.leadership is None and operator.settings.shards <= 1:
                    line += "\n" + _when(_ELECTS, f"{indent}- --elect")
        lines.append(line)
    return "\n".join(lines) + "\n"


def _when(condition: str, then: str, otherwise: str = "") -> str:
    text = f"{{{{- if {condition} }}}}\n{then.rstrip()}\n"
    if otherwise:
        text += f"{{{{- else }}}}\n{otherwise.rstrip()}\n"
    return f"{text}{{{{- end }}}}"


def _rbac(operator: Operator) -> str:
    """The account, and the roles for each of the ways in which it may be released."""
    account = service_account(operator, NAMESPACE, name=RELEASE)
    account["metadata"]["labels"] = _labels(operator)
    settings = operator.settings
    ways = {
        namespaced: _roles(operator, replace(settings, namespaced=namespaced))
        for namespaced in (True, False)
    }
    body = (
        ways[True]
        if ways[True] == ways[False]
        else _when(".Values.namespaced", ways[True], ways[False])
    )
    return f"{_template([account])}---\n{body}\n"


def _roles(operator: Operator, settings: Settings) -> str:
    alone = _documents(operator, settings)
    if settings.leadership is not None or settings.shards > 1:
        return alone
    several = _documents(operator, replace(settings, leadership=Leadership()))
    return _when(_ELECTS, several, alone)


def _documents(operator: Operator, settings: Settings) -> str:
    watched = settings.namespaces or ((NAMESPACE,) if settings.namespaced else ())
    docs: list[Doc] = []
    places = placed(permissions(operator, settings), NAMESPACE, watched)
    for place, found in places.items():
        prefix = "Cluster" if place == CLUSTER else ""
        # Roles of all releases are beside each other: those of the cluster by both names.
        name = f"{NAMESPACE}-{RELEASE}" if place == CLUSTER else RELEASE
        metadata: Doc = {"name": name, "labels": _labels(operator)}
        if place != CLUSTER:
            metadata["namespace"] = place
        version = f"{GROUP}/v1"
        docs += [
            {
                "apiVersion": version,
                "kind": f"{prefix}Role",
                "metadata": metadata,
                "rules": policy_rules(found),
            },
            {
                "apiVersion": version,
                "kind": f"{prefix}RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": GROUP, "kind": f"{prefix}Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}],
            },
        ]
    return _template(docs)
