"""An HTTP server that answers under an impairment: OpenAI-compatible, many requests at once, a floor for every key."""
