"""The join's state: per partition what is known of sessions and what waits for one, built from its topics."""
