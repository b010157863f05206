"""What a frozen backbone answers, computed once per photo and kept: epochs, restarts and tuning
trials then train the head on rows of numbers instead of photos."""
