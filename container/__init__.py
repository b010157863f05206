"""The platform, and nothing of machine learning: paths, limits, failures, and how programs start."""
