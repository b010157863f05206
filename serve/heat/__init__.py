"""Where in a photo a label was seen: maps out of the engine, or by covering parts of the photo."""
