"""The ground floor: paths, atomic files, downloads. Imports nothing of tfbench but its errors."""
