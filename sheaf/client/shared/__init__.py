"""What programs and tasks share through Redis: counters, dicts, locks, queues."""
