"""Commands of agnhost that talk to the API server as any program in a pod does: with the pod's own token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agents import http
from agents.emulated.agnhost.logs import klog
from agents.emulated.program import Program, served
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run, World, err

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
PATIENCE_S = 30.0


class ApiServer:
    """The server that the environment names, trusted by the pod's certificate."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._world: World = program.world

    def token(self) -> str:
        """Read anew for each request: it is rotated. Raises OSError."""
        return self._world.files.read(f"{ACCOUNT}/token").decode().strip()

    async def get(self, path: str, token: str | None = None) -> http.Response:
        """Raises OSError, BadAnswer."""
        host = self._world.environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self._world.environment.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not port:
            missing = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
            raise OSError(None, f"unable to load in-cluster configuration, {missing}")
        context = ssl.create_default_context(cadata=self._world.files.read(f"{ACCOUNT}/ca.crt").decode())
        context.check_hostname = False  # the stream knows addresses only; the chain is checked
        headers = [
            ("Host", f"{host}:{port}"),
            ("Authorization", f"Bearer {token or self.token()}"),
            ("Accept", "application/json"),
        ]
        wanted = http.Request(method="GET", target=path, headers=headers)
        async with asyncio.timeout(PATIENCE_S):
            return await self._program.fetch(host, int(port), wanted, tls=context)


def _line(world: World, text: str, severity: str = "I") -> str:
    return klog(world, text, severity, place="main.go:59")


def inclusterclient(shell: Shell, words: list[str]) -> Run:
    """Asks for /healthz again and again, and shows a digest of the token it did so with."""
    given, _ = options(spaced(words, "poll-interval"))
    interval_s = float(given.get("poll-interval") or 30)
    world = shell.world

    async def poll(program: Program) -> None:
        server = ApiServer(program)
        while True:
            await asyncio.sleep(interval_s)
            program.write_error(_line(world, "calling /healthz"))
            try:
                token = server.token()
                digest = hashlib.sha256(f"salt|Bearer {token}".encode()).digest()
                shown = base64.urlsafe_b64encode(digest).decode().rstrip("=")
                program.write_error(_line(world, f"authz_header={shown}"))
                answer = await server.get("/healthz", token)
                failure = answer.body.decode(errors="replace") if answer.status != 200 else ""
            except (OSError, http.BadAnswer) as error:
                failure = str(error)
            if failure:
                program.write_error(_line(world, "status=failed", "E"))
                program.write_error(_line(world, f"error checking /healthz: {failure}", "E"))

    async def start(program: Program) -> None:
        program.write_error(_line(world, "started"))
        program.beside("poll", poll(program))

    return (yield from served(world, start))


def issuer_discovery(shell: Shell, words: list[str]) -> Run:
    """Finds the issuer's keys the way OpenID Connect says, and checks the mounted token with them."""
    given, _ = options(spaced(words, "token-path", "audience"))
    world = shell.world

    async def check(program: Program) -> None:
        from agents.emulated.agnhost.signatures import is_signed_by  # 60 ms that hardly any agent needs

        server = ApiServer(program)
        try:
            token = world.files.read(given.get("token-path", "")).decode().strip()
            program.log("OK: Got token")
            head, claims = (_decoded(part) for part in token.split(".")[:2])
            issuer = claims["iss"]
            program.log(f"OK: got issuer {issuer}")
            found = await _document(
                server, f"{urlsplit(issuer).path.rstrip('/')}/.well-known/openid-configuration"
            )
            if found["issuer"] != issuer:
                program.fail(f"oidc: issuer did not match: expected {issuer} got {found['issuer']}")
                return
            program.log(f"OK: Constructed OIDC provider for issuer {issuer}")
            keys = (await _document(server, urlsplit(found["jwks_uri"]).path))["keys"]
            if not any(key["kid"] == head["kid"] and is_signed_by(key, token) for key in keys):
                program.fail("failed to verify signature: failed to verify id token signature")
                return
            program.log("OK: Validated signature on JWT")
            wanted = given.get("audience", "")
            if wanted and wanted not in claims["aud"]:
                program.fail(f'oidc: expected audience "{wanted}" got {claims["aud"]}')
                return
            program.log("OK: Got valid claims from token!")
            program.exit(0)
        except (OSError, http.BadAnswer, ValueError, KeyError, TypeError) as error:
            program.fail(str(error))

    async def start(program: Program) -> None:
        program.beside("check", check(program))

    if not given.get("token-path"):
        yield err("open : no such file or directory\n")
        return 1
    return (yield from served(world, start))


async def _document(server: ApiServer, path: str) -> Any:
    answer = await server.get(path)
    if answer.status != 200:
        raise ValueError(f"{answer.status}: {answer.body.decode(errors='replace')}")
    return json.loads(answer.body)


def _decoded(part: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded
