"""A commit: what it settles, the transaction, the rows it writes, and the append to the file."""
