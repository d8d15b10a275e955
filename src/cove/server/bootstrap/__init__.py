"""What a new cluster holds before anybody asks: namespaces, roles, flow control, services.

Source: the post-start hooks of kube-apiserver 1.36 and
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from cove.server.bootstrap._load import take_over
from cove.server.bootstrap._objects import bootstrap
from cove.server.bootstrap._seed import seed

__all__ = ["bootstrap", "seed", "take_over"]
