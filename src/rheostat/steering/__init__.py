"""Control by directions: at which strength, with which side effects, and when to stop a text that turns out wrong."""
