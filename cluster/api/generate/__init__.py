"""Writes `cluster/api/facts.json`, the table of types: `make facts`. A developer's tool: no process uses it.

Two kinds of source, both of the release that is emulated and both installed as packages. The published
schemas tell each field's type, list and map kind, keys and patch strategies (`schemas`). What a schema can't
say and clients can see is in the Go types themselves (`forms`): the name that error messages use, whether a
field's zero value is written, kept or dropped, and its protobuf number. Go programs carry their types with
them for reflection, so kubectl's and Helm's binaries tell (`binary`, `gotypes`).
"""
