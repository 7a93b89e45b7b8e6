"""The chaos kit: seeded random faults against a real cluster of processes, and a checker that trusts nothing of ours.

    plan (a seed) ──► trial: redis, workers, producer as processes ──faults──► the output ──► checker ──► verdict
                          ▲ site: pages whose bytes the checker can compute                (plain JSON, gzip)

`sheaf torture` runs it on the user's own machine and folder. The checker shares no code with what writes,
indexes or verifies an output; `lint-imports` holds that. `--sabotage` breaks the protocol on purpose, to show that the
kit would notice.
"""
