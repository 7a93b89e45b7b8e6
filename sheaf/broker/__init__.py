"""Redis: the connection, the keys, the queue, the lock, and the registry of workers."""
