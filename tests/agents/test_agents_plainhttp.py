"""Short messages that are understood once: the same as h11 understands them, and nothing but whole ones."""

from __future__ import annotations

import h11
import pytest

from agents import plainhttp
from agents.plainhttp import MAX_BYTES, answer_head, answer_in, request_head, request_in

GET = b"GET /healthz?x=1 HTTP/1.1\r\nHost: web:80\r\nUser-Agent: kube-probe/1.37\r\n\r\n"


def test_a_whole_request_is_understood() -> None:
    request = request_in(GET)
    assert request is not None
    assert (request.method, request.target, request.last) == ("GET", "/healthz?x=1", False)
    assert request.headers == (("host", "web:80"), ("user-agent", "kube-probe/1.37"))
    assert request_in(GET) is request


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GET[:-2], id="not whole"),
        pytest.param(GET + GET, id="two at once"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", id="another method"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", id="a body to come"),
        pytest.param(b"GET / HTTP/1.1\r\nno header\r\n\r\n", id="nonsense"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n" + b"\r\n\r\n", id="more after it"
        ),
        pytest.param(b"GET /" + b"x" * MAX_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", id="too long"),
    ],
)
def test_what_is_no_single_plain_request_is_left_to_h11(data: bytes) -> None:
    assert request_in(data) is None


@pytest.mark.parametrize(
    ("head", "last"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", True),
    ],
    ids=["close", "keep", "old"],
)
def test_who_wants_the_connection_closed(head: bytes, last: bool) -> None:
    request = request_in(head)
    assert request is not None
    assert request.last is last


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", (503, b"no")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", None),
        (b"SSH-2.0-OpenSSH\r\n", None),
        (b"", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000, None),
    ],
    ids=[
        "length",
        "no body",
        "chunked",
        "not whole",
        "by its end",
        "another protocol",
        "nothing",
        "too long",
    ],
)
def test_only_answers_that_came_whole_are_understood(data: bytes, expected: tuple[int, bytes] | None) -> None:
    answer = answer_in(data)
    assert (None if answer is None else (answer.status, answer.body)) == expected


def test_what_is_written_is_understood_on_the_other_side() -> None:
    written = request_head("GET", "/", (("Host", "a"), ("Accept", "*/*")))
    request = request_in(written)
    assert request is not None
    assert request.headers == (("host", "a"), ("accept", "*/*"))
    for last in (False, True):
        head = answer_head(200, "OK", (("Content-Length", "2"),), last)
        answer = answer_in(head + b"ok")
        assert answer is not None
        assert (answer.status, answer.body) == (200, b"ok")
        assert (b"connection: close" in head.lower()) is last


def test_a_header_that_can_not_be_written_is_an_error() -> None:
    with pytest.raises(h11.LocalProtocolError):
        request_head("GET", "/", (("Host", "a"), ("bad name", "x")))


def test_little_is_remembered() -> None:
    for number in range(2 * plainhttp._REMEMBERED):
        request_in(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    assert plainhttp._request_in.cache_info().currsize <= plainhttp._REMEMBERED
