"""Lists and watches of kinds whose versions a webhook converts: the usual ones of what is stored, and then
converted, a list or a batch of events in one question.

Selectors of labels and metadata look at what is stored, those of the kind's own fields at what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replaced

from cluster.api.client import EventType
from cluster.api.custom import Converting
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Key
from cluster.api.selectors_fields import FieldSelector
from cluster.server.call import Call, DeleteOptions, ListOptions, WatchOptions
from cluster.server.verbs import deletion, reading, watching
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.reading import Listing, Predicate
from cluster.server.watch import Event, Watch, WatchHub
from cluster.store.entry import Entry, with_revision


async def list_objects(env: Environment, conversion: Converting, call: Call, options: ListOptions) -> Listing:
    stored, matches = _split(env, call, options.field_selector)
    listing = await reading.list_objects(env, call, replaced(options, field_selector=stored))
    entries: Sequence[Entry] = await conversion.entries(listing.entries)
    if matches is not None:
        entries = [entry for entry in entries if matches(entry.object)]
    return Listing(entries, listing.revision, listing.continue_token, listing.remaining)


async def delete_collection(
    env: Environment, conversion: Converting, call: Call, options: ListOptions, how: DeleteOptions
) -> Listing:
    """One by one; those that vanish meanwhile don't matter."""
    listing = await list_objects(env, conversion, call, options)
    deleted = []
    for entry in listing.entries:
        one = replaced(call, namespace=entry.key.namespace, name=entry.key.name)
        try:
            await deletion.delete(env, one, how)
        except NotFound:
            continue
        deleted.append(entry)
    return Listing(deleted, str(env.store.revision))


async def open_watch(
    env: Environment, hub: WatchHub, conversion: Converting, call: Call, options: WatchOptions
) -> ConvertedWatch:
    stored, matches = _split(env, call, options.field_selector)
    watch = await watching.open_watch(env, hub, call, replaced(options, field_selector=stored))
    matching: dict[Key, Entry] = {}
    if matches is not None and options.revision not in ("", "0") and not options.send_initial_events:
        before = ListOptions(
            label_selector=options.label_selector, field_selector=options.field_selector,
            revision=options.revision, revision_match="Exact",
        )  # fmt: skip
        try:
            listing = await list_objects(env, conversion, call, before)
        except ApiError:
            watch.close()
            raise
        matching = {entry.key: entry for entry in listing.entries}
    return ConvertedWatch(watch, conversion, matches, matching)


def _split(env: Environment, call: Call, text: str) -> tuple[str, Predicate | None]:
    """What of a field selector can be asked of stored objects, and a test of converted ones for the rest."""
    selector = reading.parse_field_selector(env, call, text)
    own = [term for term in selector.terms if not term.field.startswith("metadata.")]
    if not own:
        return text, None
    others = FieldSelector(tuple(term for term in selector.terms if term not in own))
    return str(others), FieldSelector(tuple(own)).matcher(call.resource)


class ConvertedWatch(Watch):
    """A watch of stored objects that hands out converted ones."""

    def __init__(
        self, stored: Watch, conversion: Converting, matches: Predicate | None, matching: dict[Key, Entry]
    ) -> None:
        """`matching`: what passed the test before the first event."""
        self._stored = stored
        self._conversion = conversion
        self._matches = matches
        self._matching = matching

    async def __anext__(self) -> list[Event]:
        while True:
            events = await anext(self._stored)
            shown = [event for event in events if event.type is not EventType.BOOKMARK]
            entries = iter(await self._conversion.entries([event.entry for event in shown]))
            made = [
                event if event.type is EventType.BOOKMARK else self._event(event, next(entries))
                for event in events
            ]
            if told := [event for event in made if event is not None]:
                return told

    def _event(self, event: Event, entry: Entry) -> Event | None:
        kind = event.type
        if self._matches is not None:
            earlier = self._matching.pop(entry.key, None)
            if kind is not EventType.DELETED and self._matches(entry.object):
                self._matching[entry.key] = entry
                kind = EventType.ADDED if earlier is None else EventType.MODIFIED
            elif earlier is None:
                return None
            elif kind is not EventType.DELETED:
                kind = EventType.DELETED
                gone = with_revision(earlier.object, event.revision)
                entry = Entry(entry.qualified, entry.key, gone, event.revision)
        return Event(kind, entry, event.cause, event.revision)

    def close(self) -> None:
        self._stored.close()

    @property
    def revision(self) -> int:
        return self._stored.revision
