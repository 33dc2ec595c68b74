"""NamespaceLifecycle: nothing is created in a namespace that is not there or going away, and the
namespaces that the system needs are not deleted."""

from __future__ import annotations

from cluster.api.errors import Cause, Forbidden, NotFound
from cluster.api.objects import Key
from cluster.server.admission.request import Request, Setting

_IMMORTAL = ("default", "kube-system", "kube-public")


def check_namespace(setting: Setting, request: Request) -> None:
    if not request.namespace or request.qualified in _EXEMPT:
        return
    entry = setting.store.get("namespaces", Key("", request.namespace))
    if entry is None:
        raise NotFound(
            f'namespaces "{request.namespace}" not found',
            details={"name": request.namespace, "kind": "namespaces"},
        )
    if entry.object.get("status", {}).get("phase") != "Terminating" or request.subresource:
        return
    group = request.resource.group
    details = {"name": request.name} | ({"group": group} if group else {}) | {"kind": request.resource.plural}
    raise Forbidden(
        f'{request.qualified} "{request.name}" is forbidden: unable to create new content in namespace '
        f"{request.namespace} because it is being terminated",
        details=details,
        causes=(
            Cause(
                "NamespaceTerminating",
                f"namespace {request.namespace} is being terminated",
                "metadata.namespace",
            ),
        ),
    )


_EXEMPT = ("localsubjectaccessreviews.authorization.k8s.io",)
"""Questions, not content."""


def protect_namespace(setting: Setting, request: Request) -> None:
    if request.name in _IMMORTAL:
        raise Forbidden(
            f'namespaces "{request.name}" is forbidden: this namespace may not be deleted',
            details={"name": request.name, "kind": "namespaces"},
        )
