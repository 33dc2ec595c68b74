"""Writing to paho's socket from the event loop.

paho only says when it has something to write. aiomqtt answers by asking the loop, a moment later, to watch
the descriptor it knows at that time: when the connection breaks in that moment, the loop watches a closed
descriptor, or the next connection's with the old connection's callback, which then never gets to write. So
this is done here: on the next turn of the loop, all that came until then is written at once, and the
descriptor is watched only while the kernel takes no more.

The first packet (CONNECT) comes from the thread in which paho connects, everything else from the loop's own.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import paho.mqtt.client as paho


class SocketWriter:
    """Of one paho client, which is connected once."""

    def __init__(self, client: paho.Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._thread = threading.get_ident()
        self._watched = -1
        client.on_socket_register_write = self._wants
        client.on_socket_unregister_write = self._done

    def _wants(self, *_: Any) -> None:
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._write)
        else:
            self._loop.call_soon_threadsafe(self._write)

    def _done(self, _: paho.Client, __: Any, sock: Any) -> None:
        """Everything is written, or the socket is about to be closed."""
        if self._watched >= 0:
            self._loop.remove_writer(self._watched)
            self._watched = -1

    def _write(self) -> None:
        self._client.loop_write()
        if self._watched < 0 and self._client.want_write():
            sock = self._client.socket()
            if sock is not None:
                self._watched = sock.fileno()
                self._loop.add_writer(self._watched, self._client.loop_write)
