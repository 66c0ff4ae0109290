"""Pictures in and out: finding them, decoding them, drawing on them."""
