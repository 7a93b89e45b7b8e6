"""The embedded cluster: a real redis-server and workers as local processes, for a machine without containers.

    sheaf up ──starts──► supervisor (python -m sheaf.embedded DATA) ──keeps alive──► redis-server, worker-1 … worker-N
                             └── DATA/.sheaf/cluster.json: how to reach Redis, and who runs

Same settings, same files, same guarantees as in containers. Whatever is killed here is started again.
"""

from sheaf.embedded.redis_server import find_redis_server

__all__ = ["find_redis_server"]
