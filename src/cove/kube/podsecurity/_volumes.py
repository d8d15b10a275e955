"""The check of volume types."""

from __future__ import annotations

from cove.kube.podsecurity._violation import Obj, Violation, many, quoted

__all__ = ["restricted_volumes"]

_ALLOWED = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
_RESTRICTED = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
)


def restricted_volumes(_meta: Obj, spec: Obj) -> Violation | None:
    """Volumes are of types that cannot reach the host."""
    bad, types = [], set()
    for volume in spec.get("volumes") or ():
        if any(volume.get(key) is not None for key in _ALLOWED):
            continue
        bad.append(volume.get("name", ""))
        types.add(next((key for key in _RESTRICTED if volume.get(key) is not None), "unknown"))
    if not bad:
        return None
    volumes = many("volume", "volumes", len(bad))
    uses = many("uses", "use", len(bad))
    noun = many("restricted volume type", "restricted volume types", len(types))
    return Violation(
        "restricted volume types",
        f"{volumes} {quoted(bad)} {uses} {noun} {quoted(sorted(types))}",
    )
