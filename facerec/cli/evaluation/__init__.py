"""What the subcommands of `facerec evaluate` are made of."""
