"""The shared file, its index, and everything that reads, checks or mends the two."""
