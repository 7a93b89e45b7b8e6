"""From finished records to commits: the buffer, the committer, and where their time goes."""
