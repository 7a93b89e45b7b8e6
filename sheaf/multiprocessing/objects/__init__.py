"""What the processes of a program share: locks, queues, pipes, memory and containers, each of them in Redis."""
