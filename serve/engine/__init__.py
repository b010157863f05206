"""An engine: a process with one artifact on one device, answering batches over a socket."""
