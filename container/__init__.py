"""The platform, and nothing of machine learning: paths, limits, failures, starting programs."""
