"""OneRoster objects as one app sees them: what a page of the API and a change that is told of have in common."""
