"""Get and list: selection, consistent pages, resourceVersion semantics.

A page token holds the revision of the first page, and later pages are read at that revision (the present
with the later changes undone), so concurrent writes neither hide an object nor show one twice. When the
history no longer reaches back, the answer is 410 with a token that goes on from the same key at the present
revision.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cluster.api import errors
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.api.selectors import LabelSelector, SelectorError, check_fields, parse_fields, parse_labels
from cluster.server.call import Call, ListOptions
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.writing import served, shown
from cluster.store.entry import Change, Entry
from cluster.store.history import Compacted

FRESH_WITHIN_S = 3.0
"""How long a read waits for a revision in the future."""

Predicate = Callable[[Object], bool]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as the verbs give it: entries with their bytes, and the list's own metadata."""

    entries: Sequence[Entry]
    revision: str
    continue_token: str = ""
    remaining: int | None = None
    written: int | None = None
    """`Store.last_write` of what is shown, if every object of the namespace (or of all) is here: an answer
    made of it can be kept under that number."""


async def get(env: Environment, call: Call, revision: str = "") -> Entry:
    """The current version; one that is not yet durable is waited for, and so is a deletion."""
    if asked := _revision_of(revision):
        await reached(env, asked)
    strategy = env.strategy(call.resource)
    key = Key(call.namespace if call.resource.namespaced else "", call.name)
    entry = env.store.get(strategy.qualified, key)
    if entry is None:
        await env.store.durable(env.store.last_write(strategy.qualified))
        entry = _computed_one(env, call, strategy.qualified, key)
    if entry.revision > env.store.durable_revision:
        await env.store.durable(entry.revision)
    return await shown(env, call, entry)


async def list_objects(env: Environment, call: Call, options: ListOptions) -> Listing:
    """What there is at one revision, once all of it is durable."""
    asked = _revision_of(options.revision)
    _check_options(options, asked)
    if asked:
        await reached(env, asked)
    if env.strategy(call.resource).qualified in env.computed:
        return _computed_all(env, call, options)
    revision = env.store.revision
    listing = _list_now(env, call, options, asked)
    await env.store.durable(revision)
    return listing


def _list_now(env: Environment, call: Call, options: ListOptions, asked: int) -> Listing:
    if options.continue_token:
        return _next_page(env, call, options)
    if options.revision_match == "Exact" or (asked and options.limit and not options.revision_match):
        return _page(env, call, options, _at(env, call, asked), str(asked), asked)
    qualified, revision = env.strategy(call.resource).qualified, env.store.revision
    if not options.limit or options.revision == "0":  # as from a watch cache, which knows no pages then
        chosen = select(env, call, options)
        whole = not options.label_selector and not options.field_selector
        written = env.store.last_write(qualified) if whole else None
        return Listing(_served_all(env, call, chosen), str(revision), written=written)
    present = env.store.list(qualified, call.namespace)
    return _page(env, call, options, present, str(revision), revision)


def select(env: Environment, call: Call, options: ListOptions) -> Sequence[Entry]:
    """What matches now, through an index where one fits. The stored sequence itself if nothing is asked."""
    strategy = env.strategy(call.resource)
    qualified, store = strategy.qualified, env.store
    namespace, name, node = call.namespace, call.name, ""
    if options.field_selector:
        fields = parse_field_selector(env, call, options.field_selector)
        name = fields.exact("metadata.name") or name
        namespace = namespace or fields.exact("metadata.namespace") or ""
        node = fields.exact("spec.nodeName") or "" if qualified == "pods" else ""
    if name and (namespace or not call.resource.namespaced):
        entry = store.get(qualified, Key(namespace, name))
        found: Sequence[Entry] = () if entry is None else (entry,)
    elif node:
        found = store.by_index(qualified, "node", node)
        found = sorted((e for e in found if not namespace or e.key.namespace == namespace), key=_entry_key)
    else:
        found = store.list(qualified, namespace)
    matches = predicate(env, call, options.label_selector, options.field_selector)
    return found if matches is None else [entry for entry in found if matches(entry.object)]


def predicate(env: Environment, call: Call, label_selector: str, field_selector: str) -> Predicate | None:
    """A test of stored objects; None if everything matches. Raises BadRequest."""
    labels = parse_label_selector(label_selector) if label_selector else None
    fields = None
    if field_selector:
        read = parse_field_selector(env, call, field_selector).matcher(call.resource)
        view = env.view(call.resource)
        fields = read if view is None else lambda obj: read(view(obj))
    if labels is None:
        return fields
    if fields is None:
        return lambda obj: labels.matches(obj["metadata"].get("labels"))
    return lambda obj: labels.matches(obj["metadata"].get("labels")) and fields(obj)


def parse_label_selector(text: str) -> LabelSelector:
    try:
        return parse_labels(text)
    except SelectorError as error:
        raise errors.BadRequest(str(error)) from None


def parse_field_selector(env: Environment, call: Call, text: str) -> Any:
    try:
        parsed = parse_fields(text)
    except ValueError as error:
        raise errors.BadRequest(str(error)) from None
    kind = env.strategy(call.resource).kind
    check_fields(call.resource, parsed, () if kind is None else kind.selectable)
    return parsed


# --- kinds that are made when they are read


def _computed_one(env: Environment, call: Call, qualified: str, key: Key) -> Entry:
    for entry in _computed(env, qualified, key.namespace):
        if entry.key == key:
            return entry
    raise errors.not_found(env.strategy(call.resource).resource, call.name)


def _computed_all(env: Environment, call: Call, options: ListOptions) -> Listing:
    entries = _computed(env, env.strategy(call.resource).qualified, call.namespace)
    matches = predicate(env, call, options.label_selector, options.field_selector)
    if matches is not None:
        entries = [entry for entry in entries if matches(entry.object)]
    return Listing(entries, "")


def _computed(env: Environment, qualified: str, namespace: str) -> list[Entry]:
    make = env.computed.get(qualified)
    objects = make(namespace) if make is not None else ()
    return [
        Entry(qualified, Key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]), obj, 0)
        for obj in objects
    ]


# --- pages


def _at(env: Environment, call: Call, revision: int) -> Sequence[Entry]:
    try:
        return env.store.list_at(env.strategy(call.resource).qualified, call.namespace, revision)
    except Compacted:
        raise errors.Expired("The resourceVersion for the provided list is too old.") from None


def _next_page(env: Environment, call: Call, options: ListOptions) -> Listing:
    revision, after = _read_token(options.continue_token)
    qualified = env.strategy(call.resource).qualified
    if revision < 0:
        present = env.store.list(qualified, call.namespace)
        revision = env.store.revision
    else:
        try:
            present = env.store.list_at(qualified, call.namespace, revision)
        except Compacted:
            raise _expired_token(after) from None
    keys = [entry.key for entry in present]
    rest = present[bisect_right(keys, after) :]
    return _page(env, call, options, rest, str(revision), revision)


def _page(
    env: Environment, call: Call, options: ListOptions, entries: Sequence[Entry], revision: str, at: int
) -> Listing:
    matches = predicate(env, call, options.label_selector, options.field_selector)
    if matches is not None:
        entries = [entry for entry in entries if matches(entry.object)]
    limit = options.limit
    if not limit or len(entries) <= limit:
        return Listing(_served_all(env, call, entries), revision)
    token = _token(at, entries[limit - 1].key)
    remaining = len(entries) - limit if matches is None else None
    return Listing(_served_all(env, call, entries[:limit]), revision, token, remaining)


def _served_all(env: Environment, call: Call, entries: Sequence[Entry]) -> Sequence[Entry]:
    if env.view(call.resource) is None:
        return entries
    return [served(env, call, entry) for entry in entries]


def _token(revision: int, after: Key) -> str:
    text = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{after.namespace}/{after.name}\0"})
    return urlsafe_b64encode(text).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    try:
        parsed = orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = parsed["start"].rstrip("\0").partition("/")
        return int(parsed["rv"]), Key(namespace, name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.BadRequest(f"invalid continue token: continue key is not valid: {error}") from None


def _expired_token(after: Key) -> errors.Expired:
    expired = errors.Expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a "
        "new list without the continue parameter, or use the continue token in this response to retrieve "
        "the remainder of the results. Continuing with the provided token results in an inconsistent list "
        "- objects that were created, modified, or deleted between the time the first chunk was returned "
        "and now may show up in the list."
    )
    expired.metadata = {"continue": _token(-1, after)}
    return expired


# --- resourceVersion


def _revision_of(text: str) -> int:
    if not text:
        return 0
    if not text.isdigit():
        raise errors.BadRequest(f'Invalid value: "{text}": must be an integer')
    return int(text)


def _check_options(options: ListOptions, asked: int) -> None:
    match = options.revision_match
    if options.continue_token and options.revision not in ("", "0"):
        raise errors.BadRequest("specifying resource version is not allowed when using continue")
    if not match:
        return
    if options.continue_token:
        raise _option_error("resourceVersionMatch is forbidden when continue is provided")
    if not options.revision:
        raise _option_error("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match == "Exact" and not asked:
        raise _option_error('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _option_error(message: str) -> errors.Invalid:
    return errors.Invalid(
        f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {message}',
        details={"group": "meta.k8s.io", "kind": "ListOptions"},
        causes=(errors.Cause("FieldValueForbidden", f"Forbidden: {message}", "resourceVersionMatch"),),
    )


async def reached(env: Environment, asked: int) -> None:
    """Waits, not long, for a revision that is not there yet. Raises Timeout."""
    store = env.store
    if asked <= store.revision:
        return
    come = asyncio.get_running_loop().create_future()

    def heard(changes: Sequence[Change]) -> None:
        if changes[-1].revision >= asked and not come.done():
            come.set_result(None)

    end = store.subscribe(heard)
    try:
        async with asyncio.timeout(FRESH_WITHIN_S):
            await come
    except TimeoutError:
        raise errors.Timeout(
            f"Timeout: Too large resource version: {asked}, current: {store.revision}",
            causes=(errors.Cause("ResourceVersionTooLarge", "Too large resource version", ""),),
            retry_after_s=1,
        ) from None
    finally:
        end()


def _entry_key(entry: Entry) -> Key:
    return entry.key


def resource_of(env: Environment, call: Call) -> Resource:
    return env.strategy(call.resource).resource
