"""Is everything as it has to be? And what to do where it is not."""
