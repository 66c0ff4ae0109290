"""How fast this machine does what facerec does, beside what it could do at most."""
