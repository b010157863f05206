"""Pages of HTML that are one file and need no network: what all our reports are made with."""
