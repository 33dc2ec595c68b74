"""Seeded fault drills: a seed draws a cluster, a workload and faults; at the end everything must be right.

One drill is a short story. Calm: a deployment is rolled out and over, and stays available. Storm: a client
creates, scales, rolls and deletes while machines, links, the broker and the controller manager fail. Heal:
every fault ends. Then the cluster has to converge, to be what the client was promised, and to be quiet.

`options` what the seed draws · `workload` the client · `ledger` what it was promised · `storm` the faults ·
`checkers` what must hold at every moment · `convergence` what must hold in the end · `drill` the story.
"""
