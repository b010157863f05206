"""What a job saw: tensors saved while it trains, for the Debugger's rules and for people."""
