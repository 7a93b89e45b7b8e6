"""The library's commands, one file each: they look at what is there, and start and stop the embedded cluster."""
