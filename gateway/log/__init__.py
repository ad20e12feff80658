"""What was shown is written down: the log stage of a banner, and lines for the operator about a log that fails."""
