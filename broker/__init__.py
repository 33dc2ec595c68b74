"""The message fabric. Knows nothing of Kubernetes."""

from broker.lean import without

with without("rich"):  # structlog prints tracebacks with it; ours are plain
    import structlog as _structlog  # noqa: F401
