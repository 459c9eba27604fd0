"""Rules with a function of their own, by what they are about, and what runs them (``checks``)."""
