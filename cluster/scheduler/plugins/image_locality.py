"""ImageLocality: prefers nodes that have the pod's images, weighed by size and by how many nodes have
them, so that one node with an image does not attract everything."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import MAX_SCORE
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

_MEGABYTE = 1024 * 1024
_LOW = 23 * _MEGABYTE
_HIGH_PER_CONTAINER = 1000 * _MEGABYTE


class ImageLocality:
    name = "ImageLocality"

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        images = [image for image in map(normalised_name, pod.images) if image in snapshot.image_nodes]
        if not images:
            return None
        total = len(snapshot.ordered())
        share = {image: snapshot.image_nodes[image] / total for image in images}
        containers = len(pod.images)
        return [
            image_score(sum(int(node.images.get(image, 0) * share[image]) for image in images), containers)
            for node in nodes
        ]


def image_score(weighed: int, containers: int) -> int:
    """`weighed`: bytes that are there, each image times the share of nodes that have it."""
    high = _HIGH_PER_CONTAINER * containers
    return MAX_SCORE * (min(max(weighed, _LOW), high) - _LOW) // (high - _LOW)


def normalised_name(image: str) -> str:
    """With the tag that an untagged image means."""
    return image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"
