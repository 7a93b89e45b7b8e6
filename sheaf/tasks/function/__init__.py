"""The user's own function as a task: finding it, preparing for it, and the loops that call it."""
