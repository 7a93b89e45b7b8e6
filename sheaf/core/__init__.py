"""What everything else is built on: errors, settings, logs, files, and a few small structures."""
