"""What was asked for: options, config file, key and URLs, resolved once."""
