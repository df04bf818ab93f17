"""CDP orders (`simple_orders`): reading the file, merging orders, and the routes."""
