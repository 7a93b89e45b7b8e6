"""The standard library's `multiprocessing`, across the workers of a cluster."""
