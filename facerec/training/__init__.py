"""From labelled faces to a model that every other command can use."""
