"""Data sets that tfbench draws itself."""
