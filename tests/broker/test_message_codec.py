"""The codec: whatever is declared survives the wire; whatever else arrives is MalformedMessage."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.message import Envelope, MalformedMessage, decode, encode, encode_envelope, join, message


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@message("test-tree")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    leaf: Leaf | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    data: bytes
    colour: Colour


@message("test-everything")
@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    flag: bool
    count: int
    ratio: float
    text: str
    data: bytes
    maybe: int | None
    numbers: list[int]
    pair: tuple[str, ...]
    table: dict[str, int]
    json: Any
    colour: Colour
    leaves: dict[str, Leaf]
    optional: str = "default"


@message("test-single")
@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    json: dict[str, Any]


@message("test-empty")
@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    pass


INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
LEAVES = st.builds(Leaf, data=st.binary(), colour=st.sampled_from(Colour))
BODIES = st.one_of(
    st.builds(
        Everything,
        flag=st.booleans(),
        count=INTEGERS,
        ratio=st.floats(allow_nan=False),
        text=st.text(),
        data=st.binary(),
        maybe=st.none() | INTEGERS,
        numbers=st.lists(INTEGERS),
        pair=st.lists(st.text()).map(tuple),
        table=st.dictionaries(st.text(), INTEGERS),
        json=JSON,
        colour=st.sampled_from(Colour),
        leaves=st.dictionaries(st.text(), LEAVES),
    ),
    st.builds(Single, json=st.dictionaries(st.text(), JSON)),
    st.builds(Empty),
    st.recursive(
        st.builds(Tree, name=st.text(), leaf=st.none() | LEAVES),
        lambda inner: st.builds(Tree, name=st.text(), children=st.lists(inner, max_size=3)),
        max_leaves=5,
    ),
)
ENVELOPES = st.builds(Envelope, id=st.text(), cause=st.text(), reply_to=st.text(), body=BODIES)


@given(st.lists(ENVELOPES, max_size=20))
def test_what_is_encoded_decodes_to_the_same(envelopes: list[Envelope]) -> None:
    packet = encode(envelopes)
    assert decode(packet) == envelopes
    assert join([encode_envelope(envelope) for envelope in envelopes]) == packet


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_but_malformed_message(packet: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(packet if packet != b"\x90" else b"")


@given(st.lists(ENVELOPES, min_size=1, max_size=3), st.data())
def test_a_damaged_packet_raises_nothing_but_malformed_message(envelopes: list[Envelope], data: Any) -> None:
    packet = bytearray(encode(envelopes))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        decode(bytes(packet))


def packed(tag: str, body: Any) -> bytes:
    packet: bytes = msgpack.packb([["id", "", "", tag, body]])
    return packet


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"", "not MessagePack"),
        (b"\x92" * 3000, "not MessagePack"),
        (msgpack.packb({}), "not an array"),
        (msgpack.packb([1]), "an envelope is an array"),
        (msgpack.packb([[1, "", "", "test-empty", {}]]), "are strings"),
        (packed("nobody-knows", {}), "no message type has the tag 'nobody-knows'"),
        (packed("test-tree", []), "test-tree: expected a map, not list"),
        (packed("test-tree", {}), "test-tree: name: missing"),
        (packed("test-tree", {"name": b"x"}), "test-tree: name: expected str, not bytes"),
        (
            packed("test-tree", {"name": "", "children": [{"name": 1}]}),
            "children: name: expected str, not int",
        ),
        (packed("test-tree", {"name": "", "leaf": {"data": b"1", "colour": "grey"}}), "one of red, blue"),
        (packed("test-single", {"json": {"a": [b"bytes"]}}), "expected plain JSON data, not bytes"),
        (packed("test-single", {"json": {"a": [b""]}}), "expected plain JSON data, not bytes"),
        (packed("test-single", {"json": {b"": 1}}), "expected a string as key, not bytes"),
        (packed("test-single", {"json": {"a": msgpack.ExtType(5, b"")}}), "extension type 5"),
        (packed("test-single", {"json": {"a": msgpack.Timestamp(1)}}), "not MessagePack"),
    ],
)
def test_what_is_wrong_is_said(packet: bytes, why: str) -> None:
    with pytest.raises(MalformedMessage, match=why):
        decode(packet)


def test_fields_of_a_newer_peer_are_ignored_and_missing_ones_take_their_default() -> None:
    (envelope,) = decode(packed("test-tree", {"name": "n", "invented": 1}))
    assert envelope.body == Tree(name="n")


def test_a_tag_belongs_to_one_type() -> None:
    with pytest.raises(ValueError, match="is taken by"):

        @message("test-empty")
        @dataclass(frozen=True)
        class Other:
            pass


def test_an_undeclared_type_is_a_bug() -> None:
    with pytest.raises(TypeError, match="Leaf is not a declared message type"):
        encode([Envelope(id="", cause="", reply_to="", body=Leaf(data=b"", colour=Colour.RED))])
