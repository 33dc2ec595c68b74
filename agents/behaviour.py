"""Behaviour profiles: what an emulated container does, as data.

A profile is chosen by image (`Library`, files in `agents/behaviours/`, first matching entry wins) and can
be overridden per pod with the annotation `kubemu.dev/behaviour`, live: JSON of the form
{"<container>" or "*": {field: value, …}}; a container's own fields win over those of "*". Unknown fields
and wrong types are errors that name the field. Times are seconds since the instance started.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from agents.images import repository

ANNOTATION = "kubemu.dev/behaviour"
_FOLDER = Path(__file__).parent / "behaviours"


class BehaviourError(ValueError):
    """A profile that can't be understood; names the field and what is expected there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExit:
    """The instance ends by itself."""

    code: int
    after_s: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A single crash, at once; the same id never crashes the same container twice."""

    id: str
    exit_code: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an image can't be pulled, or a container not be run."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedAnswer:
    after_s: float
    answer: str
    """ok | fail | hang"""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A value that holds from a moment on."""

    after_s: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer. `body` may name {pod} {namespace} {node} {container} {image} {version} {ip} {path}."""

    status: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that can be said of a container's behaviour."""

    pull_s: float = 0.0
    image_size_bytes: int = 50_000_000
    pull_error: Failure | None = None
    start_s: float = 0.0
    """From running until it serves."""
    start_error: Failure | None = None
    """It can't be run: StartError, exit code 128."""
    user: int | None = None
    """Of the image: who its processes are where the pod names nobody; None: not known."""
    shell: bool = False
    """Without command the image runs a shell: args are a command of their own."""
    entrypoint: tuple[str, ...] = ()
    """A program of the image that the emulated shell knows; the pod's args, or `command`, follow it."""
    command: tuple[str, ...] = ()
    """What a shell image, or one with an entrypoint, runs where the pod names nothing."""
    exit: PlannedExit | None = None
    stop_s: float = 0.0
    """From SIGTERM to the exit."""
    stop_code: int = 0
    ignores_sigterm: bool = False
    serves: str = "none"
    """http | tcp | none"""
    ports: tuple[int, ...] = ()
    """Served where the pod declares no ports."""
    reply: Reply = field(default_factory=Reply)
    document_root: str = ""
    """Its files are served once somebody looked into it or mounted a volume there; `reply` is its index."""
    paths: tuple[tuple[str, Reply], ...] = ()
    """Answers of their own for some paths."""
    latency_s: float = 0.0
    readiness: tuple[TimedAnswer, ...] = ()
    liveness: tuple[TimedAnswer, ...] = ()
    startup: tuple[TimedAnswer, ...] = ()
    cpu_cores: tuple[Amount, ...] = (Amount(after_s=0.0, value=0.001),)
    memory_bytes: tuple[Amount, ...] = (Amount(after_s=0.0, value=8_000_000.0),)
    memory_growth_bytes_per_s: float = 0.0
    storage_bytes: tuple[Amount, ...] = ()
    """What it wrote to the node's disk."""
    log: tuple[str, ...] = ()
    """Printed at the start."""
    log_line: str = ""
    log_every_s: float = 0.0
    """Prints log_line again and again; 0 never."""
    access_log: bool = True
    crash: Crash | None = None
    hang: bool = False
    """Accepts connections and never answers, ignores SIGTERM."""

    def with_(self, overrides: Mapping[str, Any]) -> Profile:
        """This profile with some fields changed. Raises BehaviourError."""
        return replace(self, **decode(overrides)) if overrides else self


DEFAULT = Profile(serves="http", stop_code=143)
"""For images that nobody described."""


class Library:
    """Profiles by image."""

    def __init__(self, entries: Sequence[tuple[tuple[str, ...], Profile]]) -> None:
        self._entries = entries
        self._known: dict[str, Profile] = {}

    def of(self, image: str) -> Profile:
        found = self._known.get(image)
        if found is None:
            found = self._known[image] = self._find(image)
        return found

    def _find(self, image: str) -> Profile:
        name = repository(image)
        names = (name, name.removeprefix("docker.io/library/"), name.rpartition("/")[2])
        for patterns, profile in self._entries:
            if any(fnmatchcase(candidate, pattern) for pattern in patterns for candidate in names):
                return profile
        return DEFAULT


def load_library(extra: Path | None = None) -> Library:
    """The shipped profiles, behind those of a file of the user's. Raises OSError, BehaviourError."""
    entries = _read(extra) if extra is not None else []
    return Library([*entries, *_shipped()])


@cache
def _shipped() -> list[tuple[tuple[str, ...], Profile]]:
    return [entry for path in sorted(_FOLDER.glob("*.json")) for entry in _read(path)]


def _read(path: Path) -> list[tuple[tuple[str, ...], Profile]]:
    try:
        entries = _list(json.loads(path.read_text()))
        return [(_texts(_at(e, "images")), DEFAULT.with_(_mapping(_at(e, "profile")))) for e in entries]
    except json.JSONDecodeError as error:
        raise BehaviourError(f"{path.name}: not JSON: {error}") from error
    except BehaviourError as error:
        raise BehaviourError(f"{path.name}: {error}") from error


def overrides_for(annotation: str | None, container: str) -> dict[str, Any]:
    """What the annotation says of a container, checked. Raises BehaviourError."""
    if not annotation:
        return {}
    try:
        document = _mapping(json.loads(annotation))
        chosen = {**_mapping(document.get("*", {})), **_mapping(document.get(container, {}))}
        decode(chosen)
    except json.JSONDecodeError as error:
        raise BehaviourError(f"annotation {ANNOTATION}: not JSON: {error}") from error
    except BehaviourError as error:
        raise BehaviourError(f"annotation {ANNOTATION}: {error}") from error
    return chosen


def decode(document: Mapping[str, Any]) -> dict[str, Any]:
    """Field values in their typed form. Raises BehaviourError."""
    decoded: dict[str, Any] = {}
    for name, value in document.items():
        converter = _FIELDS.get(name)
        if converter is None:
            raise BehaviourError(f'unknown field "{name}"; known are {", ".join(sorted(_FIELDS))}')
        try:
            decoded[name] = converter(value)
        except BehaviourError as error:
            raise BehaviourError(f"{name}: {error}") from error
    return decoded


# --- converters from JSON


def _wrong(expected: str, value: Any) -> BehaviourError:
    return BehaviourError(f"expected {expected}, found {json.dumps(value)}")


def _at(document: Any, name: str) -> Any:
    if name not in _mapping(document):
        raise BehaviourError(f'"{name}" is missing')
    return document[name]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("an object", value)
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong("a list", value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise _wrong("a number, not negative", value)
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong("a whole number", value)
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("text", value)
    return value


def _one_of(*options: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in options:
            raise _wrong(" or ".join(options), value)
        return str(value)

    return convert


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _only(value: Any, *known: str) -> dict[str, Any]:
    document = _mapping(value)
    for name in document:
        if name not in known:
            raise BehaviourError(f'unknown field "{name}"; known are {", ".join(known)}')
    return document


def _exit(value: Any) -> PlannedExit | None:
    if value is None:
        return None
    document = _only(value, "code", "after_s", "reason", "message")
    code = _integer(document.get("code", 0))
    return PlannedExit(
        code=code,
        after_s=_number(document.get("after_s", 0)),
        reason=_text(document.get("reason", "Error" if code else "Completed")),
        message=_text(document.get("message", "")),
    )


def _crash(value: Any) -> Crash | None:
    if value is None:
        return None
    document = _only(value, "id", "exit_code", "reason")
    return Crash(
        id=_text(_at(document, "id")),
        exit_code=_integer(document.get("exit_code", 1)),
        reason=_text(document.get("reason", "Error")),
    )


def _failure(default_reason: str) -> Callable[[Any], Failure | None]:
    def convert(value: Any) -> Failure | None:
        if value is None:
            return None
        document = _only(value, "reason", "message")
        return Failure(
            reason=_text(document.get("reason", default_reason)), message=_text(_at(document, "message"))
        )

    return convert


def _answers(value: Any) -> tuple[TimedAnswer, ...]:
    answers = []
    for item in _list(value):
        document = _only(item, "after_s", "answer", "message")
        answers.append(
            TimedAnswer(
                after_s=_number(document.get("after_s", 0)),
                answer=_one_of("ok", "fail", "hang")(_at(document, "answer")),
                message=_text(document.get("message", "")),
            )
        )
    return tuple(sorted(answers, key=lambda answer: answer.after_s))


def _series(value: Any) -> tuple[Amount, ...]:
    if not isinstance(value, list):
        return (Amount(after_s=0.0, value=_number(value)),)
    amounts = []
    for item in value:
        document = _only(item, "after_s", "value")
        amounts.append(
            Amount(after_s=_number(document.get("after_s", 0)), value=_number(_at(document, "value")))
        )
    return tuple(sorted(amounts, key=lambda amount: amount.after_s))


def _reply(value: Any) -> Reply:
    document = _only(value, "status", "body", "headers")
    headers = _mapping(document.get("headers", {}))
    return Reply(
        status=_integer(document.get("status", 200)),
        body=_text(document.get("body", "")),
        headers=tuple((name, _text(text)) for name, text in headers.items()),
    )


def _paths(value: Any) -> tuple[tuple[str, Reply], ...]:
    return tuple((path, _reply(reply)) for path, reply in _mapping(value).items())


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "pull_s": _number,
    "image_size_bytes": _integer,
    "pull_error": _failure("ErrImagePull"),
    "start_s": _number,
    "start_error": _failure("StartError"),
    "shell": _flag,
    "user": _integer,
    "entrypoint": _texts,
    "command": _texts,
    "exit": _exit,
    "stop_s": _number,
    "stop_code": _integer,
    "ignores_sigterm": _flag,
    "serves": _one_of("http", "tcp", "none"),
    "ports": lambda value: tuple(_integer(item) for item in _list(value)),
    "reply": _reply,
    "document_root": _text,
    "paths": _paths,
    "latency_s": _number,
    "readiness": _answers,
    "liveness": _answers,
    "startup": _answers,
    "cpu_cores": _series,
    "memory_bytes": _series,
    "storage_bytes": _series,
    "memory_growth_bytes_per_s": _number,
    "log": _texts,
    "log_line": _text,
    "log_every_s": _number,
    "access_log": _flag,
    "crash": _crash,
    "hang": _flag,
}
assert set(_FIELDS) == {entry.name for entry in fields(Profile)}
