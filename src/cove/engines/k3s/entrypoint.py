"""The script that every node's container starts with, before k3s takes its place.

It is put into the container when that was made and has not started; images stay as they
are.  Nothing but the shell and ``mount`` is needed of them.
"""

from __future__ import annotations

import io
import tarfile

__all__ = ["PATH", "SCRIPT", "SCRIPT_MODE", "archive"]

PATH = "/cove-entrypoint"
# rwxr-xr-x: the engine starts the script itself, so it has to be executable by whoever the
# image's user is; it holds no secret, and none but root may change what root will run.
SCRIPT_MODE = 0o755

SCRIPT = r"""#!/bin/sh
# Makes this container fit for a Kubernetes node, then becomes k3s.
set -eu

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

exec k3s "$@"
"""


def archive() -> bytes:
    """A tar of the script, to be unpacked over a container's file system."""
    data = SCRIPT.encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(PATH.lstrip("/"))
        entry.size, entry.mode = len(data), SCRIPT_MODE
        tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()
