"""What a diagnosis leaves for people and programs: `profiler-report.html` and its JSON."""
