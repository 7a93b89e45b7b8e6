"""How fast Sheaf is, beside bare pipelines and beside what people use today. `python -m benchmarks --help`."""
