"""A node's reports on their way up: statuses and events of one moment together, and told again when lost.

While no session stands they wait: statuses in the outbox, events up to a number. What was sent has to reach
the gateway in time, else the session is out of step; when it is stored is the store's affair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from agents.host import PodView
from agents.nodemessages import AcknowledgeDue, Flush, NodeMessage
from agents.outbox import Outbox
from broker.actor import Actor
from cluster.api.objects import Object
from cluster.api.wire import AgentEvent, StatusesStored

FLUSH_S = 0.02
"""How long a status or an event waits for others of the same moment: a pod's start is one packet."""
ACKNOWLEDGE_S = 10.0
ACKNOWLEDGE_MAX_S = 120.0
"""When a report was not accepted for so long, it was lost: register again. Doubles each time that it comes to
that, until all are stored: a store that is busy is not helped by reports that come again."""
MAX_WAITING_EVENTS = 500
"""Events kept for the next flush or, while there is none, for the next session; the oldest go first."""


class Reports:
    def __init__(
        self,
        actor: Actor[NodeMessage],
        epoch: str,
        tell: Callable[[Any], None],
        out_of_step: Callable[[], None],
    ) -> None:
        self._actor = actor
        self._epoch = epoch
        self._tell = tell
        self._out_of_step = out_of_step
        self._session = ""
        self._outbox = Outbox(epoch)
        self._events: deque[AgentEvent] = deque(maxlen=MAX_WAITING_EVENTS)
        self._flush_due = False
        self._acknowledge_due = False
        self._acknowledge_s = ACKNOWLEDGE_S

    def begin(self, session: str) -> None:
        """Tells everything once more."""
        self._session = session
        for report in self._outbox.begin(session):
            self._tell(report)
        self._expect_acknowledgement()

    def end(self) -> None:
        self._session = ""
        self._outbox.end()

    def status(self, view: PodView, status: Object) -> None:
        self._outbox.report(view.uid, view.namespace, view.name, status)
        self.soon()

    def gone(self, view: PodView) -> None:
        self._outbox.gone(view.uid, view.namespace, view.name)

    def event(self, uid: str, type: str, reason: str, message: str, field_path: str = "") -> None:
        """Waits for the next flush; see `soon`."""
        self._events.append(
            AgentEvent(
                epoch=self._epoch, uid=uid, type=type, reason=reason, message=message, field_path=field_path
            )
        )

    def event_soon(self, uid: str, type: str, reason: str, message: str, field_path: str) -> None:
        self.event(uid, type, reason, message, field_path)
        self.soon()
        if self._session and len(self._events) == MAX_WAITING_EVENTS:
            self.tell_events()

    def soon(self) -> None:
        if not self._flush_due and self._session:
            self._flush_due = True
            self._actor.context.after(FLUSH_S, Flush(), key="flush")

    def flush(self) -> None:
        self._flush_due = False
        if self._session:
            self.tell_events()
        if not self._outbox.pending:
            return
        for report in self._outbox.take():
            self._tell(report)
        self._expect_acknowledgement()

    def tell_events(self) -> None:
        for event in self._events:
            self._tell(event)
        self._events.clear()

    def _expect_acknowledgement(self) -> None:
        if not self._acknowledge_due:
            self._acknowledge_due = True
            due = AcknowledgeDue(self._session, self._outbox.sent, self._outbox.confirmed)
            self._actor.context.after(self._acknowledge_s, due, key="acknowledge")

    def on_stored(self, message: StatusesStored) -> None:
        self._outbox.stored(message.session, message.sequence, message.accepted)
        if self._acknowledge_due and not self._outbox.missing(self._outbox.sent):
            self._acknowledge_due = False
            self._acknowledge_s = ACKNOWLEDGE_S
            self._actor.context.cancel("acknowledge")

    def on_acknowledge_due(self, message: AcknowledgeDue) -> None:
        self._acknowledge_due = False
        lost = self._outbox.accepted < message.sequence and self._outbox.confirmed == message.stored
        if message.session == self._session and self._session and lost:
            self._actor.context.log.info("a report did not arrive in time", sequence=message.sequence)
            self._acknowledge_s = min(self._acknowledge_s * 2, ACKNOWLEDGE_MAX_S)
            self._out_of_step()
        elif self._outbox.missing(self._outbox.sent):
            self._expect_acknowledgement()
