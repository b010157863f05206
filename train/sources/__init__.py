"""Where photos and their labels come from: one module per format, all of which give an Index."""
