"""What happens to runs, and when: which batches are queued next, why a run stalls, what may be removed."""
