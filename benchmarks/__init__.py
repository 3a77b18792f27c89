"""What the figures in the README and the issues are measured with."""
