"""The engine for other programs, over HTTP: `facerec serve`."""
