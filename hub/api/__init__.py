"""The HTTP API: OneRoster for apps, OAuth, health and the admin API."""
