"""A CPU's compiled engine: made of the finished network, judged on photos, kept if as good."""
