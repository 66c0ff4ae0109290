"""Names in photos' metadata: read from what other programs wrote, and written for them."""
