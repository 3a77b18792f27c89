"""Every messaging channel, one folder each."""
