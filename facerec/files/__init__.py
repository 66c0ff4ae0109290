"""Files and text at the edge: atomic writing, locks, names of outputs, hostile JSON and YAML."""
