"""Connections into containers: exec, attach and port-forward, as clients speak them.

WebSockets with channels, SPDY/3.1, and SPDY/3.1 inside a WebSocket.  What runs the
commands and where connections lead is the caller's; each session ends with its client,
and every task of it with the session.
"""

from cove.server.streams._command import run_command
from cove.server.streams._forward import Pod, forward

__all__ = ["Pod", "forward", "run_command"]
