"""What training and serving must agree on: the files, a photo's way to a tensor, the network."""
