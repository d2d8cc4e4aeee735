"""Tables, engine and transactions."""
