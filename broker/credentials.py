"""Who may do what at the broker: users, passwords, permissions, and the files that brokers read them from.

A node publishes on its `up` and `presence` topics and reads its `down` topic, the controller manager's
presence and what all nodes are told alike, nothing else; the controller manager has the whole cluster. Both
brokers get the same permissions: nats-server as a part of its configuration, Mosquitto as a password file and
an access control list.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.chance import Chance
from broker.topics import CONTROL_USER as CONTROL_USER
from broker.topics import ROOT, control_presence, node_down, node_presence, node_up, shared_down

MOSQUITTO_PASSWORDS = "passwords"
MOSQUITTO_ACL = "acl"
"""File names within the folder that `mosquitto.conf` expects."""

_ITERATIONS = 101
"""What mosquitto_passwd uses: the passwords are random, so nothing is gained by making guesses slow."""


def new_password(chance: Chance) -> str:
    """128 random bits, in letters that need no quoting anywhere."""
    return f"{chance.below(1 << 128):032x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """MQTT topic patterns."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions(cluster: str, user: str) -> Permissions:
    if user == CONTROL_USER:
        everything = f"{ROOT}/{cluster}/#"
        return Permissions(publish=(everything,), subscribe=(everything,))
    return Permissions(
        publish=(node_up(cluster, user), node_presence(cluster, user)),
        subscribe=(node_down(cluster, user), control_presence(cluster), shared_down(cluster)),
    )


# --- nats-server


def nats_users(cluster: str, passwords: Mapping[str, str]) -> list[dict[str, Any]]:
    """The `users` of an `authorization` block."""
    return [_nats_user(cluster, user, password) for user, password in passwords.items()]


def _nats_user(cluster: str, user: str, password: str) -> dict[str, Any]:
    granted = permissions(cluster, user)
    return {
        "user": user,
        "password": password,
        # The server delivers QoS 1 messages through $MQTT.sub subjects, which the user must be allowed to
        # read. MQTT clients can't name them; a client of NATS' own protocol could, and listen to everybody.
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": [subject for topic in granted.publish for subject in nats_subjects(topic)],
            "subscribe": [
                *(subject for topic in granted.subscribe for subject in nats_subjects(topic)),
                "$MQTT.sub.>",
            ],
        },
    }


def nats_subjects(pattern: str) -> list[str]:
    """What nats-server makes of an MQTT topic or pattern.

    Levels are divided by dots there, so a dot within a level becomes `//`. A pattern that ends in `#` also
    covers its parent level, which is a subject of its own.
    """
    wildcards = {"+": "*", "#": ">"}
    levels = [wildcards.get(level, level.replace(".", "//")) for level in pattern.split("/")]
    whole = ".".join(levels)
    return [".".join(levels[:-1]), whole] if levels[-1] == ">" and len(levels) > 1 else [whole]


# --- Mosquitto


def write_mosquitto_files(folder: Path, cluster: str, passwords: Mapping[str, str], chance: Chance) -> None:
    """Writes password file and access control list; Mosquitto reads changed ones on SIGHUP.

    They are readable for all, because Mosquitto gives up root before it reads them again: the passwords in
    them are hashed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [mosquitto_password_line(user, password, chance) for user, password in passwords.items()]
    (folder / MOSQUITTO_PASSWORDS).write_text("".join(lines), encoding="utf-8")
    (folder / MOSQUITTO_ACL).write_text(mosquitto_acl(cluster), encoding="utf-8")


def mosquitto_password_line(user: str, password: str, chance: Chance) -> str:
    """A line of a password file: PBKDF2 with SHA-512, the format with the number 7."""
    salt = chance.below(1 << 96).to_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"{user}:$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def mosquitto_acl(cluster: str) -> str:
    """The access control list; it does not depend on the users, `%u` stands for each one's name."""
    granted = permissions(cluster, "%u")
    return "".join(
        [
            f"user {CONTROL_USER}\n",
            f"topic readwrite {ROOT}/{cluster}/#\n",
            *(f"pattern write {topic}\n" for topic in granted.publish),
            *(f"pattern read {topic}\n" for topic in granted.subscribe),
        ]
    )


# --- credentials files of agents


def read_passwords(path: Path) -> dict[str, str]:
    """A JSON object {user: password}. Raises ValueError with the file's name."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise ValueError(f"{path}: expected an object of user names and passwords")
    return data
