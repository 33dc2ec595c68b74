"""/healthz, /livez, /readyz and their single checks (`/readyz/etcd`), with ?verbose and ?exclude.

A check is a name and a function that returns what is wrong, or nothing. Order is the order of adding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cluster.server.http.exchange import Answer

Check = Callable[[], str]
"""Empty when all is well."""

TEXT = "text/plain; charset=utf-8"
ENDPOINTS = ("healthz", "livez", "readyz")


@dataclass(slots=True)
class Health:
    checks: dict[str, Check] = field(default_factory=lambda: {"ping": _well})
    ready_only: dict[str, Check] = field(default_factory=dict)
    """Further checks of /readyz alone."""

    def answer(self, path: str, excluded: Sequence[str], verbose: bool) -> Answer | None:
        """The answer for `/readyz` or `/readyz/<check>`; None for a path that is neither."""
        endpoint, _, single = path.strip("/").partition("/")
        if endpoint not in ENDPOINTS:
            return None
        checks = dict(self.checks)
        if endpoint == "readyz":
            checks |= self.ready_only
        if single:
            if single not in checks:
                return None
            wrong = checks[single]()
            return _text(f"internal server error: {wrong}\n", 500) if wrong else _text("ok", 200)
        return _summary(endpoint, checks, excluded, verbose)


def _summary(endpoint: str, checks: dict[str, Check], excluded: Sequence[str], verbose: bool) -> Answer:
    lines: list[str] = []
    failed = False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
        elif check():
            failed = True
            lines.append(f"[-]{name} failed: reason withheld")
        else:
            lines.append(f"[+]{name} ok")
    unknown = [name for name in excluded if name not in checks]
    if unknown:
        shown = ", ".join(f'"{name}"' for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {shown}")
    if failed:
        return _text("\n".join([*lines, f"{endpoint} check failed"]) + "\n", 500)
    if not verbose:
        return _text("ok", 200)
    return _text("\n".join([*lines, f"{endpoint} check passed"]) + "\n", 200)


def _text(text: str, status: int) -> Answer:
    return Answer(text.encode(), status, TEXT, (("X-Content-Type-Options", "nosniff"),))


def _well() -> str:
    return ""
