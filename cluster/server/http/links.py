"""Links of a page that came through the API server's proxy: they get the proxy's path in front.

Only paths from the root and addresses of the proxy itself are changed; where a page leads elsewhere, or is
relative, it works as it is. Elements and attributes are those that HTML gives addresses to.
"""

from __future__ import annotations

import re
from posixpath import normpath
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES = {
    "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
    "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src",
    "form": "action", "frame": "longdesc src", "head": "profile", "html": "manifest",
    "iframe": "longdesc src", "img": "longdesc src usemap", "input": "formaction src usemap", "ins": "cite",
    "link": "href", "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src",
    "video": "poster src",
}  # fmt: skip
_TAG = re.compile(r"""<([a-zA-Z]+)((?:[^>"']|"[^"]*"|'[^']*')*)>""")
_ATTRIBUTE = re.compile(r"""([a-zA-Z-]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


def rewritten(address: str, prefix: str, hosts: tuple[str, ...]) -> str:
    """`prefix`: the path of the proxy; `hosts`: under which the page may speak of its own server."""
    parts = urlsplit(address)
    if (parts.netloc and parts.netloc not in hosts) or not parts.path.startswith("/"):
        return address
    path = parts.path
    if not path.startswith(prefix):
        path = normpath(f"{prefix}/{path}") + ("/" if path.endswith("/") and path != "/" else "")
        path += "/" if parts.path == "/" else ""
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def page(text: str, prefix: str, hosts: tuple[str, ...]) -> str:
    """The HTML with its links rewritten."""

    def tag(found: re.Match[str]) -> str:
        wanted = _ATTRIBUTES.get(found[1].lower(), "").split()
        if not wanted:
            return found[0]

        def attribute(part: re.Match[str]) -> str:
            if part[1].lower() not in wanted:
                return part[0]
            quote = part[3][0] if part[3][0] in "\"'" else '"'
            return f"{part[1]}{part[2]}{quote}{rewritten(part[3].strip(quote), prefix, hosts)}{quote}"

        return f"<{found[1]}{_ATTRIBUTE.sub(attribute, found[2])}>"

    return _TAG.sub(tag, text)
