"""What runs in the pod of `test_extension_servers`: one HTTPS server that is an admission webhook, a conversion webhook
and an aggregated API. Standard library only; the pod gets this file as a ConfigMap and its certificate as a Secret."""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

GROUP_VERSION = "wardle.example.com/v1alpha1"
ROOT = f"/apis/{GROUP_VERSION}"
FLUNDERS = {
    "name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "shortNames": ["fl"],
    "verbs": ["create", "get", "list"],
}  # fmt: skip
STORED: dict[tuple[str, str], dict[str, Any]] = {}


def admit(request: dict[str, Any]) -> dict[str, Any]:
    """Refuses what is labelled so, and marks everything else."""
    labels = request["object"]["metadata"].get("labels") or {}
    if labels.get("unwanted"):
        return {"allowed": False, "status": {"message": "unwanted", "reason": "Forbidden", "code": 403}}
    patch = [{"op": "add", "path": "/data", "value": {"seen-by": "the webhook"}}]
    text = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text, "warnings": ["marked"]}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """v1 has hostPort, v2 has host and port."""
    wanted, made = request["desiredAPIVersion"], []
    for obj in request["objects"]:
        new = {**obj, "apiVersion": wanted}
        if wanted.endswith("/v2"):
            new["host"], _, new["port"] = new.pop("hostPort", ":").partition(":")
        else:
            new["hostPort"] = f"{new.pop('host', '')}:{new.pop('port', '')}"
        made.append(new)
    return {"convertedObjects": made, "result": {"status": "Success"}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == ROOT:
            head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION}
            self.answer({**head, "resources": [FLUNDERS]})
        elif path.startswith(ROOT):
            self.flunders(path.split("/"))
        else:
            self.answer({"kind": "Status", "status": "Failure", "code": 404}, 404)

    def flunders(self, parts: list[str]) -> None:
        namespace = parts[5] if len(parts) > 6 else ""
        if len(parts) == 8:
            found = STORED.get((namespace, parts[7]))
            missing = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": "NotFound",
                "code": 404,
            }
            self.answer(found or {**missing, "message": "no such flunder"}, 200 if found else 404)
            return
        items = [obj for (space, _), obj in STORED.items() if namespace in ("", space)]
        self.answer({"kind": "FlunderList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith(ROOT):
            namespace = self.path.split("/")[5]
            annotations = {"made-by": self.headers.get("X-Remote-User", "")}
            metadata = {**body["metadata"], "namespace": namespace, "annotations": annotations}
            STORED[namespace, metadata["name"]] = body | {"metadata": metadata}
            self.answer(body | {"metadata": metadata}, 201)
            return
        act = convert if self.path.startswith("/convert") else admit
        response = {"uid": body["request"]["uid"], **act(body["request"])}
        self.answer({"kind": body["kind"], "apiVersion": body["apiVersion"], "response": response})

    def answer(self, body: dict[str, Any], code: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main(address: str, port: int, certificates: str) -> None:
    server = ThreadingHTTPServer((address, port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificates}/tls.crt", f"{certificates}/tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
