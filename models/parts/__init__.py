"""What architectures are made of: layers, losses, and networks of others. Unlike them, importing it needs Keras."""
