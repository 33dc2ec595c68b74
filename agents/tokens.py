"""Tokens of service accounts for the pods' projected volumes: asked of the gateway, like the kubelet's
TokenRequests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cluster.api.objects import Object, parse_timestamp
from cluster.api.wire import TokenIssued, TokenWanted

PATIENCE_S = 10.0


class TokenDesk:
    """The requests of one node that wait for their answers."""

    def __init__(self, epoch: str, tell: Callable[[Any], None]) -> None:
        self._epoch = epoch
        self._tell = tell
        self._count = 0
        self._waiting: dict[str, asyncio.Future[TokenIssued]] = {}

    async def token(self, pod: Object, audience: str, expires_s: int) -> tuple[str, datetime]:
        """Raises TimeoutError with the reason."""
        self._count += 1
        identity = str(self._count)
        answer = self._waiting[identity] = asyncio.get_running_loop().create_future()
        uid = pod["metadata"]["uid"]
        self._tell(
            TokenWanted(epoch=self._epoch, id=identity, uid=uid, audience=audience, expires_s=expires_s)
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                issued = await answer
        except TimeoutError as error:
            raise TimeoutError("no answer from the API server") from error
        finally:
            del self._waiting[identity]
        if issued.error:
            raise TimeoutError(issued.error)
        return issued.token, parse_timestamp(issued.expires)

    def take(self, message: TokenIssued) -> None:
        answer = self._waiting.get(message.id)
        if answer is not None and not answer.done():
            answer.set_result(message)
