"""The shared engine and the processes it divides streams among."""
