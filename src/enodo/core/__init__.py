"""What every method stands on; knows torch, knows no method."""
