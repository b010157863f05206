"""The data set doctor: what is wrong with the photos, known by name before the first epoch."""
