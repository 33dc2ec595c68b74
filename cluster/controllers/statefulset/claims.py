"""The PersistentVolumeClaims of a StatefulSet's pods: made before the pod, kept or deleted by the retention
policy. A claim that is to go with the set is owned by the set; one that is to go with a pod that was scaled
away is owned by that pod; the garbage collector does the rest.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, ApiError
from cluster.api.objects import Key, Object, owner_reference
from cluster.controllers.statefulset.identity import claims_of, ordinal_of
from cluster.reconcile.informer import Informer
from cluster.reconcile.recorder import Recorder


def wanted_owners(stateful_set: Object, pod: Object | None, *, condemned: bool) -> list[Object]:
    """The owner references that the retention policy puts on a pod's claims."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    owners: list[Object] = []
    if policy.get("whenScaled") == "Delete" and condemned and pod is not None:
        owners.append(owner_reference(pod))
    elif policy.get("whenDeleted") == "Delete":
        owners.append(owner_reference(stateful_set))
    return owners


class ClaimKeeper:
    def __init__(self, client: ApiClient, claims: Informer, recorder: Recorder) -> None:
        self._client = client
        self._claims = claims
        self._recorder = recorder

    async def provide(self, stateful_set: Object, pod: Object) -> None:
        """Makes the claims of a pod that is about to be created, or waits for them."""
        for claim in claims_of(stateful_set, ordinal_of(pod)):
            meta = claim["metadata"]
            if self._claims.get(Key(meta["namespace"], meta["name"])) is not None:
                continue
            owners = wanted_owners(stateful_set, None, condemned=False)
            if owners:
                meta["ownerReferences"] = owners
            await self._create(stateful_set, pod, claim)

    async def _create(self, stateful_set: Object, pod: Object, claim: Object) -> None:
        meta = claim["metadata"]
        about = (
            f"create Claim {meta['name']} Pod {pod['metadata']['name']} in StatefulSet "
            f"{stateful_set['metadata']['name']}"
        )
        try:
            await self._client.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim, namespace=meta["namespace"])
        except AlreadyExists:
            return
        except ApiError as error:
            message = f"{about} failed error: {error.message}"
            self._recorder.event(stateful_set, "Warning", "FailedCreate", message)
            raise
        self._recorder.event(stateful_set, "Normal", "SuccessfulCreate", f"{about} success")

    async def settle_owners(self, stateful_set: Object, pod: Object, *, condemned: bool) -> None:
        """Puts the retention policy's owners on the claims of a pod."""
        ours = (stateful_set["metadata"]["uid"], pod["metadata"].get("uid"))
        wanted = wanted_owners(stateful_set, pod, condemned=condemned)
        for template in claims_of(stateful_set, ordinal_of(pod)):
            key = Key(template["metadata"]["namespace"], template["metadata"]["name"])
            claim = self._claims.get(key)
            if claim is None:
                continue
            present = claim["metadata"].get("ownerReferences") or []
            owners = [each for each in present if each["uid"] not in ours] + wanted
            if {each["uid"] for each in owners} != {each["uid"] for each in present}:
                meta = claim["metadata"] | {"ownerReferences": owners}
                await self._client.update(kinds.PERSISTENT_VOLUME_CLAIMS, claim | {"metadata": meta})
