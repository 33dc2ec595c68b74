"""Resource quantities: exact numbers with SI and binary suffixes, printed in Kubernetes' canonical form.

A quantity is an integer number of nano units (Kubernetes' finest grain; anything finer is rounded away from
zero) plus the family of suffixes it was written in, so that comparing and adding are integer operations and
printing loses nothing. `parse` remembers recent texts: a cluster repeats few of them, very often.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache, total_ordering
from typing import Final

NANOS: Final = 10**9
_MAX: Final = (2**63 - 1) * NANOS
"""Larger amounts are cut to this one, as Kubernetes does."""

_WRONG_FORMAT: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_WRONG_SUFFIX: Final = "unable to parse quantity's suffix"
_WRONG_NUMBER: Final = "unable to parse numeric part of quantity"
_SUFFIX_LETTERS: Final = frozenset("eEinumkKMGTP")


class Format(Enum):
    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {power // 10: suffix for suffix, power in _BINARY.items()} | {0: ""}


class QuantityError(ValueError):
    """The text is no quantity; the message is Kubernetes' own."""


@total_ordering
class Quantity:
    """An exact amount. Equal, ordered and hashed by amount alone: "1" == "1000m"."""

    __slots__ = ("format", "nanos")

    def __init__(self, nanos: int, format: Format = Format.DECIMAL) -> None:
        self.nanos = nanos
        self.format = format

    @classmethod
    def of_milli(cls, milli: int, format: Format = Format.DECIMAL) -> Quantity:
        return cls(milli * 1_000_000, format)

    @classmethod
    def of(cls, value: int, format: Format = Format.DECIMAL) -> Quantity:
        return cls(value * NANOS, format)

    def value(self) -> int:
        """Whole units, rounded up (pods, bytes)."""
        return -(-self.nanos // NANOS)

    def milli(self) -> int:
        """Thousandths, rounded up (CPU)."""
        return -(-self.nanos // 1_000_000)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __str__(self) -> str:
        """The canonical form: the largest suffix that leaves an integer, no leading zeros, no fraction."""
        nanos = self.nanos
        if not nanos:
            return "0"
        if self.format is Format.BINARY and abs(nanos) >= 1024 * NANOS and nanos % NANOS == 0:
            return _binary_text(nanos // NANOS)
        mantissa, exponent = _decimal_parts(nanos)
        if self.format is Format.EXPONENT:
            return f"{mantissa}e{exponent}" if exponent else str(mantissa)
        return f"{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def _binary_text(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < 6:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY_SUFFIX[power]}"


def _decimal_parts(nanos: int) -> tuple[int, int]:
    """(mantissa, exponent) with the largest exponent that is a multiple of three."""
    exponent = -9
    while nanos % 1000 == 0 and exponent < 18:
        nanos //= 1000
        exponent += 3
    return nanos, exponent


def parse(value: str | int | float) -> Quantity:
    """The quantity a JSON value stands for. Raises QuantityError."""
    if type(value) is int:
        return Quantity(_capped(value * NANOS))
    return _parse_text(value if isinstance(value, str) else repr(value))


def canonical(value: str | int | float) -> str:
    """The text under which the API stores and returns the quantity. Raises QuantityError."""
    if type(value) is str:
        return _canonical_text(value)
    return str(parse(value))


@lru_cache(maxsize=8192)
def _canonical_text(text: str) -> str:
    return str(_parse_text(text))


@lru_cache(maxsize=8192)
def _parse_text(text: str) -> Quantity:
    digits = text[:-1] if text.endswith("m") else text
    if digits.isdecimal() and digits.isascii():
        return Quantity(_capped(int(digits) * (NANOS if digits is text else NANOS // 1000)))
    negative, whole, fraction, suffix = _split(text.strip())
    base, exponent, format = _scale(suffix)
    if not whole and not fraction:
        raise QuantityError(_WRONG_NUMBER)
    nanos = _rounded(int(whole + fraction or "0"), base, exponent, len(fraction))
    if format is Format.BINARY and 0 < nanos < NANOS:
        format = Format.DECIMAL
    nanos = _capped(nanos)
    return Quantity(-nanos if negative else nanos, format)


def _capped(nanos: int) -> int:
    return max(-_MAX, min(nanos, _MAX))


def _split(text: str) -> tuple[bool, str, str, str]:
    """(negative, digits before the point, digits after it, suffix)."""
    if not text:
        raise QuantityError(_WRONG_FORMAT)
    negative = text[0] == "-"
    start = 1 if text[0] in "+-" else 0
    point = _digits_end(text, start)
    whole, fraction, end = text[start:point], "", point
    if point < len(text) and text[point] == ".":
        end = _digits_end(text, point + 1)
        fraction = text[point + 1 : end]
    letters = end
    while letters < len(text) and text[letters] in _SUFFIX_LETTERS:
        letters += 1
    tail = letters + 1 if letters < len(text) and text[letters] in "+-" else letters
    if _digits_end(text, tail) != len(text):
        raise QuantityError(_WRONG_FORMAT)
    return negative, whole, fraction, text[end:]


def _digits_end(text: str, start: int) -> int:
    while start < len(text) and "0" <= text[start] <= "9":
        start += 1
    return start


def _scale(suffix: str) -> tuple[int, int, Format]:
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], Format.DECIMAL
    if suffix in _BINARY:
        return 2, _BINARY[suffix], Format.BINARY
    exponent = suffix[1:]
    if suffix[0] in "eE" and exponent.lstrip("+-").isdecimal() and len(exponent) < 20:
        return 10, int(exponent), Format.EXPONENT
    raise QuantityError(_WRONG_SUFFIX)


def _rounded(digits: int, base: int, exponent: int, decimals: int) -> int:
    """digits × base^exponent ÷ 10^decimals in nano units, rounded away from zero."""
    if not digits:
        return 0
    if base == 2:
        numerator, shift = digits << exponent, 9 - decimals
    else:
        numerator, shift = digits, exponent + 9 - decimals
    if shift >= 0:
        # Past 30 more zeros the amount is over the largest one whatever the digits are.
        return int(numerator * 10 ** min(shift, 64))
    return int(-(-numerator // 10 ** min(-shift, len(str(numerator)) + 1)))
