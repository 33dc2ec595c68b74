"""Probes and lifecycle hooks of a container."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_SCHEMES = ("HTTP", "HTTPS")
_TIMES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def validate_probes(container: Object, path: str, grace_period_s: int, report: Report) -> None:
    if probe := container.get("livenessProbe"):
        _validate_probe(probe, f"{path}.livenessProbe", report, must_succeed_once=True)
    if probe := container.get("readinessProbe"):
        _validate_probe(probe, f"{path}.readinessProbe", report, must_succeed_once=False)
        if "terminationGracePeriodSeconds" in probe:
            report.invalid(
                f"{path}.readinessProbe.terminationGracePeriodSeconds",
                probe["terminationGracePeriodSeconds"],
                "must not be set for readinessProbes",
            )
    if probe := container.get("startupProbe"):
        _validate_probe(probe, f"{path}.startupProbe", report, must_succeed_once=True)
    if lifecycle := container.get("lifecycle"):
        for name in ("postStart", "preStop"):
            if (hook := lifecycle.get(name)) is not None:
                _validate_handler(hook, _HOOK_HANDLERS, f"{path}.lifecycle.{name}", report)
                if "sleep" in hook and not 1 <= hook["sleep"].get("seconds", 0) <= grace_period_s:
                    report.invalid(
                        f"{path}.lifecycle.{name}.sleep",
                        hook["sleep"].get("seconds", 0),
                        "must be greater than 0 and less than terminationGracePeriodSeconds "
                        f"({grace_period_s}). Enable AllowPodLifecycleSleepActionZeroValue feature gate for "
                        "zero sleep.",
                    )


def _validate_probe(probe: Object, path: str, report: Report, *, must_succeed_once: bool) -> None:
    _validate_handler(probe, _PROBE_HANDLERS, path, report)
    for name in _TIMES:
        if (value := probe.get(name, 0)) < 0:
            report.not_negative(f"{path}.{name}", value)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        report.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if must_succeed_once and probe.get("successThreshold") != 1:
        report.invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1")


def _validate_handler(handler: Object, known: tuple[str, ...], path: str, report: Report) -> None:
    found = ""
    for name in known:
        if name not in handler:
            continue
        if found:
            report.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
            continue
        found = name
        action = handler[name]
        if name == "httpGet":
            _validate_http_get(action, f"{path}.httpGet", report)
        elif name == "exec":
            if not action.get("command"):
                report.required(f"{path}.exec.command")
        elif name in ("tcpSocket", "grpc"):
            _validate_port(action.get("port", 0), f"{path}.{name}.port", report)
    if not found:
        report.required(path, "must specify a handler type")


def _validate_http_get(action: Object, path: str, report: Report) -> None:
    if not action.get("path"):
        report.required(f"{path}.path")
    _validate_port(action.get("port", 0), f"{path}.port", report)
    if action.get("scheme") not in _SCHEMES:
        report.unsupported(f"{path}.scheme", action.get("scheme", ""), _SCHEMES)
    for header in action.get("httpHeaders") or ():
        report.invalid_each(f"{path}.httpHeaders", header["name"], formats.http_header_name(header["name"]))


def _validate_port(port: int | str, path: str, report: Report) -> None:
    if wrong := formats.port_number_or_name(port):
        report.invalid_each(path, port, wrong)
