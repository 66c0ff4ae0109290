"""Finding what is wrong in a set of faces: plain arrays in, findings out."""
