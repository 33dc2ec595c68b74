"""Opens watches: where they start, and what they begin with."""

from __future__ import annotations

from cluster.api import errors
from cluster.server.call import Call, ListOptions, WatchOptions
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.reading import predicate, reached, select
from cluster.server.watch import Group, Watch, WatchHub, bookmark
from cluster.store.entry import Entry
from cluster.store.journal import JournalFailed


async def open_watch(env: Environment, hub: WatchHub, call: Call, options: WatchOptions) -> Watch:
    """A watch from a revision; from "" or "0" (and with sendInitialEvents) it begins with what there is. One
    from a revision in the future waits for it as long as it lives. Raises Expired, BadRequest; and Timeout
    where initial events are wanted that are not older than a revision which does not come."""
    revision = _start(options)
    strategy = env.strategy(call.resource)
    fields = _with_name(options.field_selector, call.name)
    served = call.resource.api_version
    if strategy.kind is not None:  # watches opened under another definition see other defaults
        served = f"{served} {env.registry.generation}"
    key = (served, call.namespace, options.label_selector, fields)
    matches = predicate(env, call, options.label_selector, fields)
    convert = env.view(call.resource)
    initial = options.send_initial_events
    if initial is None:
        initial = not revision
    if initial and revision:
        await reached(env, revision)
    group = hub.group(strategy.qualified, key, call.resource, matches, convert)
    if initial:
        watch = await _with_initial(env, group, call, options, fields)
    else:
        watch = hub.since(group, strategy.qualified, revision or env.store.durable_revision)
    if options.bookmarks:
        hub.bookmark_regularly(watch)
    return watch


async def _with_initial(
    env: Environment, group: Group, call: Call, options: WatchOptions, fields: str
) -> Watch:
    """Begins with what there is now; told once all of that is durable."""
    now = env.store.revision
    chosen = select(env, call, ListOptions(label_selector=options.label_selector, field_selector=fields))
    watch = group.join(now)
    events = [group.initial(entry) for entry in sorted(chosen, key=_revision)]
    if options.send_initial_events and options.bookmarks:
        events.append(bookmark(call.resource, now, initial_events_end=True))
    watch.start_with(events)
    try:
        await env.store.durable(now)
    except JournalFailed:
        watch.close()
        raise
    return watch


def _start(options: WatchOptions) -> int:
    text = options.revision
    if not text:
        return 0
    if not text.isdigit():
        raise errors.BadRequest(f'Invalid value: "{text}": must be an integer')
    return int(text)


def _with_name(field_selector: str, name: str) -> str:
    """A watch of one object is a watch with a field selector."""
    if not name:
        return field_selector
    return ",".join(part for part in (field_selector, f"metadata.name={name}") if part)


def _revision(entry: Entry) -> int:
    return entry.revision
