"""Every duration of the control plane and the nodes that users of Kubernetes know, in one place.

`STANDARD` has Kubernetes' defaults. `FAST` scales what an administrator could also configure on a real
cluster, so that a demonstration does not take minutes. What an object itself says (probe periods, grace
periods, progress deadlines) is never scaled.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    heartbeat_s: float = 10.0
    """How often an agent says it is alive; each one renews the node's Lease."""
    lease_duration_s: float = 40.0
    node_status_report_s: float = 300.0
    """How often an unchanged node status is written again."""
    node_monitor_period_s: float = 5.0
    node_monitor_grace_s: float = 50.0
    """Silence after which a node's conditions turn Unknown."""
    default_toleration_s: int = 300
    """tolerationSeconds that admission gives pods for not-ready and unreachable."""
    node_eviction_rate_per_s: float = 0.1
    """Nodes tainted for eviction per second and zone."""
    restart_backoff_initial_s: float = 10.0
    restart_backoff_max_s: float = 300.0
    restart_backoff_reset_s: float = 600.0
    """A container that ran this long starts over with the initial back-off."""
    image_backoff_initial_s: float = 10.0
    image_backoff_max_s: float = 300.0
    agent_autonomy_s: float = 20.0
    """Cut off from the control plane this long, an agent restarts failed containers by itself."""
    restart_order_timeout_s: float = 5.0
    """How long a connected agent waits for a restart order before it reports the failed probe again."""
    event_ttl_s: float = 3600.0
    garbage_sweep_s: float = 20.0
    resync_s: float = 0.0
    """Period in which controllers look at everything again; 0 is never."""


STANDARD = Timings()

FAST = Timings(
    heartbeat_s=0.5,
    lease_duration_s=2.0,
    node_status_report_s=15.0,
    node_monitor_period_s=0.25,
    node_monitor_grace_s=2.0,
    default_toleration_s=3,
    node_eviction_rate_per_s=10.0,
    restart_backoff_initial_s=0.5,
    restart_backoff_max_s=15.0,
    restart_backoff_reset_s=30.0,
    image_backoff_initial_s=0.5,
    image_backoff_max_s=15.0,
    agent_autonomy_s=1.0,
    restart_order_timeout_s=0.25,
    garbage_sweep_s=1.0,
)

PROFILES: dict[str, Timings] = {"standard": STANDARD, "fast": FAST}
