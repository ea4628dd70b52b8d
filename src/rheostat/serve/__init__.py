"""An HTTP server that answers under an impairment: OpenAI-compatible, with a floor for every key."""
