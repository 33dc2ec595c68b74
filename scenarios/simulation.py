"""A whole cluster in one process, on virtual time, from a seed.

The same controller manager and the same agents as in real processes, wired to the memory transport and
the memory network instead of MQTT and sockets. A simulated machine is an actor system of its own: killing
it stops the system without a goodbye, and closes what listened on its pods' addresses. Freezing holds
its links in both directions; its own timers go on, which is the one thing a suspended process would not do.
"""

from __future__ import annotations
