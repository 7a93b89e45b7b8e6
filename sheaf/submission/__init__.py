"""Submitting a run: written on the volume, known to its output, its first batches on the queue. All submit by this."""
