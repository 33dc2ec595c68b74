"""Formats of single strings and numbers. Each function gives what is wrong, in Kubernetes' words; empty if
nothing is. Texts that were fine are remembered, because names and labels come again and again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Format = Callable[[str], tuple[str, ...]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED_SUBDOMAIN = _UNDERSCORED + r"(\." + _UNDERSCORED + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character"
)
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character"
)
_UNDERSCORED_MESSAGE = _SUBDOMAIN_MESSAGE.replace("characters, '-'", "characters, '_', '-'")
_LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character"
)
_WILDCARD_MESSAGE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
    "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_NAME_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character"
)
_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character"
)
_CONFIG_KEY_MESSAGE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_HEADER_MESSAGE = "a valid HTTP header must consist of alphanumeric characters or '-'"
_PERCENT_MESSAGE = "a valid percent string must be a numeric string followed by an ending '%'"
_ENVIRONMENT_MESSAGE = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
)


def expression_error(message: str, expression: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{expression}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{expression}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def _checked(
    value: str, expression: re.Pattern[str], limit: int, message: str, *examples: str
) -> tuple[str, ...]:
    wrong = []
    if len(value) > limit:
        wrong.append(_too_long(limit))
    if not expression.fullmatch(value):
        wrong.append(expression_error(message, expression.pattern, *examples))
    return tuple(wrong)


_LABEL_RE, _SUBDOMAIN_RE, _UNDERSCORED_RE = (
    re.compile(text) for text in (_LABEL, _SUBDOMAIN, _UNDERSCORED_SUBDOMAIN)
)
_LABEL_1035_RE, _NAME_RE, _CONFIG_KEY_RE = (re.compile(text) for text in (_LABEL_1035, _NAME, _CONFIG_KEY))
_VALUE_RE = re.compile(f"({_NAME})?")
_WILDCARD_RE = re.compile(r"\*\." + _SUBDOMAIN)


@lru_cache(4096)
def dns_label(value: str) -> tuple[str, ...]:
    wrong = _checked(value, _LABEL_RE, 63, LABEL_MESSAGE, "my-name", "123-abc")
    if wrong and not _LABEL_RE.fullmatch(value) and _SUBDOMAIN_RE.fullmatch(value):
        return (*wrong[:-1], "must not contain dots")
    return wrong


@lru_cache(8192)
def dns_subdomain(value: str) -> tuple[str, ...]:
    return _checked(value, _SUBDOMAIN_RE, 253, _SUBDOMAIN_MESSAGE, "example.com")


def dns_subdomain_with_underscore(value: str) -> tuple[str, ...]:
    return _checked(value, _UNDERSCORED_RE, 253, _UNDERSCORED_MESSAGE, "example.com")


@lru_cache(1024)
def dns_1035_label(value: str) -> tuple[str, ...]:
    return _checked(value, _LABEL_1035_RE, 63, _LABEL_1035_MESSAGE, "my-name", "abc-123")


def wildcard_subdomain(value: str) -> tuple[str, ...]:
    return _checked(value, _WILDCARD_RE, 253, _WILDCARD_MESSAGE, "*.example.com")


@lru_cache(4096)
def qualified_name(value: str) -> tuple[str, ...]:
    """A label key."""
    expected = expression_error(_NAME_MESSAGE, _NAME, "MyName", "my.name", "123-abc")
    parts = value.split("/")
    wrong: list[str] = []
    if len(parts) > 2:
        return (
            f"a valid label key {expected} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')",
        )
    if len(parts) == 2:
        if not parts[0]:
            wrong.append("prefix part must be non-empty")
        wrong += [f"prefix part {message}" for message in dns_subdomain(parts[0]) if parts[0]]
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append(f"name part {_too_long(63)}")
    if not _NAME_RE.fullmatch(name):
        wrong.append(f"name part {expected}")
    return tuple(wrong)


@lru_cache(8192)
def label_value(value: str) -> tuple[str, ...]:
    return _checked(value, _VALUE_RE, 63, _VALUE_MESSAGE, "MyValue", "my_value", "12345")


@lru_cache(1024)
def config_key(value: str) -> tuple[str, ...]:
    wrong = _checked(value, _CONFIG_KEY_RE, 253, _CONFIG_KEY_MESSAGE, "key.name", "KEY_NAME", "key-name")
    if value in (".", ".."):
        return (*wrong, f"must not be '{value}'")
    return (*wrong, "must not start with '..'") if value.startswith("..") else wrong


def http_header_name(value: str) -> tuple[str, ...]:
    if re.fullmatch(_HEADER, value):
        return ()
    return (expression_error(_HEADER_MESSAGE, _HEADER, "X-Header-Name"),)


def environment_name(value: str) -> tuple[str, ...]:
    if not value:
        return ("environment variable name must be non-empty",)
    if all(" " <= character <= "~" and character != "=" for character in value):
        return ()
    return (_ENVIRONMENT_MESSAGE,)


def percent(value: str) -> tuple[str, ...]:
    if re.fullmatch(_PERCENT, value):
        return ()
    return (expression_error(_PERCENT_MESSAGE, _PERCENT, "1%", "93%"),)


def path_segment(value: str) -> tuple[str, ...]:
    """Names of RBAC objects and of what else only has to fit into a URL."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{mark}'" for mark in ("/", "%") if mark in value)


@lru_cache(1024)
def port_name(value: str) -> tuple[str, ...]:
    wrong = []
    if len(value) > 15:
        wrong.append(_too_long(15))
    if not re.fullmatch("[-a-z0-9]+", value):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        wrong.append("must not begin or end with a hyphen")
    return tuple(wrong)


def port_number(value: int) -> tuple[str, ...]:
    return () if 1 <= value <= 65535 else ("must be between 1 and 65535, inclusive",)


def port_number_or_name(value: Any) -> tuple[str, ...]:
    return port_name(value) if isinstance(value, str) else port_number(value)


@lru_cache(1024)
def ip_address(value: str) -> tuple[str, ...]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    return ()


def is_ip_address(value: str) -> bool:
    return not ip_address(value)


def cidr(value: str) -> tuple[str, ...]:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return _NO_CIDR
    return () if "/" in value else _NO_CIDR


_NO_CIDR = ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)


def user_or_group(value: int) -> tuple[str, ...]:
    return () if 0 <= value < 2**31 else (f"must be between 0 and {2**31 - 1}, inclusive",)
