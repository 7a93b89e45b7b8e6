"""The pool: the worker's side of its children, and which child gets which items."""
