"""Text to unit vectors: the encoder artifact, its export, and the onnxruntime that runs it."""
