"""One small object of each workload kind, for what must hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlled_cluster import Cluster

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.server.call import Call, DeleteOptions, ListOptions, User

LABELS = {"app": "w"}


@dataclass(frozen=True)
class Kind:
    resource: Resource
    selector: bool = True
    """Whether spec.selector is a label selector (not a plain map)."""

    def body(self, name: str = "w", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        labels = labels if labels is not None else LABELS
        container = {"name": "c", "image": "nginx"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        given: Object = {"template": template}
        if self.resource is kinds.JOBS:
            template["spec"]["restartPolicy"] = "Never"
        elif self.resource is kinds.REPLICATION_CONTROLLERS:
            given["selector"] = labels
        else:
            given["selector"] = {"matchLabels": labels}
        if self.resource is kinds.STATEFUL_SETS:
            given["serviceName"] = "w"
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": given | spec,
        }


DEPLOYMENT = Kind(kinds.DEPLOYMENTS)
REPLICA_SET = Kind(kinds.REPLICA_SETS)
STATEFUL_SET = Kind(kinds.STATEFUL_SETS)
DAEMON_SET = Kind(kinds.DAEMON_SETS)
REPLICATION_CONTROLLER = Kind(kinds.REPLICATION_CONTROLLERS)
JOB = Kind(kinds.JOBS)
SCALED = (DEPLOYMENT, REPLICA_SET, STATEFUL_SET, REPLICATION_CONTROLLER)
ALL = (*SCALED, DAEMON_SET, JOB)


def name_of(kind: Kind) -> str:
    return kind.resource.kind


async def delete_collection(cluster: Cluster, resource: Resource, label_selector: str) -> None:
    call = Call(user=User(name="admin", groups=("system:masters",)), resource=resource, namespace="default")
    await cluster.verbs.delete_collection(call, ListOptions(label_selector=label_selector), DeleteOptions())
