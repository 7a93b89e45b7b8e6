"""From what was typed to a run that is on its way."""
