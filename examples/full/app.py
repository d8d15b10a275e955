"""A shop: a chart, a kustomization with a kind of its own, endpoints, programs, a container.

    cove up examples/full/app.py        # --engine k3s, --engine existing: on another cluster

``SHOP_PODS=containers`` builds the image of its pods from this machine's busybox (the package
busybox-static) and runs them in Docker; nothing is fetched from anywhere.  Without it the
pods are simulated.
"""

import os
import sys

import cove

REAL = os.environ.get("SHOP_PODS") == "containers"

app = cove.App("shop")
k8s = app.cluster("k8s", agents=1)

# What has to be there first: a kind of our own, then the objects that use it.
kinds = k8s.manifests("kinds", "deploy/crds")
web = k8s.manifests("web", "deploy/overlays/dev", wait=True).after(kinds)

# A release, with values from a file and one that is said here.
cache = k8s.helm(
    "cache",
    chart="chart",
    namespace="cache",
    values_files=["values.dev.yaml"],
    set={"greeting": "kept, for now"},
)

# Services of the cluster, as addresses of this machine.
shop = k8s.endpoint("shop", service="web", port="http", namespace="shop").after(web)
store = k8s.endpoint("store", service="cache", port=80, namespace="cache").after(cache)

# Programs on this machine: they are given kubeconfig and URLs, and start when these answer.
python = sys.executable
app.process("seed", [python, "seed.py"]).reference(k8s).after(web)
app.process("api", [python, "api.py"], port=0, health="/healthz").reference(
    k8s, shop, store
).wait_for(shop, store).after("seed")
app.process("report", [python, "report.py"], explicit_start=True).reference("api").wait_for("api")

if REAL:
    copied = app.process("busybox", ["cp", "/bin/busybox", "images/web/busybox"])
    image = app.image("image", "images/web", tag="cove.dev/shop:dev").after(copied)
    web.after(image)
    cache.after(image)
    # A container beside the cluster, which reaches it and its services from inside.
    app.container("probe", image, entrypoint=["/bin/busybox", "sh", "/probe"]).reference(
        k8s, shop
    ).wait_for(shop)
