"""What training and serving must agree on: the artifact's files, the photo's way to a tensor, the network."""
