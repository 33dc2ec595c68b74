"""Quantities: exact, canonical, ordered by amount."""

from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api import quantity
from cluster.api.quantity import Format, Quantity, QuantityError, parse

CANONICAL: Final = [
    ("0", "0"), ("0m", "0"), ("1", "1"), ("100m", "100m"), ("1000m", "1"), ("1500m", "1500m"), ("0.5",
    "500m"),
    (".5", "500m"), ("1.", "1"), ("+2", "2"), ("-1.5", "-1500m"), ("1024", "1024"), ("1000", "1k"),
    ("1000k", "1M"),
    ("128974848", "128974848"), ("129e6", "129e6"), ("1e3", "1e3"), ("1E3", "1e3"), ("12e2", "1200"),
    ("100e-3", "100e-3"), ("129M", "129M"), ("123Mi", "123Mi"), ("1024Mi", "1Gi"), ("1536Mi", "1536Mi"),
    ("0.5Gi", "512Mi"), ("1.5Gi", "1536Mi"), ("0.1Ki", "102400m"), ("1023Ki", "1023Ki"), ("1Ki", "1Ki"),
    ("0.0000000001", "1n"), ("1.0000000001", "1000000001n"), ("5u", "5u"), ("1E", "1E"), ("1Ei", "1Ei"),
    ("100E", "9223372036854775807"), ("2e999999", "9223372036854775807e0".removesuffix("e0")),
    ("0.00001e-999", "1e-9"), ("1e0", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CANONICAL, ids=[c[0] for c in CANONICAL])
def test_canonical_form(text: str, expected: str) -> None:
    assert quantity.canonical(text) == expected
    assert quantity.canonical(expected) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "quantities must match"),
        ("abc", "quantities must match"),
        ("1 Gi", "quantities must match"),
        ("1Gib", "quantities must match"),
        ("1.2.3", "quantities must match"),
        ("1K", "unable to parse quantity's suffix"),
        ("1mi", "unable to parse quantity's suffix"),
        ("1e", "unable to parse quantity's suffix"),
        ("1ki5", "unable to parse quantity's suffix"),
        ("m", "unable to parse numeric part"),
        (".", "unable to parse numeric part"),
        ("٣", "quantities must match"),
    ],
)
def test_wrong_text_is_named_as_kubernetes_does(text: str, message: str) -> None:
    with pytest.raises(QuantityError, match=message):
        parse(text)


def test_numbers_are_quantities_too() -> None:
    assert str(parse(2)) == "2"
    assert str(parse(0.5)) == "500m"


def test_whole_and_milli_values_round_up() -> None:
    assert parse("1500m").value() == 2
    assert parse("-1500m").value() == -1
    assert parse("1u").milli() == 1
    assert parse("2").milli() == 2000


def test_sum_keeps_the_family_of_the_first_that_is_not_zero() -> None:
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(Quantity(0) + parse("1Gi")) == "1Gi"
    assert str(parse("1") - parse("250m")) == "750m"
    assert (parse("1") - parse("1000m")) == Quantity(0)


def test_equal_amounts_are_equal_and_hash_alike() -> None:
    assert {parse("1"), parse("1000m"), parse("1e0")} == {parse("1")}
    assert parse("1Ki") > parse("1k") > parse("999")


@given(st.integers(-(2**63 - 1) * 10**9, (2**63 - 1) * 10**9), st.sampled_from(Format))
def test_printing_and_reading_gives_the_same_amount(nanos: int, format: Format) -> None:
    """The canonical text is a fixed point and loses nothing, in every family of suffixes."""
    text = str(Quantity(nanos, format))
    assert parse(text).nanos == nanos
    assert str(parse(text)) == text


@given(st.decimals(-(10**9), 10**9, places=9), st.sampled_from(["", "k", "Ki", "M", "Mi", "m"]))
def test_agrees_with_decimal_arithmetic(number: Decimal, suffix: str) -> None:
    factors: dict[str, int | Decimal] = {
        "": 1,
        "k": 1000,
        "Ki": 1024,
        "M": 10**6,
        "Mi": 2**20,
        "m": Decimal("0.001"),
    }
    exact = number * factors[suffix] * 10**9
    away_from_zero = int(exact) if exact == int(exact) else int(exact) + (1 if exact > 0 else -1)
    assert parse(f"{number:f}{suffix}").nanos == away_from_zero
