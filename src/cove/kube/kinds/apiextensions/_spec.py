"""Validation of CustomResourceDefinitions apart from their schemas.

Source: ``pkg/apis/apiextensions/validation/validation.go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.kube.kinds.apiextensions._bundle import bundle_fault
from cove.kube.kinds.apiextensions._internal import go_invalid, go_versions, internal
from cove.kube.kinds.apiextensions._options import Options
from cove.kube.kinds.apiextensions._schema import validate_schema
from cove.kube.names import is_dns1035_label, is_dns1123_subdomain
from cove.kube.structural import FieldPathError, Schema, find_field, parse, same

__all__ = ["validate", "validate_status"]

Errors = list[FieldError]
Document = Mapping[str, Any]
IMMUTABLE = "field is immutable"
APPROVED = "api-approved.kubernetes.io"
_PROPOSAL = "see https://github.com/kubernetes/enhancements/pull/1111"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = (
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
)
_REVIEW_VERSIONS = ("v1", "v1beta1")
MOST_SELECTABLE = 8


def validate(obj: Obj, old: Obj | None) -> Errors:
    """The faults of a new CRD or of an update, its metadata excepted."""
    errors: Errors = []
    spec = internal(obj["spec"])
    before = None if old is None else internal(old["spec"])
    status = obj.get("status") or {}
    if old is None:
        names = spec.get("names") or {}
        name = obj["metadata"].get("name")
        if name and name != f"{names.get('plural', '')}.{spec.get('group', '')}":
            why = 'must be spec.names.plural+"."+spec.group'
            errors.append(fe.invalid("metadata.name", name, why))
    options = Options.of(obj, old)
    _spec(spec, options, errors)
    if before is not None:
        if options.immutable_names:
            _immutable(spec, before, ("scope",), errors)
            _immutable(spec, before, ("names", "kind"), errors)
        _immutable(spec, before, ("group",), errors)
        _immutable(spec, before, ("names", "plural"), errors)
    errors += validate_status(obj)
    _stored_versions(status.get("storedVersions"), spec["versions"], errors)
    _approval(obj, old, errors)
    kept = old is not None and old["spec"].get("preserveUnknownFields")
    if spec.get("preserveUnknownFields") and not kept:
        why = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        errors.append(fe.invalid("spec.preserveUnknownFields", True, why))
    return errors


def validate_status(obj: Obj) -> Errors:
    """The faults of a CRD's status."""
    errors: Errors = []
    names = (obj.get("status") or {}).get("acceptedNames") or {}
    _names(names, "status.acceptedNames", errors)
    return errors


def _immutable(spec: Document, before: Document, path: tuple[str, ...], errors: Errors) -> None:
    new: Any = spec
    was: Any = before
    for key in path:
        new, was = (new or {}).get(key, ""), (was or {}).get(key, "")
    if new != was:
        errors.append(fe.invalid(".".join(("spec", *path)), new, IMMUTABLE))


def _enum(path: str, value: str, accepted: Sequence[str], errors: Errors) -> None:
    if not value:
        errors.append(fe.required(path))
    elif value not in accepted:
        errors.append(fe.not_supported(path, value, accepted))


def _spec(spec: dict[str, Any], options: Options, errors: Errors) -> None:
    group = spec.get("group") or ""
    if not group:
        errors.append(fe.required("spec.group"))
    elif faults := is_dns1123_subdomain(group):
        errors.append(fe.invalid("spec.group", group, ",".join(faults)))
    elif "." not in group:
        why = "should be a domain with at least one dot"
        errors.append(fe.invalid("spec.group", group, why))
    _enum("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced"), errors)
    versions: list[dict[str, Any]] = spec["versions"]
    top = spec.get("validation") or {}
    if top.get("openAPIV3Schema") is None:
        for index, version in enumerate(versions):
            if (version.get("schema") or {}).get("openAPIV3Schema") is not None:
                continue
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            if options.require_schema:
                errors.append(fe.required(path))
            elif version.get("served"):
                errors.append(fe.required(path, "because otherwise all fields are pruned"))
    _versions(spec, versions, options, errors)
    _required_names(spec, errors)
    if spec.get("validation") is not None:
        has_status = _has_status(spec.get("subresources")) or any(
            _has_status(v.get("subresources")) for v in versions
        )
        options.version = spec.get("version") or ""
        validate_schema(spec["validation"], has_status, options, "spec.validation", errors)
    _subresources(spec.get("subresources"), "spec.subresources", errors)
    for index, column in enumerate(spec.get("additionalPrinterColumns") or ()):
        _column(column, f"spec.additionalPrinterColumns[{index}]", errors)
    if spec.get("selectableFields"):
        schema = top.get("openAPIV3Schema")
        _selectable(spec, schema, "spec", "", options, errors)
    _conversion(spec, options, errors)


def _versions(
    spec: dict[str, Any], versions: list[dict[str, Any]], options: Options, errors: Errors
) -> None:
    names = [v.get("name") or "" for v in versions]
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if faults := is_dns1035_label(names[index]):
            errors.append(fe.invalid(f"{path}.name", names[index], ",".join(faults)))
        per_version = any(v.get("subresources") is not None for v in versions)
        own = version.get("subresources") if per_version else spec.get("subresources")
        _version(version, path, _has_status(own), options, errors)
    shown = go_versions(versions) if versions else []
    if versions:
        for key, what, top in (
            ("schema", "schemas", "validation"),
            ("subresources", "subresources", "subresources"),
            ("additionalPrinterColumns", "additionalPrinterColumns", "additionalPrinterColumns"),
        ):
            first = versions[0].get(key)
            if first and all(same(v.get(key), first) for v in versions):
                why = (
                    f"per-version {what} may not all be set to identical values (top-level {top} "
                    "should be used instead)"
                )
                errors.append(go_invalid("spec.versions", shown, why))
    if len(set(names)) != len(names):
        errors.append(go_invalid("spec.versions", shown, "must contain unique version names"))
    if sum(bool(v.get("storage")) for v in versions) != 1:
        why = "must have exactly one version marked as storage version"
        given = shown if options.given_versions else None
        errors.append(go_invalid("spec.versions", given, why))
    first_name = spec.get("version") or ""
    if first_name and (faults := is_dns1035_label(first_name)):
        errors.append(fe.invalid("spec.version", first_name, ",".join(faults)))


def _required_names(spec: Document, errors: Errors) -> None:
    names = spec.get("names") or {}
    for key in ("plural", "singular", "kind", "listKind"):
        if not names.get(key):
            errors.append(fe.required(f"spec.names.{key}"))
    _names(names, "spec.names", errors)


def _names(names: Document, path: str, errors: Errors) -> None:
    for key in ("plural", "singular"):
        value = names.get(key) or ""
        if value and (faults := is_dns1035_label(value)):
            errors.append(fe.invalid(f"{path}.{key}", value, ",".join(faults)))
    for key in ("kind", "listKind"):
        value = names.get(key) or ""
        if value and (faults := is_dns1035_label(value.lower())):
            why = "may have mixed case, but should otherwise match: " + ",".join(faults)
            errors.append(fe.invalid(f"{path}.{key}", value, why))
    _labels(names.get("shortNames"), f"{path}.shortNames", errors)
    kind = names.get("kind")
    if kind and kind == names.get("listKind"):
        why = "kind and listKind may not be the same"
        errors.append(fe.invalid(f"{path}.listKind", kind, why))
    _labels(names.get("categories"), f"{path}.categories", errors)


def _labels(values: Sequence[str] | None, path: str, errors: Errors) -> None:
    for index, value in enumerate(values or ()):
        if faults := is_dns1035_label(value):
            errors.append(fe.invalid(f"{path}[{index}]", value, ",".join(faults)))


def _has_status(subresources: Document | None) -> bool:
    return subresources is not None and subresources.get("status") is not None


def _version(
    version: Document, path: str, has_status: bool, options: Options, errors: Errors
) -> None:
    warning = version.get("deprecationWarning")
    for why in _deprecation(bool(version.get("deprecated")), warning):
        errors.append(fe.invalid(f"{path}.deprecationWarning", warning, why))
    name = version.get("name") or ""
    schema = version.get("schema")
    if schema is not None:
        options.version = name
        validate_schema(schema, has_status, options, f"{path}.schema", errors)
    _subresources(version.get("subresources"), f"{path}.subresources", errors)
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _column(column, f"{path}.additionalPrinterColumns[{index}]", errors)
    if version.get("selectableFields"):
        document = (schema or {}).get("openAPIV3Schema")
        _selectable(version, document, path, name, options, errors)


def _deprecation(deprecated: bool, text: str | None) -> list[str]:
    if text is None:
        return []
    if not deprecated:
        return ["can only be set for deprecated versions"]
    out = []
    if len(text.encode()) > 256:
        out.append("must be <= 256 characters long")
    if not text:
        out.append("must not be an empty string")
    offset = 0
    for char in text:
        if not char.isprintable():
            out.append(
                "must only contain printable UTF-8 characters; non-printable character found at "
                f"index {offset}"
            )
            break
        offset += len(char.encode())
    return out


def _simple_path(path: str, field: str, errors: Errors) -> bool:
    if path.startswith("."):
        return True
    errors.append(fe.invalid(field, path, "must be a simple json path starting with ."))
    return False


def _subresources(doc: Document | None, path: str, errors: Errors) -> None:
    scale = (doc or {}).get("scale")
    if scale is None:
        return
    for key, parent in (("specReplicasPath", "spec"), ("statusReplicasPath", "status")):
        value = scale.get(key) or ""
        field = f"{path}.scale.{key}"
        if not value:
            errors.append(fe.required(field))
        elif _simple_path(value, field, errors) and not value.startswith(f".{parent}."):
            errors.append(fe.invalid(field, value, f"should be a json path under .{parent}"))
    value = scale.get("labelSelectorPath") or ""
    if value:
        field = f"{path}.scale.labelSelectorPath"
        if _simple_path(value, field, errors) and not value.startswith((".spec.", ".status.")):
            why = "should be a json path under either .spec or .status"
            errors.append(fe.invalid(field, value, why))


def _column(column: Document, path: str, errors: Errors) -> None:
    if not column.get("name"):
        errors.append(fe.required(f"{path}.name"))
    kind = column.get("type") or ""
    why = "must be one of " + ",".join(_COLUMN_TYPES)
    if not kind:
        errors.append(fe.required(f"{path}.type", why))
    elif kind not in _COLUMN_TYPES:
        errors.append(fe.invalid(f"{path}.type", kind, why))
    form = column.get("format") or ""
    if form and form not in _COLUMN_FORMATS:
        why = "must be one of " + ",".join(_COLUMN_FORMATS)
        errors.append(fe.invalid(f"{path}.format", form, why))
    value = column.get("jsonPath") or ""
    if not value:
        errors.append(fe.required(f"{path}.JSONPath"))
    else:
        _simple_path(value, f"{path}.JSONPath", errors)


def _selectable(
    doc: Document,
    schema: Document | None,
    path: str,
    version: str,
    options: Options,
    errors: Errors,
) -> None:
    if schema is None:
        if version:
            why = "may only be set when `version.schema.openAPIV3Schema` is not included"
        else:
            why = "may only be set when validations.schema is included"
        errors.append(fe.invalid(f"{path}.selectableFields", "", why))
        return
    root = parse(schema)
    seen: set[str] = set()
    for index, field in enumerate(doc["selectableFields"]):
        place = f"{path}.selectableFields[{index}].jsonPath"
        value = field.get("jsonPath") or ""
        if not value:
            errors.append(fe.required(place))
            continue
        try:
            normal, found = find_field(root, value, allow_brackets=False)
        except FieldPathError as error:
            errors.append(fe.invalid(place, value, f"is an invalid path: {error}"))
            continue
        if normal.partition(".")[0] == "metadata":
            errors.append(fe.invalid(place, value, "must not point to fields in metadata"))
        if not _is_selectable(found):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and "
                "strings with formats are allowed."
            )
            errors.append(fe.invalid(place, value, why))
        if normal in seen:
            errors.append(fe.duplicate(place, value))
        seen.add(normal)
    if len(seen) > MOST_SELECTABLE and version not in options.many_selectable:
        errors.append(fe.too_many(f"{path}.selectableFields", len(seen), MOST_SELECTABLE))


def _is_selectable(schema: Schema | None) -> bool:
    return schema is not None and schema.type in ("string", "boolean", "integer")


def _conversion(spec: Document, options: Options, errors: Errors) -> None:
    conversion = spec.get("conversion")
    if conversion is None:
        return
    path = "spec.conversion"
    strategy = conversion.get("strategy") or ""
    _enum(f"{path}.strategy", strategy, ("None", "Webhook"), errors)
    webhook = conversion.get("webhook") or {}
    client = webhook.get("clientConfig")
    reviews = webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        for value, key in ((client, "webhookClientConfig"), (reviews, "conversionReviewVersions")):
            if value:
                why = "should not be set when strategy is not set to Webhook"
                errors.append(fe.forbidden(f"{path}.{key}", why))
        return
    field = f"{path}.webhookClientConfig"
    if client is None:
        errors.append(fe.required(field, "required when strategy is set to Webhook"))
    else:
        url, service = client.get("url"), client.get("service")
        if (url is None) == (service is None):
            errors.append(fe.required(field, "exactly one of url or service is required"))
        elif url is not None:
            _webhook_url(url, f"{field}.url", errors)
        else:
            _webhook_service(service, f"{field}.service", errors)
        if options.check_bundle and (fault := bundle_fault(client.get("caBundle"))):
            errors.append(FieldError("FieldValueInvalid", f"{field}.caBundle", fault))
    _review_versions(reviews, options, f"{path}.conversionReviewVersions", errors)


def _webhook_url(url: str, path: str, errors: Errors) -> None:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        errors.append(fe.required(path, f"url must be a valid URL: {error}{form}"))
        return
    if parts.scheme != "https":
        why = f"'https' is the only allowed URL scheme{form}"
        errors.append(fe.invalid(path, parts.scheme, why))
    if not parts.netloc:
        errors.append(fe.invalid(path, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None:
        why = "user information is not permitted in the URL"
        errors.append(fe.invalid(path, parts.netloc.rpartition("@")[0], why))
    if parts.fragment:
        why = "fragments are not permitted in the URL"
        errors.append(fe.invalid(path, parts.fragment, why))
    if parts.query:
        why = "query parameters are not permitted in the URL"
        errors.append(fe.invalid(path, parts.query, why))


def _webhook_service(service: Document, path: str, errors: Errors) -> None:
    if not service.get("name"):
        errors.append(fe.required(f"{path}.name", "service name is required"))
    if not service.get("namespace"):
        errors.append(fe.required(f"{path}.namespace", "service namespace is required"))
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        why = "port is not valid: must be between 1 and 65535, inclusive"
        errors.append(fe.invalid(f"{path}.port", port, why))
    value = service.get("path")
    if not value or value == "/":
        return
    if not value.startswith("/"):
        errors.append(fe.invalid(f"{path}.path", value, "must start with a '/'"))
    steps = value[1:].split("/")
    if steps and not steps[-1]:
        steps = steps[:-1]
    for index, step in enumerate(steps):
        if not step:
            errors.append(fe.invalid(f"{path}.path", value, f"segment[{index}] may not be empty"))
            continue
        for fault in is_dns1123_subdomain(step):
            errors.append(fe.invalid(f"{path}.path", value, f"segment[{index}]: {fault}"))


def _review_versions(versions: Sequence[str], options: Options, path: str, errors: Errors) -> None:
    if not versions:
        errors.append(fe.required(path))
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            errors.append(fe.invalid(f"{path}[{index}]", version, "duplicate version"))
            continue
        seen.add(version)
        for fault in is_dns1035_label(version):
            errors.append(fe.invalid(f"{path}[{index}]", version, fault))
    if options.require_review_version and not seen & set(_REVIEW_VERSIONS):
        why = "must include at least one of " + ", ".join(_REVIEW_VERSIONS)
        errors.append(fe.invalid(path, list(versions), why))


def _stored_versions(
    stored: Sequence[str] | None, versions: Sequence[Document], errors: Errors
) -> None:
    path = "status.storedVersions"
    if not stored:
        errors.append(fe.invalid(path, stored, "must have at least one stored version"))
        return
    left = {name: index for index, name in enumerate(stored)}
    for version in versions:
        name = version.get("name") or ""
        if version.get("storage") and name not in left:
            errors.append(fe.invalid(path, list(stored), f"must have the storage version {name}"))
        left.pop(name, None)
    for name, index in left.items():
        why = (
            f"missing from spec.versions; {name} was previously a storage version, and must remain "
            "in spec.versions until a storage migration ensures no data remains persisted in "
            f"{name} and removes {name} from status.storedVersions"
        )
        errors.append(fe.invalid(f"{path}[{index}]", name, why))


def _is_protected(group: str) -> bool:
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def _approval_state(annotations: Document | None) -> tuple[str, str]:
    text = (annotations or {}).get(APPROVED) or ""
    if not text:
        return (
            "missing",
            f'protected groups must have approval annotation "{APPROVED}", {_PROPOSAL}',
        )
    if text.startswith("unapproved"):
        return "bypassed", ""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.netloc:
        return "approved", ""
    return "invalid", (
        f'protected groups must have approval annotation "{APPROVED}" with either a URL or a '
        f'reason starting with "unapproved", {_PROPOSAL}'
    )


def _approval(obj: Obj, old: Obj | None, errors: Errors) -> None:
    if not _is_protected(obj["spec"].get("group") or ""):
        return
    annotations = obj["metadata"].get("annotations")
    state, why = _approval_state(annotations)
    if old is not None and _approval_state(old["metadata"].get("annotations"))[0] == state:
        return
    path = f"metadata.annotations[{APPROVED}]"
    if state == "missing":
        errors.append(fe.required(path, why))
    elif state == "invalid":
        errors.append(fe.invalid(path, annotations[APPROVED], why))
