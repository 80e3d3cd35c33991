"""Containers as the platform runs them: limits, cases, servers, and the gates over all of them."""
