"""Local mode: Redis, the queue service and workers as child processes of one program."""
