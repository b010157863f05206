"""What ours is measured against: servers as they are commonly written, kept honest and plain."""
