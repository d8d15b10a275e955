"""A program with a client of its own: it remembers when it has seen a name last.

Written as such programs are, with the official client; the tests see what it does when the
API server is busy.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from kubernetes import client, config
from kubernetes.client.rest import ApiException


def connect(kubeconfig: str) -> client.CoreV1Api:
    """The core API of a cluster."""
    settings = client.Configuration()
    config.load_kube_config(kubeconfig, client_configuration=settings)
    return client.CoreV1Api(client.ApiClient(settings))


def remember(
    api: client.CoreV1Api,
    namespace: str,
    name: str,
    *,
    attempts: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Note a name down in the ConfigMap ``seen``; gives up after ``attempts``."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for attempt in range(attempts):
        try:
            try:
                api.patch_namespaced_config_map("seen", namespace, {"data": {name: now}})
            except ApiException as e:
                if e.status != 404:
                    raise
                api.create_namespaced_config_map(
                    namespace, {"metadata": {"name": "seen"}, "data": {name: now}}
                )
        except ApiException as e:
            if e.status not in (409, 429, 500, 503) or attempt == attempts - 1:
                raise
            sleep(float(e.headers.get("Retry-After") or 0.2 * 2**attempt))
        else:
            return
