"""Webhooks: added, changed, published to the door and the join, and explained to people."""
