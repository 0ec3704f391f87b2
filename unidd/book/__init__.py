"""What the book shows: figures, pictures, explorers, and the glue to Sphinx."""
