"""What a district makes of a source's rows before the hub looks at them: mappings, expressions, filters. Pure."""
