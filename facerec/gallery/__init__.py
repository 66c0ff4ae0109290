"""People and the vectors of their faces."""

from facerec.gallery.files.backend import Gallery

__all__ = ["Gallery"]
