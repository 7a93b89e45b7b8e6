"""The index beside the output: a SQLite database. This room opens it, and turns SQLite's errors into ours."""
