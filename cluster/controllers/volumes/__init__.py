"""Storage as objects: claims find volumes, volumes are made, grow, are let go and reclaimed.

`binder` binds and reclaims, `provisioner` makes and deletes volumes of the class `kubemu.dev/emulated`,
`attachments` and `attacher` bring CSI volumes to nodes, `csi_nodes` says which driver runs there,
`resizer` lets claims grow, `protection` keeps what is in use, `ephemeral` makes the claims of ephemeral
volumes. What a volume contains is the nodes' business.
"""
