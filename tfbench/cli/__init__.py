"""What the programs share towards the person: flags, error lines, progress."""
