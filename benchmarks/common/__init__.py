"""What all scenarios share: commands, the embedded cluster, the site, taking turns, writing results down."""
