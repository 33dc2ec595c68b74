"""A step in words, for progress lines and the summary."""

from __future__ import annotations

from scenarios import steps


def describe(action: steps.Action) -> str:
    """One line; what is to be done or is expected."""
    match action:
        case steps.Apply():
            kinds = [f"{o.get('kind', '?')}/{o.get('metadata', {}).get('name', '?')}" for o in action.objects]
            return "apply " + ", ".join([*action.files, *kinds])
        case steps.Delete() | steps.Restart() | steps.Undo():
            return f"{_verb(action)} {action.of}"
        case steps.Bounce():
            return f"kill and restart the {action.process}"
        case steps.FailProbe() | steps.MendProbe():
            which = "all" if action.count >= 1_000_000 else str(action.count)
            return f"{_verb(action)}: {action.probe} of {which} pod(s) {action.pods}"
        case steps.Crash():
            return f"crash {action.count} pod(s) {action.pods} with exit code {action.exit_code}"
        case steps.Scale():
            return f"scale {action.of} to {action.replicas}"
        case steps.SetImage():
            return f"set image of {action.of} to {action.image}"
        case steps.Wait():
            return f"wait {action.seconds:g} s"
        case steps.Rollout():
            return f"rollout of {action.of} completes within {action.within:g} s"
        case steps.Expect():
            return expectation(action)
        case steps.Guard():
            return f"from here on, {expectation(action.holds, timed=False)}"
        case steps.Release():
            return f"end of guard {action.guard!r}"
        case steps.Drain():
            return f"drain node {action.node} within {action.within:g} s"
        case steps.Load():
            way = "" if action.via == "cluster-ip" else f" by its {action.via}"
            return f"{action.rate:g} requests/s for service/{action.service}{way}"
        case steps.Report():
            return report(action)
        case _:
            return f"{_verb(action)} node {action.node}"


def _verb(action: steps.Action) -> str:
    return next(name for name, kind in steps.ACTIONS.items() if kind is type(action)).replace("-", " ")


def report(wanted: steps.Report) -> str:
    parts = [f"{text!r} in {count} answers" for text, count in wanted.answers.items()]
    if wanted.failures is not None:
        parts.append(f"{wanted.failures} failures")
    if wanted.requests is not None:
        parts.append(f"{wanted.requests} requests")
    if wanted.p99 is not None:
        parts.append(f"99 % answered within {wanted.p99:g} s")
    return f"report on load {wanted.load}{': ' if parts else ''}{', '.join(parts)}"


def expectation(wanted: steps.Expect, *, timed: bool = True) -> str:
    parts = [f"{path} {comparison}" for path, comparison in wanted.where.items()]
    parts += [f"{kind}={status}" for kind, status in wanted.condition.items()]
    if wanted.taint:
        parts.append(f"taint {wanted.taint}")
    if wanted.no_taint:
        parts.append(f"no taint {wanted.no_taint}")
    if wanted.event:
        parts.append(f"event {wanted.event}")
    if wanted.gone:
        parts.append("gone")
    subject = wanted.of or (f"node {wanted.node}" if wanted.node else _pods(wanted))
    within = f" within {wanted.within:g} s" if timed else ""
    return f"{subject}{': ' if parts else ''}{', '.join(parts)}{within}"


def _pods(wanted: steps.Expect) -> str:
    adjectives = []
    if wanted.ready is not None:
        adjectives.append("ready" if wanted.ready else "unready")
    if wanted.terminating is not None:
        adjectives.append("terminating" if wanted.terminating else "living")
    text = " ".join([str(wanted.count), *adjectives, f"pod(s) {wanted.pods}"])
    if wanted.on:
        text += f" on node {wanted.on}"
    if wanted.not_on:
        text += f" not on node {wanted.not_on}"
    if wanted.image:
        text += f" with image {wanted.image}"
    if wanted.restarts:
        text += f" with restarts {wanted.restarts}"
    return text
