"""The interface for programs: calls of functions go out to the workers, their results come back, each exactly once.

    cluster.map(fn, items), submit ──► stream ──► segments: ordinary runs ──► queue (step 2) ──► workers
                                          ▲                                                        │ commits
                                          └──── results, read by the index ◄── session's output ◄──┘

A program's calls are cut into segments. Each is a run as `sheaf map` writes one, so all guarantees hold for it.
"""

from sheaf.client.cluster import Cluster

__all__ = ["Cluster"]
