"""Likeness of people; ``transforms.matching.people`` has all names."""
