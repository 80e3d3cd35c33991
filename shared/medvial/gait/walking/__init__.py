"""Walking seen from the side: what can be measured on it."""
