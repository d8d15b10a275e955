"""pods/exec, attach and portforward: who may, into what, and with which options.

Source: ``pkg/registry/core/pod`` (rest/subresources.go, strategy.go), ``NewOptions`` of the
kubelet's ``streaming/remotecommand``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.kube.podoptions import ExecOptions
from cove.server.options import flag
from cove.server.request import Request, Response
from cove.server.streams import Pod, forward, run_command
from cove.server.subresources._common import container_of, stored_or_404

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["stream"]

TEXT = "text/plain; charset=utf-8"


async def stream(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """Carry streams until they end or the client is gone; where pods are simulated: 400.

    A WebSocket begins as a GET, but who opens one has to be allowed to create.
    """
    info = request.info
    action = info.subresource
    if info.verb != "create":
        api.identity.require(api, request.user, request, verb="create")
    stored = stored_or_404(api, request, endpoint)
    pod = endpoint.load(stored.data)
    container = container_of(request, pod) if action != "portforward" else ""
    if not pod["spec"].get("nodeName"):
        raise st.bad_request(f"pod {stored.name} does not have a host assigned")
    kubelet = api.kubelet
    if kubelet is None or not kubelet.runs(pod):
        raise st.bad_request(
            f"pod {stored.namespace}/{stored.name} is simulated: {action} needs a node that runs "
            "containers"
        )
    try:
        with api.session(request):
            if action == "portforward":
                target = Pod(stored.name, stored.uid, partial(kubelet.connect, pod))
                return await forward(request, target)
            options = _options(request, action)
            if isinstance(options, Response):
                return options
            run = partial(kubelet.run, pod, container, options)
            return await run_command(request, options, run)
    except ConnectionError:
        # It broke before the upgrade was answered: nobody hears this.
        return Response(400, b"the client is gone\n", TEXT)


def _options(request: Request, action: str) -> ExecOptions | Response:
    """What is asked for, or the answer to what makes no sense."""
    tty = flag(request, "tty")
    options = ExecOptions(
        command=tuple(request.query.get("command", ())) if action == "exec" else (),
        stdin=flag(request, "stdin"),
        stdout=flag(request, "stdout"),
        # A terminal has one output.
        stderr=flag(request, "stderr") and not tty,
        tty=tty,
    )
    if not (options.stdin or options.stdout or options.stderr):
        return Response(400, b"you must specify at least 1 of stdin, stdout, stderr", TEXT)
    if action == "exec" and not options.command:
        raise st.bad_request("you must specify at least one command for the container")
    return options
