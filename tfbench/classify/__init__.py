"""Trained networks in use; see BUILD.md, "Layout"."""
