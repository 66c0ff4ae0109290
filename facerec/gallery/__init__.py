"""People and the vectors of their faces."""

from facerec.gallery.gallery import Gallery

__all__ = ["Gallery"]
