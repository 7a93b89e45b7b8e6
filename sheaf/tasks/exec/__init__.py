"""The built-in task `exec`: a command per item, as GNU parallel and xargs run them."""
