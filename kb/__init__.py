"""What we know: entries, phrasings, matching, verdicts."""
