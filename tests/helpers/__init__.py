"""Stand-ins and readers that several tests share."""
