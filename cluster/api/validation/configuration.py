"""ConfigMap and Secret."""

from __future__ import annotations

import binascii

import orjson

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_SIZE_LIMIT = 1024 * 1024
_IMMUTABLE = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"
_ACCOUNT = "kubernetes.io/service-account.name"
_NEEDED_KEYS: dict[str, tuple[str, ...]] = {
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_DOCKER = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def validate_config_map(obj: Object, report: Report) -> None:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, text in data.items():
        if wrong := formats.config_key(key):
            report.invalid_each(f"data[{key}]", key, wrong)
        if key in binary:
            report.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(text) if text.isascii() else len(text.encode())
    for key, encoded in binary.items():
        if wrong := formats.config_key(key):
            report.invalid_each(f"binaryData[{key}]", key, wrong)
        size += _decoded_size(encoded)
    if size > _SIZE_LIMIT:
        report.too_long("", _SIZE_LIMIT)


def _decoded_size(encoded: str) -> int:
    return len(encoded) * 3 // 4 - encoded.endswith("=") - encoded.endswith("==")


def validate_config_map_update(new: Object, old: Object, report: Report) -> None:
    if old.get("immutable"):
        _validate_frozen(new, old, ("data", "binaryData"), report)
    validate_config_map(new, report)


def _validate_frozen(new: Object, old: Object, fields: tuple[str, ...], report: Report) -> None:
    if not new.get("immutable"):
        report.forbidden("immutable", _IMMUTABLE)
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            report.forbidden(field, _IMMUTABLE)


def validate_secret(obj: Object, report: Report) -> None:
    data = obj.get("data") or {}
    size = 0
    for key, encoded in data.items():
        if wrong := formats.config_key(key):
            report.invalid_each(f"data[{key}]", key, wrong)
        size += _decoded_size(encoded)
    if size > _SIZE_LIMIT:
        report.too_long("data", _SIZE_LIMIT)
    kind = obj.get("type", "")
    if kind == "kubernetes.io/service-account-token":
        if not (obj["metadata"].get("annotations") or {}).get(_ACCOUNT):
            report.required(f"metadata.annotations[{_ACCOUNT}]")
    elif kind in _DOCKER:
        _validate_docker_configuration(data, _DOCKER[kind], report)
    elif kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        report.required("data[username]")
        report.required("data[password]")
    for key in _NEEDED_KEYS.get(kind, ()):
        if key not in data or (kind == "kubernetes.io/ssh-auth" and not data[key]):
            report.required(f"data[{key}]")


def _validate_docker_configuration(data: Object, key: str, report: Report) -> None:
    if key not in data:
        report.required(f"data[{key}]")
        return
    try:
        found = orjson.loads(binascii.a2b_base64(data[key]))
    except (orjson.JSONDecodeError, binascii.Error):
        text = "unexpected end of JSON input" if not data[key] else "invalid character in JSON"
        report.invalid(f"data[{key}]", _REDACTED, text)
        return
    if not isinstance(found, dict):
        report.invalid(
            f"data[{key}]", _REDACTED, "json: cannot unmarshal into Go value of type map[string]interface {}"
        )


def validate_secret_update(new: Object, old: Object, report: Report) -> None:
    report.immutable("type", new.get("type"), old.get("type"))
    if old.get("immutable"):
        _validate_frozen(new, old, ("data",), report)
    validate_secret(new, report)
