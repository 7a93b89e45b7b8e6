"""What everything else stands on: errors, settings, logs, files, and a few small structures."""
