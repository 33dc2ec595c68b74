"""How the API server shows itself to the servers of aggregated APIs, and how they learn to believe it.

It comes with a client certificate of an authority of its own, and tells in headers who asks. The ConfigMap
extension-apiserver-authentication in kube-system names that authority, the names and the headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.api.client import ApiClient
from cluster.api.errors import NotFound
from cluster.api.kinds import CONFIG_MAPS
from cluster.api.objects import Object
from cluster.server.call import User

CONFIG_MAP, NAMESPACE = "extension-apiserver-authentication", "kube-system"
USER, UID, GROUP, EXTRA = "X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontProxy:
    certificate: Path
    key: Path
    authority_pem: str
    client_authority_pem: str
    """Whose certificates the users of this cluster have."""
    name: str
    """The common name in the certificate."""


def headers_of(user: User) -> list[tuple[str, str]]:
    found = [(USER, user.name)]
    if user.uid:
        found.append((UID, user.uid))
    found += [(GROUP, group) for group in user.groups]
    for name, values in user.extra.items():
        found += [(EXTRA + _escaped(name), value) for value in values]
    return found


def _escaped(name: str) -> str:
    """An extra's name as part of a header's: lower case, other characters by their number."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else _percent(c) for c in name.lower())


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


async def publish(client: ApiClient, proxy: FrontProxy) -> None:
    """Makes the ConfigMap, or brings it up to date."""
    data: Object = {
        "client-ca-file": proxy.client_authority_pem,
        "requestheader-allowed-names": f'["{proxy.name}"]',
        "requestheader-client-ca-file": proxy.authority_pem,
        "requestheader-extra-headers-prefix": f'["{EXTRA}"]',
        "requestheader-group-headers": f'["{GROUP}"]',
        "requestheader-username-headers": f'["{USER}"]',
    }
    try:
        found = await client.get(CONFIG_MAPS, CONFIG_MAP, namespace=NAMESPACE)
    except NotFound:
        metadata = {"name": CONFIG_MAP, "namespace": NAMESPACE}
        await client.create(CONFIG_MAPS, {"metadata": metadata, "data": data})
        return
    if found.get("data") != data:
        await client.update(CONFIG_MAPS, {**found, "metadata": dict(found["metadata"]), "data": data})
