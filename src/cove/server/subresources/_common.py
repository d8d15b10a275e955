"""What subresource handlers share: typed bodies that are not the resource itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.kube import catalogue
from cove.kube import status as st
from cove.kube.catalogue import codec
from cove.kube.kinds._kind import Obj
from cove.server.body import check_type, parse
from cove.server.request import Request
from cove.server.store import Stored

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["container_of", "decode_as", "stored_or_404"]


def stored_or_404(api: Api, request: Request, endpoint: Endpoint) -> Stored:
    """The stored object that the URL names; raises 404."""
    info = request.info
    namespace = info.namespace if endpoint.namespaced else ""
    stored = api.store.state.get(endpoint.storage, namespace, info.name)
    if stored is None:
        raise endpoint.not_found(info.name)
    return stored


def decode_as(
    request: Request, group: str, version: str, kind: str, validation: str = "Ignore"
) -> Obj:
    """The body as a document of a kind of the catalogue; raises 400."""
    parsed = parse(request, kind)
    api_version = f"{group}/{version}" if group else version
    doc: Any = check_type(request, parsed.doc, kind, api_version)
    decoded = codec.decode(
        doc,
        catalogue.schema(group, version, kind),
        kind=kind,
        api_version=api_version,
        field_validation=validation,  # type: ignore[arg-type]  # checked with the options
        raw=parsed.raw,
        problems=parsed.problems,
    )
    for problem in decoded.problems:
        request.warn(problem)
    return decoded.obj


def check_url_name(obj: Obj, name: str) -> None:
    """Raise 400 if a body names another object than the URL."""
    given = obj.get("metadata", {}).get("name")
    if given and given != name:
        raise st.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )


def container_of(request: Request, pod: dict[str, object]) -> str:
    """The container that is asked for, or the only one; raises 400."""
    spec = pod["spec"]
    assert isinstance(spec, dict)
    name = request.info.name
    ordinary = [c["name"] for c in spec.get("containers", ())]
    init = [c["name"] for c in spec.get("initContainers", ())]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers", ())]
    asked = request.param("container")
    if asked:
        if asked not in (*ordinary, *init, *ephemeral):
            raise st.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(ordinary) == 1:
        return str(ordinary[0])
    choices = f"[{' '.join(ordinary)}]"
    text = f"a container name must be specified for pod {name}, choose one of: {choices}"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise st.bad_request(text)
