"""The script that every node's container starts with, before k3s takes its place.

It is put into the container when that was made and has not started; images stay as they
are.  Nothing but the shell and ``mount`` is needed of them.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "GATEWAY",
    "PATH",
    "RESOLVER",
    "RESOLV_CONF",
    "SCRIPT",
    "SCRIPT_MODE",
    "archive",
]

PATH = "/cove-entrypoint"
# rwxr-xr-x: the engine starts the script itself, so it has to be executable by whoever the
# image's user is; it holds no secret, and none but root may change what root will run.
SCRIPT_MODE = 0o755
# Of what k3s reads, as root.
FILE_MODE = 0o600
_NOTHING: Mapping[str, str] = MappingProxyType({})

# What the script writes for kubelets, and the variable that asks for it: "gateway", or an
# address.
RESOLV_CONF = "/etc/cove-resolv.conf"
RESOLVER = "COVE_RESOLVER"

# ``gateway_of TABLE``: the default gateway of the lowest metric in a table such as
# /proc/net/route, nothing where there is none.  Addresses are there as the machine's words,
# lowest byte first, as all machines have them that k3s' images are made for but s390x.
# Only what every shell has: images of k3s have little else.
GATEWAY = r"""
gateway_of() {
    best= lowest=
    while read -r _ destination via flags _ _ metric mask _; do
        [ "$destination" = 00000000 ] && [ "$mask" = 00000000 ] || continue
        # Up (1), and by a gateway (2).
        [ $((0x$flags & 3)) -eq 3 ] || continue
        if [ -z "$best" ] || [ "$metric" -lt "$lowest" ]; then
            best=$via lowest=$metric
        fi
    done <"$1"
    [ -n "$best" ] || return 0
    abc=${best%??} ab=${best%????}
    printf '%d.%d.%d.%d\n' "0x${best#??????}" "0x${abc#????}" "0x${ab#??}" "0x${best%??????}"
}
"""

SCRIPT = (
    r"""#!/bin/sh
# Makes this container fit for a Kubernetes node, then becomes k3s.
set -eu
"""
    + GATEWAY
    + r"""
# What pods mount for others (CSI drivers, Bidirectional) has to be seen from here.
mount --make-rshared /

# In cgroup v2 only groups without processes can hand controllers on to their children, the
# machine's own root excepted: that has no cgroup.type, and is not touched.
group=/sys/fs/cgroup
if [ -e "$group/cgroup.controllers" ] && [ -e "$group/cgroup.type" ]; then
    mkdir -p "$group/cove"
    # New ones appear while the first are moved.
    for round in 1 2 3 4 5; do
        found=$(cat "$group/cgroup.procs")
        [ -n "$found" ] || break
        for process in $found; do
            echo "$process" 2>/dev/null >"$group/cove/cgroup.procs" || true
        done
    done
    for controller in $(cat "$group/cgroup.controllers"); do
        echo "+$controller" 2>/dev/null >"$group/cgroup.subtree_control" || true
    done
fi

# A kubelet and its pods watch many files.  Never less than the machine has already.
raise() {
    if [ "$(cat "$1")" -lt "$2" ]; then
        echo "$2" >"$1" || echo "cove: $1 stays $(cat "$1"): many pods may fail to watch files" >&2
    fi
}
raise /proc/sys/fs/inotify/max_user_instances 1024
raise /proc/sys/fs/inotify/max_user_watches 1048576

# Whom pods ask for names outside.  The container's own resolver is on its loopback, which no
# pod reaches.
if [ -n "${COVE_RESOLVER:-}" ]; then
    server=$COVE_RESOLVER
    if [ "$server" = gateway ]; then
        server=$(gateway_of /proc/net/route)
    fi
    if [ -n "$server" ]; then
        printf 'nameserver %s\noptions ndots:0\n' "$server" >/etc/cove-resolv.conf
    else
        echo "cove: there is no default gateway: pods resolve no names outside the cluster" >&2
        : >/etc/cove-resolv.conf
    fi
fi

exec k3s "$@"
"""
)


def archive(files: Mapping[str, str] = _NOTHING) -> bytes:
    """A tar of the script and more ``files`` by path, to be unpacked over a file system."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, text in {PATH: SCRIPT, **files}.items():
            data = text.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(data), SCRIPT_MODE if path == PATH else FILE_MODE
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()
