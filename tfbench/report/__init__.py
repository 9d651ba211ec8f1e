"""Figures, tables, words and pages of what the analysis found."""
