"""What a finished job leaves for people to look at: `report.html`, numbers and pictures."""
