"""Options, tables and reports of the subcommands of `facerec evaluate`."""
