"""OneRoster 1.2 Rostering: what an app reads. Every answer comes through the view of one grant."""
