"""Results that survive: numbers under keys made of their content, committed per chunk to one SQLite file."""
