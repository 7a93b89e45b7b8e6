"""One scenario a file. Each has `title`, `about` and `contenders(stage)`; benchmarks/__main__.py runs them."""
