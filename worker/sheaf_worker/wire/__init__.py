"""What a worker and its children share: the pipe's messages, rings of memory, slots, exit codes."""
