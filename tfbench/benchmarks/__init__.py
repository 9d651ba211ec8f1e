"""What tfbench.benchmark measures: one module each, all against a plain library call that does the same work."""
