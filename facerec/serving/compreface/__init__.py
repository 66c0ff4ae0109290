"""CompreFace's REST API, over the same engine and gallery.

Facts from exadel-inc/CompreFace: `docs/Rest-API-description.md`, its controllers, and
`CommonExceptionCode` for the numbers of errors.
"""
