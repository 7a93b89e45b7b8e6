"""The worker: turns batches into records in the output."""
