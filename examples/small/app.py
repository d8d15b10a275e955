"""A Service of a cluster, and a program on this machine that uses both.

    cove up examples/small/app.py

``--engine k3s`` or ``--engine existing --context NAME`` runs it on another cluster.

Runs anywhere; where there is no container engine the pods are simulated, and the page that
the program would fetch from one is not there.
"""

import sys

import cove

app = cove.App("small")
k8s = app.cluster("k8s")
web = k8s.manifests("web", "web.yaml")
page = k8s.endpoint("page", service="web", port=80)
app.process("api", [sys.executable, "api.py"], port=0, health="/healthz").reference(
    k8s, page
).wait_for(web)
