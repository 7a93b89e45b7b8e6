"""The process that runs tasks. It imports neither redis nor rq."""
