"""What we owe: consultations, their events, clocks and rates."""
