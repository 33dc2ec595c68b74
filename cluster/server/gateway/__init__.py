"""The node gateway: see `gateway`."""

from cluster.server.gateway.gateway import Gateway

__all__ = ["Gateway"]
