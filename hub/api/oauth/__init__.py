"""OAuth 2 client credentials (RFC 6749 §4.4): the only way for an app to get an access token."""
