"""An answer as a person or a program reads it: Markdown, terminal tables, CSV, and charts drawn as PNG."""
