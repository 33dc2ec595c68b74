"""Which validators belong to which kind, by the name of the type."""

from __future__ import annotations

from collections.abc import Callable

from cluster.api.objects import Object
from cluster.api.validation.report import Report

OnCreate = Callable[[Object, Report], None]
OnUpdate = Callable[[Object, Object, Report], None]

ON_CREATE: dict[str, OnCreate] = {}
ON_UPDATE: dict[str, OnUpdate] = {}
ON_STATUS_UPDATE: dict[str, OnUpdate] = {}
