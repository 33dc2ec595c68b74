"""A node's session with the gateway: registering, and again after any gap.

After each connection, for each new controller manager, and whenever the session is out of step the node
registers again. A session stands once `Registered` came; late answers are of the past, see `sessions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.nodemessages import NodeMessage, RegisterDue
from agents.reports import Reports
from agents.sessions import Sessions
from broker.actor import Actor
from cluster.api.wire import Register

REGISTER_RETRY_S = 5.0
REGISTER_RETRY_MAX_S = 30.0
RESYNCHRONISE_S = 0.25
RESYNCHRONISE_MAX_S = 16.0
"""How long a session that is out of step goes on before a new one, from the second time on; doubles."""
CALM_S = 30.0
"""A session that stood so long ends a series of resynchronisations."""
ANSWER_S = 0.2
"""A registration this young was sent to the controller manager that is now seen."""


class Registration:
    def __init__(
        self,
        actor: Actor[NodeMessage],
        tell: Callable[[Any], None],
        reports: Reports,
        form: Callable[[str], Register],
        cut: Callable[[], None],
    ) -> None:
        """`form`: the registration, given the newest session begun. `cut`: the link or its other end is
        gone."""
        self._actor = actor
        self._tell = tell
        self._reports = reports
        self._form = form
        self._cut = cut
        self.session = ""
        self.silent_since: float | None = None
        self._connected = False
        self._control = ""
        """The controller manager's instance; empty while it is away."""
        self._registered_at = 0.0
        self._retry_s = REGISTER_RETRY_S
        self._begun_at = -CALM_S
        self._hurried = 0
        """Resynchronisations in a row."""
        self._out_of_step = False
        """A registration is due in a moment."""
        self._sessions = Sessions()
        """Each session is begun once: numbers that start over would make old acknowledgements mean new
        reports."""

    def accept(self, session: str) -> bool:
        """Whether an answer begins a session: not a late one, and not without a link."""
        if not self._connected or not self._sessions.is_news(session):
            return False
        self.silent_since = None
        self._actor.context.cancel("register")
        self._retry_s = REGISTER_RETRY_S
        self.session = session
        self._begun_at = self._actor.context.clock.monotonic()
        return True

    def on_connection(self, up: bool) -> None:
        self._connected = up
        if up:
            self.register()
            return
        self._end_session()

    def on_control(self, instance: str) -> None:
        before, self._control = self._control, instance
        if not instance:
            self._end_session()
        elif self.session:
            if instance != before:
                self.register()
        elif self._actor.context.clock.monotonic() - self._registered_at > ANSWER_S:
            self.register()

    def _end_session(self) -> None:
        """Nobody may ever say that there is a new one to register with, so the timer runs again."""
        self.session = ""
        self._reports.end()
        self._actor.context.after(self._retry_s, RegisterDue(), key="register")
        if self.silent_since is None:
            self.silent_since = self._actor.context.clock.monotonic()
        self._cut()

    def register(self) -> None:
        if not self._connected:
            return
        self.session = ""
        self._reports.end()
        self._out_of_step = False
        self._tell(self._form(self._sessions.newest))
        self._registered_at = self._actor.context.clock.monotonic()
        self._actor.context.after(self._jittered(self._retry_s), RegisterDue(), key="register")
        self._retry_s = min(self._retry_s * 2, REGISTER_RETRY_MAX_S)

    def _jittered(self, delay_s: float) -> float:
        return delay_s * self._actor.context.chance.uniform(0.7, 1.0)

    def resynchronise(self) -> None:
        """The session is out of step: the first time another one is opened at once, then more and more
        slowly, for what made it so may be load."""
        if not self.session or self._out_of_step:
            return
        if self._actor.context.clock.monotonic() - self._begun_at > CALM_S:
            self._hurried = 0
        self._hurried += 1
        if self._hurried == 1:
            self.register()
            return
        self._out_of_step = True
        delay_s = min(RESYNCHRONISE_S * 2.0 ** (self._hurried - 2), RESYNCHRONISE_MAX_S)
        self._actor.context.after(self._jittered(delay_s), RegisterDue(), key="register")

    def asked_again(self, reason: str) -> None:
        """While a registration is under way this is an older wish, which it fulfils. To register once more
        would make its answer stale: with a slow link, neither side would ever come to rest."""
        if self.session:
            self._actor.context.log.info("asked to register again", reason=reason)
            self.resynchronise()
