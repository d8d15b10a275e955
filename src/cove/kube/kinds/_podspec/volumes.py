"""Validation of a pod's volumes; many sources serve PersistentVolumes too.

Source: https://kubernetes.io/docs/concepts/storage/volumes/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors, selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._podspec.environment import field_selector, resource_selector
from cove.kube.kinds._podspec.token import TOKEN_SOURCE
from cove.kube.metadata import validate_annotations, validate_labels
from cove.kube.quantity import parse

__all__ = [
    "descending_path",
    "driver_name",
    "no_backsteps",
    "required",
    "validate_claim_template",
    "validate_sources",
    "validate_volumes",
]

Errors = list[FieldError]
Doc = dict[str, Any]
Check = Callable[[Errors, str, Doc], None]

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_PARTITION = "must be between 0 and 255, inclusive"
_DOWNWARD_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.labels",
    "metadata.annotations",
    "metadata.uid",
)
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([a-z0-9-.]+)(:[^,;*&$|\s]+)?")
_EUI = re.compile("eui.[0-9a-fA-F]{16}")
_NAA = re.compile("naa.[0-9a-fA-F]{16}(?:[0-9a-fA-F]{16})?")


def required(errors: Errors, path: str, doc: Doc, *keys: str) -> None:
    """Fields that must not be empty."""
    for key in keys:
        if not doc.get(key):
            errors.append(fe.required(f"{path}.{key}"))


def no_backsteps(errors: Errors, path: str, value: str) -> None:
    """A path without ``..`` between slashes."""
    if ".." in value.split("/"):
        errors.append(fe.invalid(path, value, "must not contain '..'"))


def descending_path(errors: Errors, path: str, value: str) -> None:
    """A relative path that does not leave its directory."""
    if value.startswith("/"):
        errors.append(fe.invalid(path, value, "must be a relative path"))
    no_backsteps(errors, path, value)


def _unreserved_path(errors: Errors, path: str, value: str) -> None:
    descending_path(errors, path, value)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(fe.invalid(path, value, "must not start with '..'"))


def _mode(errors: Errors, path: str, mode: int | None) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        errors.append(fe.invalid(path, mode, _MODE))


def _key_to_path(errors: Errors, path: str, item: Doc) -> None:
    required(errors, path, item, "key", "path")
    _unreserved_path(errors, f"{path}.path", item.get("path") or "")
    _mode(errors, f"{path}.mode", item.get("mode"))


def _host_path(errors: Errors, path: str, source: Doc) -> None:
    where = source.get("path")
    if not where:
        errors.append(fe.required(f"{path}.path"))
        return
    no_backsteps(errors, f"{path}.path", where)
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        errors.append(fe.not_supported(f"{path}.type", kind, _HOST_PATH_TYPES))


def _git_repo(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "repository")
    descending_path(errors, f"{path}.directory", source.get("directory") or "")


def _partitioned(key: str) -> Check:
    def check(errors: Errors, path: str, source: Doc) -> None:
        required(errors, path, source, key)
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            errors.append(fe.invalid(f"{path}.partition", partition, _PARTITION))

    return check


def _needs(*keys: str) -> Check:
    return lambda errors, path, source: required(errors, path, source, *keys)


def _secret(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "secretName")
    _mode(errors, f"{path}.defaultMode", source.get("defaultMode"))
    for i, item in enumerate(source.get("items") or ()):
        _key_to_path(errors, f"{path}.items[{i}]", item)


def _config_map(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "name")
    _mode(errors, f"{path}.defaultMode", source.get("defaultMode"))
    for i, item in enumerate(source.get("items") or ()):
        _key_to_path(errors, f"{path}.items[{i}]", item)


def _nfs(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "server", "path")
    if not (source.get("path") or "").startswith("/"):
        errors.append(
            fe.invalid(f"{path}.path", source.get("path") or "", "must be an absolute path")
        )


def _iscsi_name(errors: Errors, path: str, name: str) -> None:
    if not name.startswith(("iqn", "eui", "naa")):
        errors.append(fe.invalid(path, name, "must be valid format starting with iqn, eui, or naa"))
    elif not {"iqn": _IQN, "eui": _EUI, "naa": _NAA}[name[:3]].fullmatch(name):
        errors.append(fe.invalid(path, name, "must be valid format"))


def _iscsi(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "targetPortal")
    iqn = source.get("iqn")
    if not iqn:
        errors.append(fe.required(f"{path}.iqn"))
    else:
        _iscsi_name(errors, f"{path}.iqn", iqn)
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        errors.append(fe.invalid(f"{path}.lun", lun, names.inclusive_range_error(0, 255)))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get(
        "secretRef"
    ):
        errors.append(fe.required(f"{path}.secretRef"))
    initiator = source.get("initiatorName")
    if initiator is not None:
        _iscsi_name(errors, f"{path}.initiatorname", initiator)


def _fc(errors: Errors, path: str, source: Doc) -> None:
    targets, wwids = source.get("targetWWNs") or [], source.get("wwids") or []
    at = f"{path}.targetWWNs"
    if not targets and not wwids:
        errors.append(fe.required(at, "must specify either targetWWNs or wwids, but not both"))
    if targets and wwids:
        errors.append(
            fe.invalid(at, targets, "targetWWNs and wwids can not be specified simultaneously")
        )
    if targets:
        lun = source.get("lun")
        if lun is None:
            errors.append(fe.required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= lun <= 255:
            errors.append(fe.invalid(f"{path}.lun", lun, names.inclusive_range_error(0, 255)))


def _flocker(errors: Errors, path: str, source: Doc) -> None:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID")
    if not name and not uid:
        errors.append(fe.required(path, "one of datasetName and datasetUUID is required"))
    if name and uid:
        errors.append(
            fe.invalid(
                path, "resource", "datasetName and datasetUUID can not be specified simultaneously"
            )
        )
    if "/" in name:
        errors.append(fe.invalid(f"{path}.datasetName", name, "must not contain '/'"))


def _quobyte(errors: Errors, path: str, source: Doc) -> None:
    registry = source.get("registry") or ""
    text = "must be a host:port pair or multiple pairs separated by commas"
    if not registry:
        errors.append(fe.required(f"{path}.registry", text))
    elif len(source.get("tenant") or "") >= 65:
        errors.append(
            fe.required(
                f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters"
            )
        )
    else:
        for pair in registry.split(","):
            if pair.count(":") != 1:
                errors.append(fe.invalid(f"{path}.registry", registry, text))
    required(errors, path, source, "volume")


def _flex(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "driver")
    for key in sorted(source.get("options") or ()):
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            errors.append(
                fe.invalid(
                    f"{path}.options[{key}]",
                    key,
                    "kubernetes.io and k8s.io namespaces are reserved",
                )
            )


def _azure_disk(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "diskName", "diskURI")
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    for key, supported in (
        ("cachingMode", ("None", "ReadOnly", "ReadWrite")),
        ("kind", ("Dedicated", "Managed", "Shared")),
    ):
        value = source.get(key)
        if value is not None and value not in supported:
            errors.append(fe.not_supported(f"{path}.{key}", value, supported))
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        errors.append(
            fe.not_supported(
                f"{path}.diskURI",
                uri,
                (
                    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/"
                    "microsoft.compute/disks/{disk-id}",
                ),
            )
        )
    if kind is not None and kind != "Managed" and not uri.startswith("https://"):
        errors.append(
            fe.not_supported(
                f"{path}.diskURI",
                uri,
                ("https://{account-name}.blob.windows.net/{container-name}/{disk-name}.vhd",),
            )
        )


def _storage_os(errors: Errors, path: str, source: Doc) -> None:
    name = source.get("volumeName") or ""
    if not name:
        errors.append(fe.required(f"{path}.volumeName"))
    else:
        name_errors(errors, f"{path}.volumeName", name, names.is_dns1123_label)
    namespace = source.get("volumeNamespace")
    if namespace:
        name_errors(errors, f"{path}.volumeNamespace", namespace, names.is_dns1123_label)
    _secret_ref(errors, path, source)


def _secret_ref(errors: Errors, path: str, source: Doc) -> None:
    reference = source.get("secretRef")
    if reference is not None and not reference.get("name"):
        errors.append(fe.required(f"{path}.secretRef.name"))


def _cinder(errors: Errors, path: str, source: Doc) -> None:
    required(errors, path, source, "volumeID")
    _secret_ref(errors, path, source)


def driver_name(errors: Errors, path: str, name: str) -> None:
    """The name of a CSI driver."""
    if not name:
        errors.append(fe.required(path))
    if len(name) > 63:
        errors.append(fe.too_long(path, 63))
    if name:
        name_errors(errors, path, name.lower(), names.is_dns1123_subdomain)


def _csi(errors: Errors, path: str, source: Doc) -> None:
    driver_name(errors, f"{path}.driver", source.get("driver") or "")
    reference = source.get("nodePublishSecretRef")
    if reference is not None:
        name = reference.get("name")
        if not name:
            errors.append(fe.required(f"{path}.nodePublishSecretRef.name"))
        else:
            name_errors(errors, f"{path}.name", name, names.is_dns1123_subdomain)


def _downward_file(errors: Errors, path: str, item: Doc) -> None:
    required(errors, path, item, "path")
    _unreserved_path(errors, f"{path}.path", item.get("path") or "")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        field_selector(errors, f"{path}.fieldRef", field, _DOWNWARD_FIELDS)
        if resource is not None:
            errors.append(
                fe.invalid(
                    path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                )
            )
    elif resource is not None:
        resource_selector(errors, f"{path}.resourceFieldRef", resource, volume=True)
    else:
        errors.append(fe.required(path, "one of fieldRef and resourceFieldRef is required"))
    _mode(errors, f"{path}.mode", item.get("mode"))


def _downward(errors: Errors, path: str, source: Doc) -> None:
    _mode(errors, f"{path}.defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        _downward_file(errors, path, item)


def _projected(errors: Errors, path: str, source: Doc) -> None:
    if source == TOKEN_SOURCE:
        return
    _mode(errors, f"{path}.defaultMode", source.get("defaultMode"))
    paths: set[str] = set()

    def claim(where: str, told: str) -> None:
        if where in paths:
            errors.append(fe.invalid(path, told, "conflicting duplicate paths"))
        paths.add(where)

    for i, projection in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{i}]"
        count = 0
        for key in ("secret", "configMap"):
            files = projection.get(key)
            if files is None:
                continue
            count += 1
            required(errors, f"{at}.{key}", files, "name")
            for n, item in enumerate(files.get("items") or ()):
                _key_to_path(errors, f"{at}.{key}.items[{n}]", item)
                if item.get("path"):
                    claim(item["path"], files.get("name") or "")
        files = projection.get("downwardAPI")
        if files is not None:
            count += 1
            for item in files.get("items") or ():
                _downward_file(errors, f"{at}.downwardAPI", item)
                if item.get("path"):
                    claim(item["path"], item["path"])
        token = projection.get("serviceAccountToken")
        if token is not None:
            count += 1
            _token(errors, path, f"{at}.serviceAccountToken", token)
        bundle = projection.get("clusterTrustBundle")
        if bundle is not None:
            count += 1
            _trust_bundle(errors, f"{at}.clusterTrustBundle", bundle)
            claim(bundle.get("path") or "", bundle.get("path") or "")
        certificate = projection.get("podCertificate")
        if certificate is not None:
            count += 1
            _pod_certificate(errors, f"{at}.podCertificate", certificate, claim)
        if count > 1:
            errors.append(fe.forbidden(at, "may not specify more than 1 volume type per source"))


def _token(errors: Errors, volume: str, path: str, token: Doc) -> None:
    seconds = token.get("expirationSeconds") or 0
    at = f"{path}.expirationSeconds"
    if seconds < 600:
        errors.append(fe.invalid(at, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 1 << 32:
        errors.append(
            fe.invalid(at, seconds, "may not specify a duration larger than 2^32 seconds")
        )
    # Upstream puts the path's faults on the volume, not on the source.
    if not token.get("path"):
        errors.append(fe.required(f"{volume}.path"))
    else:
        _unreserved_path(errors, f"{volume}.path", token["path"])


def _trust_bundle(errors: Errors, path: str, bundle: Doc) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        errors.append(
            fe.invalid(
                path,
                internal("core.ClusterTrustBundleProjection", bundle),
                "only one of name and signerName may be used",
            )
        )
    elif name is not None:
        if not name:
            errors.append(fe.required(f"{path}.name", "must be a valid object name"))
        base = name.rpartition(":")[2]
        errors += [
            fe.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {m}")
            for m in names.is_dns1123_subdomain(base)
        ]
        if bundle.get("labelSelector") is not None:
            errors.append(
                fe.invalid(
                    f"{path}.labelSelector",
                    bundle["labelSelector"],
                    "labelSelector must be unset if name is specified",
                )
            )
    elif signer is not None:
        if not signer:
            errors.append(fe.required(f"{path}.signerName", "must be a valid signer name"))
        signer_name(errors, f"{path}.signerName", signer)
        selector(errors, f"{path}.labelSelector", bundle.get("labelSelector"))
    else:
        errors.append(fe.required(path, "either name or signerName must be specified"))
    required(errors, path, bundle, "path")
    _unreserved_path(errors, f"{path}.path", bundle.get("path") or "")


_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")


def _pod_certificate(
    errors: Errors, path: str, source: Doc, claim: Callable[[str, str], None]
) -> None:
    signer = source.get("signerName") or ""
    signer_name(errors, f"{path}.signerName", signer)
    if source.get("keyType") not in _KEY_TYPES:
        errors.append(fe.not_supported(f"{path}.keyType", source.get("keyType") or "", _KEY_TYPES))
    seconds = source.get("maxExpirationSeconds")
    if seconds is not None:
        at = f"{path}.maxExpirationSeconds"
        if seconds < 3600:
            errors.append(
                fe.invalid(at, seconds, "if provided, maxExpirationSeconds must be >= 3600")
            )
        limit = 86400 if signer.startswith("kubernetes.io/") else 91 * 86400
        if seconds > limit:
            errors.append(
                fe.invalid(at, seconds, f"if provided, maxExpirationSeconds must be <= {limit}")
            )
    given = [
        k for k in ("credentialBundlePath", "keyPath", "certificateChainPath") if source.get(k)
    ]
    for key in given:
        _unreserved_path(errors, f"{path}.{key}", source[key])
        claim(source[key], source[key])
    if not given:
        errors.append(
            fe.required(
                path,
                "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
            )
        )


def signer_name(errors: Errors, path: str, name: str) -> None:
    """``example.com/path``: a domain and a path of at most 571 bytes together."""
    if not name:
        errors.append(fe.required(path))
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        errors.append(
            fe.invalid(
                path,
                name,
                'must be a fully qualified domain and path of the form "example.com/signer-name"',
            )
        )
        return
    faults = [(domain, m) for m in names.is_dns1123_subdomain(domain)]
    if not faults and "." not in domain:
        faults.append((domain, "should be a domain with at least two segments separated by dots"))
    parts = rest.split(".") if rest else [""]
    for part in parts:
        faults += [(rest, m) for m in names.is_dns1123_label(part)][:1]
    errors += [
        fe.invalid(path, value, f"validating label {value!r}: {m}" if value == rest else m)
        for value, m in faults
    ]
    if len(name) > 571:
        errors.append(fe.too_long(path, 571))


def validate_claim_template(errors: Errors, path: str, template: Doc) -> None:
    """A PersistentVolumeClaimTemplate."""
    from cove.kube.kinds.core.persistentvolumeclaim import validate_claim_spec

    meta = template.get("metadata") or {}
    errors += validate_annotations(meta.get("annotations") or {}, f"{path}.metadata.annotations")
    errors += validate_labels(meta.get("labels") or {}, f"{path}.metadata.labels")
    errors += [
        fe.forbidden(f"{path}.metadata.{key}", "cannot be set")
        for key in meta
        if key not in ("annotations", "labels") and meta[key]
    ]
    validate_claim_spec(errors, f"{path}.spec", template.get("spec") or {})


def _ephemeral(errors: Errors, path: str, source: Doc) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        errors.append(fe.required(f"{path}.volumeClaimTemplate"))
    else:
        validate_claim_template(errors, f"{path}.volumeClaimTemplate", template)


def _empty_dir(errors: Errors, path: str, source: Doc) -> None:
    limit = source.get("sizeLimit")
    if limit is not None and parse(limit).nanos < 0:
        errors.append(
            fe.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
        )


def _image(errors: Errors, path: str, source: Doc) -> None:
    from cove.kube.kinds._podspec.containers import pull_policy

    pull_policy(errors, f"{path}.pullPolicy", source.get("pullPolicy"))


# key → (path told, check, path told when it is one too many); in upstream's order.
_SOURCES: dict[str, tuple[str, Check, str]] = {
    key: (told or key, check, extra or key)
    for key, told, check, extra in (
        ("emptyDir", "", _empty_dir, ""),
        ("hostPath", "", _host_path, ""),
        ("gitRepo", "", _git_repo, ""),
        ("gcePersistentDisk", "persistentDisk", _partitioned("pdName"), ""),
        ("awsElasticBlockStore", "", _partitioned("volumeID"), ""),
        ("secret", "", _secret, ""),
        ("nfs", "", _nfs, ""),
        ("iscsi", "", _iscsi, ""),
        ("glusterfs", "", _needs("endpoints", "path"), ""),
        ("flocker", "", _flocker, ""),
        ("persistentVolumeClaim", "", _needs("claimName"), ""),
        ("rbd", "", _needs("monitors", "image"), ""),
        ("cinder", "", _cinder, ""),
        ("cephfs", "", _needs("monitors"), "cephFS"),
        ("quobyte", "", _quobyte, ""),
        ("downwardAPI", "", _downward, "downwarAPI"),
        ("fc", "", _fc, ""),
        ("flexVolume", "", _flex, ""),
        ("configMap", "", _config_map, ""),
        ("azureFile", "", _needs("secretName", "shareName"), ""),
        ("vsphereVolume", "", _needs("volumePath"), ""),
        ("photonPersistentDisk", "", _needs("pdID"), ""),
        ("portworxVolume", "", _needs("volumeID"), ""),
        ("azureDisk", "", _azure_disk, ""),
        ("storageos", "", _storage_os, ""),
        ("projected", "", _projected, ""),
        ("scaleIO", "", _needs("gateway", "system", "volumeName"), ""),
        ("csi", "", _csi, ""),
        ("ephemeral", "", _ephemeral, ""),
        ("image", "", _image, ""),
    )
}
_ORDER = {key: i for i, key in enumerate(_SOURCES)}


def validate_sources(
    errors: Errors, path: str, holder: Doc, sources: dict[str, tuple[str, Check, str]]
) -> int:
    """Exactly one source of a volume; how many there are."""
    given = [k for k in holder if k in sources and holder[k] is not None]
    if len(given) > 1:
        order = {key: i for i, key in enumerate(sources)}
        given.sort(key=order.__getitem__)
    for n, key in enumerate(given):
        told, check, extra = sources[key]
        if n:
            errors.append(
                fe.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
            )
        else:
            check(errors, f"{path}.{told}", holder[key])
    if not given:
        errors.append(fe.required(path, "must specify a volume type"))
    return len(given)


def validate_volumes(
    errors: Errors, path: str, volumes: Sequence[Doc], pod_name: str | None
) -> dict[str, Doc]:
    """``spec.volumes``; the volumes without fault, by name.

    ``pod_name`` is None in templates; ephemeral claims are named after the pod.
    """
    created = {
        f"{pod_name}-{v.get('name') or ''}" for v in volumes if pod_name and v.get("ephemeral")
    }
    good: dict[str, Doc] = {}
    for i, volume in enumerate(volumes):
        at = f"{path}[{i}]"
        before = len(errors)
        name = volume.get("name") or ""
        validate_sources(errors, at, volume, _SOURCES)
        iscsi = volume.get("iscsi")
        if iscsi and iscsi.get("initiatorName") is not None:
            if len(f"{name}:{iscsi.get('targetPortal') or ''}") > 64:
                errors.append(
                    fe.invalid(
                        f"{at}.name",
                        name,
                        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 "
                        "characters if iscsi.initiatorName is specified.",
                    )
                )
        image = volume.get("image")
        if image is not None and pod_name is not None and not image.get("reference"):
            errors.append(fe.required(f"{at}.image.reference"))
        if volume.get("ephemeral") and pod_name and name:
            claim = f"{pod_name}-{name}"
            errors += [
                fe.invalid(f"{at}.name", name, f'PVC name "{claim}": {m}')
                for m in names.is_dns1123_subdomain(claim)
            ]
        if not name:
            errors.append(fe.required(f"{at}.name"))
        else:
            errors += [fe.invalid(f"{at}.name", name, m) for m in names.is_dns1123_label(name)]
        if name in good:
            errors.append(fe.duplicate(f"{at}.name", name))
        if len(errors) == before:
            good[name] = volume
        named = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if named in created:
            errors.append(
                fe.invalid(
                    f"{at}.persistentVolumeClaim.claimName",
                    named,
                    "must not reference a PVC that gets created for an ephemeral volume",
                )
            )
    return good
