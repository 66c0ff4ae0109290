"""Photos in, images out: finding, decoding, drawing."""
