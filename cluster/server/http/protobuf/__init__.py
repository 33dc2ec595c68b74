"""Request bodies in Kubernetes' protobuf encoding, as kubectl's and client-go's typed clients send them.

kubectl itself posts reviews, `create` commands and evictions this way and has no second form to fall back
to, so bodies have to be understood; answers may always be JSON, which the same clients accept.

The types drive the decoding: `numbers.json` (made by `generate`) says which field of a type has which
number, `cluster.api.facts` says what it holds. Custom kinds have no numbers; APIService's are in no package
that the table could be made from. Bodies of those kinds are 415.
"""

from __future__ import annotations

from cluster.server.http.protobuf.decode import MEDIA_TYPE, has_form, object_of, value_of

__all__ = ["MEDIA_TYPE", "has_form", "object_of", "value_of"]
