"""The index beside the output: a SQLite database. Opens it, reads and writes its tables, translates its errors."""
