"""The engine and a gallery behind HTTP: `facerec serve`."""
