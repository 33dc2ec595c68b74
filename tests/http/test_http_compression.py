"""Big answers are gzip of their pieces; the kept middle can be used with another head."""

from __future__ import annotations

import gzip
import zlib

from cluster.server.http.compression import KEPT_FROM_BYTES, Gzip

ITEMS = b'{"kind":"Pod","n":12345},' * (KEPT_FROM_BYTES // 20)


async def test_pieces_unpack_to_what_they_are_put_together() -> None:
    packed = await Gzip().pack((b'{"items":[', ITEMS, b"]}\n"))
    assert gzip.decompress(packed) == b'{"items":[' + ITEMS + b"]}\n"
    assert len(packed) < len(ITEMS) / 10


async def test_it_is_one_gzip_member_for_clients_that_read_only_one() -> None:
    reader = zlib.decompressobj(31)
    whole = reader.decompress(await Gzip().pack((b"head", ITEMS, b"tail")))
    assert (whole, reader.eof, reader.unused_data) == (b"head" + ITEMS + b"tail", True, b"")


async def test_a_new_head_goes_with_the_kept_middle() -> None:
    gzipper = Gzip()
    for head in (b"a", b"another"):
        assert gzip.decompress(await gzipper.pack((head, ITEMS))) == head + ITEMS


async def test_a_single_small_piece_works_too() -> None:
    assert gzip.decompress(await Gzip().pack((b"small",))) == b"small"
