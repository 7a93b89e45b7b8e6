"""What a person is shown of runs, workers and failures."""
