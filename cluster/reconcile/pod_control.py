"""Creating and deleting a workload's pods, with the events that owners show for it."""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.objects import Object
from cluster.reconcile.recorder import Recorder


class PodControl:
    def __init__(self, client: ApiClient, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder

    async def create(self, pod: Object, owner: Object) -> Object:
        """Creates `pod` for `owner`. Raises ApiError after having said so in an event."""
        try:
            created = await self._client.create(kinds.PODS, pod, namespace=pod["metadata"]["namespace"])
        except ApiError as error:
            if not is_namespace_terminating(error):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        name = created["metadata"]["name"]
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return created

    async def delete(self, pod: Object, owner: Object) -> None:
        """Deletes exactly this pod; one that is gone already counts as success."""
        meta = pod["metadata"]
        try:
            await self._client.delete(kinds.PODS, meta["name"], namespace=meta["namespace"], uid=meta["uid"])
        except (NotFound, Conflict):
            return  # gone, or another pod has the name by now
        except ApiError as error:
            self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")


def is_namespace_terminating(error: ApiError) -> bool:
    """The API refused to create because the namespace is going away: nothing to do about it."""
    return any(cause.reason == "NamespaceTerminating" for cause in error.causes)
