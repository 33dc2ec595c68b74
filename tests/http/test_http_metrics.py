"""/metrics: Kubernetes' own names and labels, in a form that Prometheus reads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from live_server import LiveServer

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


class Scrape:
    def __init__(self, text: str) -> None:
        self.types: dict[str, str] = {}
        self.samples: list[tuple[str, Mapping[str, str], float]] = []
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                _, _, name, kind = line.split()
                assert name not in self.types, f"{name} is described twice"
                self.types[name] = kind
            elif not line.startswith("#"):
                found = _SAMPLE.match(line)
                assert found, line
                self.samples.append((found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])))

    def sum(self, name: str, /, **labels: str) -> float:
        return sum(v for n, have, v in self.samples if n == name and labels.items() <= have.items())


async def scrape(live: LiveServer) -> Scrape:
    reply = await live.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scrape(reply.text.decode())


async def test_requests_are_counted_by_verb_resource_and_scope(live: LiveServer) -> None:
    before = await scrape(live)
    (await live.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})).expect(201)
    (await live.call("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "b"}})).expect(201)
    apply = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}'
    headers = {"Content-Type": "application/apply-patch+yaml"}
    await live.call("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", data=apply, headers=headers)
    await live.get(CONFIG_MAPS)
    await live.get(f"{CONFIG_MAPS}/nothing")
    await live.get(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1")
    after = await scrape(live)
    of = {"component": "apiserver", "group": "", "version": "v1", "resource": "configmaps", "subresource": ""}
    for labels in (
        {"verb": "POST", "scope": "resource", "code": "201", "dry_run": ""},
        {"verb": "POST", "scope": "resource", "code": "201", "dry_run": "All"},
        {"verb": "APPLY", "scope": "resource", "code": "200"},
        {"verb": "LIST", "scope": "namespace", "code": "200"},
        {"verb": "GET", "scope": "resource", "code": "404"},
        {"verb": "WATCH", "scope": "namespace", "code": "200"},
    ):
        name = "apiserver_request_total"
        grown = after.sum(name, **of, **labels) - before.sum(name, **of, **labels)
        assert grown == 1, labels
    post = {**of, "verb": "POST"}
    name = "apiserver_request_duration_seconds"
    assert after.types[name] == "histogram"
    assert after.sum(f"{name}_count", **post) == after.sum(f"{name}_bucket", **post, le="+Inf")
    assert after.sum(f"{name}_bucket", **post, le="60") <= after.sum(f"{name}_count", **post)


async def test_what_is_going_on_in_the_control_plane(live: LiveServer) -> None:
    (await live.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})).expect(201)
    for _ in range(600):
        found = await scrape(live)
        if found.sum("workqueue_adds_total"):
            break
        await asyncio.sleep(0.05)
    assert found.sum("apiserver_current_inflight_requests", request_kind="readOnly") == 1  # this one
    assert found.sum("apiserver_storage_objects", resource="configmaps") > 0
    assert {"name": "deployment-controller"} in [labels for _, labels, _ in found.samples]
    assert found.sum("workqueue_depth") >= 0
    assert found.types["workqueue_retries_total"] == "counter"
    assert found.sum("kubernetes_build_info", major="1", minor="37") == 1
    for name in ("process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"):
        assert found.sum(name) > 0


async def test_clients_make_up_no_labels(live: LiveServer) -> None:
    """What has no name here is counted as one thing, however it was called."""
    for method in ("PURGE", "LINK"):
        assert (await live.call(method, "/tea", token="")).status in (403, 404, 405)
        await live.call(method, f"{CONFIG_MAPS}/pot")
    await live.get("/apis/example.com/v1/things/x?dryRun=Maybe")
    found = await scrape(live)
    shown = {label for _, labels, _ in found.samples for label in labels.values()}
    assert not shown & {"PURGE", "LINK", "purge", "link", "/tea", "example.com", "things", "Maybe"}
