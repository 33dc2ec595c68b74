"""The admission plugins in the order in which they run, as in Kubernetes' default set."""

from __future__ import annotations

from cluster.server.admission.chain import Step
from cluster.server.admission.namespace_lifecycle import check_namespace, protect_namespace
from cluster.server.admission.request import Operation

_CREATE, _UPDATE, _DELETE = Operation.CREATE, Operation.UPDATE, Operation.DELETE

MUTATING: tuple[Step, ...] = (
    Step(plugin="NamespaceLifecycle", run=check_namespace, operations=(_CREATE,), subresources=("*",)),
)
VALIDATING: tuple[Step, ...] = (
    Step(
        plugin="NamespaceLifecycle", run=protect_namespace, operations=(_DELETE,), resources=("namespaces",)
    ),
)
