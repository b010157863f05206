"""One training job: photos in folders -> a checked artifact, metrics and pictures."""
